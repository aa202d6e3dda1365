"""What natural batching saves: the gateway's processor time for a query, against a gateway whose batches hold one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks.callers import Load, Order
from benchmarks.emoji import MODEL, draw, index_into, read
from services.local.cluster import LocalCluster
from services.local.topology import Topology

GROUPS = 4
SHARDS = 4
CALLERS = 64
ROUNDS = 9
QUERIES = 3000
PAIRS = 600
WARM_UP = 500

SAVES = 2.0
NO_SLOWER = 1.1

BATCHED, SINGLE = "gateway-0", "gateway-1"
UNCACHED = {"gateway": {"cache_bytes": 0}, SINGLE: {"search_batch": 1, "encode_batch": 1}}
QUEUES = {"encode": "encode_texts", "search": "search"}


def bar() -> dict[str, object]:
    """Both gateways stand before the same encoder and searchers; one is loaded at a time."""
    with TemporaryDirectory() as folder, _cluster(Path(folder)) as cluster:
        index_into(cluster, draw(), shards=SHARDS)
        busy, idle = measure(cluster, [picture.caption for picture in read(draw())])
    saved, bound = float(np.median(busy["ratios"])), idle["upper_95"]
    batched, single = (1e6 * median(busy[name]) for name in (BATCHED, SINGLE))
    return {
        "passed": saved >= SAVES and bound <= NO_SLOWER,
        "figure": (
            f"{CALLERS} callers, {GROUPS} groups, uncached texts: {batched:.0f} µs of gateway CPU a query against "
            f"{single:.0f} with batches of one, {saved:.2f} times less (median of {ROUNDS} rounds); "
            f"one idle caller: {idle['ratio']:.3f} times the latency, at most {bound:.3f} (95 %)"
        ),
        "figures": {"busy": busy, "idle": idle},
    }


def measure(cluster: LocalCluster, texts: Sequence[str]) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Returns the figures of many callers, by round, and of one; the cluster has two gateways, set as UNCACHED says."""
    with Load(texts) as load:
        return _busy(cluster, load), _idle(cluster, load)


def _cluster(run_dir: Path) -> LocalCluster:
    return LocalCluster(
        store=str(run_dir / "store"),
        model=str(MODEL),
        run_dir=run_dir,
        topology=Topology(groups=GROUPS, gateways=2, redis=False),
        overrides=UNCACHED,
    )


def _busy(cluster: LocalCluster, load: Load) -> dict[str, list[float]]:
    """Returns CPU seconds a query by gateway and round, their ratios, and how many queries shared a call."""
    figures: dict[str, list[float]] = {BATCHED: [], SINGLE: [], "ratios": [], "queries_per_second": []}
    for name in (BATCHED, SINGLE):
        _cpu(cluster, load, name, WARM_UP)
    before = cluster.metrics(BATCHED)
    for number in range(ROUNDS):
        # A B, then B A: what drifts over the rounds meets both alike.
        for name in (BATCHED, SINGLE) if number % 2 else (SINGLE, BATCHED):
            cpu, seconds = _cpu(cluster, load, name, QUERIES)
            figures[name].append(cpu / QUERIES)
            if name == BATCHED:
                figures["queries_per_second"].append(QUERIES / seconds)
        figures["ratios"].append(figures[SINGLE][-1] / figures[BATCHED][-1])
        print(f"round {number + 1}: {figures['ratios'][-1]:.2f} times less", flush=True)
    after = cluster.metrics(BATCHED)
    for stage, queue in QUEUES.items():
        items, batches = (
            after.total(f"sightline_batch_items_{what}", queue=queue)
            - before.total(f"sightline_batch_items_{what}", queue=queue)
            for what in ("sum", "count")
        )
        figures[f"{stage}_batch"] = [items / batches]
    return figures


def _cpu(cluster: LocalCluster, load: Load, name: str, queries: int) -> tuple[float, float]:
    """Returns the CPU seconds that a gateway takes for so many queries, and the seconds that pass."""
    before = cluster.cpu_seconds(name)
    report = load(Order([cluster.processes[name].spec.address], queries, CALLERS))
    return cluster.cpu_seconds(name) - before, report.seconds


def _idle(cluster: LocalCluster, load: Load) -> dict[str, float]:
    """One caller asks each query of both gateways in turn."""
    gateways = [cluster.processes[name].spec.address for name in (BATCHED, SINGLE)]
    load(Order(gateways, WARM_UP // 5))
    latencies = load(Order(gateways, PAIRS)).latencies
    batched, single = (np.array(one) for one in latencies)
    logarithms = np.log(batched / single)
    return {
        "ratio": float(np.exp(logarithms.mean())),
        "upper_95": _upper_bound(logarithms),
        "batched_ms": float(1e3 * np.median(batched)),
        "single_ms": float(1e3 * np.median(single)),
        "pairs": PAIRS,
    }


def _upper_bound(logarithms: NDArray[np.float64], resamples: int = 10_000) -> float:
    """The upper end of the two-sided 95 % interval of the geometric mean ratio, by bootstrap over the pairs."""
    drawn = np.random.default_rng(0).choice(logarithms, (resamples, len(logarithms)))
    return float(np.exp(np.quantile(drawn.mean(axis=1), 0.975)))
