"""The build: a source becomes a generation. Read and encode, then train, then fill the shards, the manifest last."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass

import numpy as np

from services.index import Row as StoredRow
from services.index import Trained, check_factory, train, write_shard
from services.indexer.intake import Intake, Pace, Reads
from services.indexer.ports import Encoder, EncoderModel, Progress
from services.indexer.rows import AttributeValue, Refusal
from services.indexer.schema import Schema
from services.indexer.sources import Source
from services.indexer.spool import Encoded, Spool
from services.store import AttributeField, Draft, Manifest, Model, Store
from sightline.errors import FailedPrecondition

# Vectors that an index is trained with take at most this much memory.
SAMPLE_BYTES = 512 << 20
PACE = Pace(reading=64, encoding=4)

Document = Callable[[Encoded, Mapping[str, AttributeValue]], bytes]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be built.

    Attributes:
        shards: how many shards the images are spread over by their ids.
        index: a FAISS factory string; `Flat` is exact.
        scope: what the source is declared to be, such as `emoji`; empty where it is not.
        pace: how much goes on at once.
    """

    collection: str
    shards: int = 4
    index: str = "Flat"
    scope: str = ""
    pace: Pace = PACE


@dataclass(frozen=True, slots=True)
class World:
    """What a build works with.

    Attributes:
        connect: makes the connection to the encoders, for one event loop.
        document: packs what is told of an image.
        reader_for: makes what reads pictures the way that a model wants them.
        refuse: told of everything that is left out.
        warn: told what the caller should know.
    """

    store: Store
    connect: Callable[[], AbstractAsyncContextManager[Encoder]]
    spool: Spool
    document: Document
    reader_for: Callable[[EncoderModel], Reads]
    refuse: Callable[[Refusal], None]
    warn: Callable[[str], None]
    progress: Progress


@dataclass(frozen=True, slots=True)
class _Taken:
    model: EncoderModel
    intake: Intake
    draft: Draft


def build(plan: Plan, source: Source, world: World) -> Manifest:
    """Builds a generation of the collection and points NEXT to it. Where it fails, none appears.

    Raises:
        InvalidArgument: the collection's name or the factory string is wrong.
        FailedPrecondition: nothing could be indexed, or the store can only be read.
        SightlineError: the encoder or the store failed for good.
    """
    with ExitStack() as undo:
        taken = asyncio.run(_take_in(plan, source, world, undo))
        manifest = _write(plan, taken, world)
        undo.pop_all()
    world.store.set_next(plan.collection, manifest.generation)
    return manifest


async def _take_in(plan: Plan, source: Source, world: World, undo: ExitStack) -> _Taken:
    async with world.connect() as encoder:
        model = await encoder.describe()
        # What is wrong with the collection, the store or the index comes out before the long work, not after it.
        check_factory(plan.index, model.dimension)
        _compare_with_current(plan.collection, model, world)
        draft = world.store.begin(plan.collection)
        undo.callback(draft.discard)
        intake = Intake(
            model,
            world.spool,
            shards=plan.shards,
            scope=plan.scope,
            refuse=world.refuse,
            warn=world.warn,
            progress=world.progress,
        )
        await intake.run(source, world.reader_for(model), encoder, plan.pace)
    if not intake.images:
        raise FailedPrecondition("nothing could be indexed, so no generation was made", reason="NOTHING_INDEXED")
    return _Taken(model, intake, draft)


def _compare_with_current(collection: str, model: EncoderModel, world: World) -> None:
    """Warns where searchers will refuse what is built: a collection that is served keeps its model."""
    current = world.store.pointers(collection).current
    if current is None:
        return
    served = world.store.manifest(collection, current.generation).model
    if served.digest != model.digest:
        world.warn(
            f"{collection} is served with the model {served.name}, the encoders have {model.name}: searchers will "
            "refuse to load both beside each other. For another model, take another --collection."
        )


def _write(plan: Plan, taken: _Taken, world: World) -> Manifest:
    model, schema, draft = taken.model, taken.intake.schema, taken.draft
    trained = _train(plan.index, model.dimension, taken.intake.images, world.spool)
    world.progress.stage("writing", taken.intake.images)
    having: Counter[str] = Counter()
    for number in range(plan.shards):
        rows = _stored(world.spool.shard(number), schema, world, having)
        draft.seal(number, write_shard(draft.folder(number), rows, trained, schema.types))
    return draft.publish(
        Model(model.name, model.digest, model.dimension, model.scope),
        index=plan.index,
        attributes=[AttributeField(name, schema.type_of(name), having[name]) for name in sorted(having)],
    )


def _train(index: str, dimension: int, images: int, spool: Spool) -> Trained:
    limit = 0 if index == "Flat" else SAMPLE_BYTES // (4 * dimension)
    sample = list(spool.every(max(1, -(-images // limit)))) if limit else []
    return train(index, dimension, np.array(sample, dtype=np.float32).reshape(-1, dimension))


def _stored(images: Iterator[Encoded], schema: Schema, world: World, having: Counter[str]) -> Iterator[StoredRow]:
    for image in images:
        attributes = schema.conform(image.row.attributes)
        having.update(attributes.keys())
        world.progress.advance(1)
        yield StoredRow(image.row.id, image.vector, world.document(image, attributes), image.thumbnail, attributes)
