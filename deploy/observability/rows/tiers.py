"""Tier by tier: fan-out, batches, cache, generations."""

from __future__ import annotations

from deploy.observability.parts import Panel, Query, Row
from deploy.observability.promql import mean, picked, quantile, rate

GROUP_SECONDS = "sightline_gateway_group_seconds"
ENCODERS = picked("sightline_pool_replicas", 'pool="encoder", state="up"')
SERVED = picked("sightline_gateway_generation")
SERVED_SINCE = picked("sightline_gateway_generation_timestamp_seconds")
IN_MEMORY = picked("sightline_searcher_images")
FAILED = picked("sightline_searcher_load_failures_total")
LOADED, PICK = "sightline_searcher_load_seconds", picked("")
REFUSED = picked("sightline_searcher_refused_generations")

FAN_OUT = Row(
    "Fan-out and coverage",
    [
        Panel(
            "Coverage",
            "Share of the shards asked that answered.",
            "percentunit",
            [
                Query(
                    f"{rate('sightline_gateway_shards_answered_total')} / "
                    f"{rate('sightline_gateway_shards_asked_total')}",
                    "coverage",
                )
            ],
            most=1.0,
            least=None,
        ),
        Panel(
            "Partial answers",
            "By what was missing. Callers are told in `degraded`, and no cache keeps such an answer.",
            "reqps",
            [Query(rate("sightline_gateway_partial_answers_total", "reason"), "{{reason}}")],
        ),
        Panel(
            "Time of a searcher group",
            "95th percentile until a group has answered, its queue included. A question waits for the slowest.",
            "s",
            [Query(quantile(0.95, GROUP_SECONDS, "group"), "group {{group}}")],
        ),
        Panel(
            "Groups that did not answer",
            "Questions that a group gave no answer to, however many replicas were asked.",
            "reqps",
            [Query(rate("sightline_gateway_group_failures_total", "group"), "group {{group}}")],
        ),
        Panel(
            "Replicas that gateways reach",
            "Of each searcher group, by the gateway that sees fewest. At 0 the group's shards are missing.",
            "none",
            [
                Query(f"min by (group) ({picked('sightline_gateway_group_replicas')})", "group {{group}}"),
                Query(f"min({ENCODERS})", "encoders"),
            ],
        ),
        Panel(
            "Failovers",
            "Calls that went on to another replica, because one was gone or took too long. Callers notice nothing.",
            "reqps",
            [Query(rate("sightline_pool_failovers_total", "pool", "reason"), "{{pool}}: {{reason}}")],
        ),
    ],
)

BATCHES = Row(
    "Batches of encoders and searchers",
    [
        Panel(
            "Encoded and searched",
            "Items that models computed, and queries that searchers did.",
            "reqps",
            [
                Query(rate("sightline_encoder_items_total", "kind"), "encoded: {{kind}}"),
                Query(rate("sightline_searcher_queries_total"), "searched"),
            ],
        ),
        Panel(
            "Items in a batch",
            "Mean by queue. It grows by itself with the load; nothing waits for it.",
            "none",
            [Query(mean("sightline_batch_items", "queue"), "{{queue}}")],
        ),
        Panel(
            "Time of a batch",
            "95th percentile, in the model and in the searching thread.",
            "s",
            [
                Query(quantile(0.95, "sightline_encoder_run_seconds", "kind"), "model: {{kind}}"),
                Query(quantile(0.95, "sightline_searcher_search_seconds"), "search"),
            ],
        ),
        Panel(
            "Wait in queues",
            "Mean of the oldest item of each batch. The queue where it grows first is the tier that is too small.",
            "s",
            [Query(mean("sightline_queue_seconds", "queue"), "{{queue}}")],
        ),
        Panel(
            "Items that wait",
            "Now, in all queues of a kind together.",
            "none",
            [Query(f"sum by (queue) ({picked('sightline_queue_items')})", "{{queue}}")],
        ),
        Panel(
            "Refused and expired",
            "Refused: the queue was full. Expired: the deadline passed before anything was done for it.",
            "reqps",
            [
                Query(rate("sightline_queue_refused_total", "queue") + " > 0", "refused: {{queue}}"),
                Query(rate("sightline_expired_total", "queue") + " > 0", "expired: {{queue}}"),
            ],
        ),
    ],
)

