"""What the bar `chart` looks at: the chart rendered by Helm's own engine, and what must be true of what comes out."""
