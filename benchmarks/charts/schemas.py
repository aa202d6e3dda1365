"""Whether objects are what Kubernetes takes: by its own schemas, and custom resources by those of their makers.

Strict: a field that nobody knows is a fault. A server would drop it without a word.
"""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from kubernetes_validate import latest_version
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

from benchmarks.charts.rendering import CHECKOUT, Object, called

OLDEST = 33
"""The minor version that the chart asks for."""

CRDS = {
    "monitoring.coreos.com": (
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "example/prometheus-operator-crd",
    ),
    "keda.sh": ("github.com/kedacore/keda/v2", "v2.21.0", "config/crd/bases"),
    "cert-manager.io": ("github.com/cert-manager/cert-manager", "v1.21.2", "deploy/crds"),
    "gateway.networking.k8s.io": ("sigs.k8s.io/gateway-api", "v1.5.0", "config/crd/standard"),
}
"""Where the definitions of custom resources are, by group: a Go module, its version, and a folder in it."""


def kubernetes_versions() -> list[str]:
    """The versions that are to be had, from the oldest that the chart is for to the newest, such as 1.33."""
    newest = int(latest_version().split(".")[1])
    return [f"1.{minor}" for minor in range(OLDEST, newest + 1)]


def faults(one: Object, version: str) -> list[str]:
    """What is wrong with an object, for a version of Kubernetes."""
    group, _, of_group = one["apiVersion"].rpartition("/")
    if group in CRDS:
        validator = _custom(group, one["kind"], of_group)
    else:
        validator = _builtin(
            f"{one['kind']}-{group.partition('.')[0]}{'-' if group else ''}{of_group}".lower(), version
        )
    return [f"{called(one)}: {error.json_path}: {error.message}" for error in validator.iter_errors(one)]


@cache
def _builtin(name: str, version: str) -> Draft202012Validator:
    """A validator of a kind, from the files of kubernetes-validate, which itself reads all of them each time."""
    schema = schema_contents(f"kubernetes-json-schema/v{version}.0-local-strict/{name}.json", version)
    return Draft202012Validator(schema, registry=_shared(version))


@cache
def _shared(version: str) -> Registry[Any]:
    shared = schema_contents(f"kubernetes-json-schema/v{version}.0-local-strict/_definitions.json", version)
    return Resource.from_contents(shared) @ Registry()


@cache
def _custom(group: str, kind: str, version: str) -> Draft202012Validator:
    definition = _definition(group, kind)
    of_version = next(one for one in definition["spec"]["versions"] if one["name"] == version)
    return Draft202012Validator({**_strict(of_version["schema"]["openAPIV3Schema"]), "required": ["spec"]})


def _definition(group: str, kind: str) -> dict[str, Any]:
    module, version, folder = CRDS[group]
    command = [str(CHECKOUT / "tools" / "go_module.sh"), module, version]
    home = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    (file,) = (Path(home) / folder).glob(f"{group}_{kind.lower()}s.yaml")
    read = yaml.load_all(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return next(one for one in read if one and one["kind"] == "CustomResourceDefinition")


def _strict(schema: dict[str, Any], top: bool = True) -> dict[str, Any]:
    """The schema as a server that prunes would apply it: what is not named is not there."""
    strict = dict(schema)
    if schema.get("x-kubernetes-int-or-string"):
        strict.pop("type", None)
    if "properties" in schema:
        strict["properties"] = {name: _strict(one, False) for name, one in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
            strict["additionalProperties"] = False
    if isinstance(schema.get("additionalProperties"), dict):
        strict["additionalProperties"] = _strict(schema["additionalProperties"], False)
    if "items" in schema:
        strict["items"] = _strict(schema["items"], False)
    if top:
        strict["properties"]["metadata"] = {"type": "object"}
    return strict
