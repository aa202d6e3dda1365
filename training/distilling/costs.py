"""What models cost: bytes of a folder, and CPU time for a text."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from services.encoder.exported import EXPORT_FILE, read
from services.encoder.ports import Model

ROUNDS = 7


def bytes_of(folder: Path) -> int:
    """The bytes of an export: all the files that belong to it. Raises LoadError where there is none."""
    return sum((folder / name).stat().st_size for name in (EXPORT_FILE, *read(folder).files))


def milliseconds(models: Mapping[str, Model], texts: Sequence[str], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """CPU milliseconds for a text, from text to vector, one text at a time, of each round.

    In each round every model is asked the same texts; who begins alternates. The first round warms up and is not
    counted. The models compute on one thread and must not remember texts, or the tokenizer would not be counted.

    Args:
        models: by name.
        texts: each round takes the next part of them, or the next one, round and round, where they are few.
        rounds: that are counted.
    """
    size, spent = max(1, len(texts) // (rounds + 1)), {name: list[float]() for name in models}
    for turn in range(rounds + 1):
        asked = [texts[place % len(texts)] for place in range(turn * size, (turn + 1) * size)]
        for name in list(models)[:: 1 if turn % 2 else -1]:
            took = _milliseconds(models[name], asked)
            if turn:
                spent[name].append(took)
    return spent


def medians(spent: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each model's rounds."""
    return {name: round(statistics.median(took), 4) for name, took in spent.items()}


def _milliseconds(model: Model, texts: Sequence[str]) -> float:
    began = time.process_time()
    for text in texts:
        model.finish(model.run_texts(model.prepare_texts([text])))
    return 1000 * (time.process_time() - began) / len(texts)
