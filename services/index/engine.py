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

from sightline.errors import FailedPrecondition, InvalidArgument

os.environ.setdefault("OMP_NUM_THREADS", "1")

import faiss as _faiss

# Its Python half is written without types, and half of it at import.
faiss: Any = _faiss

FLAT = "Flat"
_BLAS_FROM = 8
"""Queries in a batch from which a matrix product beats one pass for each."""


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
        message = f"{factory!r} is no FAISS index of inner products over {dimension} dimensions: {_said(exc)}"
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
            message = f"{factory!r} cannot be trained on {len(sample)} vectors: {_said(exc)}"
            raise InvalidArgument(message, reason="BAD_INDEX", field="index") from exc
    return bytes(faiss.serialize_index(index).tobytes())


class Filling:
    """A trained index that takes vectors, and is then written to a file."""

    def __init__(self, trained: bytes) -> None:
        self._index = faiss.deserialize_index(np.frombuffer(trained, np.uint8).copy())
        # Such an index wants to be told the numbers that the others count.
        self._numbered = isinstance(self._index, (faiss.IndexIDMap, faiss.IndexIDMap2))

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Adds float32 [n, d] as the next n rows."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        with _one_thread():
            if self._numbered:
                first = self._index.ntotal
                self._index.add_with_ids(vectors, np.arange(first, first + len(vectors), dtype=np.int64))
            else:
                self._index.add(vectors)

    def write(self, path: Path) -> None:
        """Writes the index."""
        faiss.write_index(self._index, str(path))


class Coarse:
    """An index of compressed codes, or a graph, read from a file: it proposes, the stored vectors decide.

    Raises:
        FailedPrecondition: FAISS cannot read the file, or it has other rows or dimensions (CORRUPT_GENERATION).
    """

    def __init__(self, path: Path, rows: int, dimension: int) -> None:
        try:
            self._index = faiss.read_index(str(path))
        except RuntimeError as exc:
            raise FailedPrecondition(f"{path.name}: {_said(exc)}", reason="CORRUPT_GENERATION") from exc
        if (self._index.ntotal, self._index.d) != (rows, dimension):
            message = f"{path.name} has {self._index.ntotal} rows of {self._index.d}, not {rows} of {dimension}"
            raise FailedPrecondition(message, reason="CORRUPT_GENERATION")

    def propose(self, query: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Returns up to `k` rows, int64 [<= k], that may be nearest to the query, float32 [d].

        One query a call: what FAISS makes of a query in a batch may depend on the batch.
        """
        _, rows = self._index.search(query[None, :], k, params=_parameters(self._index, k))
        return np.asarray(rows[0][rows[0] >= 0])


def _parameters(index: Any, k: int) -> Any:
    """Returns how hard to look, for the kind of index; None where there is nothing to say."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(index.index, k)
        return inner and faiss.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexRefine):
        inner = _parameters(index.base_index, k)
        return inner and faiss.IndexRefineSearchParameters(k_factor=1.0, base_index_params=inner)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=max(64, k))
    if isinstance(index, faiss.IndexIVFPQ):
        return faiss.IVFPQSearchParameters(nprobe=_probes(index.nlist))
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(nprobe=_probes(index.nlist))
    return None


def _probes(lists: int) -> int:
    return min(lists, max(16, lists // 16))


def _said(error: Exception) -> str:
    """FAISS prefixes its messages with the C++ function that they come from."""
    return str(error).rsplit(" failed: ", 1)[-1].rsplit(".cpp:", 1)[-1].split(": ", 1)[-1].strip()
