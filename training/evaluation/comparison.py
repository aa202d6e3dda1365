"""Two runs of one query set: whether they differ, and which queries changed most."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from training.evaluation.measures import Values
from training.evaluation.queries import Query
from training.evaluation.report import Judged, Report
from training.evaluation.resampling import (
    PERMUTATIONS,
    Estimate,
    estimates,
    holm,
    p_values,
    resampled_means,
)
from training.evaluation.slices import slices

CHANGED = 20
"""So many queries that gained most, and so many that lost most."""


class CannotCompare(ValueError):
    """Two reports are not of the same questions."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure in both runs.

    Attributes:
        before, after: means.
        change: after - before, with its bootstrap interval over pairs.
        p: two-sided, of the paired randomisation test.
        p_holm: adjusted for all measures of the table.
        better, worse: so many queries.
    """

    before: float
    after: float
    change: Estimate
    p: float
    p_holm: float
    better: int
    worse: int

    @property
    def significant(self) -> bool:
        """Whether the adjusted p is below 0.05."""
        return self.p_holm < 0.05


@dataclass(frozen=True, slots=True)
class Changed:
    """A query that does better or worse."""

    before: Judged
    after: Judged

    @property
    def change(self) -> float:
        """Of its average precision."""
        return self.after.values["ap"] - self.before.values["ap"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two runs.

    Attributes:
        paired: how many queries are in both; only these are compared.
        unpaired: how many are in one of them alone.
        differences: by measure.
        slices: by dimension, value and measure; p_holm is over the values of one dimension.
        gained, lost: the queries whose average precision changed most.
        warnings: what else differs.
    """

    before: Report
    after: Report
    paired: int
    unpaired: int
    differences: dict[str, Difference]
    slices: dict[str, dict[str, dict[str, Difference]]]
    gained: tuple[Changed, ...]
    lost: tuple[Changed, ...]
    warnings: tuple[str, ...]


def compare(before: Report, after: Report, permutations: int = PERMUTATIONS) -> Comparison:
    """Pairs the queries of two reports by id and tests their differences.

    Raises:
        CannotCompare: they measure different things, have no query in common, or one of them differs.
    """
    pairs = _pairs(before, after)
    names = before.measures
    old, new = (
        np.array([[judged.values[name] for name in names] for judged in run]) for run in zip(*pairs, strict=True)
    )
    changes = sorted((Changed(*pair) for pair in pairs), key=lambda changed: changed.change)
    parts = slices([_as_query(one) for one, _ in pairs])
    return Comparison(
        before=before,
        after=after,
        paired=len(pairs),
        unpaired=len(before.queries) + len(after.queries) - 2 * len(pairs),
        differences=_differences(names, old, new, permutations),
        slices={name: _by_value(names, old, new, of, permutations // 5) for name, of in parts.items()},
        gained=tuple(changed for changed in changes[::-1][:CHANGED] if changed.change > 0),
        lost=tuple(changed for changed in changes[:CHANGED] if changed.change < 0),
        warnings=tuple(_warnings(before, after, len(pairs))),
    )


def write_comparison(comparison: Comparison, file: Path, **beside: object) -> None:
    """Writes what was found as JSON, without the queries that did not change, and what stands beside it by name."""
    content = asdict(comparison)
    for run in ("before", "after"):
        del content[run]["queries"], content[run]["slices"]
    whole = {"format": 1, **beside, **content}
    file.write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _pairs(before: Report, after: Report) -> list[tuple[Judged, Judged]]:
    if before.measures != after.measures:
        raise CannotCompare(f"they measure {', '.join(before.measures)} and {', '.join(after.measures)}")
    again = {judged.id: judged for judged in after.queries}
    pairs = [(judged, again[judged.id]) for judged in before.queries if judged.id in again]
    if not pairs:
        raise CannotCompare("they have no query in common")
    for one, other in pairs:
        if (one.text, one.right) != (other.text, other.right):
            raise CannotCompare(f"query {one.id} is not the same in both: {one.text!r} and {other.text!r}"[:500])
    return pairs


def _differences(names: Sequence[str], before: Values, after: Values, permutations: int) -> dict[str, Difference]:
    change = after - before
    intervals = estimates(change.mean(axis=0), resampled_means(change))
    p = [float(one) for one in p_values(change, permutations)]
    better, worse = (change > 1e-9).sum(axis=0), (change < -1e-9).sum(axis=0)
    rows = zip(before.mean(axis=0), after.mean(axis=0), intervals, p, holm(p), better, worse, strict=True)
    return {
        name: Difference(float(old), float(new), interval, one, adjusted, int(up), int(down))
        for name, (old, new, interval, one, adjusted, up, down) in zip(names, rows, strict=True)
    }


def _by_value(
    names: Sequence[str], before: Values, after: Values, of: dict[str, list[int]], permutations: int
) -> dict[str, dict[str, Difference]]:
    found = {value: _differences(names, before[places], after[places], permutations) for value, places in of.items()}
    for name in names:
        adjusted = holm([differences[name].p for differences in found.values()])
        for differences, p_holm in zip(found.values(), adjusted, strict=True):
            differences[name] = replace(differences[name], p_holm=p_holm)
    return found


def _as_query(judged: Judged) -> Query:
    attributes = {name: tuple(of) if isinstance(of, list) else of for name, of in judged.attributes.items()}
    return Query(judged.id, judged.text, judged.right, judged.language, attributes)


def _warnings(before: Report, after: Report, paired: int) -> list[str]:
    warnings = []
    if unpaired := len(before.queries) + len(after.queries) - 2 * paired:
        warnings.append(f"{unpaired:,} queries are in one of the runs alone and were left out.")
    if before.pool["images"] != after.pool["images"]:
        warnings.append(f"The first ranked {before.pool['images']:,} images, the second {after.pool['images']:,}.")
    if before.settings["depth"] != after.settings["depth"]:
        warnings.append("They were asked for different numbers of images: AP and RR look to different depths.")
    return warnings
