"""What a real cluster does to a release in its life, under steady load: nobody loses an answer, or gets a wrong one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cluster import CALLER, NAMESPACE, TEST_VALUES, TEXTS, VALUES
from benchmarks.emoji import COLLECTION, draw, read, some
from benchmarks.kube import images
from benchmarks.kube.checked import Asked, Load, judge, load
from benchmarks.kube.cluster import Cluster, ready, until
from benchmarks.kube.indexing import build, command
from benchmarks.kube.own import running
from benchmarks.kube.place import STORE, Place, placed
from benchmarks.kube.processes import container, counters, exhaust_memory, started
from benchmarks.kube.release import Release
from benchmarks.kube.scaling import ghz
from benchmarks.kube.steps import Steps
from benchmarks.oracle import Oracle
from benchmarks.proof import Proof

RATE = 20.0
CALLS = 20_000
"""At least so many, all together."""

SHARED = (
    ("searcher", "searcher-0", "sightline_searcher_queries_total"),
    ("encoder", "encoder-default", "sightline_encoder_items_total"),
)
"""Components, the Deployments that get one more replica, and the metric that says what each replica has done."""

SHARE_SECONDS = 30.0
DISCOVERY_SECONDS = 11.0
"""What a name may be out of date: ttl and cache of the cluster's DNS, and the gateways' own second."""

MOST_OVER_LEAST = 1.3
SAMPLE_SECONDS = 40.0
NEW_TEXTS = 15
"""A second, for the encoders: gateways have the vectors of what is asked again and again."""
SIDE_BY_SIDE = {"rollout": {"maxSurge": "100%", "maxUnavailable": 0}, "minReadySeconds": 45}
"""New searchers beside all old ones, for longer than their loading times differ and names take to be known."""

SECOND, SECOND_STORE, SECOND_CALLS = "sightline-2", f"{STORE}-2", 300
"""Another release, and what is asked of it."""

OTHER_TAG = "next"
COMPONENT = "app.kubernetes.io/component"
KEPT, HURT = "node1", "node2"
"""The store, the caller and the cluster's DNS are on the first; the other is drained, and cut off."""

UNNOTICED = f"{HURT} falls silent"
"""Until the cluster notices, its Services go on naming what is on that node: one who asks over HTTP, and does not ask
again, is left without an answer as often as the page's Service sends him there."""


