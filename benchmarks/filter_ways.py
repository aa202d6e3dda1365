"""The two ways in which an index of codes finds matching rows, side by side: as a selector of FAISS, and one by one.

    python -m benchmarks.filter_ways

Prints, for shares of 200,000 images, CPU µs of a query whose filter is remembered, and recall@10. From where the first
costs less is what `FEW` of services/index/segment.py says.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from benchmarks.filters import FOLDER, IMAGES, IVF, Scale, ask, attributes_of, built, recall
from benchmarks.variations import texts_and_images
from services.index import LoadedGeneration, segment, use_threads
from sightline import Filter, attribute

SHARES = (5000, 2000, 1000, 500, 250, 100, 10, 1)
"""Ten-thousandths of the images that match."""

ROUNDS = 3
QUERIES = 100
ALL = 1 << 62


def main() -> None:
    """Measures, and prints a row for each share."""
    use_threads(1)
    texts, images = texts_and_images(IMAGES)
    scale = Scale(images, attributes_of(images), texts[:QUERIES])
    part = built(IVF, scale, FOLDER)
    print(f"unfiltered: {_cost(part, scale, None):,.0f} µs")
    print("| matching | selector, µs (recall@10) | one by one, µs (recall@10) |\n|---|---|---|")
    for below in SHARES:
        condition = attribute("share").between(less_than=below)
        mask = scale.attributes["share"] < below
        cells = []
        for few in (0, ALL):
            with _few(few):
                found = recall(ask(part, scale.texts, condition), scale, mask)
                cells.append(f"{_cost(part, scale, condition):,.0f} ({found:.3f})")
        print(f"| {below / 100:g} % | {' | '.join(cells)} |", flush=True)


@contextmanager
def _few(numbers: int) -> Iterator[None]:
    """Compares matching rows one by one up to so many numbers."""
    before, segment.FEW = segment.FEW, numbers
    try:
        yield
    finally:
        segment.FEW = before


def _cost(part: LoadedGeneration, scale: Scale, condition: Filter | None) -> float:
    """CPU µs a query, the median of some rounds."""
    spent: Sequence[float] = [_spent(part, scale, condition) for _ in range(ROUNDS)]
    return float(np.median(spent)) * 1e6


def _spent(part: LoadedGeneration, scale: Scale, condition: Filter | None) -> float:
    began = time.process_time()
    ask(part, scale.texts, condition)
    return (time.process_time() - began) / len(scale.texts)


if __name__ == "__main__":
    main()
