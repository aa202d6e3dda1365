"""The build: read → encode → train → fill → seal. All of it in one process, or each stage by its shares in many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

from services.index import check_factory
from services.indexer.fingerprint import fingerprint
from services.indexer.outcome import LeftOut, Outcome, left_out, outcome
from services.indexer.plan import Begun, Plan
from services.indexer.ports import Encoder, EncoderModel, Progress
from services.indexer.rows import Refusal
from services.indexer.sources import Source
from services.indexer.stages.encode import Pace, Reads, encode
from services.indexer.stages.fill import Document, fill
from services.indexer.stages.read import read, stray
from services.indexer.stages.seal import seal
from services.indexer.stages.shares import Share
from services.indexer.stages.train import train_index
from services.indexer.work import TRAINED, Work
from services.store import Manifest, Store
from sightline.errors import FailedPrecondition

PACE = Pace(reading=64, encoding=4)
ALL = Share()

Render = Callable[[Outcome, list[LeftOut], int], bytes]


@dataclass(frozen=True, slots=True)
class World:
    """What a build works with.

    Attributes:
        work: where its stages leave what they have.
        connect: makes the connection to the encoders, for one event loop.
        document: packs what is told of an image.
        reader_for: makes what reads pictures the way that a model wants them.
        render: makes the report: of the outcome, of the first that were left out, and of how many those are in all.
        refuse: told of everything that is left out.
        warn: told what the caller should know.
        pace: how much goes on at once.
    """

    store: Store
    work: Work
    connect: Callable[[], AbstractAsyncContextManager[Encoder]]
    document: Document
    reader_for: Callable[[EncoderModel], Reads]
    render: Render
    refuse: Callable[[Refusal], None]
    warn: Callable[[str], None]
    progress: Progress
    pace: Pace = PACE


@dataclass(frozen=True, slots=True)
class Built:
    """A generation, and where its report lies; None where an earlier run has already written that."""

    manifest: Manifest
    page: bytes | None
    where: str = ""


def build(plan: Plan, source: Source, world: World, *, restart: bool = False, keep: bool = False) -> Built:
    """Builds a generation of the collection and points NEXT to it; goes on where an earlier run of the same was ended.

    Args:
        plan: what to build.
        source: opened from the plan's.
        world: what to work with.
        restart: whether to throw away what an earlier run has left.
        keep: whether to keep the work folder.

    Raises:
        InvalidArgument: the collection's name or the factory string is wrong.
        FailedPrecondition: nothing could be indexed, another build has begun in the work folder, or is at it now, or
            the store can only be read.
        SightlineError: the encoder or the store failed for good.
    """
    with world.work.alone("build"):
        begun = begin(plan, source, world, restart=restart)
        if begun.sealed:
            return finish(begun, world, keep=keep)
        try:
            read_share(begun, source, world)
            encode_share(begun, world)
            train_index(world.work, begun, world.progress)
            fill_share(begun, world)
        except BaseException as exc:
            _tell_refused(begun, world)
            if isinstance(exc, FailedPrecondition) and exc.reason == "NOTHING_INDEXED":
                give_up(begun, world)
            raise
        return finish(begun, world, keep=keep)


def begin(plan: Plan, source: Source, world: World, *, restart: bool = False) -> Begun:
    """Begins a build, or finds that it has begun.

    What is wrong with the collection, the store or the index comes out here, before the long work and not after it.

    Raises as `build` does.
    """
    model = asyncio.run(_describe(world))
    check_factory(plan.index, model.dimension)
    seen = fingerprint(plan.source)
    parts, rows, types = len(source.parts), source.total, dict(source.types)
    wanted = Begun(plan, seen, source.kind, parts, rows, types, model, passed_over=source.passed_over)
    found = world.work.begun()
    _compare_with_current(plan.collection, model, world)
    if found is not None and (restart or (found.sealed and found.differences(wanted))):
        give_up(found, world)
        found = None
    if found is None:
        draft = world.store.begin(plan.collection, wanted.token(world.work.name))
        draft.close()
        found = replace(wanted, generation=draft.generation)
        world.work.write_plan(found)
        return found
    return _go_on(found, wanted, world)


def read_share(begun: Begun, source: Source, world: World, share: Share = ALL) -> None:
    """Reads a share of the source, and warns where it is not what the model is for."""
    read(world.work, begun, source, share, world.progress)
    model, outside = begun.model, stray(world.work, begun.parts)
    if outside is not None:
        world.warn(
            f"the encoder's model is for {model.scope} alone, and these pictures are not marked as such, the first of "
            f"them {outside}. {model.name}: {model.scope_note} If they are {model.scope}, say --scope {model.scope}."
        )


def encode_share(begun: Begun, world: World, share: Share = ALL) -> None:
    """Encodes a share of the chunks. Raises FailedPrecondition where the encoders have another model by now."""
    asyncio.run(_encode(begun, world, share))


def fill_share(begun: Begun, world: World, share: Share = ALL) -> None:
    """Writes a share of the shards."""
    fill(world.work, begun, share, store=world.store, document=world.document, progress=world.progress)


def finish(begun: Begun, world: World, *, keep: bool = False) -> Built:
    """Seals the generation, writes its report and tidies up.

    Raises:
        FailedPrecondition: a stage has not ended.
    """
    if begun.sealed:
        built = Built(world.store.manifest(begun.plan.collection, begun.generation), None)
    else:
        manifest = seal(world.work, begun, world.store)
        built = _report(begun, world, manifest)
        _tell_refused(begun, world)
        world.work.write_plan(replace(begun, sealed=True))
    if not keep:
        world.work.clear()
    return built


def give_up(begun: Begun, world: World) -> None:
    """Throws away what a build has so far; not the generation, where it has come to one."""
    if not begun.sealed:
        world.store.draft(begun.plan.collection, begun.generation).discard()
    world.work.clear()


async def _describe(world: World) -> EncoderModel:
    async with world.connect() as encoder:
        return await encoder.describe()


async def _encode(begun: Begun, world: World, share: Share) -> None:
    async with world.connect() as encoder:
        model = await encoder.describe()
        if model.digest != begun.model.digest:
            message = f"this build began with the model {begun.model.name}, the encoders have {model.name}"
            raise FailedPrecondition(message, reason="ANOTHER_MODEL")
        reader = world.reader_for(begun.model)
        await encode(world.work, begun, share, reader=reader, encoder=encoder, pace=world.pace, progress=world.progress)


def _go_on(found: Begun, wanted: Begun, world: World) -> Begun:
    """The build that has begun, if it is the one that is wanted. Another index changes nothing of what was encoded."""
    differences = found.differences(wanted)
    if not differences:
        return found
    if differences.keys() != {"--index"}:
        told = "; ".join(f"{name} {how}" for name, how in differences.items())
        message = f"another build has begun in {world.work.url}: {told}. --restart throws it away and begins anew"
        raise FailedPrecondition(message, reason="ANOTHER_BUILD")
    for stage in TRAINED:
        world.work.remove(stage)
    changed = replace(found, plan=wanted.plan)
    world.work.write_plan(changed)
    return changed


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


def _report(begun: Begun, world: World, manifest: Manifest) -> Built:
    # A report shows some of what was left out; memory stays bounded however much it is.
    some: list[LeftOut] = []
    count, kinds = 0, dict[str, int]()
    for one in left_out(world.work, begun):
        count += 1
        kind = one.refusal.reason[:40]
        kinds[kind] = kinds.get(kind, 0) + 1
        if kinds[kind] <= 1000 and len(some) < 20_000:
            some.append(one)
    page = world.render(outcome(world.work, begun, manifest), some, count)
    name = f"reports/{manifest.generation:08d}.html"
    return Built(manifest, page, world.store.keep(begun.plan.collection, name, page))


def _tell_refused(begun: Begun, world: World) -> None:
    for one in left_out(world.work, begun):
        world.refuse(one.refusal)
