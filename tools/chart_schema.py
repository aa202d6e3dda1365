"""Writes the schema of the chart's values: what deploy/helm/values.schema.yaml says, with the settings of the services.

`--check` only tells whether it is up to date.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from services.runtime.settings import Settings
from tools.settings_page import services

CHECKOUT = Path(__file__).resolve().parents[1]
SOURCE = CHECKOUT / "deploy" / "helm" / "values.schema.yaml"
SCHEMA = CHECKOUT / "deploy" / "helm" / "sightline" / "values.schema.json"

PLACED = {
    "gateway": {"store", "encoders", "searchers", "redis_url", "tls_cert", "tls_key", "tls_client_ca", "keys"},
    "searcher": {"store", "group", "groups", "cache_dir"},
    "web": {"gateway", "gateway_ca", "gateway_cert", "gateway_cert_key", "gateway_key"},
}
"""Settings that the chart fills in itself, beside those of every process."""

PLACED_EVERYWHERE = {"listen", "health_listen"}


def main() -> int:
    """Writes or checks the schema; returns the exit code."""
    text = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    if sys.argv[1:] != ["--check"]:
        SCHEMA.write_text(text, encoding="utf-8")
    elif not SCHEMA.exists() or SCHEMA.read_text(encoding="utf-8") != text:
        print(f"{SCHEMA.relative_to(CHECKOUT)} is out of date: run make chart", file=sys.stderr)
        return 1
    return 0


def schema() -> dict[str, Any]:
    """Returns the whole schema."""
    kinds = {name: _settings(name, kind) for name, kind in services()}
    written: dict[str, Any] = _filled(yaml.safe_load(SOURCE.read_text(encoding="utf-8")), kinds)
    return written


def _filled(node: Any, kinds: dict[str, Any]) -> Any:
    """A copy in which every {settings: NAME} is what these settings may be."""
    if isinstance(node, list):
        return [_filled(one, kinds) for one in node]
    if not isinstance(node, dict):
        return node
    if node.keys() == {"settings"} and node["settings"] in kinds:
        return kinds[node["settings"]]
    return {name: _filled(value, kinds) for name, value in node.items()}


def _settings(service: str, kind: type[Settings]) -> dict[str, Any]:
    """What the settings of a service may be: their types and bounds, as their class declares them."""
    declared = kind.model_json_schema(mode="validation")["properties"]
    ours = PLACED.get(service, set()) | PLACED_EVERYWHERE
    named = {name: _plain(rule) for name, rule in declared.items() if name not in ours}
    return {"type": "object", "additionalProperties": False, "properties": named}


def _plain(rule: dict[str, Any]) -> dict[str, Any]:
    """Without titles, defaults, and what a variable of the environment cannot be."""
    choices = [choice for choice in rule.get("anyOf", []) if choice.get("type") != "null"]
    merged = {**rule, **(choices[0] if choices else {})}
    dropped = {"anyOf", "title", "default", "format", "writeOnly"}
    return {name: value for name, value in merged.items() if name not in dropped}


if __name__ == "__main__":
    sys.exit(main())
