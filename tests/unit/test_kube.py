"""benchmarks/kube, and what the bars on clusters make of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from benchmarks import cluster as life
from benchmarks.kube import scaling
from benchmarks.kube.checked import Load
from benchmarks.kube.cluster import Cluster, KubeError
from benchmarks.kube.namespaces import made, removed
from benchmarks.kube.release import Release
from benchmarks.kube.steps import Steps
from benchmarks.oracle import Oracle, unit
from benchmarks.pools import LOST, to_drain
from benchmarks.proof import Proof
from benchmarks.rollout import UNNOTICED, Life


@dataclass(frozen=True)
class Namespaces(Cluster):
    """A cluster that knows of nothing but namespaces."""

    there: set[str] = field(default_factory=set)

    def kubectl(self, *words: str, stdin: str | None = None, timeout: float = 0) -> str:
        if words[0] == "create":
            name = json.loads(stdin or "")["metadata"]["name"]
            if name in self.there:
                raise KubeError(f'namespaces "{name}" already exists')
            self.there.add(name)
        elif words[0] == "delete":
            self.there.remove(words[2])
        return "namespace/found" if words[0] == "get" and words[2] in self.there else ""


@pytest.mark.parametrize("way", [made, removed])
def test_a_namespace_that_was_there_is_left_alone(way: Any) -> None:
    """One of the wanted name is refused and stays, with whatever it has."""
    cluster = Namespaces(there={"search"})
    with pytest.raises(KubeError, match='"search" already exists'), way(cluster, "search"):
        pytest.fail("it was taken")
    assert cluster.there == {"search"}


def test_a_namespace_that_was_made_is_removed_whatever_happens() -> None:
    """It is there within, and gone afterwards, even when what was done in it fails."""
    cluster = Namespaces(there={"default"})
    with pytest.raises(KubeError, match="proof default"), made(cluster, "proof", {"a": "label"}):
        raise KubeError(" ".join(sorted(cluster.there, reverse=True)))
    with removed(cluster, "page"):
        cluster.there.add("page")
    assert cluster.there == {"default"}


def test_nodes_to_drain_have_several_replicas_of_each_workload() -> None:
    """Few nodes are chosen, and all workloads that count lose more replicas at once than a budget would let them."""
    pods = [("a", "one"), ("b", "one"), ("a", "two"), ("a", "three"), ("b", "four"), ("c", "four"), ("c", "five")]
    nodes, lost = to_drain(pods, ["a", "b"])
    assert set(nodes) == {"one", "four", "two"} or set(nodes) == {"one", "four", "three"}
    assert lost == {"a": 2, "b": 2}


def test_too_few_replicas_to_drain_are_told() -> None:
    """A workload of one replica is told with what it has."""
    assert to_drain([("a", "one"), ("a", "one"), ("b", "two")], ["a", "b"])[1] == {"a": LOST, "b": 1}


def release_of(asked: Iterator[int]) -> Release:
    """A release of one Deployment, of which other numbers are asked for from one look to the next."""

    def get(*_: str) -> Any:
        return {"items": [{"metadata": {"name": "gateway"}, "spec": {"replicas": next(asked)}}]}

    return cast(Release, SimpleNamespace(name="sightline", get=get))


def test_rest_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only when for a while on end nothing else was asked for is it rest; who was never at rest is named."""
    now = iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    scaling.watch_rest(release_of(iter([2, 2, 3, 2, *[2] * 50])), {"gateway": 2}, 10, seconds=60)
    with pytest.raises(TimeoutError, match=r"were \{'gateway': 3\}"):
        scaling.watch_rest(release_of(iter([3] * 100)), {"gateway": 2}, 10, seconds=60)


def test_autoscalers_are_left_out_on_clusters_of_others() -> None:
    """Where load cannot come from, nothing is made of it, and the figures say why."""
    steps, release = Steps(Proof()), Release(Cluster(), "anywhere")
    place = cast(Any, SimpleNamespace())
    life.Life(steps, place, release, texts=[], calls=0, rate=1).scale("")
    assert steps.proof.figures == {"left out": {"autoscalers": life.FOREIGN}}
    assert not steps.proof.faults


ORACLE = Oracle(["a"], unit(np.ones((1, 2))))


def call(moment: float, **told: Any) -> dict[str, Any]:
    """A right answer, or none, to the one question."""
    right = {"generation": 1, "ids": ["a"], "images": False, "scores": [1.0], "shards": [1, 1], "matched": 1}
    return {"number": 0, "began": moment, "seconds": 0.1, **right, "degraded": [], "cache": "miss", **told}


def judged(name: str, calls: list[dict[str, Any]], http: list[dict[str, Any]]) -> list[str]:
    """The faults of a life in which something happened from moment 10 to 20, and there were calls before it."""
    order = {"texts": ["one"], "ids": ["a"], "dimension": 2}
    before = call(1)
    answered = Load(order, [before, *calls], [before, *http], 2 + len(calls) + len(http), ORACLE.vector("a")[None])
    steps = Steps(Proof())
    told = Life(steps, cast(Any, None), cast(Any, None), {1: ORACLE}, answered, {name: (10.0, 20.0)})
    told.judge()
    return [one.partition(":")[0] for one in steps.proof.faults]


def test_a_step_in_which_nobody_asked_is_at_fault() -> None:
    """Each step has answers over gRPC and over HTTP, or proves nothing."""
    assert judged("roll out", [call(12)], [call(12)]) == []
    assert judged("roll out", [call(12)], []) == ["roll out"]
    assert judged("roll out", [], [call(12)]) == ["roll out"]


def test_a_failed_or_wrong_answer_over_http_is_at_fault() -> None:
    """Only before a cluster knows of a silent node may calls over HTTP fail there; none may be wrong."""
    failed, wrong = call(12, error="URLError refused: it"), call(12, ids=["b"])
    assert judged("roll out", [call(12)], [failed]) == ["roll out"]
    assert judged("roll out", [call(12)], [wrong]) == ["roll out"]
    assert judged(UNNOTICED, [call(12)], [failed]) == []
    assert judged(UNNOTICED, [call(12)], [failed, wrong]) == [UNNOTICED]
    assert judged(UNNOTICED, [call(12, error="Unavailable X: it")], [call(12)]) == [UNNOTICED]
