"""How sure a mean over queries is, and whether two runs differ: by drawing queries again, and by swapping runs.

Both draw once for all measures, so that tens of thousands of queries take seconds; seeds make them repeatable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.measures import Values

RESAMPLES = 1_000
PERMUTATIONS = 10_000
CONFIDENCE = 0.95
SEED = 17
_AT_A_TIME = 4 << 20  # numbers drawn


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, and the bounds that it lies within."""

    mean: float
    low: float
    high: float


def resampled_means(values: Values, resamples: int = RESAMPLES, seed: int = SEED) -> Values:
    """The means of so many bootstrap samples: queries drawn with replacement, as many as there are.

    Args:
        values: float64 [queries, measures].

    Returns:
        float64 [resamples, measures].
    """
    chance, count = np.random.default_rng(seed), len(values)
    even = np.full(count, 1 / count)
    draws = (chance.multinomial(count, even, size) for size in _portions(resamples, count))
    return np.concatenate([drawn @ values / count for drawn in draws])


def estimates(means: Values, resampled: Values, confidence: float = CONFIDENCE) -> list[Estimate]:
    """Percentile intervals (Efron, 1979) of means, float64 [measures], from their resampled ones."""
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return [Estimate(*map(float, row)) for row in zip(means, low, high, strict=True)]


def p_values(differences: Values, permutations: int = PERMUTATIONS, seed: int = SEED) -> NDArray[np.float64]:
    """Two-sided p of a paired randomisation test (Fisher; Smucker, Allan and Carterette, 2007).

    If it made no difference which run an answer came from, the sign of each query's difference would be chance. So the
    share of random signs whose mean is at least as far from 0 as the one seen is p; with few queries all signs are
    tried. The signs that were seen count among the random ones, so that p is never 0.

    Args:
        differences: float64 [queries, measures].

    Returns:
        float64 [measures].
    """
    count = len(differences)
    seen = np.abs(differences.sum(axis=0)) - 1e-9 * count  # sums of other orders differ in their last digits
    if 2**count <= permutations:
        every = np.arange(2**count)[:, None] >> np.arange(count) & 1
        share: NDArray[np.float64] = (np.abs((1.0 - 2 * every) @ differences) >= seen).mean(axis=0)
        return share
    chance = np.random.default_rng(seed)
    at_least = np.ones(differences.shape[1])
    for size in _portions(permutations, count):
        signs = 1.0 - 2 * chance.integers(0, 2, (size, count), dtype=np.int8)
        at_least += (np.abs(signs @ differences) >= seen).sum(axis=0)
    return at_least / (permutations + 1)


def holm(p: Sequence[float]) -> list[float]:
    """The p of several tests, each raised so that the chance of any false alarm among them stays (Holm, 1979)."""
    order = np.argsort(p)
    raised = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(raised, 1)
    return [float(one) for one in adjusted]


def _portions(total: int, width: int) -> Iterator[int]:
    size = max(1, _AT_A_TIME // width)
    for start in range(0, total, size):
        yield min(size, total - start)
