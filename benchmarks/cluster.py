"""The chart on a real cluster, from nothing to nothing: installed, asked, changed, broken, scaled, and removed."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.emoji import draw, read, some
from benchmarks.kube import images, page
from benchmarks.kube.checked import Asked, judge, load
from benchmarks.kube.cluster import Cluster, KubeError, until
from benchmarks.kube.indexing import build
from benchmarks.kube.monitoring import monitored
from benchmarks.kube.own import running
from benchmarks.kube.place import Place, placed
from benchmarks.kube.reach import reached, targets_of
from benchmarks.kube.release import CHART, Release
from benchmarks.kube.scaling import ghz, watch_rest, watch_until
from benchmarks.kube.steps import Steps
from benchmarks.kube.watching import watched
from benchmarks.oracle import Oracle
from benchmarks.proof import Proof

NAMESPACE = "sightline-cluster"
VALUES = CHART / "examples" / "two-nodes.yaml"
TEST_VALUES = Path(__file__).parent / "kube" / "values.yaml"
CALLER = "caller"
TEXTS = 200

QUICK = {
    "scaleDown": {"stabilizationWindowSeconds": 10, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 5}]}
}
"""How autoscalers follow the load in a proof, so that it need not take an hour."""

LOAD = ("--rps=20", "--total=300")
"""Of a scenario of the chart: what two cores bear."""

REST_SECONDS, REST_WITHIN = 20.0, 120.0
"""Longer than a period of metrics; and by when what pods take to start must be forgotten."""

FOREIGN = "ghz runs on this machine, which reaches no address inside of the cluster, and who serves metrics is unknown"

KINDS = (
    "deployments,replicasets,pods,services,endpointslices,configmaps,secrets,persistentvolumeclaims,serviceaccounts,"
    "jobs,cronjobs,horizontalpodautoscalers,poddisruptionbudgets,networkpolicies,roles,rolebindings"
)

GATEWAY, SEARCHERS, ENCODER = (
    "sightline-gateway",
    ("sightline-searcher-0", "sightline-searcher-1"),
    "sightline-encoder-default",
)


def bar() -> dict[str, object]:
    """The whole life of a release."""
    proof = Proof()
    with running() as cluster:
        prove(cluster, proof)
    scaled = "scaled up and down on CPU and on concurrency; " if "left out" not in proof.figures else ""
    return proof.outcome(
        "on a real cluster: installed from nothing, indexed and published by Jobs, right answers by brute force; "
        f"upgraded, a broken upgrade undone by itself, rolled back; {scaled}"
        "closed to strangers; removed without leftovers"
    )


def prove(cluster: Cluster, proof: Proof, *, calls: int = 600, rate: float = 20.0, every: int = 1) -> None:
    """Goes through the life of a release.

    Args:
        cluster: on which.
        proof: what was seen.
        calls: how many answers are checked each time.
        rate: how many are asked for a second.
        every: indexes every n-th picture only.
    """
    steps = Steps(proof)
    with ExitStack() as opened:
        node = "node1" if cluster.is_own else ""
        place = opened.enter_context(placed(cluster, NAMESPACE, node=node))
        with steps.step("upload pictures"):
            folder = Path(opened.enter_context(TemporaryDirectory()))
            listed = draw() if every == 1 else some(draw(), every, folder)
            source = place.upload(listed)
        texts = [one.caption for one in read(listed)[:TEXTS]]
        release = Release(cluster, NAMESPACE, values=[VALUES, TEST_VALUES], settings=images.values())
        life = Life(steps, place, release, texts=texts, calls=calls, rate=rate)
        life.install(source)
        life.bear_load()
        life.change()
        life.scale(node)
        life.close_off()
        life.remove()
    with steps.step("docs/kubernetes.md, word for word"):
        page.follow(cluster, proof, node=node)


class Life:
    """The life of a release, in the order of its methods."""

    def __init__(
        self, steps: Steps, place: Place, release: Release, *, texts: list[str], calls: int, rate: float
    ) -> None:
        self.steps, self.proof = steps, steps.proof
        self.place, self.release = place, release
        self._texts, self._calls, self._rate, self._first = texts, calls, rate, 0
        self._oracles: dict[int, Oracle] = {}

    def install(self, source: str) -> None:
        """From an empty namespace to right answers."""
        release, proof = self.release, self.proof
        with self.steps.step("helm install --wait, without data"):
            release.install()
        with self.steps.step("Jobs build and publish"):
            build(release, source)
        with self.steps.step("brute force from the store"):
            generation, oracle = self.place.oracle()
            self._oracles[generation] = oracle
            proof.figures["images"] = len(oracle.ids)
        with self.steps.step("helm test"):
            release.test()
        with self.steps.step("a pod asks"):
            self.place.start(CALLER, images.of("gateway"))
            self._ask("asked by a pod")

    def bear_load(self) -> None:
        """ghz as a Job of the release, which finds the gateways by itself."""
        with self.steps.step("ghz as a Job"):
            small = {"requests": {"cpu": "50m", "memory": "64Mi"}}
            self.release.upgrade(load__enabled=True, load__args=[*LOAD, "--format=json"], load__resources=small)
            selector = "--selector=app.kubernetes.io/component=load"
            self.release.kubectl("wait", "job", selector, "--for=condition=Complete", "--timeout=90s")
            report = json.loads(self.release.kubectl("logs", selector, "--tail=-1"))
            self.proof.figures["ghz as a Job"] = {name: report[name] for name in ("count", "rps", "average")}
            ended = report["statusCodeDistribution"]
            self.proof.expect("ghz as a Job: how calls ended", ended, {"OK": report["count"]})
            self.release.upgrade(load__enabled=False)

    def change(self) -> None:
        """Upgrades, one of which is broken, and a rollback."""
        release, proof = self.release, self.proof
        with self.steps.step("upgrade to other values"):
            before = {pod["metadata"]["name"] for pod in release.pods("gateway")}
            release.upgrade(gateway__settings={"search_lanes": 3})
            after = release.pods("gateway")
            env = {one["name"]: one.get("value") for one in after[0]["spec"]["containers"][0]["env"]}
            proof.expect("upgrade: the setting", env.get("SIGHTLINE_SEARCH_LANES"), "3")
            proof.holds("upgrade: other pods", not before & {pod["metadata"]["name"] for pod in after})
            self._ask("after an upgrade")
        with self.steps.step("a broken upgrade undoes itself"):
            self._break()
            self._ask("after a broken upgrade")
        with self.steps.step("rollback"):
            first = next(one["revision"] for one in release.revisions() if one["status"] == "superseded")
            release.rollback(first + 1)  # the one with the Jobs
            release.settings.pop("gateway.settings", None)
            left = {one["name"] for one in release.pods("gateway")[0]["spec"]["containers"][0]["env"]}
            proof.holds("rollback: the setting is gone", "SIGHTLINE_SEARCH_LANES" not in left)
            self._ask("after a rollback")

    def _break(self) -> None:
        release, proof = self.release, self.proof
        serving = {pod["metadata"]["name"] for pod in release.pods("gateway")}
        try:
            release.upgrade("--rollback-on-failure", timeout=40, gateway__image={"tag": "none"})
        except KubeError as error:
            proof.figures["a broken upgrade: helm says"] = str(error)[-300:]
        else:
            proof.faults.append("a broken upgrade: helm did not notice")
        release.settings.pop("gateway.image")
        until(lambda: release.revisions()[-1]["status"] == "deployed", "the rollback", 120)
        release.settle()
        left = {pod["metadata"]["name"] for pod in release.pods("gateway")}
        proof.expect("a broken upgrade: gateways that went on", sorted(left & serving), sorted(serving))

    def scale(self, node: str) -> None:
        """Autoscalers follow load up and down: gateway and searchers on CPU, the encoder on its concurrency."""
        release, proof = self.release, self.proof
        if not release.cluster.is_own:
            proof.figures["left out"] = {"autoscalers": FOREIGN}
            return
        with monitored(release.cluster, self.place.namespace, node=node) as monitoring:
            with self.steps.step("autoscalers switched on"):
                on = {"enabled": True, "minReplicas": 2, "maxReplicas": 3, "cpu": 60, "behavior": QUICK}
                release.upgrade(
                    prometheusAdapter__enabled=True,
                    gateway__autoscaling=on,
                    searcher__autoscaling=on,
                    encoder__autoscaling={**on, "signal": "concurrency", "concurrency": 0.1},
                )
                monitoring.serve_custom_metrics(f"{self.place.namespace}/{self._adapter()}")
                self._await_metrics()
            wanted = {GATEWAY: 3, ENCODER: 3, **dict.fromkeys(SEARCHERS, 3)}
            down = dict.fromkeys(wanted, 2)
            with self.steps.step("not scaled up without load"):
                proof.figures["seconds until at rest"] = watch_rest(release, down, REST_SECONDS, seconds=REST_WITHIN)
            with ghz(release, release.service, 150, 600):
                with self.steps.step("scaled up under load"):
                    proof.figures["seconds until scaled up"] = watch_until(release, wanted, above=True, seconds=170)
                with self.steps.step("upgraded and rolled back while scaled up"):
                    self._change_while_scaled(wanted)
            with self.steps.step("scaled down without"):
                proof.figures["seconds until scaled down"] = watch_until(release, down, above=False, seconds=240)
            self._ask("after scaling")

    def _change_while_scaled(self, wanted: dict[str, int]) -> None:
        """What the autoscalers have said stays, whatever else is changed, and changed back."""
        release = self.release
        with watched(release) as watch:
            release.upgrade(web__settings={"log_level": "DEBUG"})
            revision = int(release.revisions()[-1]["revision"])
            release.upgrade(web__settings={"log_level": "INFO"})
            release.rollback(revision)
        asked = {name: watch.asked[name] for name in wanted}
        self.proof.expect("fewest replicas asked for while upgraded and rolled back", asked, wanted)

    def close_off(self) -> None:
        """A pod that no policy names reaches the gateway, and nothing behind it."""
        with self.steps.step("a stranger is kept out"):
            components = ("gateway", "searcher", "encoder", "redis")
            pods = {one: self.release.pods(one)[0] for one in components}
            said = reached(self.place, CALLER, targets_of(pods))
            self.proof.expect(
                "a stranger reaches", said, {"gateway": True, "searcher": False, "encoder": False, "redis": False}
            )

    def remove(self) -> None:
        """Uninstalls, and looks what is left."""
        with self.steps.step("uninstall"):
            self.release.uninstall()
            label = f"--selector=app.kubernetes.io/instance={self.release.name}"
            until(lambda: not self.place.kubectl("get", KINDS, label, "--output=name").split(), "nothing is left", 90)
            others = self.place.kubectl("get", KINDS, "--output=name").split()
            named = sorted(one for one in others if one.partition("/")[2].startswith(self.release.name))
            self.proof.expect("left after uninstall", named, [])

    def _ask(self, when: str) -> None:
        """Asks from a pod outside of the release, by the name behind which all gateways are, and checks the answers."""
        oracle = next(iter(self._oracles.values()))
        asked = Asked(self._texts, oracle.ids, oracle.dimension, self._first)
        with load(
            self.place.python(CALLER), self.release.address, asked, rate=self._rate, calls=self._calls
        ) as answered:
            pass
        self._first += self._calls
        verdict = judge(answered, self._oracles)
        self.proof.figures[when] = verdict.figures()
        if not verdict.whole or verdict.calls != self._calls:
            self.proof.faults.append(f"{when}: {verdict.figures()}")

    def _adapter(self) -> str:
        found = self.release.get("configmaps", f"--selector=app.kubernetes.io/instance={self.release.name}")["items"]
        [name] = [one["metadata"]["name"] for one in found if "adapter" in one["metadata"]["name"]]
        return str(name)

    def _await_metrics(self) -> None:
        def known() -> bool:
            autoscalers = self.release.get("hpa")["items"]
            states = [one["status"].get("conditions", ()) for one in autoscalers]
            active = [any(c["type"] == "ScalingActive" and c["status"] == "True" for c in state) for state in states]
            return len(active) == 2 + len(SEARCHERS) and all(active)

        began = time.monotonic()
        until(known, "all autoscalers know their metrics", 180, every=1)
        self.proof.figures["seconds until autoscalers know their metrics"] = round(time.monotonic() - began, 1)
