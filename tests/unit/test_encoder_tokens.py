"""services/encoder/tokens.py."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
from numpy.typing import NDArray

from services.encoder.tokens import Tokens, group_by_length


class Letters:
    """A tokenizer of letters, with the end of each text in the last of ten places that it fills."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: list[str]) -> NDArray[np.int64]:
        self.asked.append(texts)
        return np.array([[ord(letter) for letter in text[:10].ljust(10, "\0")] for text in texts], dtype=np.int64)


def ends(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array([np.count_nonzero(row) for row in rows])


def words(tokens: Tokens, *texts: str) -> list[str]:
    return ["".join(map(chr, ids)) for ids in tokens(texts)]


def test_cut_at_their_end() -> None:
    """Each text has as many ids as it needs, in the order asked, also where it is asked twice."""
    assert words(Tokens(Letters(), ends), "cat", "horse", "cat") == ["cat", "horse", "cat"]


def test_whole() -> None:
    """Where cutting is not exact, texts keep their padding."""
    assert [len(ids) for ids in Tokens(Letters(), None)(["cat", "horse"])] == [10, 10]


def test_casefold() -> None:
    """A model of case-folded texts is asked in their form, which is NFC also after folding."""
    folding = Tokens(Letters(), ends, casefold=True)
    assert words(folding, "CAT", "Straße", "\u01f0") == ["cat", "strasse", "\u01f0"]
    assert words(Tokens(Letters(), ends), "CAT") == ["CAT"]


def test_remembers() -> None:
    """A text is tokenised once while it is remembered; the least recently asked is forgotten first."""
    letters = Letters()
    tokens = Tokens(letters, ends, capacity=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        tokens([text])
    assert letters.asked == [["a"], ["b"], ["c"], ["b"]]


def test_more_than_it_remembers() -> None:
    """A batch larger than the memory is answered in full."""
    assert words(Tokens(Letters(), ends, capacity=1), "a", "b", "c", "a") == ["a", "b", "c", "a"]


def test_words_are_forgotten() -> None:
    """The tokenizer's own memory is emptied when it grows large, but for what it began with."""
    memory = {"<start>": "", "<end>": ""}

    def rows(texts: list[str]) -> NDArray[np.int64]:
        memory.update(dict.fromkeys(texts, ""))
        return Letters()(texts)

    tokens = Tokens(rows, ends, capacity=5, words=(memory, 2))
    for number in range(20):
        tokens([f"word {number}"])
        assert len(memory) <= 6
    assert list(memory)[:2] == ["<start>", "<end>"]


def test_long_texts_go_apart() -> None:
    """One long text does not make many short ones pay; near lengths stay together."""
    assert group_by_length([8] * 10 + [77] + [9] * 5, 24) == [[*range(10), *range(11, 16)], [10]]
    assert group_by_length([8, 77], 1000) == [[0, 1]]
    assert group_by_length([5], 24) == [[0]]


def test_groups_are_the_cheapest() -> None:
    """No other split of the sorted texts takes less."""
    random = Random(3)
    for _ in range(50):
        lengths = [random.randint(2, 40) for _ in range(random.randint(1, 8))]
        groups = group_by_length(lengths, 24)
        assert sorted(place for group in groups for place in group) == list(range(len(lengths)))
        assert cost([[lengths[place] for place in group] for group in groups]) == cheapest(sorted(lengths))


def cost(groups: list[list[int]]) -> int:
    return sum(len(group) * max(group) + 24 for group in groups)


def cheapest(lengths: list[int]) -> int:
    """Tries every split."""
    inner = range(1, len(lengths))
    splits = ([0, *(at for at in inner if bits >> at & 1), len(lengths)] for bits in range(0, 2 ** len(lengths), 2))
    return min(cost([lengths[start:end] for start, end in pairwise(split)]) for split in splits)
