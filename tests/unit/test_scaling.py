"""benchmarks/scaling and benchmarks/autoscaling.py."""

from __future__ import annotations

import heapq
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import autoscaling
from benchmarks.load import report
from benchmarks.scaling import measured
from benchmarks.scaling.cluster import Workload, simulate
from benchmarks.scaling.hpa import Autoscaler, Policy, Reading, Rules, Spec, Target, of_manifest
from benchmarks.scaling.metrics import Counters, extrapolated_rate
from benchmarks.scaling.picture import draw
from benchmarks.scaling.service import Service, batch, second
from benchmarks.scaling.settings import CONCURRENCY, QUEUE_WAIT, defaults, on_cpu, values
from benchmarks.scaling.traffic import day, ramp, recorded, step
from tests.unit.test_load import a_run

FIT = measured.Fit(0.0007, 0.00025, 0.0, {})


def scaler(*, least: int = 1, most: int = 100, target: float = 0.5, **rules: Rules) -> Autoscaler:
    return Autoscaler(Spec(least, most, [Target("cpu", target)], **rules))


def wish(pods: int, readings: list[Reading], unready: int = 0, target: float = 0.5) -> int:
    """What is wanted where nothing holds it back."""
    at_once = Rules(0.0, [Policy("Percent", 10_000, 15.0)])
    return scaler(target=target, up=at_once, down=Rules(0.0, [Policy("Percent", 100, 15.0)])).decide(
        0.0, pods, unready, {"cpu": readings}
    )


def test_pods_follow_the_ratio_beyond_the_tolerance() -> None:
    """Pods become as many as the metric over its target says, rounded up; a tenth more or less changes nothing."""
    assert wish(4, [0.8] * 4) == 7
    assert wish(4, [0.2] * 4) == 2
    assert wish(4, [0.54] * 4) == wish(4, [0.46] * 4) == 4
    assert wish(4, []) == 4


def test_pods_that_say_nothing_hold_back() -> None:
    """Pods without a reading count as idle when more are wished and as fully used when fewer, and never turn a wish."""
    assert wish(4, [0.9, 0.9, None, None]) == 4
    assert wish(4, [0.9, 0.9], unready=2) == 4
    assert wish(4, [1.5, 1.5, None, None]) == 6
    assert wish(4, [0.2, 0.2, 0.2, None]) == 4
    assert wish(6, [0.1] * 5 + [None]) == 3


def test_policies_bound_each_period() -> None:
    """The policy that allows most bounds what is added, or taken away, in its period."""
    up = Rules(0.0, [Policy("Percent", 100, 30.0), Policy("Pods", 1, 30.0)])
    slow = scaler(up=up)
    assert [slow.decide(now, pods, 0, {"cpu": [5.0] * pods}) for now, pods in ((0, 1), (15, 2), (30, 2), (45, 4))] == [
        2,
        2,
        4,
        4,
    ]
    down = Rules(0.0, [Policy("Pods", 1, 120.0)])
    falling = scaler(down=down)
    assert [falling.decide(now, pods, 0, {"cpu": [0.0] * pods}) for now, pods in ((0, 9), (60, 8), (120, 8))] == [
        8,
        8,
        7,
    ]


def test_fewer_only_after_a_window() -> None:
    """Pods go only when fewer were wished for all of the window."""
    down = Rules(60.0, [Policy("Percent", 100, 15.0)])
    patient = scaler(down=down)
    loads = {0.0: 0.5, 15.0: 0.1, 30.0: 0.1, 45.0: 0.1, 60.0: 0.1, 75.0: 0.1}
    assert [patient.decide(now, 4, 0, {"cpu": [load] * 4}) for now, load in loads.items()] == [4, 4, 4, 4, 1, 1]


def test_bounds_hold() -> None:
    """There are never fewer or more pods than the bounds say."""
    assert scaler(least=2, most=5).decide(0.0, 4, 0, {"cpu": [9.0] * 4}) == 5
    assert scaler(least=2, down=Rules(0.0, [Policy("Percent", 100, 15.0)])).decide(0.0, 4, 0, {"cpu": [0.0] * 4}) == 2


