"""Writes benchmarks/ghz, and the same into the chart: scenarios for a demonstration, or any cluster by other rates.

    python -m benchmarks.load.scenarios

They are written by a program because a Zipf mix is too long to write by hand, and so that all have the same defaults.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from itertools import accumulate, product
from pathlib import Path
from typing import Any, TypeAlias

_CHECKOUT = Path(__file__).resolve().parents[2]
FOLDERS = (_CHECKOUT / "benchmarks" / "ghz", _CHECKOUT / "deploy" / "helm" / "sightline" / "load")
"""A chart can hand out only what lies in its own folder."""

COLOURS = ("red", "green", "blue", "yellow", "black", "white", "tiny", "smiling", "two", "old")
THINGS = ("apple", "heart", "cat", "flag", "book", "car", "flower", "face", "house", "fish")
TEXTS = tuple(" ".join(words) for words in product(COLOURS, THINGS))

NEW = "{{randomInt 100000 999999999}}"
"""Makes a text that was never asked before; ghz fills it in for each call."""

VOCABULARY = 100_000
"""Distinct questions of the mix: the r-th is asked in proportion to 1/r, and those beyond TEXTS but once."""

MIXED = 400
TOGETHER = 16

Messages: TypeAlias = Sequence[Mapping[str, Any]]


def common(name: str) -> dict[str, Any]:
    """What all scenarios share. ghz's own defaults mislead: docs/load.md says in which way."""
    return {
        "name": name,
        "host": "127.0.0.1:7700",
        "insecure": True,
        "async": True,
        "connections": 4,
        "lb-strategy": "round_robin",
        "count-errors": True,
        "duration-stop": "wait",
        "timeout": "5s",
    }


def scenarios() -> dict[str, dict[str, Any]]:
    """Returns the scenarios by name."""
    steps = {"load-schedule": "step", "load-start": 10, "load-step": 10, "load-step-duration": "5s", "load-end": 50}
    written = [
        _scenario("miss", "Search", misses(), rps=40, total=1200),
        _scenario("hit", "Search", [_text(text) for text in TEXTS[:16]], rps=100, total=3000),
        _scenario("zipf", "Search", zipf(), rps=60, total=1800),
        _scenario("batch", "SearchBatch", [{"requests": misses(TOGETHER)}], rps=4, total=120),
        _scenario("stream", "SearchStream", _streamed(), rps=4, total=120),
        _scenario("steps", "Search", misses(), total=750, **steps),
        _scenario("errors", "Search", errors(), rps=40, total=1200),
    ]
    return {one["name"]: one for one in written}


def misses(count: int = 50) -> Messages:
    """Questions that no cache has the answer of."""
    return [_text(f"{text} {NEW}") for text in TEXTS[::2][:count]]


def zipf() -> Messages:
    """Questions as people ask them: a few again and again, about half of them but once."""
    chance, weights = random.Random(7), [1 / rank for rank in range(1, VOCABULARY + 1)]
    drawn = chance.choices(range(VOCABULARY), cum_weights=[*accumulate(weights)], k=MIXED)
    return [_text(TEXTS[rank] if rank < len(TEXTS) else f"{TEXTS[rank % len(TEXTS)]} {NEW}") for rank in drawn]


def errors() -> Messages:
    """Ten questions, three of which are refused, each for a reason of its own."""
    good = [*misses(4), *(_text(text) for text in TEXTS[:3])]
    bad = [_text("") | {"top_k": 3}, _text("apple") | {"top_k": 5000}, _text("apple") | {"collection": "nothing"}]
    return [good[0], bad[0], *good[1:3], bad[1], *good[3:6], bad[2], good[6]]


def write() -> None:
    """Writes the scenarios to where they are read from."""
    for folder in FOLDERS:
        folder.mkdir(exist_ok=True)
        for name, one in scenarios().items():
            (folder / f"{name}.json").write_text(as_text(one), encoding="utf-8")


def as_text(scenario: Mapping[str, Any]) -> str:
    """Returns a file's text: a line for each key, and for each message."""
    lines = [f"  {json.dumps(key)}: {json.dumps(one)}" for key, one in scenario.items() if key != "data"]
    messages = ",\n".join(f"    {json.dumps(one)}" for one in scenario["data"])
    return "{\n" + ",\n".join([*lines, f'  "data": [\n{messages}\n  ]']) + "\n}\n"


def _scenario(name: str, method: str, data: Messages, **own: object) -> dict[str, Any]:
    return common(name) | {"call": f"sightline.v1.SearchService/{method}", **own, "data": data}


def _text(text: str) -> dict[str, Any]:
    return {"query": {"text": text}}


def _streamed() -> Messages:
    return [{"correlation_id": str(place), "request": one} for place, one in enumerate(misses(TOGETHER))]


if __name__ == "__main__":
    write()
