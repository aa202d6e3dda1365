"""The folder of a run's states, which only that run goes on from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path


def claim(folder: Path, facts: Mapping[str, object]) -> None:
    """Notes which run a folder is of. Made where it is missing.

    Args:
        facts: all that decides what comes of the run, by name, as JSON can hold it. A mapping's are told one by one.

    Raises:
        ValueError: it has begun something else; names each fact that differs, as it was and as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "run.json"
    if not file.exists():
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        fresh.replace(file)
        return
    begun = dict(_single(json.loads(file.read_text(encoding="utf-8"))))
    asked = dict(_single(json.loads(json.dumps(facts))))
    if differing := [name for name in {**begun, **asked} if begun.get(name) != asked.get(name)]:
        told = "; ".join(f"{name} was {begun.get(name)}, is {asked.get(name)}" for name in differing)
        raise ValueError(f"{folder} is the work of another run: {told}")


def _single(facts: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _single(value)
        else:
            yield name, value
