"""What came of a build, gathered from what its stages left: for its report, and for the list of what was refused."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from services.indexer.plan import Begun
from services.indexer.rows import Refusal
from services.indexer.stages import read
from services.indexer.stages.fill import done, twins
from services.indexer.stages.seal import filled, values
from services.indexer.stages.shares import Chunk, Refused, part_done
from services.indexer.statistics import Values
from services.indexer.twins import column
from services.indexer.work import Work
from services.store import Manifest

TWINS_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Spent:
    """What a stage took: images that went through it, seconds by the clock, and of the indexer's CPUs."""

    stage: str
    images: int
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a build.

    Attributes:
        begun: what was to be built.
        manifest: what was.
        spent: by stage, in their order.
        values: how the values of each attribute are spread.
        twins: ids of pictures that are equal, the first of such groups.
        twin_images: how many images are equal to an earlier one.
    """

    begun: Begun
    manifest: Manifest
    spent: Sequence[Spent]
    values: Mapping[str, Values]
    twins: Sequence[Sequence[str]]
    twin_images: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A refusal, where its picture is, and its thumbnail where the build has made one."""

    refused: Refused
    thumbnail: bytes = field(repr=False, default=b"")

    @property
    def refusal(self) -> Refusal:
        """Why, in words."""
        return self.refused.refusal


def left_out(work: Work, begun: Begun) -> Iterator[LeftOut]:
    """Everything that was left out so far: while reading, while encoding, while filling, each in its order."""
    for part in range(begun.parts):
        yield from map(LeftOut, read.refusals(work, part))
    for name in work.names("encode"):
        if name.endswith(".json"):
            yield from _of((work.read_json(f"encode/{name}") or {}).get("refused", ()))
    for shard in range(begun.plan.shards):
        yield from _of((work.read_json(done(shard)) or {}).get("refused", ()))


def outcome(work: Work, begun: Begun, manifest: Manifest) -> Outcome:
    """What came of a build whose stages have all ended."""
    groups, repeated = _equal(work, begun)
    return Outcome(begun, manifest, _spent(work, begun), values(work, begun), groups, repeated)


def _of(records: Iterable[dict[str, Any]]) -> Iterator[LeftOut]:
    for record in records:
        yield LeftOut(Refused.of(record), base64.b64decode(record.get("thumbnail", "")))


def _spent(work: Work, begun: Begun) -> list[Spent]:
    parts = [work.read_json(part_done(part)) or {} for part in range(begun.parts)]
    chunks = [
        (sum(part.get("chunks", [])[number : number + 1]), work.read_json(Chunk(place, number).encoded) or {})
        for place, part in enumerate(parts)
        for number in range(len(part.get("chunks", [])))
    ]
    learnt = work.read_json("train/trained.json") or {}
    shards = list(filled(work, begun))
    return [
        _sum("read", sum(part.get("items", 0) for part in parts), parts),
        _sum("encode", sum(rows for rows, _ in chunks), [record for _, record in chunks]),
        _sum("train", learnt.get("images", 0), [learnt]),
        _sum("fill", sum(record["rows"] for record in shards), shards),
    ]


def _sum(stage: str, images: int, records: Sequence[Mapping[str, Any]]) -> Spent:
    seconds, cpu = (sum(float(one.get(key, 0)) for one in records) for key in ("seconds", "cpu_seconds"))
    return Spent(stage, images, seconds, cpu)


def _equal(work: Work, begun: Begun) -> tuple[list[list[str]], int]:
    """Ids of equal pictures, and how many are equal to an earlier one; holds eight bytes an image."""
    shards = range(begun.plan.shards)
    digests = np.sort(np.concatenate([_column(work, shard, "digest").to_numpy() for shard in shards]))
    again = digests[1:][digests[1:] == digests[:-1]]
    wanted = np.unique(again)[:TWINS_SHOWN]
    groups: dict[int, list[str]] = {int(one): [] for one in wanted}
    for shard in shards if len(wanted) else ():
        of = _column(work, shard, "digest").to_numpy()
        ids = _column(work, shard, "id")
        for place in np.flatnonzero(np.isin(of, wanted)).tolist():
            groups[int(of[place])].append(ids[place].as_py())
    return sorted(sorted(group) for group in groups.values()), len(again)


def _column(work: Work, shard: int, name: str) -> pa.ChunkedArray:
    data = work.read(twins(shard))
    assert data is not None, "the stages have ended"
    return column(data, name)
