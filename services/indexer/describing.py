"""What a source is, shown before anything is done with it: its kind, its parts, its columns and their types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.indexer.rows import AttributeValue, Refusal, Row
from services.indexer.schema import Schema
from services.indexer.sources import Source
from sightline.errors import SightlineError
from sightline.printable import printable

LOOKED_AT = 1000
SAMPLES = 3
_SAMPLE_LENGTH = 40
_REFUSALS = 3


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute as the first rows have it.

    Attributes:
        type: string, int, double, bool or strings.
        filled: how many of the rows that were looked at have it.
        samples: different values, as they read.
    """

    name: str
    type: str
    filled: int
    samples: Sequence[str]


@dataclass(frozen=True, slots=True)
class Description:
    """What can be told of a source from its first rows.

    Attributes:
        kind: one of services.indexer.sources.KINDS.
        parts: how many there are.
        rows: how many there are; None where only reading all of it would tell.
        passed_over: files of a folder that are no pictures by their names.
        looked_at: how many were read for this.
        dimension: of ready-made vectors; 0 where there are none.
        columns: which column gives uri, id and caption.
        attributes: what the rows have.
        left_out: columns that cannot become attributes, and why.
        first: the first rows that are sound, as uri, id and caption.
        refused: how many of those looked at are not.
        reasons: of the first that are not.
    """

    kind: str
    parts: int
    rows: int | None
    passed_over: int
    looked_at: int
    dimension: int
    columns: Mapping[str, str]
    attributes: Sequence[Attribute]
    left_out: Mapping[str, str]
    first: Sequence[Mapping[str, str]]
    refused: int
    reasons: Sequence[str]


@dataclass(slots=True)
class _Seen:
    schema: Schema
    rows: list[Row] = field(default_factory=list)
    filled: dict[str, int] = field(default_factory=dict)
    samples: dict[str, dict[str, None]] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    looked_at: int = 0
    dimension: int = 0

    def add(self, item: Row | Refusal) -> None:
        self.looked_at += 1
        if isinstance(item, Row):
            try:
                self.schema.admit(item.attributes)
            except SightlineError as exc:
                item = item.refused(str(exc))
        if isinstance(item, Refusal):
            self.refused.append(item)
            return
        if len(self.rows) < SAMPLES:
            self.rows.append(item)
        self.dimension = len(item.vector) if item.vector is not None else 0
        for name, value in item.attributes.items():
            self.filled[name] = self.filled.get(name, 0) + 1
            samples = self.samples.setdefault(name, {})
            if len(samples) < SAMPLES:
                samples[_shown(value)] = None


def describe(source: Source, looked_at: int = LOOKED_AT) -> Description:
    """Looks at the first rows of a source.

    Raises:
        NotFound, Unavailable: it cannot be read.
    """
    seen = _Seen(Schema(source.types))
    for item in islice(source.items, looked_at):
        seen.add(item)
    return Description(
        kind=source.kind,
        parts=len(source.parts),
        rows=source.total,
        passed_over=source.passed_over,
        looked_at=seen.looked_at,
        dimension=seen.dimension,
        columns=source.columns,
        attributes=[
            Attribute(name, kind, seen.filled.get(name, 0), list(seen.samples.get(name, ())))
            for name, kind in seen.schema.types.items()
        ],
        left_out=source.left_out,
        first=[{"uri": row.uri, "id": row.id, "caption": row.caption} for row in seen.rows],
        refused=len(seen.refused),
        reasons=[f"{_place(refusal)}: {refusal.reason}" for refusal in seen.refused[:_REFUSALS]],
    )


def print_description(console: Console, found: Description) -> None:
    """Prints what a source is as a table."""
    vectors = f", vectors of {found.dimension:,} dimensions" if found.dimension else ""
    rows = "" if found.rows is None else f", {_count(found.rows, 'row')}"
    others = f", {_count(found.passed_over, 'other file')} passed over" if found.passed_over else ""
    title = f"{found.kind}: {_count(found.parts, 'part')}{rows}{others}{vectors}"
    table = Table("column", "becomes", "type", "filled", title=title, title_justify="left")
    table.add_column("such as", overflow="fold")
    for role in ("uri", "id", "caption"):
        column = found.columns.get(role, "")
        values = dict.fromkeys(_shown(one[role]) for one in found.first if one[role])
        if column or values:
            table.add_row(_safe(column), role, "", "", _safe(" · ".join(values)))
    for one in found.attributes:
        share = f"{100 * one.filled / found.looked_at:.0f} %" if found.looked_at else ""
        table.add_row(_safe(one.name), "attribute", one.type, share, _safe(" · ".join(one.samples)))
    for name, why in found.left_out.items():
        table.add_row(_safe(name), "[dim]left out[/]", _safe(_shown(why)), "", "")
    console.print(table)
    if found.refused:
        told = "".join(f"\n  {_safe(reason)}" for reason in found.reasons)
        console.print(
            f"[bold yellow]{found.refused:,} of the first {_count(found.looked_at, 'row')} cannot be indexed[/]:{told}",
            highlight=False,
            soft_wrap=True,
        )


def _shown(value: AttributeValue) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return text if len(text) <= _SAMPLE_LENGTH else text[: _SAMPLE_LENGTH - 1] + "…"


def _place(refusal: Refusal) -> str:
    return f"{refusal.uri}, row {refusal.line:,}" if refusal.line else refusal.uri


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _safe(text: str) -> str:
    """Text of the source's, which is neither markup nor orders to the terminal."""
    return escape(printable(text))
