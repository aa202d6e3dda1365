"""What else is said before callers complain: each has its runbook in docs/operations.md, under its own name."""

from __future__ import annotations

from deploy.observability.objectives import alerts as burning
from deploy.observability.parts import Alert
from deploy.observability.promql import EACH, watched

KNOWN = watched("sightline_build_info")
GATEWAYS = watched("sightline_build_info", 'component="gateway"')
ENCODERS = watched("sightline_pool_replicas", 'pool="encoder", state="up"')
QUESTIONS = watched("sightline_gateway_questions_total")
REFUSED = watched("sightline_gateway_questions_total", 'code="RESOURCE_EXHAUSTED"')
ASKED, ANSWERED = (watched(f"sightline_gateway_shards_{what}_total") for what in ("asked", "answered"))
SERVED = watched("sightline_gateway_generation")
# Those who export these know of no releases: the chart puts the names of its own autoscalers and Jobs there.
SCALED = 'namespace=~".*", horizontalpodautoscaler=~".*sightline.*"'
BUILDS = 'namespace=~".*", job_name=~".*sightline-indexer.*"'

STATES = [
    Alert(
        "SightlineNoGateway",
        f"(count by ({EACH}) ({GATEWAYS}) or 0 * count by ({EACH}) ({KNOWN}) or (vector(0) unless on () {KNOWN})) < 1",
        "2m",
        "page",
        "Prometheus sees no gateway of an installation: nobody is answered, or nobody is scraped",
    ),
    Alert(
        "SightlineNoEncoder",
        f"max by ({EACH}) ({ENCODERS}) < 1",
        "1m",
        "page",
        "no gateway reaches an encoder: questions with new texts or pictures are UNAVAILABLE",
    ),
    Alert(
        "SightlineGroupWithoutSearcher",
        f"max by ({EACH}, group) ({watched('sightline_gateway_group_replicas')}) < 1",
        "1m",
        "page",
        "no gateway reaches a searcher of group {{ $labels.group }}: answers are partial",
    ),
    Alert(
        "SightlinePartialAnswers",
        f"sum by ({EACH}) (rate({ANSWERED}[5m])) / sum by ({EACH}) (rate({ASKED}[5m])) < 0.9999",
        "2m",
        "page",
        "{{ $value | humanizePercentage }} of the shards answer: answers say so, and are partial",
    ),
    Alert(
        "SightlineShedding",
        f"sum by ({EACH}) (rate({REFUSED}[5m])) / sum by ({EACH}) (rate({QUESTIONS}[5m])) > 0.01",
        "5m",
        "page",
        "{{ $value | humanizePercentage }} of the questions are refused because a queue is full",
    ),
    Alert(
        "SightlineGatewaysDisagree",
        f"max by ({EACH}, collection) ({SERVED}) - min by ({EACH}, collection) ({SERVED}) > 0",
        "5m",
        "ticket",
        "gateways answer from different generations of {{ $labels.collection }}",
    ),
    Alert(
        "SightlineGenerationRefused",
        f"max by ({EACH}, collection) ({watched('sightline_searcher_refused_generations')}) > 0",
        "1m",
        "ticket",
        "a searcher refuses a generation of {{ $labels.collection }}; what was served before is served on",
    ),
    Alert(
        "SightlineStoreSilent",
        f"max by ({EACH}, component) ((time() - {watched('sightline_store_read_timestamp_seconds')})"
        f" * on (job, instance) group_left (component) {KNOWN}) > 120",
        "1m",
        "ticket",
        "a {{ $labels.component }} has not read the store for {{ $value | humanizeDuration }}",
    ),
    Alert(
        "SightlineRedisPaused",
        f"min_over_time(sum by ({EACH}) ({watched('sightline_cache_redis_paused')})[5m:30s]) > 0",
        "1m",
        "ticket",
        "Redis is left alone because it fails: every answer that a gateway does not have itself is computed",
    ),
    Alert(
        "SightlineScaledToTheMost",
        f"max by (namespace, horizontalpodautoscaler) (kube_horizontalpodautoscaler_status_current_replicas{{{SCALED}}}"
        " / on (namespace, horizontalpodautoscaler) kube_horizontalpodautoscaler_spec_max_replicas) > 0.999",
        "15m",
        "ticket",
        "{{ $labels.horizontalpodautoscaler }} has as many replicas as it may have",
    ),
    Alert(
        "SightlineBuildFailed",
        f'max by (namespace, job_name) (kube_job_failed{{{BUILDS}, condition="true"}}) > 0',
        "1m",
        "ticket",
        "the Job {{ $labels.job_name }} of the indexer has failed; what was served before is served on",
    ),
]


def alerts() -> list[Alert]:
    """Returns all alerts."""
    return [*burning(), *STATES]
