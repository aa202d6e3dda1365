"""The first half of a build: rows are checked, read, encoded, and kept in the spool, all at once and in their order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from services.indexer.pipeline import batched, in_order, off_loop
from services.indexer.ports import Encoder, EncoderModel, Progress, Vector
from services.indexer.reading import Picture
from services.indexer.rows import Refusal, Row
from services.indexer.schema import Schema
from services.indexer.sources import Source
from services.indexer.spool import Encoded, Spool
from services.store import check_id, shard_of
from sightline.errors import SightlineError

BATCH_ITEMS = 32
BATCH_BYTES = 4 << 20
UNIT_TOLERANCE = 1e-3


class Reads(Protocol):
    """Reads pictures: services.indexer.reading.Reader."""

    async def read(self, row: Row) -> Picture | Refusal:
        """The row's picture, or why there is none."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much goes on at once: pictures that are read or wait for the encoder, and batches that are with it."""

    reading: int
    encoding: int


class Intake:
    """Takes a source into a spool.

    Args:
        shards: how many shards the images are spread over.
        scope: what the source is declared to be, such as `emoji`; may be empty.
        refuse: told of everything that is left out.
        warn: told at most once, where the source is outside the model's scope.
    """

    def __init__(
        self,
        model: EncoderModel,
        spool: Spool,
        *,
        shards: int,
        scope: str,
        refuse: Callable[[Refusal], None],
        warn: Callable[[str], None],
        progress: Progress,
    ) -> None:
        self._model, self._spool, self._shards = model, spool, shards
        self._refuse_to, self._warn, self._progress = refuse, warn, progress
        self._in_scope = scope == model.scope
        self.schema = Schema()
        self.images = 0

    async def run(self, source: Source, reader: Reads, encoder: Encoder, pace: Pace) -> None:
        """Spools all that can be encoded. Raises SightlineError where the encoder fails for good."""
        self.schema = Schema(source.types)
        self._progress.stage("encoding", source.total)
        prepared = self._model.preparation
        size = max(1, min(BATCH_ITEMS, BATCH_BYTES // (prepared.height * prepared.width * 3)))

        async def encode(batch: list[Picture]) -> list[tuple[Picture, Vector | SightlineError]]:
            fresh = [picture.pixels for picture in batch if picture.row.vector is None]
            vectors = iter(await encoder.encode(fresh) if fresh else [])
            return [(one, next(vectors) if one.row.vector is None else one.row.vector) for one in batch]

        async with (
            aclosing(in_order(self._admitted(source.items), reader.read, pace.reading)) as read,
            aclosing(in_order(batched(self._pictures(read), size), encode, pace.encoding)) as encoded,
        ):
            async for batch in encoded:
                self._keep(batch)

    async def _admitted(self, items: Iterator[Row | Refusal]) -> AsyncIterator[Row]:
        async for item in off_loop(items):
            admitted = self._admit(item) if isinstance(item, Row) else item
            if isinstance(admitted, Row):
                yield admitted
            else:
                self._refuse(admitted)

    def _admit(self, row: Row) -> Row | Refusal:
        self._check_scope(row)
        try:
            check_id(row.id)
        except SightlineError as exc:
            return row.refused(str(exc))
        return row

    def _check_scope(self, row: Row) -> None:
        """Warns, once, at the first row that is not of the model's scope: neither its source nor itself says so."""
        if self._in_scope or not self._model.scope or self._model.scope in row.attributes:
            return
        self._in_scope = True
        model = self._model
        self._warn(
            f"the encoder's model is for {model.scope} alone, and these pictures are not marked as such, the first of "
            f"them {row.uri}. {model.name}: {model.scope_note} If they are {model.scope}, say --scope {model.scope}."
        )

    async def _pictures(self, read: AsyncIterator[Picture | Refusal]) -> AsyncIterator[Picture]:
        async for item in read:
            if isinstance(item, Picture):
                yield item
            else:
                self._refuse(item)

    def _keep(self, batch: list[tuple[Picture, Vector | SightlineError]]) -> None:
        kept = []
        for picture, vector in batch:
            if isinstance(vector, SightlineError):
                self._refuse(picture.row.refused(f"the encoder refused it: {vector}"))
            elif len(vector) != self._model.dimension:
                self._refuse(picture.row.refused(f"has {len(vector)} dimensions, the model {self._model.dimension}"))
            elif not abs(float(np.linalg.norm(vector)) - 1) <= UNIT_TOLERANCE:  # NaN is none either
                self._refuse(picture.row.refused("the encoder's vector is not of unit length"))
            elif refusal := self._settle(picture.row):
                self._refuse(refusal)
            else:
                kept.append((shard_of(picture.row.id, self._shards), _encoded(picture, vector)))
        self._spool.add(kept)
        self.images += len(kept)
        self._progress.advance(len(kept))

    def _settle(self, row: Row) -> Refusal | None:
        """Takes the row's id and admits its attributes, now that its picture is known to be good.

        No earlier: a row that is left out neither keeps its id from others nor settles a type.
        """
        taken_by = self._spool.claim(row)
        if taken_by is not None:
            return row.refused(f"the id {row.id!r} is taken" + (f" by line {taken_by}" if taken_by else ""))
        try:
            self.schema.admit(row.attributes)
        except SightlineError as exc:
            self._spool.release(row)
            return row.refused(str(exc))
        return None

    def _refuse(self, refusal: Refusal) -> None:
        self._refuse_to(refusal)
        self._progress.advance(1)


def _encoded(picture: Picture, vector: Vector) -> Encoded:
    return Encoded(picture.row, picture.width, picture.height, picture.thumbnail, vector)
