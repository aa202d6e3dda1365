"""What a real cluster does to a release in its life, under steady load: nobody loses an answer, or gets a wrong one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cluster import CALLER, NAMESPACE, TEST_VALUES, TEXTS, VALUES
from benchmarks.emoji import COLLECTION, draw, read, some
from benchmarks.kube.checked import Load, judge, load
from benchmarks.kube.cluster import Cluster, KubeError, ready, until
from benchmarks.kube.own import running
from benchmarks.kube.place import CALLER_IMAGE, STORE, Place, placed
from benchmarks.kube.processes import container, counters, exhaust_memory, started
from benchmarks.kube.release import Release
from benchmarks.kube.steps import Steps
from benchmarks.oracle import Oracle
from benchmarks.proof import Proof

RATE = 30.0
CALLS = 20_000
"""At least so many, all together."""

SHARE_SECONDS = 30.0
DISCOVERY_SECONDS = 11.0
"""What a name may be out of date: ttl and cache of the cluster's DNS, and the gateways' own second."""

MOST_OVER_LEAST = 1.3
SAMPLE_SECONDS = 40.0
OTHER_TAG = "next"
KEPT, HURT = "node1", "node2"
"""The store, the caller and the cluster's DNS are on the first; the other is drained, and cut off."""


def bar() -> dict[str, object]:
    """A release under load, and all that happens to it."""
    proof = Proof()
    with running() as cluster:
        prove(cluster, proof)
    calls = sum(one["calls"] for one in proof.figures.values() if isinstance(one, dict) and "calls" in one)
    proof.holds(f"at least {CALLS} calls", calls >= CALLS)
    return proof.outcome(
        f"{calls} checked answers under rollouts, an upgrade, a drain, a publish and its rollback, Redis and a searcher "
        "killed, and a node fallen silent: 0 failed, 0 wrong, 0 partial; new replicas had their share in time"
    )


def prove(cluster: Cluster, proof: Proof, *, rate: float = RATE, calls: int = CALLS, every: int = 1) -> None:
    """Does to a release what happens in its life.

    Args:
        cluster: one of ours, whose nodes can be cut off.
        proof: what was seen.
        rate: calls a second.
        calls: goes on asking, when all is over, until there were so many.
        every: indexes every n-th picture only.
    """
    steps = Steps(proof)
    with ExitStack() as opened:
        place = opened.enter_context(placed(cluster, NAMESPACE, node=KEPT))
        folder = Path(opened.enter_context(TemporaryDirectory()))
        release = Release(cluster, NAMESPACE, values=[VALUES, TEST_VALUES])
        with steps.step("install, build two generations"):
            oracles = _installed(place, release, folder, every)
        if not oracles:
            return
        place.start(CALLER, CALLER_IMAGE, node=KEPT)
        texts = [one.caption for one in read(draw())[:TEXTS]]
        address = f"dns:///{release.name}-gateway-headless.{NAMESPACE}.svc.cluster.local:7700"
        with load(place, CALLER, address, oracles[max(oracles)], texts, rate=rate) as asked:
            happenings = Happenings(steps, place, release, asked, oracles)
            happenings.all()
            with steps.step("go on"):
                until(lambda: len(asked.calls) >= calls, f"{calls} calls", max(0, calls - len(asked.calls)) / rate + 60)
        happenings.judge()


def _installed(place: Place, release: Release, folder: Path, every: int) -> dict[int, Oracle]:
    """Installs over a first generation, and builds a second with fewer pictures; returns brute force over both."""
    listed = some(draw(), every, folder) if every > 1 else draw()
    (folder / "fewer").mkdir()
    lines = listed.read_text(encoding="utf-8").splitlines(keepends=True)
    fewer = listed.parent / "fewer.jsonl" if every > 1 else folder / "fewer" / "images.jsonl"
    release.install(timeout=300)
    first = place.upload(listed)
    release.upgrade(indexer__builds={COLLECTION: {"source": first, "options": ["--scope", COLLECTION]}})
    _await_jobs(release)
    oracles = dict([place.oracle()])
    less = some(listed, 1, fewer.parent)
    less.write_text("".join(line for at, line in enumerate(less.read_text(encoding="utf-8").splitlines(keepends=True)) if at % 4))
    second = place.upload(less, "fewer")
    build = {"source": second, "options": ["--scope", COLLECTION], "publish": False}
    release.upgrade(indexer__builds={COLLECTION: build})
    _await_jobs(release)
    del lines
    return oracles | dict([place.oracle(max(oracles) + 1)])


def _await_jobs(release: Release) -> None:
    jobs = f"--selector=app.kubernetes.io/instance={release.name},app.kubernetes.io/component=indexer"
    release.kubectl("wait", "job", jobs, "--for=condition=Complete", "--timeout=300s", timeout=320)
