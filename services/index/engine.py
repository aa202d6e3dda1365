"""FAISS, and nothing of it elsewhere.

Its parameters go with each call, never into a shared index. Its OpenMP threads are set by the environment before it is
imported: one, unless somebody said otherwise, since a second thread costs more CPU than it saves time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument

os.environ.setdefault("OMP_NUM_THREADS", "1")

import faiss as _faiss

# Its Python half is written without types, and half of it at import.
faiss: Any = _faiss

FLAT = "Flat"
_BLAS_FROM = 8
"""Queries in a batch from which a matrix product beats one pass for each."""
_GATHERED = 8192
"""Vectors that are copied together at a time."""


def use_threads(threads: int) -> None:
    """Lets FAISS use so many threads in calls from the calling thread; OpenMP counts for each thread apart."""
    faiss.omp_set_num_threads(threads)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Graphs and sums come out in the order in which threads finish: with one thread the same bytes every time."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def nearest(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Compares every query with every vector.

    Args:
        vectors: float32 [n, d], C-contiguous; may be a mapped file.
        queries: float32 [m, d], C-contiguous.
        k: 1 to n.

    Returns:
        Inner products, float32 [m, k], best first, right to float32 noise; and their rows, int64 [m, k].
    """
    faiss.cvar.distance_compute_blas_threshold = _BLAS_FROM * vectors.shape[1]
    scores, rows = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    return scores, rows


def make(factory: str, dimension: int) -> Any:
    """Returns an empty, untrained index.

    Raises:
        InvalidArgument: FAISS does not know the factory string; names it, and the field `index`.
    """
    try:
        return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as exc:
        message = f"{factory!r} is no FAISS index of inner products over {dimension} dimensions: {said(exc)}"
        raise InvalidArgument(message, reason="BAD_INDEX", field="index") from exc


def train(index: Any, factory: str, sample: NDArray[np.float32]) -> bytes:
    """Trains an index on the sample, float32 [n, d], and returns it serialised.

    Raises:
        InvalidArgument: the sample is too small; names the factory string and the field `index`.
    """
    if not index.is_trained:
        try:
            with _one_thread():
                index.train(np.ascontiguousarray(sample, np.float32))
        except RuntimeError as exc:
            message = f"{factory!r} cannot be trained on {len(sample)} vectors: {said(exc)}"
            raise InvalidArgument(message, reason="BAD_INDEX", field="index") from exc
    return bytes(faiss.serialize_index(index).tobytes())


def core(index: Any) -> Any:
    """Returns the part of an index that proposes rows; it lives as long as the whole.

    Without `RFlat` and its like, which would keep each vector a second time only to do what the searcher does with the
    stored ones, and without `IDMap`, since rows number themselves.
    """
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexRefine):
        return core(index.base_index)
    if isinstance(index, (faiss.IndexIDMap, faiss.IndexIDMap2)):
        return core(index.index)
    return index


class Filling:
    """A trained index that takes vectors, and is then written to a file."""

    def __init__(self, trained: bytes) -> None:
        self._trained = faiss.deserialize_index(np.frombuffer(trained, np.uint8).copy())
        self._index = core(self._trained)

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Adds float32 [n, d] as the next n rows."""
        with _one_thread():
            self._index.add(np.ascontiguousarray(vectors, np.float32))

    def write(self, path: Path) -> None:
        """Writes what `core` leaves of the index."""
        faiss.write_index(self._index, str(path))


def nearest_among(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], rows: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Compares every query with some of the vectors, where they lie.

    Args:
        vectors: float32 [n, d], C-contiguous; may be a mapped file.
        queries: float32 [m, d], C-contiguous.
        rows: int64 [r], those to compare with.
        k: 1 to r.

    Returns:
        As `nearest`.
    """
    if len(queries) >= _BLAS_FROM:
        return _nearest_gathered(vectors, queries, rows, k)
    scores = np.empty((len(queries), k), np.float32)
    found = np.empty((len(queries), k), np.int64)
    pointers = [faiss.swig_ptr(one) for one in (queries, vectors, rows, scores, found)]
    sizes = (vectors.shape[1], len(queries), len(vectors), len(rows), k)
    # The last: all queries are compared with the same rows.
    faiss.knn_inner_products_by_idx(*pointers[:3], *sizes, *pointers[3:], 0)
    return scores, found


def _nearest_gathered(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], rows: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Copies the vectors together, some at a time, for a matrix product: worth it from a batch on."""
    parts = [rows[first : first + _GATHERED] for first in range(0, len(rows), _GATHERED)]
    answers = [nearest(vectors[part], queries, min(k, len(part))) for part in parts]
    scores = np.concatenate([found for found, _ in answers], axis=1)
    found = np.concatenate([part[places] for part, (_, places) in zip(parts, answers, strict=True)], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(found, order, axis=1)


def inner_products(
    vectors: NDArray[np.float32], query: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Returns the inner products, float32 [r], of a query, float32 [d], with some rows, int64 [r], of the vectors."""
    scores = np.empty(len(rows), np.float32)
    pointers = [faiss.swig_ptr(one) for one in (scores, query, vectors, rows)]
    faiss.fvec_inner_products_by_idx(*pointers, vectors.shape[1], 1, len(rows))
    return scores


def said(error: Exception) -> str:
    """Returns what FAISS says went wrong: it prefixes its messages with the C++ function that they come from."""
    return str(error).rsplit(" failed: ", 1)[-1].rsplit(".cpp:", 1)[-1].split(": ", 1)[-1].strip()
