"""Answers as text for terminals."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sightline.cli.standing import Standing
from sightline.printable import printable
from sightline.results import CacheState, SearchResult, StageTimes, StoredImage

_CACHE = {
    CacheState.UNSPECIFIED: "cache unknown",
    CacheState.MISS: "computed",
    CacheState.HIT_LOCAL: "from this gateway's cache",
    CacheState.HIT_SHARED: "from the shared cache",
    CacheState.JOINED: "shared with an identical call",
}
_STAGES = (("cache", "cyan"), ("encode", "magenta"), ("search", "green"), ("merge", "yellow"), ("fetch", "blue"))
_BAR = 40  # characters of the longest bar


def answer(result: SearchResult) -> RenderableType:
    """Returns the whole of an answer: its hits, how it came about, where the time went."""
    parts: list[RenderableType] = [hits(result) if result.hits else Text("No hits: nothing in the collection matches.")]
    parts += [Text(printable(f"! {one.message} ({one.reason})"), style="bold yellow") for one in result.degraded]
    return Group(*parts, Text(printable(summary(result)), style="dim"), stages(result.times))


def hits(result: SearchResult) -> Table:
    """Returns the hits, one a line."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("id", overflow="fold")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("caption", overflow="fold")
    table.add_column("uri", overflow="fold", style="dim")
    for rank, hit in enumerate(result.hits, 1):
        table.add_row(str(rank), _told(hit.id), f"{hit.score:.3f}", _told(hit.image.caption), _told(hit.image.uri))
    return table


def summary(result: SearchResult) -> str:
    """Returns in one line how the answer came about."""
    seen = result.coverage
    matched = f"{seen.images_matched:,} match of " if seen.images_matched < seen.images_searched else ""
    return " · ".join(
        (
            f"{seen.shards_answered} of {seen.shards_asked} shards, {matched}{_images(seen.images_searched)}",
            _CACHE[result.cache],
            f"generation {result.generation}",
            f"model {result.model.name} {result.model.digest[:8]}".rstrip(),
            f"request {result.request_id}",
        )
    )


def stages(times: StageTimes) -> Text:
    """Returns where the time went, as a bar and its legend."""
    spent = [(name, style, getattr(times, f"{name}_us")) for name, style in _STAGES]
    rest = times.total_us - sum(us for _, _, us in spent)
    spent = [(name, style, us) for name, style, us in [*spent, ("other", "white", max(rest, 0))] if us]
    whole = sum(us for _, _, us in spent) or 1
    bar = Text()
    for _, style, us in spent:
        bar.append("━" * max(round(us / whole * _BAR), 1), style=style)
    bar.append(f" {times.total_us / 1000:.1f} ms")
    for name, style, us in spent:
        bar.append(f"  {name} {us / 1000:.1f}", style=style)
    return bar


def image(stored: StoredImage) -> Table:
    """Returns what is known of an image."""
    one = stored.image
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    size = f"{one.width} × {one.height}" if one.width else ""
    known = [("id", one.id), ("caption", one.caption), ("uri", one.uri), ("size", size)]
    known += [(name, _value(value)) for name, value in sorted(one.attributes.items())]
    for name, value in [*known, ("generation", str(stored.generation))]:
        if value:
            table.add_row(_told(name), _told(value))
    return table


def collections(listed: Sequence[Standing]) -> RenderableType:
    """Returns what can be searched, one collection a line, and below that what of it is missing."""
    if not listed:
        return Text("No collections: nothing has been published yet.")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("collection", "images", "shards", "generation", "before", "index", "model"):
        table.add_column(name, justify="right" if name in ("images", "shards", "generation", "before") else "left")
    for standing in listed:
        one = standing.collection
        shards = f"[bold yellow]{standing.answering} of {one.shards}[/]" if standing.missing else str(one.shards)
        numbers = (f"{one.images:,}", shards, str(one.generation), str(one.previous_generation or "–"))
        model = f"{one.model.name} {one.model.digest[:8]} ({one.model.dimension})"
        table.add_row(_told(one.name), *numbers, _told(one.index), _told(model))
    return Group(table, *(_missing(standing) for standing in listed if standing.missing))


def _missing(standing: Standing) -> Text:
    lost = f"{standing.answering} of {standing.collection.shards} shards answer, with {_images(standing.images)}"
    return Text(printable(f"! {standing.collection.name}: {lost}: {standing.missing}"), style="bold yellow")


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _told(text: str) -> str:
    """Text of the collection's, which is neither markup nor orders to the terminal."""
    return escape(printable(text))


def _value(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple | list) else str(value)
