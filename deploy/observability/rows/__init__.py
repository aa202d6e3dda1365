"""The rows of the dashboard: what callers feel, then tier by tier whose fault it is, then what it costs."""

from deploy.observability.rows.callers import OBJECTIVES, REQUESTS
from deploy.observability.rows.resources import AUTOSCALING, RESOURCES
from deploy.observability.rows.tiers import BATCHES, CACHE, FAN_OUT, GENERATIONS

ROWS = [OBJECTIVES, REQUESTS, FAN_OUT, BATCHES, CACHE, GENERATIONS, RESOURCES, AUTOSCALING]
