"""How the chart's autoscalers follow a step, a ramp and a day, against autoscalers that look at the processor alone.

    python -m benchmarks autoscaling
    python -m benchmarks.autoscaling TRAFFIC

The second runs over traffic of your own: a report of load, ghz's or ours, or a text file with calls a second, one
number for each second. It prints what came of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.emoji import CHECKOUT
from benchmarks.scaling import measured
from benchmarks.scaling.cluster import Course, Workload, simulate
from benchmarks.scaling.hpa import Spec
from benchmarks.scaling.picture import draw
from benchmarks.scaling.service import Service
from benchmarks.scaling.settings import TIERS, by_texts, defaults, on_cpu, values
from benchmarks.scaling.traffic import Traffic, day, ramp, recorded, step

PICTURES = CHECKOUT / "docs"
# The least and the most of each, as shares of what the cluster can bear; the rushes of a day double it.
SHAPES = {"step": (step, 1 / 3, 1.0), "ramp": (ramp, 1 / 8, 1.0), "day": (day, 1 / 16, 1 / 2)}
CALLS = (0.5, 1.0, 2.0, 4.0)
TEXTS = (1.0, 4.0, 16.0, 48.0)
TITLES = {
    "cpu": "ViT-B/32 on CPUs, one each, as measured",
    "gpu": "A large model on small GPUs, as assumed and not measured",
}
FITS = 0.35
"""How far the times of batches may be from a line, as a share of them."""

OURS, CPU = "the chart's defaults", "CPU alone"

Courses = dict[str, dict[str, Course]]


def bar() -> dict[str, object]:
    """Encoders on CPUs as measured and on GPUs as assumed: three traffics, two sets of autoscalers."""
    given, bundled, vit = values(), measured.bundled(), measured.vit_b_32()
    figures: dict[str, Any] = {"bundled model": measured.figures(bundled), "ViT-B/32": measured.figures(vit)}
    kinds = {"cpu": measured.services(vit), "gpu": measured.on_gpu(measured.services(vit))}
    for kind, services in kinds.items():
        courses = compare(services, given)
        (PICTURES / f"autoscaling-{kind}.svg").write_text(draw(TITLES[kind], courses), encoding="utf-8")
        figures[kind] = summary(courses)
        figures[f"{kind}: a day by the encoder's target"] = by_target(services, given)
    return {"passed": complete(figures), "figure": sentence(figures), "figures": figures}


def compare(services: Mapping[str, Service], given: Mapping[str, Any], seconds: int | None = None) -> Courses:
    """Runs each traffic under both sets of autoscalers; of each only so many seconds where that is given."""
    workload, courses = Workload(services), Courses()
    most = _most(services, given)
    for name, (shape, low, high) in SHAPES.items():
        traffic = shape(low * most, high * most)[:seconds]
        courses[name] = run(traffic, workload, {OURS: defaults(given), CPU: on_cpu(given)})
    return courses


def run(traffic: Traffic, workload: Workload, sets: Mapping[str, Mapping[str, Spec]]) -> dict[str, Course]:
    """Runs one traffic under several sets of autoscalers."""
    return {name: simulate(traffic, workload, specs) for name, specs in sets.items()}


def by_target(services: Mapping[str, Service], given: Mapping[str, Any], seconds: int | None = None) -> dict[str, Any]:
    """Returns what the encoder's target trades: a day under several, of calls and of texts in work."""
    most = _most(services, given)
    shape, low, high = SHAPES["day"]
    traffic = shape(low * most, high * most)[:seconds]
    sets = {f"{one:g} calls": defaults(given, concurrency=one) for one in CALLS}
    sets |= {f"{one:g} texts": by_texts(given, one) for one in TEXTS}
    return dict(summary({"day": run(traffic, Workload(services), sets)})["day"])


def summary(courses: Courses) -> dict[str, Any]:
    """Returns what each set of autoscalers came to."""
    return {
        traffic: {
            name: {
                "minutes above the objective": round(course.minutes_above, 2),
                "share of calls in them": round(course.calls_above, 5),
                "share of calls refused": round(
                    float((course.refused * course.traffic).sum() / course.traffic.sum()), 5
                ),
                "replica hours": {tier: round(course.replica_hours(tier), 2) for tier in TIERS},
                "encoders at the most": int(course.pods["encoder"].max()),
            }
            for name, course in sets.items()
        }
        for traffic, sets in courses.items()
    }


def complete(figures: Mapping[str, Any]) -> bool:
    """Whether all was run, over times that the model of an encoder fits; what came of it stands in the figures."""
    return all(set(figures[kind]) == set(SHAPES) for kind in ("cpu", "gpu")) and all(
        figures[model]["error"] <= FITS for model in ("bundled model", "ViT-B/32")
    )


def sentence(figures: Mapping[str, Any]) -> str:
    """Returns the figures of the three traffics in a sentence."""
    parts = []
    for kind in ("cpu", "gpu"):
        ours, theirs = (_total(figures[kind], name) for name in (OURS, CPU))
        parts.append(
            f"encoders on {'CPUs' if kind == 'cpu' else 'GPUs (assumed)'}: {ours[0]:.0f} min above 200 ms and "
            f"{ours[1]:.0f} encoder hours by our defaults, {theirs[0]:.0f} min and {theirs[1]:.0f} h on CPU alone"
        )
    return "step, ramp and day; " + "; ".join(parts)


def _total(of_kind: Mapping[str, Any], name: str) -> tuple[float, float]:
    each = [sets[name] for sets in of_kind.values()]
    return sum(one["minutes above the objective"] for one in each), sum(one["replica hours"]["encoder"] for one in each)


def _most(services: Mapping[str, Service], given: Mapping[str, Any]) -> float:
    """Calls a second at the most: seven in ten of what all encoders that there may be can do; less where the gateways
    or searchers could not bear it."""
    load, specs = Workload(services), defaults(given)
    shares = {"gateway": load.missed + load.hit * (1 - load.missed), "encoder": load.missed, "searcher": load.missed}
    headroom = {"gateway": 0.5, "encoder": 0.7, "searcher": 0.5}
    return min(headroom[tier] * specs[tier].most * services[tier].rate / shares[tier] for tier in TIERS)


def main() -> int:
    """Runs over recorded traffic, and prints what came of it."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    given = values()
    services = measured.services(measured.bundled())
    courses = run(recorded(Path(sys.argv[1])), Workload(services), {OURS: defaults(given), CPU: on_cpu(given)})
    print(json.dumps(summary({"recorded": courses}), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
