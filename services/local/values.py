"""The settings blocks of the chart's values, for the processes of this machine: the same file for both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from services.local.checks import OptionError
from services.local.topology import CHECKOUT

CHART = CHECKOUT / "deploy" / "helm" / "sightline"
ROLES = ("gateway", "web", "searcher", "encoder")


@dataclass(frozen=True, slots=True)
class Values:
    """What values say of processes; how many there are, and where, is the machine's affair.

    Attributes:
        settings: by role, by name, as text; of encoders those of the block, which pools lay theirs over.
        pools: the settings of each pool of encoders, in the order of their names.
        store: URL of the store; empty where none is said.
        environment: variables beside the store, such as AWS_ENDPOINT_URL.
    """

    settings: Mapping[str, Mapping[str, str]]
    pools: Mapping[str, Mapping[str, str]]
    store: str
    environment: Mapping[str, str]


def read_values(files: Sequence[Path]) -> Values:
    """Reads values files, each laid over the one before, and the first over the chart's own.

    Raises:
        OptionError: a file is none of values, or sets what no process knows.
    """
    values: dict[str, Any] = {}
    for file in (CHART / "values.yaml", *files):
        values = _over(values, _load(file))
    blocks = {role: values[role] for role in ROLES}
    known = json.loads((CHART / "values.schema.json").read_text())["properties"]
    settings = {role: _texts(role, block.get("settings"), known[role]) for role, block in blocks.items()}
    pools = blocks["encoder"].get("pools") or {"default": {}}
    return Values(
        settings=settings,
        pools={
            name: settings["encoder"] | _texts(f"encoder.pools.{name}", pool.get("settings"), known["encoder"])
            for name, pool in sorted(pools.items())
        },
        store=values["store"].get("url") or "",
        environment={name: as_text(value) for name, value in (values["store"].get("env") or {}).items()},
    )


def as_text(value: object) -> str:
    """A value as the chart writes it into a variable: as JSON has it, numbers in full, and text as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{Decimal(repr(value)).normalize():f}"
    return str(value)


def _load(file: Path) -> dict[str, Any]:
    try:
        read = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise OptionError(f"--values: {file}: {exc}") from exc
    if not isinstance(read, dict | None):
        raise OptionError(f"--values: {file} has no names and values")
    return read or {}


def _over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """One map laid over another, as Helm does it: null takes away."""
    merged = dict(base)
    for name, value in over.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
            merged[name] = _over(merged[name], value)
        else:
            merged[name] = value
    return merged


def _texts(where: str, settings: Mapping[str, Any] | None, schema: Mapping[str, Any]) -> dict[str, str]:
    known = schema["properties"]["settings"]["properties"]
    if unknown := sorted(set(settings or {}) - set(known)):
        raise OptionError(f"--values: {where}.settings.{unknown[0]} is no setting, or one that is filled in anyway")
    return {name: as_text(value) for name, value in (settings or {}).items()}