def test_the_metric_that_wants_most_counts() -> None:
    """Of several metrics the one that wants most pods is followed."""
    both = Autoscaler(Spec(1, 50, [Target("a", 1.0), Target("b", 1.0)]))
    assert both.decide(0.0, 3, 0, {"a": [0.1] * 3, "b": [2.0] * 3}) == 6


def test_manifests_are_read() -> None:
    """An autoscaler is read from Kubernetes' own object, with Kubernetes' own defaults; memory has no model here."""
    metric = {"type": "Pods", "pods": {"metric": {"name": "x"}, "target": {"averageValue": "1500m"}}}
    spec = of_manifest({"maxReplicas": 9, "metrics": [metric]})
    assert (spec.least, spec.most, spec.targets) == (1, 9, (Target("x", 1.5),))
    assert (spec.up.window, spec.down.window, len(spec.up.policies)) == (0.0, 300.0, 2)
    with pytest.raises(ValueError, match="no model of a metric of type Resource"):
        of_manifest({"maxReplicas": 9, "metrics": [{"type": "Resource", "resource": {"name": "memory"}}]})


def test_the_defaults_are_those_of_the_chart() -> None:
    """Encoders scale on concurrency with the queue's wait as guard, the rest on the processor, as the values say."""
    given = values()
    specs, plain = defaults(given), on_cpu(given)
    assert {one.metric for one in specs["encoder"].targets} == {CONCURRENCY, QUEUE_WAIT}
    assert (
        specs["encoder"].down.window
        == given["encoder"]["autoscaling"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"]
    )
    for tier in ("gateway", "searcher"):
        assert specs[tier].targets == plain[tier].targets == (Target("cpu", given[tier]["autoscaling"]["cpu"] / 100),)
        assert (specs[tier].least, specs[tier].most) == (plain[tier].least, plain[tier].most)


def test_rates_are_extrapolated_as_prometheus_does() -> None:
    """A rate over a minute is what Prometheus' own function makes of the samples; one sample makes none."""
    steady = [(at, 2.0 * at) for at in (45.0, 60.0, 75.0, 90.0)]
    assert extrapolated_rate(steady, 100.0) == pytest.approx(2.0 * (45 + 5 + 10) / 60)
    # Two samples of a pod that is new: half an interval is added before them, and no more.
    assert extrapolated_rate([(75.0, 0.0), (90.0, 30.0)], 100.0) == pytest.approx(2.0 * (15 + 7.5 + 10) / 60)
    assert extrapolated_rate(steady[:1], 100.0) is None


def test_new_pods_are_not_seen_at_once() -> None:
    """A pod's use of the processor is seen once it was ready for a whole interval, its rates after two scrapes."""
    counters = Counters()
    for at in range(0, 61, 15):
        counters.scrape(float(at))
        for _ in range(15):
            counters.add(2.0, 0.0, 1.0, 0.5)
    assert counters.cpu(ready=0.0) == pytest.approx(0.5)
    assert counters.cpu(ready=50.0) is None
    assert counters.rate(0, 62.0, ready=50.0) is None
    assert counters.rate(0, 62.0, ready=0.0) == pytest.approx(2.0, rel=0.05)


def test_batches_form_by_themselves() -> None:
    """What arrives while a batch is away is the next one, up to what a batch may hold."""
    service = Service(0.004, 0.001, most=16)
    assert batch(service, 10.0) == 1.0
    assert batch(service, 600.0) == pytest.approx(600 * (0.004 + 6 * 0.001))
    assert batch(service, 5000.0) == 16.0
    assert service.rate == 800.0


@pytest.mark.parametrize("load", [0.1, 0.5, 0.8])
def test_the_model_of_batching_is_near_to_an_event_by_event_one(load: float) -> None:
    """Mean, tail and concurrency of the model are near to those of a queue that is played item by item."""
    service = Service(0.004, 0.001, most=64)
    rate = load * service.rate
    latencies = played(service, rate, seconds=60.0)
    model = second(service, rate, 0.0)

    assert model.mean == pytest.approx(latencies.mean(), rel=0.3)
    assert model.tail == pytest.approx(np.percentile(latencies, 99), rel=0.35)
    assert model.concurrency == pytest.approx(rate * latencies.mean(), rel=0.3)


def played(service: Service, rate: float, seconds: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Latencies of items that come by chance, each batch taking all that queued while the last was away."""
    chance = np.random.default_rng(3)
    arrivals = np.cumsum(chance.exponential(1 / rate, int(rate * seconds))).tolist()
    heapq.heapify(arrivals)
    latencies, now = [], 0.0
    while arrivals:
        now = max(now, arrivals[0])
        taken: list[float] = []
        while arrivals and arrivals[0] <= now and len(taken) < service.most:
            taken.append(heapq.heappop(arrivals))
        now += service.fixed + len(taken) * service.each
        latencies += [now - at for at in taken]
    return np.array(latencies)


def test_what_is_too_much_is_left_over_and_then_refused() -> None:
    """Beyond what a replica can do items are left over, wait longer, and find no room once the queue is full."""
    service = Service(0.004, 0.001, most=16, capacity=100.0)
    first = second(service, 850.0, 0.0)
    later = second(service, 850.0, 90.0)
    assert (first.backlog, first.refused) == (50.0, 0.0)
    assert later.backlog == 100.0
    assert later.refused == pytest.approx(40 / 850)
    assert later.mean > first.mean > second(service, 700.0, 0.0).mean


def test_traffic_has_its_shape() -> None:
    """A step, a ramp and a day begin and end with little, and reach what they should; a day doubles within a minute."""
    assert (step(1, 4).min(), step(1, 4).max(), len(step(1, 4))) == (1, 4, 70 * 60)
    assert ramp(1, 4)[20 * 60] == 2.5
    whole = day(100, 800)
    assert len(whole) == 24 * 3600
    at = int(9.5 * 3600)
    assert whole[at + 120] / whole[at - 60] > 1.5


def test_recorded_traffic_is_read(tmp_path: Path) -> None:
    """Calls a second come from a report of load, or from numbers in a file."""
    (tmp_path / "numbers.txt").write_text("1\n2.5\n3\n")
    assert recorded(tmp_path / "numbers.txt").tolist() == [1.0, 2.5, 3.0]
    (tmp_path / "report.json").write_text(json.dumps(report.as_json(a_run())))
    assert recorded(tmp_path / "report.json").sum() == 10


def test_encoders_follow_a_step_where_the_processor_says_nothing() -> None:
    """On a GPU whose work the processor does not show, encoders are added by concurrency, and by the processor not."""
    given = values()
    services = measured.on_gpu(measured.services(FIT))
    courses = autoscaling.compare(services, given, seconds=25 * 60)["step"]
    ours, plain = courses[autoscaling.OURS], courses[autoscaling.CPU]
    assert ours.pods["encoder"].max() > ours.pods["encoder"][0]
    assert plain.pods["encoder"].max() == plain.pods["encoder"][0]


def test_the_comparison_is_written_and_drawn() -> None:
    """The bar's own code makes figures of each traffic and a picture that is well-formed."""
    services = measured.services(FIT)
    courses = autoscaling.compare(services, values(), seconds=600)
    figures = autoscaling.summary(courses)
    assert set(figures) == {"step", "ramp", "day"}
    assert all(sets[autoscaling.OURS]["replica hours"]["encoder"] > 0 for sets in figures.values())
    assert "min above 200 ms" in autoscaling.sentence({"cpu": figures, "gpu": figures})
    ElementTree.fromstring(draw("A title", courses))
    assert {"1 calls", "16 texts"} < set(autoscaling.by_target(services, values(), seconds=60))


def test_a_cluster_that_is_not_asked_more_stays_as_it_is() -> None:
    """Steady traffic within the target changes nothing."""
    given = values()
    course = simulate(np.full(1800, 100.0), Workload(measured.services(FIT)), defaults(given))
    assert course.minutes_above == 0
    assert all(one.min() == one.max() for one in course.pods.values())


def test_times_are_fitted_by_a_line() -> None:
    """The times of batches become what any batch takes and what each item adds, with how far that is off."""
    found = measured.fit({size: 0.002 + 0.001 * size for size in (1, 4, 16, 64)})
    assert [found.fixed, found.each] == pytest.approx([0.002, 0.001])
    assert found.error < 1e-9