def bar() -> dict[str, object]:
    """A release under load, and all that happens to it."""
    proof = Proof()
    with running() as cluster:
        prove(cluster, proof)
    told = [one for one in proof.figures.values() if isinstance(one, dict) and "calls" in one]
    over_http = [one["http"] for one in told if "http" in one]
    calls, http = (sum(one["calls"] for one in part) for part in (told, over_http))
    lost = sum(sum(one["errors"].values()) for one in over_http)
    proof.holds(f"at least {CALLS} calls", calls >= CALLS)
    return proof.outcome(
        f"{calls} checked answers over gRPC and {http} over HTTP under rollouts, an upgrade, a drain, a publish and "
        "its rollback, Redis and a searcher killed, and a node fallen silent: 0 failed, 0 wrong, 0 partial, but that "
        f"{lost} over HTTP were sent to the silent node before the cluster knew; new replicas had their share in time"
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
        release = Release(cluster, NAMESPACE, values=[VALUES, TEST_VALUES], settings=images.values())
        folder = Path(opened.enter_context(TemporaryDirectory()))
        listed, fewer = some(draw(), every, _made(folder / "all")), some(draw(), 2 * every, _made(folder / "fewer"))
        with steps.step("install, build, publish"):
            release.install()
            source = place.upload(listed)
            build(release, source)
            generation, oracle = place.oracle()
            place.start(CALLER, images.of("gateway"), node=KEPT)
        if proof.faults:
            return
        fewer_source = place.upload(fewer, "fewer")
        known = {one.id for one in read(listed)} & {one.id for one in read(fewer)}
        asked = Asked([one.caption for one in read(listed)[:TEXTS]], sorted(known), oracle.dimension)
        with load(place.python(CALLER), release.address, asked, rate=rate, http=release.http) as answered:
            life = Life(steps, place, release, {generation: oracle}, answered)
            life.roll_out()
            life.publish(fewer_source)
            life.add_a_group()
            life.let_a_group_go()
            life.change_the_model(source)
            life.lose_pods()
            life.share()
            life.lose_a_node()
            with steps.step("go on"):
                until(
                    lambda: len(answered.calls) >= calls,
                    f"{calls} calls",
                    max(0, calls - len(answered.calls)) / rate + 60,
                )
        life.judge()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@dataclass
class Life:
    """What happens to a release, each with a verdict on what was asked meanwhile."""

    steps: Steps
    place: Place
    release: Release
    oracles: dict[int, Oracle]
    answered: Load
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)

    @contextmanager
    def happening(self, name: str, after: float = 3.0) -> Iterator[None]:
        """A step, and the calls until some seconds after it."""
        began = time.time()
        with self.steps.step(name):
            yield
            time.sleep(after)
        self.spans[name] = (began, time.time())

    def judge(self) -> None:
        """Judges every call, by what happened when it was asked."""
        for name, (began, ended) in self.spans.items():
            self._judge(name, self.answered.since(began, ended))
        spans = self.spans.values()
        self._judge("in between", self.answered.only(lambda moment: not any(a <= moment < b for a, b in spans)))
        missing = self.answered.asked - len(self.answered.calls) - len(self.answered.http)
        self.steps.proof.expect("calls that were never over", missing, 0)

    def roll_out(self) -> None:
        """New pods for all workloads; another image; a node that is drained, and comes back."""
        for one in self.release.deployments():
            with self.happening(f"restart {one}"):
                self.release.restart(one)
        with self.happening("upgrade to another image"):
            retag(self.release.cluster, OTHER_TAG)
            self.release.upgrade(image__tag=OTHER_TAG)
            images = {pod["spec"]["containers"][0]["image"].rpartition(":")[2] for pod in self.release.pods("searcher")}
            self.steps.proof.expect("upgrade: tags", sorted(images), [OTHER_TAG])
        with self.happening(f"drain {HURT}"):
            drain = ["--ignore-daemonsets", "--delete-emptydir-data", "--timeout=240s"]
            self.release.cluster.kubectl("drain", HURT, *drain, timeout=250)
            self.release.settle()
        with self.happening(f"{HURT} comes back"):
            self.release.cluster.kubectl("uncordon", HURT)
            # Nothing moves by itself.
            for one in self.release.deployments():
                self.release.restart(one)

    def publish(self, source: str) -> None:
        """Another generation, and back."""
        [first] = self.oracles
        with self.happening("build and publish"):
            build(self.release, source)
            self.oracles |= dict([self.place.oracle()])
            self._await_generation(max(self.oracles))
        with self.happening("roll back"):
            command(self.release, "rollback", "rollback", "--collection", COLLECTION)
            self._await_generation(first)

    def add_a_group(self) -> None:
        """Three searcher groups instead of two: old ones stay until all new ones have been ready for a while."""
        with self.happening("one more group"):
            self.release.upgrade(searcher__groups=3, searcher__pods=SIDE_BY_SIDE)
            self._expect_groups("one more group", ["0", "1", "2"])

    def let_a_group_go(self) -> None:
        """Two again: the third stays until the others have what it had."""
        with self.happening("one group fewer"):
            self.release.upgrade(searcher__groups=2, searcher__leaving=3)
            self.release.upgrade(searcher__leaving=0)
            self._expect_groups("one group fewer", ["0", "1"])

    def _expect_groups(self, name: str, expected: list[str]) -> None:
        groups = {pod["metadata"]["labels"]["sightline.dev/group"] for pod in self.release.pods("searcher")}
        self.steps.proof.expect(f"{name}: groups", sorted(groups), expected)

    def change_the_model(self, source: str) -> None:
        """A second release over another folder of the store, which callers go over to; then one of the two is removed.

        Its model is the same one, as only that is in the image: what is done is what is done for another.
        """
        other = Release(self.release.cluster, NAMESPACE, SECOND, self.release.values, dict(images.values()))
        other.settings |= {"store.url": SECOND_STORE, "web.enabled": False}
        with self.happening("a second release for another model"):
            other.install()
            build(other, source)
            generation, oracle = self.place.oracle(store=SECOND_STORE)
            python = self.place.python(CALLER)
            asked = Asked(self.answered.order["texts"], oracle.ids, oracle.dimension)
            with load(python, other.address, asked, rate=RATE, calls=SECOND_CALLS) as answered:
                pass
            verdict = judge(answered, {generation: oracle})
            self.steps.proof.figures["asked of the second release"] = verdict.figures()
            self.steps.proof.holds("the second release answers rightly", verdict.whole)
        with self.happening("one of two releases is removed"):
            other.uninstall()

    def lose_pods(self) -> None:
        """Redis is killed, and a searcher by its own memory."""
        with self.happening("Redis is killed"):
            [pod] = self.release.pods("redis")
            name = pod["metadata"]["name"]
            self.release.kubectl("delete", "pod", name, "--grace-period=0", "--force")
            self.release.settle(f"{self.release.name}-redis")
        with self.happening("a searcher runs out of memory"):
            before = self.release.pods("searcher", group="0")[0]
            name = before["metadata"]["name"]
            exhaust_memory(self.release, name)

            def back() -> bool:
                pod = self.release.get("pod", name)
                return ready(pod) and container(pod)["restartCount"] > container(before)["restartCount"]

            seconds = until(back, "the searcher is back", 120)
            after = self.release.get("pod", name)
            self.steps.proof.figures["a searcher out of memory"] = {
                "restarts": [container(before)["restartCount"], container(after)["restartCount"]],
                "started": [started(before), started(after)],
                "seconds until it is back": round(seconds, 1),
            }
            self.steps.proof.holds("the searching process was started anew", started(before) != started(after))
            reason = container(after)["lastState"]["terminated"]["reason"]
            self.steps.proof.expect("why it ended", reason, "OOMKilled")

    def share(self) -> None:
        """New replicas have their share soon after they are ready."""
        for component, deployment, metric in SHARED:
            name = f"{self.release.name}-{deployment}"
            with self.happening(f"one more {component}"), ExitStack() as asked:
                if component == "encoder":
                    asked.enter_context(ghz(self.release, self.release.service, NEW_TEXTS, 600))
                self.release.kubectl("scale", f"deployment/{name}", "--replicas=3")
                self.release.settle(name)
                time.sleep(DISCOVERY_SECONDS + SHARE_SECONDS)
                self._expect_fair(component, metric)
                self.release.kubectl("scale", f"deployment/{name}", "--replicas=2")
                self.release.settle(name)

    def _expect_fair(self, component: str, metric: str) -> None:
        labels = {"group": "0"} if component == "searcher" else {}
        before = counters(self.release, component, metric, **labels)
        time.sleep(SAMPLE_SECONDS)
        after = counters(self.release, component, metric, **labels)
        done = {pod: after[pod] - before[pod] for pod in before}
        proportion = max(done.values()) / max(1, min(done.values()))
        figures = {"work": sorted(done.values()), "busiest over least busy": round(proportion, 3)}
        self.steps.proof.figures |= {f"one more {component}: {what}": figure for what, figure in figures.items()}
        self.steps.proof.holds(f"one more {component}: fair", proportion <= MOST_OVER_LEAST and len(done) == 3)

    def lose_a_node(self) -> None:
        """A node falls silent: no reset ever comes from it. Then it is back."""
        cluster = self.release.cluster
        where = sorted(
            f"{pod['spec']['nodeName']} {pod['metadata']['labels'][COMPONENT]}" for pod in self.release.pods()
        )
        self.steps.proof.figures["pods by node"] = dict(Counter(where))
        with self.happening(UNNOTICED):
            cluster.run("ip", "link", "set", HURT, "down")
            cluster.kubectl("wait", "--for=condition=Ready=Unknown", f"node/{HURT}", "--timeout=90s")
        with self.happening(f"{HURT} is known to be silent", after=15.0):
            pass
        with self.happening(f"{HURT} speaks again"):
            cluster.run("ip", "link", "set", HURT, "up")
            cluster.kubectl("wait", "--for=condition=Ready", f"node/{HURT}", "--timeout=120s", timeout=130)
            self.release.settle()

    def _judge(self, name: str, asked: Load) -> None:
        verdict, http = judge(asked, self.oracles), judge(asked, self.oracles, asked.http)
        figures = verdict.figures() | {"http": http.figures()}
        self.steps.proof.figures[name] = figures
        lossless = http.whole or (name == UNNOTICED and http.calls > 0 and not http.wrong and not http.partial)
        if not verdict.whole or not lossless:
            self.steps.proof.faults.append(f"{name}: {figures}")

    def _await_generation(self, generation: int) -> None:
        def seen() -> bool:
            lately = self.answered.since(time.time() - 2).calls
            return bool(lately) and all(one.get("generation") == generation for one in lately)

        until(seen, f"answers from generation {generation}", 60)


def retag(cluster: Cluster, tag: str) -> None:
    """Gives every image of ours another tag, on every node of a cluster of ours."""
    for node in cluster.nodes():
        listed = cluster.run("ctr", "--namespace=k8s.io", "images", "list", "--quiet", where=node).split()
        for name in [one for one in listed if "/sightline-" in one and one.endswith(f":{images.tag()}")]:
            cluster.run(
                "ctr",
                "--namespace=k8s.io",
                "images",
                "tag",
                "--force",
                name,
                name.removesuffix(images.tag()) + tag,
                where=node,
            )
