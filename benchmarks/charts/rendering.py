"""The chart, rendered without a cluster by the engine of Helm."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml
from helm_python import _native

CHECKOUT = Path(__file__).resolve().parents[2]
CHART = CHECKOUT / "deploy" / "helm" / "sightline"
EXAMPLES = CHART / "examples"

Values = Mapping[str, Any]
Object = dict[str, Any]

Refused = helm.HelmError
"""The chart does not take some values; the message says which."""


def examples() -> dict[str, Values]:
    """The example values files, by name."""
    return {file.stem: read(file) for file in sorted(EXAMPLES.glob("*.yaml"))}


def read(file: Path) -> dict[str, Any]:
    """The values of a file."""
    values: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return values


def render_texts(
    values: Values, *, name: str = "sightline", namespace: str = "search", kube: str = "1.33"
) -> dict[str, str]:
    """What each template comes to, by its file. Raises Refused."""
    # The public method knows of no version; a handle is good for one rendering, which prunes it.
    release = {"name": name, "namespace": namespace, "kube_version": f"v{kube}.0", "api_versions": []}
    with helm.Chart.load(str(CHART)) as chart:
        texts: dict[str, str] = json.loads(
            _native.call_string("helm_render", chart._raw(), json.dumps(values), json.dumps(release))
        )
    return texts


def render(values: Values, *, name: str = "sightline", namespace: str = "search", kube: str = "1.33") -> list[Object]:
    """All objects of a release. Raises Refused."""
    texts = render_texts(values, name=name, namespace=namespace, kube=kube)
    return [
        one for file, text in sorted(texts.items()) if file.endswith(".yaml") for one in yaml.safe_load_all(text) if one
    ]


def lint(values: Values, kube: str) -> list[str]:
    """What `helm lint --strict` has to say."""
    return list(
        helm.lint(str(CHART), dict(values), strict=True, namespace="search", kube_version=f"v{kube}.0")["errors"]
    )


def pod_templates(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Each object that makes pods, with the pod's metadata and specification."""
    for one in objects:
        match one["kind"]:
            case "Deployment" | "Job":
                yield one, one["spec"]["template"]
            case "CronJob":
                yield one, one["spec"]["jobTemplate"]["spec"]["template"]
            case "Pod":
                yield one, one


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """The objects of some kinds."""
    return [one for one in objects if one["kind"] in kinds]


def called(one: Object) -> str:
    """An object as people call it."""
    return f"{one['kind']}/{one['metadata']['name']}"
