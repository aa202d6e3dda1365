"""Metrics that others export: what a dashboard or a rule may name beside our own."""

FOREIGN = {
    "kube_horizontalpodautoscaler_status_current_replicas": "kube-state-metrics",
    "kube_horizontalpodautoscaler_spec_max_replicas": "kube-state-metrics",
    "kube_job_failed": "kube-state-metrics",
    "DCGM_FI_DEV_GPU_UTIL": "NVIDIA's DCGM exporter",
    "DCGM_FI_DEV_FB_USED": "NVIDIA's DCGM exporter",
    "DCGM_FI_DEV_FB_FREE": "NVIDIA's DCGM exporter",
}
"""Who exports each. Without them the panels that name them stay empty, and their alerts silent."""
