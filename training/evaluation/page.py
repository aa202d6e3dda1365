"""Reports and comparisons as one HTML file that asks no other address for anything."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from training.evaluation.comparison import Changed, Comparison
from training.evaluation.report import Judged, Report

HARDEST = 20
"""So many of the queries that do worst a report shows."""

FOUND_SHOWN, RIGHT_SHOWN = 5, 3

_TYPES = {b"RIFF": "webp", b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}
# What a reader takes in at a glance; the tables have all.
_CHARTED = ("language", "length")

Pictures = Callable[[Sequence[str]], Mapping[str, bytes]]
"""Small picture files (WebP, PNG, JPEG) by id, of those that there are."""


def no_pictures(ids: Sequence[str]) -> dict[str, bytes]:
    """For pages that show ids alone."""
    return {}


def report_page(report: Report, pictures: Pictures = no_pictures) -> str:
    """The page of one evaluation."""
    hardest = sorted(report.queries, key=lambda judged: (judged.values["ap"], judged.values["rr"]))[:HARDEST]
    return _render(
        "report.html.j2",
        report=report,
        hardest=hardest,
        headline=headline(report),
        pictures=_uris(pictures, hardest),
    )


def comparison_page(
    comparison: Comparison, pictures: Pictures = no_pictures, costs: Mapping[str, tuple[str, str]] | None = None
) -> str:
    """The page of two runs; `costs` says what else differs, before and after, by what it is."""
    changed = [*comparison.gained, *comparison.lost]
    shown = [judged for one in changed for judged in (one.before, one.after)]
    return _render(
        "comparison.html.j2",
        comparison=comparison,
        headline=headline(comparison.before),
        changed=_titled(comparison),
        costs=costs or {},
        pictures=_uris(pictures, shown),
    )


def headline(report: Report) -> str:
    """The measure that charts show: Hit@k of the largest k."""
    return f"hit@{max(report.settings['cutoffs'])}"


def _titled(comparison: Comparison) -> list[tuple[str, Sequence[Changed]]]:
    return [("Gained most", comparison.gained), ("Lost most", comparison.lost)]


def _uris(pictures: Pictures, shown: Iterable[Judged]) -> dict[str, str]:
    wanted = dict.fromkeys(
        identifier
        for judged in shown
        for identifier in (*list(judged.right)[:RIGHT_SHOWN], *judged.found[:FOUND_SHOWN])
    )
    files = pictures(list(wanted)) if wanted else {}
    return {identifier: uri for identifier, file in files.items() if (uri := _uri(file))}


def _uri(file: bytes) -> str:
    kind = next((kind for start, kind in _TYPES.items() if file.startswith(start)), "")
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}" if kind else ""


def _render(template: str, **values: object) -> str:
    # Everything that comes from outside is text: the templates mark nothing of it as safe.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(charted=_CHARTED, found_shown=FOUND_SHOWN, right_shown=RIGHT_SHOWN)
    return environment.get_template(template).render(**values)
