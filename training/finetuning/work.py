"""The folder of a run's states, which only that run goes on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


def claim(folder: Path, facts: Mapping[str, object]) -> None:
    """Notes which run a folder is of. Made where it is missing.

    Raises:
        ValueError: it has begun something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "run.json"
    if not file.exists():
        file.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        return
    begun = json.loads(file.read_text(encoding="utf-8"))
    if differing := [name for name in facts if begun.get(name) != facts[name]]:
        raise ValueError(f"{folder} is the work of another run: {differing[0]} was {begun.get(differing[0])}")
