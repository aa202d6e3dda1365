"""Exact ranking of a pool by vectors, in the product's order: by score rounded to 1e-6, then by id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from services.runtime.ranking import sort_keys

_AT_A_TIME = 8 << 20  # scores held


class Pool:
    """Pictures that are ranked.

    Args:
        ids: n of them, distinct.
        vectors: unit vectors, float32 [n, d].
    """

    def __init__(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        order = sorted(range(len(ids)), key=ids.__getitem__)  # by code point, which is by UTF-8
        self.ids, self.vectors = [ids[place] for place in order], vectors[order]
        self._places = {identifier: place for place, identifier in enumerate(self.ids)}

    def __getitem__(self, identifier: str) -> NDArray[np.float32]:
        """A picture's vector, float32 [d]. Raises KeyError where there is no such picture."""
        vector: NDArray[np.float32] = self.vectors[self._places[identifier]]
        return vector

    def search(self, questions: NDArray[np.float32], depth: int) -> Iterator[tuple[tuple[str, ...], tuple[float, ...]]]:
        """For each question, float32 [m, d], the ids and cosines of the nearest `depth`, best first."""
        portion = max(1, _AT_A_TIME // max(1, len(self.ids)))
        for start in range(0, len(questions), portion):
            for row in questions[start : start + portion] @ self.vectors.T:
                best = best_places(row, depth)
                yield tuple(self.ids[place] for place in best), tuple(float(row[place]) for place in best)


def best_places(scores: NDArray[np.float32], depth: int) -> NDArray[np.int64]:
    """Places of the best `depth` scores, best first; of scores equal to 1e-6 the first places come first."""
    keys = sort_keys(scores)
    places = np.arange(len(keys))
    if depth < len(keys):
        # All that are as good as the last that is wanted, since which of those is wanted the order decides.
        places = np.flatnonzero(keys <= np.partition(keys, depth - 1)[depth - 1])
    return places[np.argsort(keys[places], kind="stable")][:depth]
