"""Seal: the manifest over all shards, and NEXT. From then on the generation exists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.indexer.plan import Begun
from services.indexer.stages.fill import done, sealed_shard
from services.indexer.stages.shares import unfinished
from services.indexer.stages.train import trained
from services.indexer.statistics import Values
from services.indexer.work import Work
from services.store import AttributeField, Manifest, Model, Store


def seal(work: Work, begun: Begun, store: Store) -> Manifest:
    """Writes the manifest and points NEXT to the generation; done again, it does the same.

    Raises:
        FailedPrecondition: a shard is missing.
    """
    collection, generation = begun.plan.collection, begun.generation
    _, types = trained(work, begun)
    draft = store.draft(collection, generation)
    for record in filled(work, begun):
        draft.adopt(sealed_shard(record))
    having = values(work, begun)
    model = begun.model
    manifest = draft.publish(
        Model(model.name, model.digest, model.dimension, model.scope),
        index=begun.plan.index,
        attributes=[
            AttributeField(name, kind, having[name].images if name in having else 0) for name, kind in types.items()
        ],
    )
    store.set_next(collection, generation)
    return manifest


def filled(work: Work, begun: Begun) -> Iterator[dict[str, Any]]:
    """The record of each shard. Raises FailedPrecondition where one is missing."""
    missing = []
    for shard in range(begun.plan.shards):
        record = work.read_json(done(shard))
        if record is None:
            missing.append(shard)
        elif not missing:
            yield record
    if missing:
        raise unfinished("fill", "shards", missing, begun.plan.shards)


def values(work: Work, begun: Begun) -> dict[str, Values]:
    """How the values of each attribute are spread over all images."""
    found: dict[str, Values] = {}
    for record in filled(work, begun):
        for name, one in record["values"].items():
            found.setdefault(name, Values()).merge(Values.of(one))
    return found
