"""Read: each part of the source becomes chunks of rows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from services.indexer.chunks import pack_rows
from services.indexer.plan import Begun
from services.indexer.ports import Progress
from services.indexer.rows import Refusal, Row
from services.indexer.sources import Part, Source
from services.indexer.stages.shares import Chunk, Cost, Refused, Share, part_done
from services.indexer.work import Work
from services.store import check_id
from sightline.errors import SightlineError


def read(work: Work, begun: Begun, source: Source, share: Share, progress: Progress) -> None:
    """Reads this share of the parts, but for those that are there. Raises what `Part.rows` raises."""
    progress.stage("reading", source.total if share.of == 1 else None)
    for number, part in share.take(enumerate(source.parts)):
        done = work.read_json(part_done(number))
        if done is None:
            _read_part(work, begun, number, part, progress)
        else:
            progress.advance(done["items"])


def stray(work: Work, parts: int) -> str | None:
    """The address of the first row that nothing marks as of the model's scope; None where all are."""
    found = ((work.read_json(part_done(part)) or {}).get("stray") for part in range(parts))
    return next((uri for uri in found if uri is not None), None)


def _read_part(work: Work, begun: Begun, number: int, part: Part, progress: Progress) -> None:
    cost, items = Cost(), 0
    counts: list[int] = []
    outside: str | None = None
    rows_of_part = part.rows()
    while taken := list(islice(rows_of_part, begun.plan.chunk)):
        rows, refused = [], []
        for item in taken:
            admitted = _admit(item)
            if isinstance(admitted, Row):
                rows.append(admitted)
                outside = outside if outside is not None else _outside(begun, admitted)
            else:
                refused.append(admitted)
        _write(work, Chunk(number, len(counts)), rows, refused)
        counts.append(len(rows))
        items += len(taken)
        progress.advance(len(taken))
    work.write_json(part_done(number), {"chunks": counts, "items": items, "stray": outside, **cost.lap()})


def _admit(item: Row | Refusal) -> Row | Refused:
    if isinstance(item, Refusal):
        return Refused(item)
    try:
        check_id(item.id)
    except SightlineError as exc:
        return Refused.row(item, str(exc))
    return item


def _outside(begun: Begun, row: Row) -> str | None:
    """The row's address, where neither its source nor itself says that it is of the model's scope."""
    scope = begun.model.scope
    in_scope = not scope or begun.plan.scope == scope or scope in row.attributes
    return None if in_scope else row.uri or row.id


def _write(work: Work, chunk: Chunk, rows: list[Row], refused: list[Refused]) -> None:
    if refused:
        work.write_json(chunk.refused, [one.to_record() for one in refused])
    if rows:
        work.write(chunk.rows, pack_rows(rows))


def refusals(work: Work, part: int) -> Iterator[Refused]:
    """What was refused of a part while it was read."""
    names = [name for name in work.names(f"read/{part:05d}") if name.endswith(".refused")]
    for name in names:
        yield from map(Refused.of, work.read_json(f"read/{part:05d}/{name}"))
