"""Exact ranking of a pool by vectors, in the product's order: by score rounded to 1e-6, then by id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from services.runtime.ranking import sort_keys

_AT_A_TIME = 8 << 20  # scores held


def rank(
    questions: NDArray[np.float32], pool: NDArray[np.float32], ids: Sequence[str], depth: int
) -> Iterator[tuple[tuple[str, ...], tuple[float, ...]]]:
    """For each question the ids and cosines of the nearest `depth` of the pool, best first.

    Args:
        questions, pool: unit vectors, float32 [n, d] and [m, d].
        ids: m of them, distinct.
    """
    order = sorted(range(len(ids)), key=ids.__getitem__)  # by code point, which is by UTF-8
    names, vectors = [ids[place] for place in order], pool[order]
    portion = max(1, _AT_A_TIME // max(1, len(names)))
    for start in range(0, len(questions), portion):
        for row in questions[start : start + portion] @ vectors.T:
            best = best_places(row, depth)
            yield tuple(names[place] for place in best), tuple(float(row[place]) for place in best)


def best_places(scores: NDArray[np.float32], depth: int) -> NDArray[np.int64]:
    """Places of the best `depth` scores, best first; of scores equal to 1e-6 the first places come first."""
    keys = sort_keys(scores)
    places = np.arange(len(keys))
    if depth < len(keys):
        # All that are as good as the last that is wanted, since which of those is wanted the order decides.
        places = np.flatnonzero(keys <= np.partition(keys, depth - 1)[depth - 1])
    return places[np.argsort(keys[places], kind="stable")][:depth]
