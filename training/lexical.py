"""What can be found without any model: pictures as documents of all that training reads about them.

The floor that the bundled model is held against, and what it is fused with.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Cut = Callable[[str], Iterable[str]]

# Of BM25: how soon further mentions of a term stop to count, and how much long documents are held against them.
SATURATION, LENGTH = 1.2, 0.75
# Of reciprocal rank fusion (Cormack et al. 2009): as far down as answers are read; their 60 is for a depth of 1,000.
_FLATTENING = 10
_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The runs of letters and digits."""
    return _WORD.findall(text)


def n_grams(text: str) -> Iterator[str]:
    """All runs of 2 to 4 characters, with a space before and after the text."""
    padded = f" {text} "
    return (padded[at : at + n] for n in (2, 3, 4) for at in range(len(padded) - n + 1))


@dataclass(frozen=True, slots=True)
class Lexical:
    """Ranks documents by the terms that a query shares with them.

    Args:
        ids: of the documents.
        cut: a query into its terms.
        postings: of each term, the places of its documents and its weight in each.
        weights: of each term in a query.
        depth: how many documents are returned, those without any term of the query never.
    """

    ids: Sequence[str]
    cut: Cut
    postings: Mapping[str, tuple[NDArray[np.int32], NDArray[np.float32]]]
    weights: Mapping[str, float]
    depth: int

    def __call__(self, queries: Sequence[str]) -> list[list[str]]:
        """Ids of the best documents of each query, best first."""
        return [self._rank(query) for query in queries]

    def _rank(self, query: str) -> list[str]:
        scores = np.zeros(len(self.ids), np.float32)
        for term, count in Counter(self.cut(query)).items():
            if term in self.postings:
                places, weights = self.postings[term]
                scores[places] += weights * (self.weights[term] * count)
        best = np.argsort(-scores, kind="stable")[: self.depth]
        return [self.ids[place] for place in best if scores[place] > 0]


def bm25(documents: Mapping[str, Iterable[str]], depth: int) -> Lexical:
    """BM25 over words (Robertson and Zaragoza 2009); a document is the texts of its id."""
    counts = [Counter(word for text in texts for word in words(text)) for texts in documents.values()]
    lengths = np.array([count.total() for count in counts])
    slowed = SATURATION * (1 - LENGTH + LENGTH * lengths / lengths.mean())
    weighed = [
        {term: n * (SATURATION + 1) / (n + slow) for term, n in count.items()}
        for count, slow in zip(counts, slowed.tolist(), strict=True)
    ]
    found = _invert(weighed)
    rare = {t: math.log(1 + (len(counts) - len(at) + 0.5) / (len(at) + 0.5)) for t, (at, _) in found.items()}
    return Lexical(list(documents), words, found, rare, depth)


def character_n_grams(documents: Mapping[str, Iterable[str]], depth: int) -> Lexical:
    """Cosine of TF-IDF over runs of 2 to 4 characters; a document is the texts of its id."""
    counts = [Counter(term for text in texts for term in n_grams(text)) for texts in documents.values()]
    known = Counter(term for count in counts for term in count)
    rare = {term: math.log((1 + len(counts)) / (1 + n)) + 1 for term, n in known.items()}
    weighed = [_unit({term: (1 + math.log(n)) * rare[term] for term, n in count.items()}) for count in counts]
    return Lexical(list(documents), n_grams, _invert(weighed), rare, depth)


def fuse(one: Sequence[Sequence[str]], other: Sequence[Sequence[str]]) -> list[list[str]]:
    """The rankings of two searches, joined by reciprocal rank; as deep as the deeper of both."""
    fused = []
    for rankings in zip(one, other, strict=True):
        scores: defaultdict[str, float] = defaultdict(float)
        for ranking in rankings:
            for rank, found in enumerate(ranking, 1):
                scores[found] += 1 / (_FLATTENING + rank)
        fused.append(sorted(scores, key=scores.__getitem__, reverse=True)[: max(map(len, rankings))])
    return fused


def _unit(weights: Mapping[str, float]) -> dict[str, float]:
    length = math.sqrt(sum(weight**2 for weight in weights.values()))
    return {term: weight / length for term, weight in weights.items()}


def _invert(documents: Sequence[Mapping[str, float]]) -> dict[str, tuple[NDArray[np.int32], NDArray[np.float32]]]:
    found: defaultdict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    for place, weights in enumerate(documents):
        for term, weight in weights.items():
            found[term][0].append(place)
            found[term][1].append(weight)
    return {term: (np.array(at, np.int32), np.array(of, np.float32)) for term, (at, of) in found.items()}