LOOKUPS = "sightline_cache_lookups_total"

CACHE = Row(
    "Cache",
    [
        Panel(
            "Answers by level",
            "Share that the gateway's own memory had, that Redis had, and that was computed (none).",
            "percentunit",
            [Query(f"{rate(LOOKUPS, 'level')} / ignoring (level) group_left () {rate(LOOKUPS)}", "{{level}}")],
            stacked=True,
            most=1.0,
        ),
        Panel(
            "Lookups and joined questions",
            "Joined: questions that were being answered already when they were asked again.",
            "reqps",
            [
                Query(rate(LOOKUPS), "lookups"),
                Query(rate("sightline_gateway_joined_questions_total"), "joined"),
            ],
        ),
        Panel(
            "Redis",
            "Calls that failed or were too slow; after three in a row a gateway leaves Redis alone for five seconds.",
            "none",
            [
                Query(rate("sightline_cache_redis_failures_total"), "failures a second"),
                Query(f"sum({picked('sightline_cache_redis_paused')})", "gateways that leave it alone"),
            ],
        ),
        Panel(
            "Time of the lookup",
            "95th percentile, and of the queue before Redis.",
            "s",
            [
                Query(quantile(0.95, "sightline_gateway_stage_seconds", where='stage="cache"'), "lookup"),
                Query(quantile(0.95, "sightline_queue_seconds", where='queue="cache_read"'), "wait for Redis"),
            ],
        ),
        Panel(
            "Memory of answers",
            "Bytes of answers in each gateway's own memory.",
            "bytes",
            [Query(f"sum by (pod, instance) ({picked('sightline_cache_local_bytes')})", "{{pod}} {{instance}}")],
        ),
        Panel(
            "Answers forgotten",
            "Pushed out of a gateway's memory by newer ones: much of it means that the memory is small.",
            "reqps",
            [Query(rate("sightline_cache_evictions_total"), "forgotten")],
        ),
    ],
)

GENERATIONS = Row(
    "Generations",
    [
        Panel(
            "Current generation",
            "By collection and gateway. Lines that stay apart are gateways that disagree.",
            "none",
            [
                Query(f"max by (collection, pod, instance) ({SERVED})", "{{collection}} {{pod}} {{instance}}"),
            ],
        ),
        Panel(
            "Age",
            "Since gateways began to answer from it.",
            "s",
            [Query(f"time() - min by (collection) ({SERVED_SINCE})", "{{collection}}")],
        ),
        Panel(
            "Images in memory",
            "By collection and generation, of all searchers together.",
            "short",
            [Query(f"sum by (collection, generation) ({IN_MEMORY})", "{{collection}} {{generation}}")],
            stacked=True,
        ),
        Panel(
            "Generations refused",
            "Now, by the searcher that refuses most, and tries that failed in the last hour. Logs name the file.",
            "none",
            [
                Query(f"max by (collection) ({REFUSED})", "{{collection}}: refused now"),
                Query(f"sum by (reason) (increase({FAILED}[1h])) > 0", "tries: {{reason}}"),
            ],
        ),
        Panel(
            "Time to load",
            "Mean of the generations that were loaded in the last hour: how long a restart or a publish takes.",
            "s",
            [Query(f"sum(increase({LOADED}_sum{PICK}[1h])) / sum(increase({LOADED}_count{PICK}[1h]))", "time")],
        ),
        Panel(
            "Store last read",
            "Seconds ago, by the process that read it longest ago. It grows while the store is silent.",
            "s",
            [Query(f"max(time() - {picked('sightline_store_read_timestamp_seconds')})", "longest ago")],
        ),
    ],
)
