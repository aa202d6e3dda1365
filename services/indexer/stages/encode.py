"""Encode: each chunk of rows becomes images, by shard, with vectors and thumbnails.

Pictures go to the encoders in batches of fixed rows of a chunk, whatever else is under way and whatever was there
before: a model's last bits depend on what is in a batch, and so do the bytes of a build. Chunks are read ahead of each
other, so that decoding and encoding never wait for a chunk to end.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from services.indexer.chunks import Encoded, pack_images, unpack_rows
from services.indexer.pipeline import in_order, off_loop
from services.indexer.plan import Begun
from services.indexer.ports import Encoder, Progress, Vector
from services.indexer.reading import Picture
from services.indexer.rows import Refusal, Row
from services.indexer.stages.shares import Chunk, Cost, Refused, Share, chunks, unfinished
from services.indexer.stages.types import Kinds, kinds_of
from services.indexer.work import Work
from services.store import shard_of
from sightline.errors import FailedPrecondition, SightlineError

BATCH_ITEMS = 32
BATCH_BYTES = 8 << 20
UNIT_TOLERANCE = 1e-3

Outcome = Encoded | Refused


class Reads(Protocol):
    """Reads pictures: services.indexer.reading.Reader."""

    async def read(self, row: Row) -> Picture | Refusal:
        """The row's picture, or why there is none."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much goes on at once: pictures that are read or wait for the encoder, and batches that are with it."""

    reading: int
    encoding: int


@dataclass(frozen=True, slots=True)
class _Batch:
    """Some rows of a chunk, and whether they are its last."""

    chunk: Chunk
    rows: Sequence[Row] = field(repr=False)
    last: bool


async def encode(
    work: Work, begun: Begun, share: Share, *, reader: Reads, encoder: Encoder, pace: Pace, progress: Progress
) -> None:
    """Encodes this share of the chunks, but for those that are there.

    Raises:
        FailedPrecondition: the source was not read to the end.
        SightlineError: the encoders failed for good.
    """
    found = await asyncio.to_thread(chunks, work, begun.parts)
    mine = list(share.take(found))
    progress.stage("encoding", sum(rows for _, rows in mine))
    there = set(await asyncio.to_thread(work.names, "encode"))
    missing = []
    for chunk, rows in mine:
        if chunk.encoded.removeprefix("encode/") in there:
            progress.advance(rows)
        else:
            missing.append((chunk, rows))
    size = batch_size(begun.model.preparation.height * begun.model.preparation.width * 3)
    ahead = max(2, -(-pace.reading // size) + 1)
    encoding = _Encoding(begun, reader, encoder)
    cost, outcomes = Cost(), list[Outcome]()
    async with (
        aclosing(in_order(off_loop(_batches(work, missing, size), 1), encoding.read, ahead)) as pictures,
        aclosing(in_order(pictures, encoding.encode, pace.encoding)) as encoded,
    ):
        async for batch, part in encoded:
            outcomes += part
            progress.advance(len(batch.rows))
            if batch.last:
                await asyncio.to_thread(_keep, work, begun, batch.chunk, outcomes, cost)
                outcomes = []


def batch_size(picture_bytes: int) -> int:
    """How many pictures of so many bytes go to the encoders at a time."""
    return max(1, min(BATCH_ITEMS, BATCH_BYTES // picture_bytes))


def images(work: Work, begun: Begun) -> int:
    """How many images were encoded. Raises FailedPrecondition where not all chunks were."""
    return sum(int(record["images"]) for _, record in records(work, begun))


def records(work: Work, begun: Begun) -> Iterator[tuple[Chunk, dict[str, Any]]]:
    """What came of each chunk, in the order of the source. Raises FailedPrecondition where not all were encoded."""
    found = chunks(work, begun.parts)
    for place, (chunk, _) in enumerate(found):
        record = work.read_json(chunk.encoded)
        if record is None:
            there = set(work.names("encode"))
            left = [n for n, (one, _) in enumerate(found) if one.encoded.removeprefix("encode/") not in there]
            raise unfinished("encode", "chunks", left or [place], len(found))
        yield chunk, record


def _batches(work: Work, missing: Sequence[tuple[Chunk, int]], size: int) -> Iterator[_Batch]:
    for chunk, count in missing:
        data = work.read(chunk.rows) if count else None
        if count and data is None:
            raise FailedPrecondition(f"{work.url}/{chunk.rows} is gone; --restart begins anew", reason="WORK_LOST")
        rows = unpack_rows(data) if data else []
        for first in range(0, max(1, len(rows)), size):
            yield _Batch(chunk, rows[first : first + size], first + size >= len(rows))


@dataclass(frozen=True, slots=True)
class _Encoding:
    begun: Begun
    reader: Reads
    encoder: Encoder

    async def read(self, batch: _Batch) -> tuple[_Batch, list[Picture | Refused]]:
        found = await asyncio.gather(*(self.reader.read(row) for row in batch.rows))
        read = [
            Refused(one, row.location, row.span) if isinstance(one, Refusal) else one
            for row, one in zip(batch.rows, found, strict=True)
        ]
        return batch, read

    async def encode(self, item: tuple[_Batch, list[Picture | Refused]]) -> tuple[_Batch, list[Outcome]]:
        batch, read = item
        pictures = [one for one in read if isinstance(one, Picture)]
        pixels = [one.pixels for one in pictures if one.row.vector is None]
        vectors = iter(await self.encoder.encode(pixels) if pixels else [])
        return batch, [self._outcome(one, vectors) if isinstance(one, Picture) else one for one in read]

    def _outcome(self, picture: Picture, vectors: Iterator[Vector | SightlineError]) -> Outcome:
        row = picture.row
        vector = row.vector if row.vector is not None else next(vectors)
        if isinstance(vector, SightlineError):
            return Refused.row(row, f"the encoder refused it: {vector}")
        if len(vector) != self.begun.model.dimension:
            return Refused.row(row, f"has {len(vector)} dimensions, the model {self.begun.model.dimension}")
        if not abs(float(np.linalg.norm(vector)) - 1) <= UNIT_TOLERANCE:  # NaN is none either
            return Refused.row(row, "the encoder's vector is not of unit length")
        seen = vector.tobytes() if row.vector is not None else picture.pixels.tobytes()
        digest = int.from_bytes(hashlib.blake2b(seen, digest_size=8).digest(), "little")
        return Encoded(row, picture.width, picture.height, picture.thumbnail, vector, digest)


def _keep(work: Work, begun: Begun, chunk: Chunk, outcomes: Sequence[Outcome], cost: Cost) -> None:
    shards: list[list[Encoded]] = [[] for _ in range(begun.plan.shards)]
    kinds: dict[Kinds, None] = {}
    for one in outcomes:
        if isinstance(one, Encoded):
            shards[shard_of(one.row.id, begun.plan.shards)].append(one)
            kinds[kinds_of(one.row.attributes)] = None
    kept = sum(map(len, shards))
    refused = [one.to_record() for one in outcomes if isinstance(one, Refused)]
    work.write(chunk.images, pack_images(shards))
    record = {"images": kept, "kinds": list(kinds), "refused": refused, **cost.lap()}
    work.write_json(chunk.encoded, record)
