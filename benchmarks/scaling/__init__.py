"""How Kubernetes' autoscalers follow traffic, second by second, without a cluster.

`traffic` is what is asked, `service` how long a tier takes for it, `metrics` what is seen of that and when, `hpa` what
an autoscaler makes of it, `settings` whose autoscalers there are, `cluster` lets all of it run, `picture` draws it.
"""
