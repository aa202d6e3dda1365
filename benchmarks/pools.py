"""The chart on forty nodes of every class, none of which exists: who lands where, drains, and autoscalers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from benchmarks.kube.cluster import Cluster, Object, until
from benchmarks.kube.fake_nodes import NodeClass
from benchmarks.kube.namespaces import made
from benchmarks.kube.own import running
from benchmarks.kube.release import CHART, Release
from benchmarks.kube.steps import Steps
from benchmarks.kube.watching import watched
from benchmarks.proof import Proof

CLUSTER = "pools"
NAMESPACE = "sightline-pools"
VALUES = CHART / "examples" / "a100-t4.yaml"

CLASSES = (
    NodeClass("a100", 6, "NVIDIA-A100-SXM4-80GB", {"nvidia.com/mig-1g.10gb": 7}),
    NodeClass("t4", 8, "Tesla-T4", {"nvidia.com/gpu": 1}),  # two cards to spare, for encoders of nodes that are drained
    NodeClass("cpu", 26),
)
POOLS = {"a100": 9, "t4": 6, "cpu": 3}
GROUPS, REPLICAS = 4, 3
LOST = 2
"""At least so many replicas of each workload are on the nodes that are drained at once: one more than budgets allow."""

DRAIN_SECONDS = 240
_REFUSED = re.compile(r'evicting pods/"(\S+)".*disruption budget')
"""What kubectl says of each eviction that a budget does not allow yet."""


def bar() -> dict[str, object]:
    """Placement, spread, budgets, and an autoscaler that is switched on."""
    proof = Proof()
    with running(CLUSTER, FAKE="1", NODES="0") as cluster:
        prove(cluster, proof)
    return proof.outcome(
        f"on {sum(one.number for one in CLASSES)} nodes: {sum(POOLS.values())} encoders each on its own class of GPU, "
        "MIG slices by name, nobody else there; replicas spread over zones and nodes; nodes drained at once within the "
        "budgets; autoscalers switched on for a running release took no replica away"
    )


def prove(cluster: Cluster, proof: Proof) -> None:
    """Installs on made-up nodes, and looks where everything is."""
    steps = Steps(proof)
    with ExitStack() as opened:
        opened.enter_context(made(cluster, NAMESPACE))
        with steps.step("make nodes"):
            _make(cluster)
        release = Release(cluster, NAMESPACE, values=[VALUES], settings=_settings())
        with steps.step("install"):
            release.install()
        with steps.step("placement"):
            _placement(release, proof)
        with steps.step("spread"):
            _spread(release, proof)
        with steps.step("drain nodes"):
            _drain(release, proof)
        with steps.step("switch autoscalers on"):
            _switch_on(release, proof)


def _settings() -> dict[str, Any]:
    fixed: dict[str, Any] = {"encoder.autoscaling": {"enabled": False}}
    fixed |= {f"encoder.pools.{name}.replicas": number for name, number in POOLS.items()}
    fixed |= {"gateway.replicas": 6, "searcher.groups": GROUPS, "searcher.replicas": REPLICAS}
    # Autoscalers take away what is above their maximum, as they should.
    fixed |= {f"encoder.pools.{name}.autoscaling.maxReplicas": 12 for name in POOLS}
    # What waits for time to pass only makes a proof longer.
    return fixed | {"pods.minReadySeconds": 0}


def _make(cluster: Cluster) -> None:
    cluster.apply(*(node for one in CLASSES for node in one.nodes()))
    expected = sum(one.number for one in CLASSES)
    until(lambda: len(cluster.nodes()) == expected, "all nodes", 60)
    cluster.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=90s")
    # The release's own prerequisites: a class that the device plugin brings, and a volume with models.
    claim = {"accessModes": ["ReadOnlyMany"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}
    volume = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadOnlyMany"],
        "hostPath": {"path": "/models"},
        "claimRef": {"namespace": NAMESPACE, "name": "models"},
    }
    cluster.apply(
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"},
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "models"}, "spec": volume},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models", "namespace": NAMESPACE},
            "spec": {**claim, "volumeName": "models"},
        },
    )


def _placement(release: Release, proof: Proof) -> None:
    """Each pool on its class and nowhere else; on GPUs nobody else."""
    encoders = release.pods("encoder")
    where = Counter((_pool(pod), _class(pod)) for pod in encoders)
    proof.expect("encoders by pool and class", sorted(where.items()), sorted(((one, one), POOLS[one]) for one in POOLS))
    gpus = {one.name for one in CLASSES if one.product}
    others = [pod["metadata"]["name"] for pod in release.pods() if _class(pod) in gpus and pod not in encoders]
    proof.expect("others on GPU nodes", others, [])
    asked = {_pool(pod): sorted(_limits(pod).keys() - {"cpu", "memory"}) for pod in encoders}
    proof.expect("devices asked for", asked, {"a100": ["nvidia.com/mig-1g.10gb"], "t4": ["nvidia.com/gpu"], "cpu": []})
    cards = Counter(pod["spec"]["nodeName"] for pod in encoders if _pool(pod) == "t4")
    proof.expect("most T4 encoders on one card", max(cards.values()), 1)


def _spread(release: Release, proof: Proof) -> None:
    """Replicas of one workload are in as many zones as can be, and those of a group on nodes of their own."""
    zones = {
        one["metadata"]["name"]: one["metadata"]["labels"]["topology.kubernetes.io/zone"] for one in _nodes(release)
    }
    for deployment in release.deployments():
        pods = [pod for pod in release.pods() if _workload(pod) == deployment]
        by_zone = Counter(zones[pod["spec"]["nodeName"]] for pod in pods)
        most, least = max(by_zone.values()), min(by_zone.values()) if len(by_zone) == len(set(zones.values())) else 0
        proof.figures[f"{deployment}: replicas by zone"] = sorted(by_zone.values())
        proof.holds(f"{deployment}: zones", most - least <= 1)
        if "searcher" in deployment:
            proof.expect(f"{deployment}: nodes", len({pod["spec"]["nodeName"] for pod in pods}), REPLICAS)


def _drain(release: Release, proof: Proof) -> None:
    """Nodes of all classes are drained at once, with several replicas of each workload: budgets hold all the same."""
    budgets = {one["metadata"]["name"]: one["spec"]["maxUnavailable"] for one in release.get("pdb")["items"]}
    before = {one["metadata"]["name"]: one["spec"]["replicas"] for one in release.get("deployments")["items"]}
    nodes, lost = to_drain([(_workload(pod), pod["spec"]["nodeName"]) for pod in release.pods()], budgets)
    proof.figures["nodes drained at once"] = nodes
    proof.figures["replicas on them"] = lost
    proof.holds("several replicas of each workload are on them", min(lost.values()) >= LOST)
    with watched(release) as watch, ThreadPoolExecutor(len(nodes)) as each:
        said = "".join(each.map(lambda node: _drain_one(release.cluster, node), nodes))
        release.settle()
    refused = Counter(pod.rsplit("-", 2)[0] for pod in _REFUSED.findall(said))
    proof.figures["evictions that budgets refused"] = dict(sorted(refused.items()))
    proof.holds("budgets refused evictions", refused.total() > 0)
    for name, budget in budgets.items():
        proof.figures[f"{name}: fewest ready while nodes were drained"] = watch.ready[name]
        proof.holds(f"{name}: within its budget", watch.ready[name] >= before[name] - budget)
    left = [pod["metadata"]["name"] for pod in release.pods() if pod["spec"]["nodeName"] in nodes]
    proof.expect("pods on drained nodes", left, [])
    release.cluster.kubectl("uncordon", *nodes)


def to_drain(pods: Sequence[tuple[str, str]], workloads: Iterable[str]) -> tuple[list[str], dict[str, int]]:
    """Chooses few nodes with several replicas of each workload.

    Args:
        pods: the workload and the node of each.
        workloads: those that count.

    Returns:
        The nodes, and how many replicas of each workload are on them.
    """
    nodes, lost = list[str](), dict.fromkeys(workloads, 0)
    while short := {name for name, number in lost.items() if number < LOST}:
        gains = Counter(node for name, node in pods if name in short and node not in nodes)
        if not gains:
            break
        [(node, _)] = gains.most_common(1)
        nodes.append(node)
        for name, where in pods:
            if where == node and name in lost:
                lost[name] += 1
    return nodes, lost


def _drain_one(cluster: Cluster, node: str) -> str:
    """Drains a node; returns what kubectl said, errors that it got over among it."""
    drain = f"kubectl drain {node} --delete-emptydir-data --timeout={DRAIN_SECONDS}s 2>&1"
    return cluster.run("bash", "-c", drain, timeout=DRAIN_SECONDS + 20)


def _switch_on(release: Release, proof: Proof) -> None:
    """Autoscalers for all tiers of a release that runs: no replica is taken away."""
    before = {one["metadata"]["name"]: one["spec"]["replicas"] for one in release.get("deployments")["items"]}
    with watched(release) as watch:
        on = {"enabled": True, "minReplicas": 2, "maxReplicas": 12}
        release.upgrade(gateway__autoscaling=on, searcher__autoscaling=on, encoder__autoscaling=on)
        release.settle()
    scaled = {one["spec"]["scaleTargetRef"]["name"] for one in release.get("hpa")["items"]}
    proof.expect("autoscalers", len(scaled), 1 + GROUPS + len(POOLS))
    for name in sorted(scaled):
        proof.expect(
            f"{name}: fewest asked for, and ready", (watch.asked[name], watch.ready[name]), (before[name], before[name])
        )


def _nodes(release: Release) -> list[Object]:
    found: list[Object] = release.cluster.get("nodes")["items"]
    return found


def _workload(pod: Object) -> str:
    """The Deployment that it is of."""
    return str(pod["metadata"]["name"].rsplit("-", 2)[0])


def _pool(pod: Object) -> str:
    return str(pod["metadata"]["labels"]["sightline.dev/pool"])


def _class(pod: Object) -> str:
    return str(pod["spec"]["nodeName"]).rpartition("-")[0]


def _limits(pod: Object) -> dict[str, Any]:
    limits: dict[str, Any] = pod["spec"]["containers"][0]["resources"]["limits"]
    return limits
