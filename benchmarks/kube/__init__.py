"""Kubernetes clusters as tests and bars drive them: through kubectl and helm, as any user would."""
