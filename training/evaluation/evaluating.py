"""From questions and answers to a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from training.evaluation.measures import Values, measure, measure_names
from training.evaluation.queries import Query, QuerySet
from training.evaluation.report import Judged, Report, Slice
from training.evaluation.resampling import CONFIDENCE, RESAMPLES, SEED, Estimate, estimates, resampled_means
from training.evaluation.searching import Found, Progress, Run, Subject
from training.evaluation.slices import slices

DEPTH = 100
SHOWN = 10
"""So many hits of each query the report keeps."""

_PERCENTILES = {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "max": 100}


@dataclass(frozen=True, slots=True)
class Plan:
    """How to evaluate.

    Attributes:
        depth: how many images are asked for; AP and RR look as deep as that.
        cutoffs: the k of Recall@k; those of the query set where there are none.
        resamples: of the bootstrap.
        confidence: of its intervals.
        seed: of its draws.
    """

    depth: int = DEPTH
    cutoffs: tuple[int, ...] = ()
    resamples: int = RESAMPLES
    confidence: float = CONFIDENCE
    seed: int = SEED


def evaluate(
    asked: QuerySet, subject: Subject, plan: Plan | None = None, progress: Progress = lambda done, of: None
) -> Report:
    """Asks all queries and judges the answers.

    Raises:
        SightlineError: the subject cannot be asked at all.
        ValueError: the largest cutoff is deeper than the depth.
    """
    plan = plan or Plan()
    cutoffs = tuple(sorted(set(plan.cutoffs or asked.cutoffs)))
    if cutoffs[-1] > plan.depth:
        raise ValueError(f"a cutoff of {cutoffs[-1]} is deeper than the depth, {plan.depth}")
    run = subject.run(asked.queries, plan.depth, progress)
    right = [query.right for query in asked.queries]
    values = measure([found.ids for found in run.found], right, cutoffs)
    names = measure_names(cutoffs)
    parts = slices(asked.queries)
    errors = sum(bool(found.error) for found in run.found)
    return Report(
        about=asked.about,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        subject=run.subject,
        pool={"images": run.pool, "protocol": asked.pool},
        settings={
            "depth": plan.depth,
            "cutoffs": list(cutoffs),
            "resamples": plan.resamples,
            "confidence": plan.confidence,
            "seed": plan.seed,
        },
        overall=_slice(values, names, plan),
        mean_over_languages=_over_languages(values, parts.get("language", {}), names, plan),
        slices={
            dimension: {value: _slice(values[places], names, plan) for value, places in of.items()}
            for dimension, of in parts.items()
        },
        latency_ms=_latency(run.found),
        queries_per_second=run.queries_per_second,
        timing=run.timing,
        counts={"queries": len(asked.queries), "errors": errors, **run.counts},
        warnings=tuple(_warnings(asked, run, errors, plan.depth)),
        queries=tuple(_judged(*one, names) for one in zip(asked.queries, run.found, values, strict=True)),
    )


def _slice(values: Values, names: Sequence[str], plan: Plan) -> Slice:
    resampled = resampled_means(values, plan.resamples, plan.seed)
    return Slice(len(values), _named(names, estimates(values.mean(axis=0), resampled, plan.confidence)))


def _over_languages(
    values: Values, languages: Mapping[str, Sequence[int]], names: Sequence[str], plan: Plan
) -> Slice | None:
    """The plain mean over languages. Queries are drawn again within each, by a seed of its own."""
    if not languages:
        return None
    parts = [values[places] for places in languages.values()]
    mean = np.mean([part.mean(axis=0) for part in parts], axis=0)
    drawn = [resampled_means(part, plan.resamples, plan.seed + 1 + n) for n, part in enumerate(parts)]
    return Slice(len(values), _named(names, estimates(mean, np.mean(drawn, axis=0), plan.confidence)))


def _named(names: Sequence[str], found: Sequence[Estimate]) -> dict[str, Estimate]:
    return dict(zip(names, found, strict=True))


def _latency(found: Sequence[Found]) -> dict[str, float]:
    times = [one.ms for one in found if one.ms is not None and not one.error]
    if not times:
        return {}
    percentiles = np.percentile(times, list(_PERCENTILES.values()))
    return {**dict(zip(_PERCENTILES, map(float, percentiles), strict=True)), "mean": float(np.mean(times))}


def _warnings(asked: QuerySet, run: Run, errors: int, depth: int) -> list[str]:
    warnings = []
    if asked.pool and asked.pool != run.pool:
        warnings.append(
            f"The protocol ranks {asked.pool:,} images, here {run.pool:,} were ranked: these figures are no figures of "
            "that protocol."
        )
    if errors:
        warnings.append(f"{errors:,} of {len(asked.queries):,} queries failed and count as having found nothing.")
    if cached := sum(count for name, count in run.counts.items() if name.startswith("cache hit")):
        warnings.append(f"{cached:,} answers came out of the cache: latencies and rate are partly the cache's.")
    if deep := sum(len(query.right) > min(depth, run.pool) for query in asked.queries):
        warnings.append(
            f"{deep:,} queries have more right answers than the {min(depth, run.pool):,} images that were looked at: "
            "mAP counts the rest as not found."
        )
    if short := sum(len(one.ids) < min(depth, run.pool) and not one.error for one in run.found):
        warnings.append(f"{short:,} queries were answered with fewer images than were asked for.")
    return warnings


def _judged(query: Query, found: Found, values: Values, names: Sequence[str]) -> Judged:
    return Judged(
        id=query.id,
        text=query.text,
        language=query.language,
        attributes=query.attributes,
        right=query.right,
        found=found.ids[:SHOWN],
        scores=found.scores[:SHOWN],
        values=dict(zip(names, map(float, values), strict=True)),
        ms=found.ms,
        error=found.error,
    )
