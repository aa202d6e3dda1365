"""What else is said before callers complain: each has its runbook in docs/operations.md, under its own name."""

from __future__ import annotations

from deploy.observability.objectives import alerts as burning
from deploy.observability.parts import Alert

QUESTIONS = "sum by (namespace) (rate(sightline_gateway_questions_total[5m]))"

STATES = [
    Alert(
        "SightlineNoGateway",
        '(count by (namespace) (sightline_build_info{component="gateway"})'
        " or 0 * count by (namespace) (sightline_build_info)"
        " or (vector(0) unless on () sightline_build_info)) < 1",
        "2m",
        "page",
        "Prometheus sees no gateway of an installation: nobody is answered, or nobody is scraped",
    ),
    Alert(
        "SightlineNoEncoder",
        'max by (namespace) (sightline_pool_replicas{pool="encoder", state="up"}) < 1',
        "1m",
        "page",
        "no gateway reaches an encoder: questions with new texts or pictures are UNAVAILABLE",
    ),
    Alert(
        "SightlineGroupWithoutSearcher",
        "max by (namespace, group) (sightline_gateway_group_replicas) < 1",
        "1m",
        "page",
        "no gateway reaches a searcher of group {{ $labels.group }}: answers are partial",
    ),
    Alert(
        "SightlinePartialAnswers",
        "sum by (namespace) (rate(sightline_gateway_shards_answered_total[5m]))"
        " / sum by (namespace) (rate(sightline_gateway_shards_asked_total[5m])) < 0.9999",
        "2m",
        "page",
        "{{ $value | humanizePercentage }} of the shards answer: answers say so, and are partial",
    ),
    Alert(
        "SightlineShedding",
        'sum by (namespace) (rate(sightline_gateway_questions_total{code="RESOURCE_EXHAUSTED"}[5m]))'
        f" / {QUESTIONS} > 0.01",
        "5m",
        "page",
        "{{ $value | humanizePercentage }} of the questions are refused because a queue is full",
    ),
    Alert(
        "SightlineGatewaysDisagree",
        "max by (namespace, collection) (sightline_gateway_generation)"
        " - min by (namespace, collection) (sightline_gateway_generation) > 0",
        "5m",
        "ticket",
        "gateways answer from different generations of {{ $labels.collection }}",
    ),
    Alert(
        "SightlineGenerationRefused",
        "max by (namespace, collection) (sightline_searcher_refused_generations) > 0",
        "1m",
        "ticket",
        "a searcher refuses a generation of {{ $labels.collection }}; what was served before is served on",
    ),
    Alert(
        "SightlineStoreSilent",
        "max by (namespace, component) ((time() - sightline_store_read_timestamp_seconds)"
        " * on (job, instance) group_left (component) sightline_build_info) > 120",
        "1m",
        "ticket",
        "a {{ $labels.component }} has not read the store for {{ $value | humanizeDuration }}",
    ),
    Alert(
        "SightlineRedisPaused",
        "min_over_time(sum by (namespace) (sightline_cache_redis_paused)[5m:30s]) > 0",
        "1m",
        "ticket",
        "Redis is left alone because it fails: every answer that a gateway does not have itself is computed",
    ),
    Alert(
        "SightlineScaledToTheMost",
        "max by (namespace, horizontalpodautoscaler)"
        ' (kube_horizontalpodautoscaler_status_current_replicas{horizontalpodautoscaler=~".*sightline.*"}'
        " / on (namespace, horizontalpodautoscaler) kube_horizontalpodautoscaler_spec_max_replicas) > 0.999",
        "15m",
        "ticket",
        "{{ $labels.horizontalpodautoscaler }} has as many replicas as it may have",
    ),
]


def alerts() -> list[Alert]:
    """Returns all alerts."""
    return [*burning(), *STATES]
