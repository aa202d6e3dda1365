"""Indexes of compressed codes, and graphs: they propose, the stored vectors decide.

A filter goes into FAISS as a selector of rows. That alone would lose what lies far from the query: the lists nearest to
it may hold nothing that meets the filter. So with a filter only lists that hold matching rows count as probed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.index.engine import core, faiss, said
from services.index.matching import Matching
from sightline.errors import FailedPrecondition

_ENOUGH = 4
"""Matching rows in the lists that are probed, for each that is wanted."""

_MAX_EF = 1024
"""The widest beam in a graph: where a filter would need more, comparing its rows is cheaper."""

Vectors = NDArray[np.float32]


class Coarse:
    """An index that is no Flat one, read from a file.

    Raises:
        FailedPrecondition: FAISS cannot read the file, or it has other rows or dimensions (CORRUPT_GENERATION).
    """

    def __init__(self, path: Path, rows: int, dimension: int) -> None:
        try:
            self._whole = faiss.read_index(str(path))
        except RuntimeError as exc:
            raise FailedPrecondition(f"{path.name}: {said(exc)}", reason="CORRUPT_GENERATION") from exc
        self._index = core(self._whole)
        if (self._index.ntotal, self._index.d) != (rows, dimension):
            message = f"{path.name} has {self._index.ntotal} rows of {self._index.d}, not {rows} of {dimension}"
            raise FailedPrecondition(message, reason="CORRUPT_GENERATION")
        self._transform, self._inner = _unwrap(self._index)
        self._list_of = _list_of(self._inner, rows) if isinstance(self._inner, faiss.IndexIVF) else None
        self._selects = self._list_of is not None or _takes_selector(self._index)

    def propose(self, query: Vectors, k: int) -> NDArray[np.int64]:
        """Returns up to `k` rows, int64 [<= k], that may be nearest to the query, float32 [d].

        One query a call: what FAISS makes of a query in a batch may depend on the batch.
        """
        _, rows = self._index.search(query[None, :], k, params=_parameters(self._index, k))
        return np.asarray(rows[0][rows[0] >= 0])

    def can_propose_among(self, count: int) -> bool:
        """Whether so many matching rows are looked for better here than by comparing each of them."""
        if isinstance(self._inner, faiss.IndexHNSW):
            return self._selects and self._index.ntotal <= count * _MAX_EF // 64
        return self._selects

    def lists(self, mask: NDArray[np.bool_]) -> NDArray[np.int32] | None:
        """Returns how many of the rows in a mask each inverted list holds; None where there are no lists."""
        if self._list_of is None:
            return None
        return np.bincount(self._list_of[mask], minlength=self._inner.nlist).astype(np.int32)

    def propose_among(self, query: Vectors, k: int, matching: Matching) -> NDArray[np.int64]:
        """Returns up to `k` of the matching rows, int64 [<= k], that may be nearest to the query, float32 [d]."""
        selector = faiss.IDSelectorBitmap(matching.bits)
        if self._list_of is not None:
            return self._probe(self._transform(query[None, :]), k, matching, selector)
        beam = max(64, k) * self._index.ntotal // matching.count
        _, rows = self._index.search(query[None, :], k, params=_parameters(self._index, beam, selector))
        return np.asarray(rows[0][rows[0] >= 0])

    def _probe(self, query: Vectors, k: int, matching: Matching, selector: Any) -> NDArray[np.int64]:
        held = matching.lists
        assert held is not None
        total = self._inner.nlist
        probes = min(total, round(_wider(matching) * _probes(total)))
        for ranked in sorted({min(8 * probes, total), total}):
            scores, lists = (row[0] for row in self._inner.quantizer.search(query, ranked))
            # A graph over the centroids finds fewer than it is asked for: the others are -1.
            holding = np.flatnonzero((lists >= 0) & (held[lists] > 0))
            enough = 1 + int(np.searchsorted(np.cumsum(held[lists[holding]]), _ENOUGH * k))
            if len(holding) >= max(probes, enough):
                break
        chosen = holding[: max(probes, enough)]
        if not len(chosen):
            return np.empty(0, np.int64)
        parameters = _ivf_parameters(self._inner, len(chosen), selector)
        # FAISS's Python half would take no parameters here.
        found, rows = np.empty(k, np.float32), np.empty(k, np.int64)
        arrays = (np.ascontiguousarray(query), lists[chosen], scores[chosen], found, rows)
        asked, *others = map(faiss.swig_ptr, arrays)
        self._inner.search_preassigned_c(1, asked, k, *others, False, parameters)
        return rows[rows >= 0]


def _unwrap(index: Any) -> tuple[Callable[[Vectors], Vectors], Any]:
    """Returns what is done to a query before the innermost index sees it, and that index."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        transform, inner = _unwrap(index.index)
        return (lambda query: transform(_through(index.chain, query))), inner
    return (lambda query: query), index


def _wider(matching: Matching) -> float:
    """How many times as many lists are probed as without a filter: the rarer the matches, the farther are the best."""
    return 4.0 + math.log10(matching.total / matching.count)


def _through(chain: Any, query: Vectors) -> Vectors:
    for place in range(chain.size()):
        query = faiss.downcast_VectorTransform(chain.at(place)).apply(query)
    return query


def _list_of(index: Any, rows: int) -> NDArray[np.int32]:
    """Returns the inverted list that each row is in, int32 [n]."""
    held = np.zeros(rows, np.int32)
    for number in range(index.nlist):
        if size := index.invlists.list_size(number):
            held[faiss.rev_swig_ptr(index.invlists.get_ids(number), size)] = number
    return held


def _takes_selector(index: Any) -> bool:
    """Whether FAISS can search this kind of index with a selector: it says so only when it is asked to."""
    everything = faiss.IDSelectorBitmap(np.full(-(-index.ntotal // 8), 255, np.uint8))
    try:
        index.search(np.ones((1, index.d), np.float32), 1, params=_parameters(index, 1, everything))
    except RuntimeError:
        return False
    return True


def _parameters(index: Any, k: int, selector: Any = None) -> Any:
    """Returns how hard to look, for the kind of index; None where there is nothing to say."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(index.index, k, selector)
        return inner and faiss.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=max(64, k), sel=selector)
    if isinstance(index, faiss.IndexIVF):
        return _ivf_parameters(index, _probes(index.nlist), selector)
    return faiss.SearchParameters(sel=selector) if selector else None


def _ivf_parameters(index: Any, probes: int, selector: Any) -> Any:
    kind = faiss.IVFPQSearchParameters if isinstance(index, faiss.IndexIVFPQ) else faiss.SearchParametersIVF
    return kind(nprobe=probes, sel=selector)


def _probes(lists: int) -> int:
    return min(lists, max(16, lists // 16))
