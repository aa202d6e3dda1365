"""The order of hits, the same in every shard, group and gateway."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PRECISION = 1_000_000
"""Scores that agree when multiplied by this and rounded are equal: float noise must not decide a rank."""


def merge(lists: Sequence[tuple[NDArray[np.float32], Sequence[bytes]]], k: int) -> list[tuple[int, int]]:
    """Returns the best `k` of several lists of hits, best first: (which list, place in that list).

    Higher scores come first; scores that are equal to 1e-6 are ordered by id. The lists need not be sorted.

    Args:
        lists: scores, float32 [n], and as many ids, UTF-8.
        k: how many to return at the most.
    """
    keyed = [
        (key, identifier, which, place)
        for which, (scores, ids) in enumerate(lists)
        for place, (key, identifier) in enumerate(zip(sort_keys(scores).tolist(), ids, strict=True))
    ]
    keyed.sort()
    return [(which, place) for _, _, which, place in keyed[:k]]


def sort_keys(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Returns int64 [n] that sort ascending where the scores, float32 [n], sort descending, rounded to 1e-6."""
    return np.rint(scores.astype(np.float64) * -PRECISION).astype(np.int64)
