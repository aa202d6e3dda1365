"""Train: the types of attributes are settled over all chunks, and the index learns from a sample of the vectors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from services.index import Trained, train
from services.indexer.chunks import Images, parse_span, span_of
from services.indexer.plan import Begun
from services.indexer.ports import Progress, Vector
from services.indexer.stages.encode import records
from services.indexer.stages.shares import Chunk, Cost, unfinished
from services.indexer.stages.types import settle
from services.indexer.work import Work
from sightline.errors import FailedPrecondition

# Vectors that an index is trained with take at most this much memory.
SAMPLE_BYTES = 512 << 20

_TYPES, _INDEX = "train/trained.json", "train/index.bin"


def train_index(work: Work, begun: Begun, progress: Progress) -> None:
    """Settles types and trains, where that has not been done.

    Raises:
        FailedPrecondition: not all was encoded, or nothing could be indexed (NOTHING_INDEXED).
        InvalidArgument: there are too few images for such an index.
    """
    if work.read(_TYPES) is not None:
        return
    cost = Cost()
    encoded = list(records(work, begun))
    images = sum(record["images"] for _, record in encoded)
    if not images:
        raise FailedPrecondition("nothing could be indexed, so no generation was made", reason="NOTHING_INDEXED")
    if begun.plan.index != "Flat":
        progress.stage("training", images)
    kinds = (tuple((name, kind) for name, kind in one) for _, record in encoded for one in record["kinds"])
    types = settle(begun.types, kinds)
    sample = _sample(work, begun, [chunk for chunk, record in encoded if record["images"]], images)
    work.write(_INDEX, train(begun.plan.index, begun.model.dimension, sample).blob)
    if begun.plan.index != "Flat":
        progress.advance(images)
    work.write_json(_TYPES, {"types": types, "images": images, **cost.lap()})


def trained(work: Work, begun: Begun) -> tuple[Trained, dict[str, str]]:
    """What was learnt, and the types of attributes. Raises FailedPrecondition where there is none yet."""
    said, blob = work.read_json(_TYPES), work.read(_INDEX)
    if said is None or blob is None:
        raise unfinished("train", "indexes", [0], 1)
    return Trained(begun.plan.index, begun.model.dimension, blob), said["types"]


def _sample(work: Work, begun: Begun, chunks: list[Chunk], images: int) -> Vector:
    """Every n-th vector, float32 [sample, dimension], by chunk and shard; none where nothing is learnt."""
    dimension = begun.model.dimension
    limit = 0 if begun.plan.index == "Flat" else SAMPLE_BYTES // (4 * dimension)
    if not limit:
        return np.empty((0, dimension), np.float32)
    step = -(-images // limit)
    sample = np.empty((-(-images // step), dimension), np.float32)
    for place, vector in enumerate(_every(_vectors(work, begun, chunks), step)):
        sample[place] = vector
    return sample


def _every(vectors: Iterator[Vector], step: int) -> Iterator[Vector]:
    return (vector for place, vector in enumerate(vectors) if place % step == 0)


def _vectors(work: Work, begun: Begun, chunks: list[Chunk]) -> Iterator[Vector]:
    for chunk in chunks:
        data = work.read(chunk.images) or b""
        for shard in range(begun.plan.shards):
            start, end = parse_span(data[slice(*span_of(shard))])
            if end > start:
                images = Images(data[start:end])
                yield from (images.vector(place) for place in range(len(images)))
