"""What it costs, and what autoscalers go by."""

from __future__ import annotations

from deploy.observability.parts import Panel, Query, Row
from deploy.observability.promql import WINDOW, mean, neighbours, of_component, picked, rate

ENCODE = 'method="/sightline.internal.v1.EncoderService/Encode"'


CPU = picked("process_cpu_seconds_total")
MEMORY = picked("process_resident_memory_bytes")
FILES = f"{picked('process_open_fds')} / {picked('process_max_fds')}"
LAG = picked("sightline_loop_lag_seconds_bucket")
STARTED = picked("process_start_time_seconds")
FB_USED, FB_FREE = neighbours("DCGM_FI_DEV_FB_USED"), neighbours("DCGM_FI_DEV_FB_FREE")
SCALER = "horizontalpodautoscaler"
REPLICAS, MOST = (neighbours(f"kube_{SCALER}_{what}_replicas") for what in ("status_current", "spec_max"))


def _highest(expr: str) -> list[Query]:
    return [Query(f"max by (component) ({of_component(expr)})", "{{component}}")]


RESOURCES = Row(
    "Resources",
    [
        Panel(
            "Processor",
            "Cores in use, by the busiest process of each component. A gateway is one event loop: at 1 it is full.",
            "none",
            _highest(f"rate({CPU}[{WINDOW}])"),
        ),
        Panel(
            "Memory",
            "Resident, of the largest process of each component. A searcher's includes what it has mapped.",
            "bytes",
            _highest(MEMORY),
        ),
        Panel(
            "Open files",
            "Share of the most that a process may have, of the fullest of each component.",
            "percentunit",
            _highest(FILES),
        ),
        Panel(
            "Lag of the event loop",
            "99th percentile of how late a timer fires. What is computed on the loop is felt by all calls.",
            "s",
            [
                Query(
                    f"histogram_quantile(0.99, sum by (component, le) ({of_component(f'rate({LAG}[{WINDOW}])')}))",
                    "{{component}}",
                )
            ],
        ),
        Panel(
            "Garbage collection",
            "Collections a second, by generation of objects. The oldest are the ones that take long.",
            "none",
            [Query(rate("python_gc_collections_total", "generation"), "generation {{generation}}")],
        ),
        Panel(
            "Processes and restarts",
            "Scraped now, and how many of them were started in the last 15 minutes.",
            "none",
            [
                Query(f"count by (component) ({picked('sightline_build_info')})", "{{component}}"),
                Query(f"count(time() - {STARTED} < 900) or vector(0)", "started lately"),
            ],
        ),
    ],
)

AUTOSCALING = Row(
    "Autoscaling",
    [
        Panel(
            "Concurrency of encoders",
            "Calls at a time at each encoder, on average: what its autoscaler goes by.",
            "none",
            [Query(rate("sightline_rpc_seconds_sum", "pod", "instance", where=ENCODE), "{{pod}} {{instance}}")],
            width=6,
        ),
        Panel(
            "Wait for the model",
            "Mean of the oldest text of each batch: the guard of the encoders' autoscaler.",
            "s",
            [Query(mean("sightline_queue_seconds", "pod", "instance", where='queue="texts"'), "{{pod}} {{instance}}")],
            width=6,
        ),
        Panel(
            "Replicas",
            "Of what each autoscaler of the namespace scales, and the most that it may have. From kube-state-metrics.",
            "none",
            [
                Query(f"max by ({SCALER}) ({REPLICAS})", f"{{{{{SCALER}}}}}"),
                Query(f"max by ({SCALER}) ({MOST})", f"most: {{{{{SCALER}}}}}"),
            ],
            width=6,
        ),
        Panel(
            "GPUs",
            "How busy those of the namespace are, and how full their memory is. From NVIDIA's DCGM exporter.",
            "percentunit",
            [
                Query(f"avg({neighbours('DCGM_FI_DEV_GPU_UTIL')}) / 100", "busy"),
                Query(f"sum({FB_USED}) / (sum({FB_USED}) + sum({FB_FREE}))", "memory"),
            ],
            width=6,
            most=1.0,
        ),
    ],
)
