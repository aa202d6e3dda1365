"""Every example values file makes a release that Kubernetes takes, and of which the same things are true."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.charts import environment, invariants, rendering, schemas, used, wrong
from benchmarks.charts.rendering import Object, Refused, examples, lint, render

EXAMPLES = examples()
NEWEST = schemas.kubernetes_versions()[-1]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_release(name: str) -> None:
    """Lint has nothing to say, no object has a field that is not known, and what must be true of a release is."""
    objects = render(EXAMPLES[name], kube=NEWEST)
    assert lint(EXAMPLES[name], NEWEST) == []
    assert [fault for one in objects for fault in schemas.faults(one, NEWEST) if needs_no_go(one)] == []
    assert invariants.faults(objects) == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_processes_are_told_what_local_ones_are_told(name: str) -> None:
    """The same values file gives the processes of a release and of the local cluster the same settings."""
    assert environment.faults(EXAMPLES[name], render(EXAMPLES[name])) == []


def test_the_longest_names_fit() -> None:
    """A release, a pool and a collection with the longest names that are allowed make names that Kubernetes takes."""
    pools = {"encoder": {"pools": {"p" * 14: {}}}, "searcher": {"groups": 2}}
    builds = {"indexer": {"builds": {"c" * 63: {"source": "s3://b/p", "parts": 999}, "d" * 63: {"source": "s3://b/p"}}}}
    objects = render({"store": {"url": "s3://b/f"}, **pools, **builds}, name="r" * 53, namespace="n" * 63)
    assert invariants.faults(objects) == []


def test_wrong_values_are_refused_by_name() -> None:
    """Values that make no sense are refused, each with a message that names it."""
    assert len(wrong.cases()) >= 50
    assert wrong.faults() == []


def test_values_are_used() -> None:
    """What values set changes what is made of them."""
    smallest = sorted(used.releases(), key=lambda values: len(list(used.leaves(values))))[:2]
    assert [fault for values in smallest for fault in used.unused(values)] == []


def needs_no_go(one: Object) -> bool:
    """Definitions of custom resources come from modules of Go, which the bar has."""
    return one["apiVersion"].partition("/")[0] not in schemas.CRDS


def deployment(objects: list[Object], name: str = "sightline-gateway") -> Any:
    (one,) = (one for one in objects if one["kind"] == "Deployment" and one["metadata"]["name"] == name)
    return one["spec"]


def container(objects: list[Object]) -> Any:
    return deployment(objects)["template"]["spec"]["containers"][0]


SPOILT: dict[str, Callable[[list[Object]], Any]] = {
    "replicas are set beside": lambda o: deployment(o).pop("replicas"),
    "is not confined": lambda o: container(o)["securityContext"].update(readOnlyRootFilesystem=False),
    "may be root": lambda o: deployment(o)["template"]["spec"].update(automountServiceAccountToken=True),
    "does not say what it needs": lambda o: container(o)["resources"]["limits"].clear(),
    "is of no version": lambda o: container(o).update(image="sightline-gateway:latest"),
    "is not probed": lambda o: container(o).pop("readinessProbe"),
    "the livenessProbe asks": lambda o: container(o)["livenessProbe"]["httpGet"].update(port="https"),
    "selects nothing": lambda o: deployment(o)["template"]["metadata"]["labels"].clear(),
    "is none of its pods'": lambda o: container(o)["ports"][0].update(containerPort=7701),
    "is killed before it has drained": lambda o: deployment(o)["template"]["spec"].update(
        terminationGracePeriodSeconds=20
    ),
    "which is not there": lambda o: o.remove(
        next(one for one in o if one["kind"] == "Service" and one["metadata"]["name"] == "sightline-redis")
    ),
    "has 0 budgets": lambda o: o.remove(
        next(one for one in o if one["kind"] == "PodDisruptionBudget" and "gateway" in one["metadata"]["name"])
    ),
    "has 0 policies": lambda o: o.remove(
        next(one for one in o if one["kind"] == "NetworkPolicy" and "encoder" in one["metadata"]["name"])
    ),
    "holds a secret": lambda o: container(o)["env"].append({"name": "X", "value": "redis://:hush@r:6379"}),
    "is mounted nowhere": lambda o: container(o)["volumeMounts"].clear(),
    "groups are": lambda o: o.remove(next(one for one in o if one["metadata"]["name"] == "sightline-searcher-0")),
}


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    """A release that is in order."""
    return render(EXAMPLES["two-nodes"])


@pytest.mark.parametrize("fault", SPOILT)
def test_what_is_not_in_order_is_noticed(fault: str, objects: list[Object]) -> None:
    """Each of the things that must be true of a release is looked at: a release that was spoilt is found out."""
    spoilt = copy.deepcopy(objects)
    SPOILT[fault](spoilt)
    assert fault in "\n".join(invariants.faults(spoilt))


def test_another_environment_is_noticed(objects: list[Object]) -> None:
    """A setting that only one of the two is told is found out."""
    spoilt = copy.deepcopy(objects)
    container(spoilt)["env"].append({"name": "SIGHTLINE_POLL_SECONDS", "value": "2"})
    (fault,) = environment.faults(EXAMPLES["two-nodes"], spoilt)
    assert "Deployment/sightline-gateway is told" in fault


def test_an_older_helm_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Helm 3, which applies on the client's side, is told that it is too old; who only renders with it is not."""
    shutil.copytree(rendering.CHART, tmp_path / "sightline")
    checks = tmp_path / "sightline" / "templates" / "_checks.tpl"
    rendered_by_3 = checks.read_text().replace(".Capabilities.HelmVersion.Version", '"v3.19.0"')
    before_a_cluster = re.sub(r'\(lookup "v1" "ServiceAccount"[^)]*\)', "true", rendered_by_3)
    assert before_a_cluster != rendered_by_3
    monkeypatch.setattr(rendering, "CHART", tmp_path / "sightline")
    checks.write_text(rendered_by_3)
    assert render(EXAMPLES["cpu"])
    checks.write_text(before_a_cluster)
    with pytest.raises(Refused, match=r"helm: v3\.19\.0 .* Helm 4"):
        render(EXAMPLES["cpu"])
