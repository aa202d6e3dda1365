"""The chart on a real cluster, in short: `make prove BAR=cluster`, `rollout` and `pools` do it in full.

On a cluster that KUBECONFIG names, namespaces that are there already are refused and left alone, and autoscalers are
left out: their load comes from this machine, which reaches no address inside of such a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks import cluster as life
from benchmarks import pools, rollout
from benchmarks.kube.cluster import Cluster
from benchmarks.kube.own import running
from benchmarks.proof import Proof

EVERY = 8
"""Only every so-manieth picture is indexed."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The cluster that KUBECONFIG names, else ours, which is started where it does not run."""
    with running() as found:
        yield found


def test_a_release_lives_from_nothing_to_nothing(cluster: Cluster) -> None:
    """A release is installed, indexes, answers rightly, is changed, undoes what is broken, scales, and is gone."""
    proof = Proof()
    life.prove(cluster, proof, calls=60, every=EVERY)
    assert not proof.faults


def test_no_answer_is_lost_whatever_happens_to_pods_and_nodes(cluster: Cluster) -> None:
    """Rollouts, drains, publishes, kills and a node fallen silent cost no call, and no answer is wrong."""
    if not cluster.is_own:
        pytest.skip("only nodes of our own cluster can be cut off")
    proof = Proof()
    rollout.prove(cluster, proof, rate=15, calls=0, every=EVERY)
    assert not proof.faults


def test_every_class_of_node_has_its_own_pods() -> None:
    """On forty made-up nodes each pool has its GPUs, replicas are spread, and budgets hold."""
    proof = Proof()
    with running(pools.CLUSTER, FAKE="1", NODES="0") as fleet:
        pools.prove(fleet, proof)
    assert not proof.faults
