"""Our measures of relevance are those of the field: random cases, held against libraries that the code does not use.

torchmetrics shares no line with trec_eval, whose code ours is; published Recall@K of CLIPs come from clip_benchmark.
Both rank by scores alone and leave ties to chance, so ties are broken first, by our rule: scores that are equal
to 1e-6 are ordered by id.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from clip_benchmark.metrics.zeroshot_retrieval import recall_at_k
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.retrieval import (
    retrieval_average_precision,
    retrieval_hit_rate,
    retrieval_normalized_dcg,
    retrieval_recall,
    retrieval_reciprocal_rank,
)

from benchmarks.proof import Proof
from training.evaluation.measures import measure, measure_names
from training.evaluation.ranking import Pool

CASES = 1_000
CUTOFFS = (1, 5, 10)
TOLERANCE = 1e-5  # they compute in float32
LARGEST = 60
TEXTS = 20


@dataclass(frozen=True, slots=True)
class Case:
    """One query: scores of a pool, float32 [images], grades by image, int64 [images], and how deep is looked."""

    ids: tuple[str, ...]
    scores: NDArray[np.float32]
    grades: NDArray[np.int64]
    depth: int


def bar() -> dict[str, object]:
    """All measures on so many cases of each kind."""
    proof = Proof()
    prove_measures(proof, CASES)
    prove_published_recall(proof, CASES)
    return proof.outcome(
        f"{len(measure_names(CUTOFFS))} measures equal torchmetrics on {CASES:,} random cases each, and Recall@K "
        f"equals clip_benchmark's on {CASES:,}; a third of the cases have ties"
    )


def prove_measures(proof: Proof, cases: int) -> None:
    """Each of our measures against that of torchmetrics, with graded judgments, ties, and pools cut short."""
    worst = dict.fromkeys(measure_names(CUTOFFS), 0.0)
    for seed in range(cases):
        case = random_case(seed)
        ranked = ranking(case)
        [ours] = measure([ranked], [grades_of(case)], CUTOFFS)
        for name, value, theirs in zip(worst, ours, torchmetrics(case, ranked), strict=True):
            worst[name] = max(worst[name], abs(float(value) - theirs))
    for name, distance in worst.items():
        proof.figures[f"{name}, worst distance"] = distance
        proof.holds(f"{name} equals torchmetrics", distance <= TOLERANCE)


def prove_published_recall(proof: Proof, cases: int) -> None:
    """Hit@k and Recall@k against what clip_benchmark publishes, over matrices of texts and images."""
    worst = {f"{name}@{k}": 0.0 for name in ("hit", "recall") for k in CUTOFFS}
    for seed in range(cases):
        for name, distance in published_distances(seed).items():
            worst[name] = max(worst[name], distance)
    for name, distance in worst.items():
        proof.figures[f"{name}, worst distance from clip_benchmark"] = distance
        proof.holds(f"{name} equals clip_benchmark", distance <= TOLERANCE)


def random_case(seed: int) -> Case:
    """Pools of 10 to 60 images, up to a third of them right; every third case is full of ties."""
    drawn = np.random.default_rng(seed)
    count = int(drawn.integers(max(CUTOFFS), LARGEST + 1))
    scores = drawn.uniform(-1, 1, count).astype(np.float32)
    if seed % 3 == 0:
        scores = (np.round(scores * 4) / 4 + drawn.uniform(-2e-7, 2e-7, count)).astype(np.float32)
    grades = np.zeros(count, dtype=np.int64)
    right = drawn.choice(count, int(drawn.integers(1, count // 3 + 1)), replace=False)
    grades[right] = drawn.integers(1, 4, len(right))
    depth = count if seed % 2 else int(drawn.integers(max(CUTOFFS), count + 1))
    return Case(tuple(f"image {place:02}" for place in drawn.permutation(count)), scores, grades, depth)


def ranking(case: Case) -> tuple[str, ...]:
    """The ids that are found, best first, by the product's own ranking."""
    # One dimension, in which a picture's vector is its score.
    [(found, _)] = Pool(case.ids, case.scores[:, None]).search(np.ones((1, 1), np.float32), case.depth)
    return found


def grades_of(case: Case) -> dict[str, int]:
    """Grades by id, of what is right."""
    return {name: int(grade) for name, grade in zip(case.ids, case.grades, strict=True) if grade}


def torchmetrics(case: Case, ranked: tuple[str, ...]) -> list[float]:
    """The measures in our order, by torchmetrics, from scores without ties that give our ranking."""
    grades = torch.tensor([grades_of(case).get(name, 0) for name in by_tie_rule(case)])
    scores, right = torch.arange(len(grades), 0, -1, dtype=torch.float32), grades > 0
    found = int(right[: len(ranked)].sum())
    hits, recalls = (
        [float(one(scores, right, top_k=k)) for k in CUTOFFS] for one in (retrieval_hit_rate, retrieval_recall)
    )
    # It divides by the right answers that were found; the field divides by all that there are.
    precision = float(retrieval_average_precision(scores, right, top_k=len(ranked))) * found / int(right.sum())
    gain = float(retrieval_normalized_dcg(scores, grades, top_k=max(CUTOFFS)))
    first = float(retrieval_reciprocal_rank(scores, right, top_k=len(ranked)))
    return [*hits, *recalls, precision, gain, first]


def by_tie_rule(case: Case) -> list[str]:
    """The whole pool in its order, told again in other words than the product's."""
    rounded = [round(float(score) * 1e6) for score in case.scores]
    return [name for _, name in sorted(zip([-score for score in rounded], case.ids, strict=True))]


def published_distances(seed: int) -> dict[str, float]:
    """How far our means of Hit@k and Recall@k are from clip_benchmark's: 20 texts against a pool, with one right image
    each or with up to five; in every third case half of the pool are twins, which tie for every text."""
    drawn = np.random.default_rng(seed)
    images = int(drawn.integers(max(CUTOFFS), LARGEST + 1))
    ids = [f"image {place:02}" for place in drawn.permutation(images)]
    texts, pool = (drawn.normal(size=(count, 8)).astype(np.float32) for count in (TEXTS, images))
    if seed % 3 == 0:
        pool[images // 2 :] = pool[: images - images // 2]
    positive = torch.zeros((TEXTS, images), dtype=torch.bool)
    for row in positive:
        row[drawn.choice(images, 1 if seed % 2 else int(drawn.integers(1, 6)), replace=False)] = True
    texts, pool = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (texts, pool))
    ranked = [found for found, _ in Pool(ids, pool).search(texts, images)]
    right = [{ids[place]: 1 for place in row.nonzero().flatten().tolist()} for row in positive]
    ours = measure(ranked, right, CUTOFFS).mean(axis=0)
    hits, recalls = zip(*(_published(ranked, ids, positive, k) for k in CUTOFFS), strict=True)
    theirs = dict(zip(measure_names(CUTOFFS), [*hits, *recalls], strict=False))
    return {name: abs(float(value) - theirs[name]) for name, value in zip(theirs, ours, strict=False)}


def _published(ranked: list[tuple[str, ...]], ids: list[str], positive: Tensor, k: int) -> tuple[float, float]:
    """Hit@k (their "image_retrieval_recall") and Recall@k by clip_benchmark, from scores without ties."""
    scores = torch.zeros(positive.shape)
    for row, found in zip(scores, ranked, strict=True):
        for place, name in enumerate(found):
            row[ids.index(name)] = -float(place)
    recall = recall_at_k(scores, positive, k)
    return float((recall > 0).float().mean()), float(recall.mean())
