"""What the claims are measured with: one module for each bar, run by `make prove BAR=name`."""
