"""How good a ranking is, by trec_eval's own code (pytrec-eval-terrier).

Hit@k      1 where any right answer is among the first k, else 0: what papers on CLIP report as Recall@K
Recall@k   the share of all right answers that is among the first k: recall in the textbooks' sense
AP         the mean over all right answers of the precision at the rank of each, 0 for those not found; mAP on average
nDCG@k     the discounted grades of the first k over those of the best order possible (Järvelin and Kekäläinen, 2002:
           the grade itself is the gain, the discount log2 of the rank + 1)
RR         1 over the rank of the first right answer, 0 where none was found; MRR on average

AP and RR look as deep as was asked for. Where every query has one right answer, Hit@k and Recall@k are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytrec_eval
from numpy.typing import NDArray

Values = NDArray[np.float64]
_AT_A_TIME = 500  # queries: trec_eval is handed everything that was found, by name


def measure_names(cutoffs: Sequence[int]) -> tuple[str, ...]:
    """The measures in the order of a row: `hit@1` …, `recall@1` …, `ap`, `ndcg@k` of the largest k, `rr`."""
    hits, recalls = (tuple(f"{name}@{k}" for k in cutoffs) for name in ("hit", "recall"))
    return (*hits, *recalls, "ap", f"ndcg@{max(cutoffs)}", "rr")


def measure(ranked: Sequence[Sequence[str]], right: Sequence[Mapping[str, int]], cutoffs: Sequence[int]) -> Values:
    """Measures rankings.

    Args:
        ranked: for each query the ids of the images found, best first, each once.
        right: for each query the grades of the right answers, 1 and more, by id.
        cutoffs: the k of hit, recall and nDCG, ascending.

    Returns:
        float64 [queries, measures], between 0 and 1; the columns are `measure_names(cutoffs)`.
    """
    columns = [_trec_name(name) for name in measure_names(cutoffs)]
    ks = ",".join(map(str, cutoffs))
    wanted = {f"success.{ks}", f"recall.{ks}", "map", f"ndcg_cut.{max(cutoffs)}", "recip_rank"}
    rows = list[list[float]]()
    for start in range(0, len(ranked), _AT_A_TIME):
        some = slice(start, start + _AT_A_TIME)
        rows += [[values[column] for column in columns] for values in _measured(ranked[some], right[some], wanted)]
    return np.array(rows, dtype=np.float64).reshape(len(ranked), len(columns))


def _measured(
    ranked: Sequence[Sequence[str]], right: Sequence[Mapping[str, int]], wanted: set[str]
) -> Iterator[Mapping[str, float]]:
    """trec_eval's values of each query, by its own names for measures."""
    judged, found = {}, {}
    for number, (ids, grades) in enumerate(zip(ranked, right, strict=True)):
        # To trec_eval a name ends at its first NUL, and ties go by name: ranks for names and scores leave no choice.
        names = {identifier: str(place) for place, identifier in enumerate(dict.fromkeys([*ids, *grades]))}
        judged[str(number)] = {names[identifier]: grade for identifier, grade in grades.items()}
        found[str(number)] = {names[identifier]: -float(rank) for rank, identifier in enumerate(ids)}
    values = pytrec_eval.RelevanceEvaluator(judged, wanted).evaluate(found)
    return (values[str(number)] for number in range(len(ranked)))


def _trec_name(name: str) -> str:
    kind, _, k = name.partition("@")
    trec = {"hit": "success", "recall": "recall", "ap": "map", "ndcg": "ndcg_cut", "rr": "recip_rank"}[kind]
    return f"{trec}_{k}" if k else trec
