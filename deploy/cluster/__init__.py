"""A real Kubernetes cluster on one machine, and the stand-ins for what it lacks."""
