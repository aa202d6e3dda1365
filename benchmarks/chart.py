"""The chart, through Helm's own engine: every example values file for every version of Kubernetes that can be had."""

from __future__ import annotations

from typing import Any

from benchmarks.charts import environment, invariants, rendering, schemas, used, wrong
from benchmarks.proof import Proof

LONGEST = {"name": "n" * 53, "namespace": "s" * 63}


def bar() -> dict[str, object]:
    """Renders, lints and validates all; refuses what is wrong; compares with the local cluster."""
    proof, versions = Proof(), schemas.kubernetes_versions()
    releases = {**rendering.examples(), **{f"everything-{number}": one for number, one in enumerate(used.releases())}}
    objects = 0
    for name, values in releases.items():
        for version in versions:
            made = rendering.render(values, kube=version)
            objects += len(made)
            proof.expect(f"{name}, {version}: lint", rendering.lint(values, version), [])
            proof.expect(
                f"{name}, {version}: schemas", [fault for one in made for fault in schemas.faults(one, version)], []
            )
        proof.expect(f"{name}: invariants", invariants.faults(made), [])
        proof.expect(f"{name}: names", list(invariants.names_fit(rendering.render(values, **LONGEST))), [])
        proof.expect(f"{name}: environment", environment.faults(values, made), [])
    proof.expect("values that change nothing", used.faults(), [])
    proof.expect("wrong values that are taken, or not named", wrong.faults(), [])
    proof.figures |= _counts(releases, versions, objects)
    return proof.outcome(
        f"{len(releases)} values files x Kubernetes {versions[0]} to {versions[-1]}: {objects:,} objects valid, lint "
        f"clean, {len(invariants.RULES)} invariants hold; {len(wrong.cases())} wrong values refused by name; the "
        "environment is that of the local cluster"
    )


def _counts(releases: dict[str, Any], versions: list[str], objects: int) -> dict[str, object]:
    return {
        "values files": len(releases),
        "Kubernetes": versions,
        "objects": objects,
        "invariants": [rule.__name__.replace("_", " ") for rule in invariants.RULES],
        "wrong values": len(wrong.cases()),
        "custom resources by": {group: f"{module} {version}" for group, (module, version, _) in schemas.CRDS.items()},
    }
