"""The report of a build as one HTML page: nothing outside of it is asked for, and nothing in it is taken for markup."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template

from services.indexer.outcome import LeftOut, Outcome, Spent
from services.indexer.preview import preview
from services.indexer.statistics import Values
from sightline.printable import printable

REASONS_SHOWN = 20
SHOWN = 24

_TEMPLATE = Path(__file__).with_suffix(".html")
# What differs between pictures that were refused for one reason.
_PARTICULARS = re.compile(r"'[^']*'|\"[^\"]*\"|\d[\d,.]*|(?<=: ).*Error.*(?=: )")


def render(outcome: Outcome, left_out: Sequence[LeftOut], count: int) -> bytes:
    """Returns the page.

    Args:
        outcome: what came of the build.
        left_out: some of what was left out, of every reason.
        count: how much was left out in all.
    """
    manifest, plan, parts = outcome.manifest, outcome.begun.plan, outcome.begun.parts
    tiles = {
        "images": f"{manifest.images:,}",
        "left out": f"{count:,}",
        "equal to another": f"{outcome.twin_images:,}",
        "attributes": f"{len(manifest.attributes):,}",
        "shards": f"{len(manifest.shards):,}",
    }
    facts = {
        "source": f"{plan.source} ({outcome.begun.kind}, {parts:,} part{'' if parts == 1 else 's'})",
        "model": f"{manifest.model.name}, {manifest.model.dimension:,} dimensions, {manifest.model.digest[:16]}",
        "index": manifest.index,
    }
    if outcome.begun.passed_over:
        facts["passed over"] = f"other files, which are no pictures by their names: {outcome.begun.passed_over:,}"
    text = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=_safe(f"{manifest.collection}, generation {manifest.generation}"),
        tiles="".join(f"<div><b>{value}</b>{name}</div>" for name, value in tiles.items()),
        facts="".join(f"<dt>{name}</dt><dd>{_safe(value)}</dd>" for name, value in facts.items()),
        stages="".join(map(_stage, outcome.spent)),
        left_out="".join(_left_out(left_out, count)) or "<p>Nothing.</p>",
        twins="".join(_twins(outcome)) or "<p>None.</p>",
        attributes="".join(_attributes(outcome)) or "<p>None.</p>",
        shards="".join(_shards(outcome)),
    )
    return text.encode("utf-8", "backslashreplace")


def _stage(spent: Spent) -> str:
    rate = f"{spent.images / spent.seconds:,.0f}" if spent.seconds else ""
    cpu = f"{1000 * spent.cpu_seconds / spent.images:,.2f}" if spent.images else ""
    cells = (spent.stage, f"{spent.images:,}", f"{spent.seconds:,.1f}", rate, f"{spent.cpu_seconds:,.1f}", cpu)
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _left_out(found: Sequence[LeftOut], count: int) -> Iterator[str]:
    groups: dict[str, list[LeftOut]] = {}
    for one in found:
        groups.setdefault(_PARTICULARS.sub("…", one.refusal.reason), []).append(one)
    for kind, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:REASONS_SHOWN]:
        yield f"<details open><summary><b>{len(group):,}</b> {_safe(kind)}</summary><ul class=grid>"
        yield from (_refused(one, kind) for one in group[:SHOWN])
        yield "</ul>"
        if len(group) > SHOWN:
            yield f"<p>… and {len(group) - SHOWN:,} more.</p>"
        yield "</details>"
    if len(groups) > REASONS_SHOWN:
        yield f"<p>… and {len(groups) - REASONS_SHOWN:,} other reasons.</p>"
    if len(found) < count:
        yield f"<p>Of {count:,} in all, {len(found):,} were looked at for this page; --errors lists every one.</p>"


def _refused(one: LeftOut, kind: str) -> str:
    where = one.refusal.uri + (f", line {one.refusal.line:,}" if one.refusal.line else "")
    small = one.thumbnail or preview(one.refused.location, one.refused.span)
    picture = (
        f'<img alt="" src="data:image/webp;base64,{base64.b64encode(small).decode()}">'
        if small
        else "<i>no picture</i>"
    )
    reason = "" if one.refusal.reason == kind else f"<small>{_safe(one.refusal.reason)}</small>"
    return f"<li>{picture}<code>{_safe(_tail(where))}</code>{reason}</li>"


def _twins(outcome: Outcome) -> Iterator[str]:
    for group in outcome.twins:
        shown = " · ".join(f"<code>{_safe(_tail(one))}</code>" for one in group[:8])
        yield f"<p><b>{len(group):,}</b> {shown}{' · …' if len(group) > 8 else ''}</p>"
    if outcome.twin_images > sum(len(group) - 1 for group in outcome.twins):
        yield f"<p>… and others: {outcome.twin_images:,} images in all are equal to another.</p>"


def _attributes(outcome: Outcome) -> Iterator[str]:
    for one in outcome.manifest.attributes:
        share = 100 * one.images / outcome.manifest.images if outcome.manifest.images else 0
        yield f"<section><h3>{_safe(one.name)}</h3><p>{one.type}, {one.images:,} images ({share:.3g} %)</p>"
        yield _bars(outcome.values.get(one.name, Values()).bins())
        yield "</section>"


def _shards(outcome: Outcome) -> Iterator[str]:
    sizes = [sum(file.size for file in shard.files) for shard in outcome.manifest.shards]
    labels = [f"{n}: {shard.images:,} images" for n, shard in enumerate(outcome.manifest.shards)]
    most = max(sizes, default=0) or 1
    for label, size in zip(labels[:256], sizes, strict=False):
        yield _bar(label, f"{size / 1e6:,.2f} MB", size / most)
    if len(labels) > 256:
        yield f"<tr><td>… and {len(labels) - 256:,} more</td></tr>"


def _bars(counts: Iterable[tuple[str, int]]) -> str:
    listed = list(counts)
    most = max((count for _, count in listed), default=0) or 1
    return "<table class=bars>" + "".join(_bar(_tail(k, 40), f"{n:,}", n / most) for k, n in listed) + "</table>"


def _bar(label: str, value: str, share: float) -> str:
    return f'<tr><td>{_safe(label)}</td><td><span style="width:{100 * share:.1f}%"></span></td><td>{value}</td></tr>'


def _tail(text: str, length: int = 80) -> str:
    return text if len(text) <= length else "…" + text[1 - length :]


def _safe(text: str) -> str:
    """Text of the source's, as text."""
    return escape(printable(text))
