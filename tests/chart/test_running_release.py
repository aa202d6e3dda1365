"""What an upgrade makes of a release that runs, by Helm's own program, before a server that knows of two objects."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.charts.rendering import CHART, CHECKOUT, Object

HELM = ("helm.sh/helm/v4/cmd/helm", "v4.3.1")
KINDS = {
    "v1": ("serviceaccounts ServiceAccount", "services Service", "pods Pod"),
    "apps/v1": ("deployments Deployment",),
    "batch/v1": ("jobs Job",),
    "autoscaling/v2": ("horizontalpodautoscalers HorizontalPodAutoscaler",),
    "networking.k8s.io/v1": ("networkpolicies NetworkPolicy",),
    "policy/v1": ("poddisruptionbudgets PodDisruptionBudget",),
}
BUILD = {"indexer": {"builds": {"photos": {"source": "s3://bucket/photos"}}}}


class Api(ThreadingHTTPServer):
    """As much of an API server as Helm asks before it renders."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {
            "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "groups": [_group(version) for version in KINDS if "/" in version]},
            **{_place(version): _resources(version, kinds) for version, kinds in KINDS.items()},
        }
        super().__init__(("127.0.0.1", 0), _Handler)

    def run(self, one: Object, **known: Any) -> None:
        """Has an object, which the release has made; `known` is what its metadata say besides."""
        ours = {"meta.helm.sh/release-name": "sightline", "meta.helm.sh/release-namespace": "search"}
        metadata = {"annotations": {**one["metadata"].get("annotations", {}), **ours}, "namespace": "search"}
        metadata |= {"name": one["metadata"]["name"], "labels": {"app.kubernetes.io/managed-by": "Helm"}, **known}
        names = dict(pair.split()[::-1] for pair in KINDS[one["apiVersion"]])
        place = f"{_place(one['apiVersion'])}/namespaces/search/{names[one['kind']]}"
        self.answers[f"{place}/{metadata['name']}"] = {**one, "metadata": metadata}


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        found = self.server.answers.get(self.path.partition("?")[0])
        missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(found or missing).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def _place(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _group(version: str) -> dict[str, Any]:
    name, _, number = version.partition("/")
    one = {"groupVersion": version, "version": number}
    return {"name": name, "versions": [one], "preferredVersion": one}


def _resources(version: str, kinds: tuple[str, ...]) -> dict[str, Any]:
    known = {"singularName": "", "namespaced": True, "verbs": ["get"]}
    resources = [{"name": plural, "kind": kind, **known} for plural, kind in (pair.split() for pair in kinds)]
    return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def helm() -> str:
    """Helm's program."""
    if shutil.which("go") is None:
        pytest.skip("Helm is built from its Go module, and there is no Go")
    command = [str(CHECKOUT / "tools" / "go_tool.sh"), *HELM]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def upgraded(helm: str, api: Api, folder: Path, values: Mapping[str, Any]) -> dict[str, Object]:
    """The objects that an upgrade would apply, by kind and name."""
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{api.server_port}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    config = {"kind": "Config", "apiVersion": "v1", "clusters": [cluster], "contexts": [context]}
    users = [{"name": "u", "user": {}}]
    (folder / "config").write_text(yaml.safe_dump({**config, "users": users, "current-context": "c"}))
    (folder / "values.yaml").write_text(yaml.safe_dump({"store": {"url": "s3://bucket/index"}, **values}))
    command = [
        helm,
        "template",
        "sightline",
        str(CHART),
        "--namespace",
        "search",
        "--values",
        str(folder / "values.yaml"),
    ]
    command += ["--dry-run=server", "--disable-openapi-validation"]
    own = {"HOME": str(folder), "KUBECONFIG": str(folder / "config"), "PATH": os.environ["PATH"]}
    text = subprocess.run(command, check=True, capture_output=True, text=True, env=own).stdout
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in yaml.safe_load_all(text) if one}


def test_an_autoscaler_that_is_switched_on_keeps_the_replicas(helm: str, api: Api, tmp_path: Path) -> None:
    """The number of replicas that run is repeated, for it would fall to one where the field went; a Deployment that is
    not there yet gets none."""
    live = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "sightline-gateway"}}
    api.run({**live, "spec": {"replicas": 7}})
    scaled = {"autoscaling": {"enabled": True}}
    objects = upgraded(helm, api, tmp_path, {"gateway": scaled, "web": scaled})
    assert objects["Deployment/sightline-gateway"]["spec"]["replicas"] == 7
    assert "replicas" not in objects["Deployment/sightline-web"]["spec"]


def test_an_autoscaler_that_has_scaled_owns_the_number(helm: str, api: Api, tmp_path: Path) -> None:
    """Once an autoscaler has said a number, it is repeated no more, so that no later rollback takes a step back."""
    scaled = [{"manager": "kube-controller-manager", "operation": "Update", "subresource": "scale"}]
    metadata = {"name": "sightline-gateway", "annotations": {}}
    live = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": 7}}
    api.run(live, managedFields=scaled)
    objects = upgraded(helm, api, tmp_path, {"gateway": {"autoscaling": {"enabled": True}}})
    assert "replicas" not in objects["Deployment/sightline-gateway"]["spec"]


def test_a_build_that_was_made_is_left_as_it_is(helm: str, api: Api, tmp_path: Path) -> None:
    """Another image, other resources: a Job that is there is repeated to the letter, as it was first made."""
    first = upgraded(helm, api, tmp_path, BUILD)
    made = {name: one for name, one in first.items() if name.startswith("Job/")}
    for one in made.values():
        # The server adds to what it was given.
        api.run({**one, "spec": {**one["spec"], "suspend": False, "selector": {"matchLabels": {"uid": "1"}}}})
    changed = {"image": {"tag": "9.9"}, "indexer": {**BUILD["indexer"], "resources": {"limits": {"memory": "9Gi"}}}}
    second = upgraded(helm, api, tmp_path, changed)
    for name, one in made.items():
        assert second[name]["spec"] == one["spec"]
    again = {"indexer": {"builds": {"photos": {**BUILD["indexer"]["builds"]["photos"], "run": "2"}}}}
    fresh = [
        one for name, one in upgraded(helm, api, tmp_path, {**changed, **again}).items() if name.startswith("Job/")
    ]
    images = {one["spec"]["template"]["spec"]["containers"][0]["image"] for one in fresh}
    assert images == {"sightline-indexer:9.9"}
