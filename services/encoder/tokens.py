"""Texts as token ids: remembered within bounds, and grouped so that a long text does not make short ones pay."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from services.encoder.ports import Ids


class Tokens:
    """Turns texts into token ids. For one thread.

    Args:
        rows: texts to ids, int64 [n, context], as the model's tokenizer makes them.
        ends: where each row may be cut, int64 [n]; None keeps rows whole.
        casefold: whether texts are case-folded first.
        capacity: texts to remember.
        words: the tokenizer's own memory of words, which it never empties, and how many of its entries must stay.
    """

    def __init__(
        self,
        rows: Callable[[list[str]], NDArray[np.int64]],
        ends: Callable[[NDArray[np.int64]], NDArray[np.int64]] | None,
        *,
        casefold: bool = False,
        capacity: int = 65_536,
        words: tuple[dict[str, str], int] = ({}, 0),
    ) -> None:
        self._rows, self._ends, self._casefold, self._capacity = rows, ends, casefold, capacity
        self._words, self._kept_words = words
        self._known: OrderedDict[str, Ids] = OrderedDict()

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        """Returns the ids of each text, int64 [length], at most as many as the model's context holds."""
        # Case-folding may leave what is no longer NFC.
        folded = [normalize("NFC", text.casefold()) if self._casefold else text for text in texts]
        missing = [text for text in dict.fromkeys(folded) if text not in self._known]
        found = dict(zip(missing, self._tokenise(missing), strict=True)) if missing else {}
        for text in folded:
            if text in self._known:
                self._known.move_to_end(text)
                found[text] = self._known[text]
        self._remember(missing, found)
        return [found[text] for text in folded]

    def _tokenise(self, texts: list[str]) -> list[Ids]:
        rows = self._rows(texts)
        if len(self._words) > self._capacity:
            for word in list(islice(self._words, self._kept_words, None)):
                del self._words[word]
        if self._ends is None:
            return list(rows)
        # Copies, or each remembered text would hold on to the whole batch.
        return [row[:end].copy() for row, end in zip(rows, self._ends(rows), strict=True)]

    def _remember(self, missing: Sequence[str], found: dict[str, Ids]) -> None:
        for text in missing:
            self._known[text] = found[text]
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)


def runs(
    batch: Sequence[Ids], call_cost: int, *, step: int = 1, context: int | None = None
) -> Iterator[tuple[list[int], NDArray[np.int64], NDArray[np.int64]]]:
    """Splits a batch of texts into runs through the model.

    Args:
        batch: token ids, int64 [length] each.
        call_cost: see `group_by_length`.
        step: what lengths are rounded up to.
        context: the longest that they are rounded up to.

    Yields:
        The places in the batch, their ids int64 [n, longest] with zeros after the end, and their lengths int64 [n].
    """
    for places in group_by_length([len(ids) for ids in batch], call_cost):
        lengths = np.array([len(batch[place]) for place in places])
        longest = -(-int(lengths.max()) // step) * step
        rows = np.zeros((len(places), min(longest, context) if context else longest), dtype=np.int64)
        for row, place in zip(rows, places, strict=True):
            row[: len(batch[place])] = batch[place]
        yield places, rows, lengths


def group_by_length(lengths: Sequence[int], call_cost: int) -> list[list[int]]:
    """Splits a batch into runs of similar length, so that the whole takes least.

    A run takes as long as its texts, all padded to its longest, and `call_cost` more.

    Args:
        lengths: tokens of each text.
        call_cost: what a run costs beyond its tokens, in tokens.

    Returns:
        Groups of places in `lengths`, each sorted by length.
    """
    places = sorted(range(len(lengths)), key=lengths.__getitem__)
    # Texts of one length stay together, so the best cuts are among the places where the length changes.
    steps = [i for i in range(len(places)) if i == 0 or lengths[places[i]] != lengths[places[i - 1]]] + [len(places)]
    best: list[tuple[int, int]] = [(0, 0)]
    for end in range(1, len(steps)):
        longest = lengths[places[steps[end] - 1]]
        best.append(
            min((best[start][0] + (steps[end] - steps[start]) * longest + call_cost, start) for start in range(end))
        )
    groups: list[list[int]] = []
    end = len(steps) - 1
    while end > 0:
        start = best[end][1]
        groups.append(places[steps[start] : steps[end]])
        end = start
    return groups[::-1]
