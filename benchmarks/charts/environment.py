"""What the chart tells processes, and what the local cluster tells them, from the same values."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from pydantic import ValidationError

from benchmarks.charts.rendering import Object, Values, called, of_kind
from services.local.topology import Topology, plan
from services.local.values import read_values
from services.runtime.settings import PREFIX, Settings
from tools.chart_schema import PLACED, PLACED_EVERYWHERE

# What the local cluster has no use for, or gives by itself: names do not expire on loopback.
LOCAL = PLACED_EVERYWHERE | {"drain_seconds"}
GUARDED = {
    "tls_cert",
    "tls_key",
    "tls_client_ca",
    "keys",
    "gateway_ca",
    "gateway_cert",
    "gateway_cert_key",
    "gateway_key",
}


def faults(values: Values, objects: list[Object]) -> list[str]:
    """Where a release and a local cluster of the same values differ, or what no process would accept."""
    found, local = [], locally(values)
    for one in of_kind(objects, "Deployment"):
        role = one["metadata"]["labels"]["app.kubernetes.io/component"]
        if role == "redis":
            continue
        told = told_by_chart(one)
        found += [f"{called(one)}: {fault}" for fault in _refused(role, told)]
        here = local[one["metadata"]["labels"].get("sightline.dev/pool", role)]
        ours = PLACED.get(role, set()) | PLACED_EVERYWHERE
        said = {name: value for name, value in told.items() if name not in ours}
        spoken = {name: value for name, value in here.items() if name not in ours | LOCAL}
        settings = _settings_said(values, one)
        if "drain_seconds" in settings:
            spoken["drain_seconds"] = here["drain_seconds"]
        else:
            said.pop("drain_seconds")
        if role == "encoder" and "threads" not in settings:
            # One thread a core: of the pod's there, of the machine's here.
            said["threads"] = spoken["threads"] = "each"
        if said != spoken:
            found.append(f"{called(one)} is told {said}, a local process {spoken}")
        placed, placed_here = (told.keys() & ours) - GUARDED, (here.keys() & ours) - PLACED_EVERYWHERE
        if placed != placed_here:
            found.append(f"{called(one)} is told where {sorted(placed)} are, a local process {sorted(placed_here)}")
    return found


def told_by_chart(one: Object) -> dict[str, str]:
    """The settings of a Deployment's process, by name; those from Secrets with a text in their place."""
    (container,) = one["spec"]["template"]["spec"]["containers"]
    named = [(variable["name"], variable.get("value", "secret")) for variable in container["env"]]
    return {name.removeprefix(PREFIX).lower(): value for name, value in named if name.startswith(PREFIX)}


def locally(values: Values) -> dict[str, dict[str, str]]:
    """The settings of local processes, by role, and of encoders by pool."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "values.yaml"
        file.write_text(yaml.safe_dump(values), encoding="utf-8")
        read = read_values([file])
    pools = list(read.pools)
    redis = values.get("redis", {})
    specs = plan(
        Topology(encoders=len(pools), webs=1, redis=redis.get("enabled", True) or bool(redis.get("external"))),
        store=read.store,
        model="",
        run_dir=Path("/run"),
        overrides={**read.settings, **{f"encoder-{number}": read.pools[name] for number, name in enumerate(pools)}},
        variables=read.environment,
    )
    told = {}
    for spec in specs:
        name = pools[int(spec.name.split("-")[1])] if spec.role == "encoder" else spec.role
        named = ((key, value) for key, value in spec.environment.items() if key.startswith(PREFIX))
        told[name] = {key.removeprefix(PREFIX).lower(): value for key, value in named}
    return told


def _settings_said(values: Values, one: Object) -> Mapping[str, Any]:
    labels = one["metadata"]["labels"]
    workload = values.get(labels["app.kubernetes.io/component"], {})
    pool = workload.get("pools", {}).get(labels.get("sightline.dev/pool"), {})
    return {**workload.get("settings", {}), **pool.get("settings", {})}


def _refused(role: str, told: Mapping[str, str]) -> list[str]:
    """What the process itself would say to its settings."""
    module = importlib.import_module(f"services.{role}.settings")
    (kind,) = (one for name, one in vars(module).items() if name.lower() == f"{role}settings")
    assert issubclass(kind, Settings)
    unknown = [f"{name} is no setting" for name in told.keys() - kind.model_fields.keys()]
    try:
        kind(**told)
    except ValidationError as error:
        return unknown + [f"{fault['loc']}: {fault['msg']}" for fault in error.errors()]
    return unknown
