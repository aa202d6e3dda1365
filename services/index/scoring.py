"""Final scores: from stored vectors, in a fixed order of summation, so that they depend on query and image alone.

A matrix product sums in an order that depends on its size, so that the same query may score 1e-7 more in another
batch. Here each candidate's products are summed in float64 by itself, and rounded once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.index.segment import Segment
from services.runtime.ranking import PRECISION, sort_keys

SLACK = 16
"""Candidates beyond k, so that a near-tie at rank k is decided by final scores."""

NOISE = 4e-6
"""More than a float32 inner product of unit vectors differs from the exact one: about 3e-7 at 1,024 dimensions."""

_STEPS = (32, 64, 128, 256, 512, 1024, 2048)
"""Widths of a candidate list: few, so that like goes with like; a query's own k alone decides which."""


def width_for(k: int, *, exact: bool) -> int:
    """Returns how many candidates to look at for `k` hits. An index of codes is asked for more: it orders by guess."""
    wanted = k + SLACK if exact else 2 * k + SLACK
    return next((step for step in _STEPS if step >= wanted), wanted)


def best(
    segment: Segment, query: NDArray[np.float32], rows: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Returns the final scores, float32, and the rows, int64, of the best `k` of the given rows, best first."""
    scores = final_scores(segment.vectors, query, rows)
    # Rows lie in the order of their ids, so that among equal scores the lower row comes first.
    order = np.lexsort((rows, sort_keys(scores)))[:k]
    return scores[order], rows[order]


def final_scores(
    vectors: NDArray[np.float32], query: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Returns the inner products, float32 [n], of the query, float32 [d], with the given rows, int64 [n]."""
    exact: NDArray[np.float64] = np.einsum("nd,d->n", vectors[rows].astype(np.float64), query.astype(np.float64))
    return exact.astype(np.float32)


def may_be_missing(floor: float, scores: NDArray[np.float32], k: int) -> bool:
    """Returns whether a row that was no candidate, and so scores at most `floor`, may be one of the best `k`."""
    return len(scores) >= k and floor >= reach(scores, k)


def reach(scores: NDArray[np.float32], k: int) -> float:
    """Returns the score, to float32 noise, below which no row can be among the best `k`; `scores` are best first."""
    return float(scores[k - 1]) - 1 / PRECISION - NOISE
