"""What the right answer is: brute force in float64 over all vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sightline import SearchResult

Vectors = NDArray[np.float64]

TIE = 2e-6
"""Scores of the oracle that differ by less may come in either order, and either may be the last."""

SCORE_ERROR = 1e-5
"""How far an answer's score may be from the oracle's."""


def unit(vector: NDArray[np.float32] | Vectors) -> Vectors:
    """Returns the unit vectors, float64 [..., d]."""
    exact = np.asarray(vector, np.float64)
    return np.asarray(exact / np.linalg.norm(exact, axis=-1, keepdims=True))


@dataclass(frozen=True)
class Verdict:
    """What is wrong with an answer, nothing where it is right; and how far its scores are off at the most."""

    faults: tuple[str, ...]
    score_error: float


class Oracle:
    """Knows the vector of every image.

    Args:
        ids: of the images.
        vectors: unit, float64 [n, d], in the same order.
    """

    def __init__(self, ids: Sequence[str], vectors: Vectors) -> None:
        self.ids, self._vectors = list(ids), vectors
        self.dimension = vectors.shape[1]
        self._places: Mapping[str, int] = {identifier: place for place, identifier in enumerate(ids)}

    def vector(self, identifier: str) -> Vectors:
        """Returns the unit vector, float64 [d], of an image."""
        return np.asarray(self._vectors[self._places[identifier]])

    def judge(self, result: SearchResult, query: Vectors, k: int) -> Verdict:
        """Compares an answer with brute force.

        Args:
            result: the answer.
            query: unit, float64 [d].
            k: how many hits were asked for.
        """
        scores = self._vectors @ query
        ids = [hit.id for hit in result.hits]
        wanted = min(k, len(self.ids))
        if len(ids) != wanted or len(set(ids)) != wanted or not self._places.keys() >= set(ids):
            return Verdict((f"{len(ids)} hits, {len(set(ids))} of them distinct, not {wanted}",), 0.0)
        places = [self._places[identifier] for identifier in ids]
        found = np.array([hit.score for hit in result.hits], np.float64)
        error = float(np.abs(found - scores[places]).max())
        checks = _Checks()
        checks.that(error <= SCORE_ERROR, f"a score is off by {error:.2g}")
        checks.that(_in_order(scores[places]), "the oracle has another order")
        checks.that(_are_best(scores, places), "an image that is not among the hits scores higher")
        checks.faults += well_formed(result, k)
        return Verdict(tuple(checks.faults), error)


def well_formed(result: SearchResult, k: int, *, all_of_them: bool = True) -> tuple[str, ...]:
    """Returns what is wrong with an answer by what it says of itself.

    Args:
        result: the answer.
        k: how many hits were asked for.
        all_of_them: whether there must be k hits where k images match.
    """
    ids = [hit.id for hit in result.hits]
    wanted = min(k, result.coverage.images_matched)
    checks = _Checks()
    checks.that(len(ids) == wanted if all_of_them else len(ids) <= wanted, f"{len(ids)} hits, not {wanted}")
    checks.that(len(set(ids)) == len(ids), "a hit is there twice")
    checks.that(_in_documented_order(result), "hits are not in the order of score rounded to 1e-6, then id")
    checks.that(all(hit.image.id == hit.id for hit in result.hits), "a hit has the image of another")
    return tuple(checks.faults)


@dataclass(slots=True)
class _Checks:
    faults: list[str] = field(default_factory=list)

    def that(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)


def _in_order(scores: Vectors) -> bool:
    """Whether none, float64 [k], is followed by one that is higher by a tie or more."""
    later = np.maximum.accumulate(scores[::-1])[::-1]
    return bool((later[1:] - scores[:-1] < TIE).all())


def _are_best(scores: Vectors, places: Sequence[int]) -> bool:
    """Whether none that was left out is higher than one that was not, by a tie or more."""
    left_out = np.delete(scores, places)
    return not left_out.size or bool(left_out.max() - scores[list(places)].min() < TIE)


def _in_documented_order(result: SearchResult) -> bool:
    keys = [(round(-np.float64(np.float32(hit.score)) * 1e6), hit.id.encode()) for hit in result.hits]
    return keys == sorted(keys)
