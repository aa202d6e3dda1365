"""Values that make no sense are refused, by their names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from benchmarks.charts.rendering import Refused, render

FILE = Path(__file__).with_name("wrong.yaml")
STORE = {"store": {"url": "s3://bucket/index"}}


def cases() -> list[dict[str, Any]]:
    """Each with `values`, and the value that a refusal `names`."""
    read: list[dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return read


def refusal(values: dict[str, Any]) -> str:
    """What the chart says to values; empty where it takes them."""
    try:
        render({**STORE, **values})
    except Refused as refused:
        return str(refused)
    return ""


def named(message: str) -> set[str]:
    """The values that a refusal names: as the schema writes them (at '/a/b': …) or as sentences begin (a.b: …)."""
    found = {name.rstrip(":") for name in re.findall(r"(?<![\w/.])\w+(?:\.[\w-]+)*:", message)}
    for place, said in re.findall(r"at '(/?[^']*)': (.*)", message):
        dotted = place.strip("/").replace("/", ".")
        found.add(dotted)
        unknown = re.findall(r"'([^']*)'", said) if said.startswith(("additional propert", "missing propert")) else []
        found |= {f"{dotted}.{name}".lstrip(".") for name in unknown}
    return found


def faults() -> list[str]:
    """The values that were taken, or refused without being named."""
    found = []
    for case in cases():
        message = refusal(case["values"])
        if case["names"] not in named(message):
            found.append(f"{case['names']} is not named: {message or 'it was taken'}")
    return found
