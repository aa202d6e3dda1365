"""What an evaluation found, and the JSON file that keeps it; docs/evaluation.md describes its fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.evaluation.queries import AttributeValue
from training.evaluation.resampling import Estimate

FORMAT = 1


class BadReport(ValueError):
    """A file is no report that we can read."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One query, what it found, and how good that was.

    Attributes:
        right: grades by id of the image.
        found: ids of the best images, best first; at most SHOWN of them.
        scores: their cosines.
        values: by measure, 0 to 1.
        ms: how long its caller waited; None where it was not timed.
        error: why it has no answer; it then counts as having found nothing.
    """

    id: str
    text: str
    language: str
    attributes: Mapping[str, AttributeValue]
    right: Mapping[str, int]
    found: tuple[str, ...]
    scores: tuple[float, ...]
    values: Mapping[str, float]
    ms: float | None
    error: str

    @property
    def rank(self) -> int | None:
        """Of the first right answer, from 1; None where none was found."""
        return round(1 / self.values["rr"]) if self.values["rr"] else None


@dataclass(frozen=True, slots=True)
class Slice:
    """Some of the queries, and the means of their measures."""

    queries: int
    measures: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one evaluation found.

    Attributes:
        about: what the query set says that it is.
        made: when, ISO 8601, UTC.
        subject: what answered: its kind, model, and where it is.
        pool: over how many images was ranked, and over how many the protocol ranks (0: it does not say).
        settings: depth, cutoffs, resamples, confidence, seed.
        overall: over all queries.
        mean_over_languages: each language counts alike; None where there is one alone.
        slices: by dimension and value.
        latency_ms: p50, p90, p95, p99, max, mean; empty where nothing was timed.
        timing: how time was taken.
        counts: queries, errors, and what the subject counted.
        warnings: what makes the figures other than they seem.
    """

    about: str
    made: str
    subject: Mapping[str, Any]
    pool: Mapping[str, int]
    settings: Mapping[str, Any]
    overall: Slice
    mean_over_languages: Slice | None
    slices: Mapping[str, Mapping[str, Slice]]
    latency_ms: Mapping[str, float]
    queries_per_second: float
    timing: str
    counts: Mapping[str, int]
    warnings: tuple[str, ...] = ()
    queries: tuple[Judged, ...] = field(default=(), repr=False)

    @property
    def measures(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(self.overall.measures)


def write_report(report: Report, file: Path) -> None:
    """Writes the JSON file, whole or not at all."""
    fresh = file.with_name(file.name + ".new")
    content = json.dumps(_rounded({"format": FORMAT, **asdict(report)}), ensure_ascii=False, indent=1)
    fresh.write_text(content + "\n", encoding="utf-8")
    fresh.replace(file)


def read_report(file: Path) -> Report:
    """Reads what `write_report` wrote.

    Raises:
        BadReport: it is something else, or of another format.
        OSError: the file cannot be read.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise BadReport(f"{file} is no report of format {FORMAT}, the one that this version reads")
        mean = content["mean_over_languages"]
        return Report(
            **content
            | {
                "overall": _slice(content["overall"]),
                "mean_over_languages": _slice(mean) if mean else None,
                "slices": {name: {k: _slice(v) for k, v in of.items()} for name, of in content["slices"].items()},
                "warnings": tuple(content["warnings"]),
                "queries": tuple(_judged(one) for one in content["queries"]),
            }
        )
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise BadReport(f"{file} is no report of an evaluation: {exc!r}"[:500]) from exc


def _slice(content: dict[str, Any]) -> Slice:
    return Slice(content["queries"], {name: Estimate(**one) for name, one in content["measures"].items()})


def _judged(content: dict[str, Any]) -> Judged:
    return Judged(**content | {"found": tuple(content["found"]), "scores": tuple(content["scores"])})


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return round(value, 6) if isinstance(value, float) else value
