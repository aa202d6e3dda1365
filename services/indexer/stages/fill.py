"""Fill: each shard gathers its images from all chunks and is written to the store.

An id belongs to the first row, in the order of the source, whose picture is good and whose attributes fit; rows of one
id are in one shard, so that no table of all ids is needed. A shard is held in memory while it is written, and no more.
"""

from __future__ import annotations

import base64
import itertools
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.index import Row as StoredRow
from services.index import write_shard
from services.indexer.chunks import Encoded, Images, parse_span, span_of
from services.indexer.plan import Begun
from services.indexer.ports import Progress
from services.indexer.rows import AttributeValue
from services.indexer.schema import Schema
from services.indexer.stages.encode import records
from services.indexer.stages.shares import Cost, Refused, Share
from services.indexer.stages.train import trained
from services.indexer.stages.types import conform, settled
from services.indexer.statistics import Values
from services.indexer.twins import Twins
from services.indexer.work import Work
from services.store import File, Shard, Store
from sightline.errors import InvalidArgument

# Refused rows of a shard whose thumbnails are kept for the report.
SHOWN = 24

Document = Callable[[Encoded, Mapping[str, AttributeValue]], bytes]


@dataclass(slots=True)
class _Filling:
    """What becomes of a shard's rows on their way."""

    schema: Schema
    values: dict[str, Values] = field(default_factory=dict)
    refused: list[dict[str, Any]] = field(default_factory=list)
    twins: Twins = field(default_factory=Twins)

    def refuse(self, image: Encoded, reason: str) -> None:
        record = Refused.row(image.row, reason).to_record()
        if len(self.refused) < SHOWN:
            record["thumbnail"] = base64.b64encode(image.thumbnail).decode()
        self.refused.append(record)

    def keep(self, image: Encoded, attributes: Mapping[str, AttributeValue]) -> None:
        for name, value in attributes.items():
            self.values.setdefault(name, Values()).add(value)
        self.twins.add(image.digest, image.row.id)


def done(shard: int) -> str:
    """The file that says that a shard is in the store, and what is in it."""
    return f"fill/{shard:04d}.json"


def twins(shard: int) -> str:
    """The file of the pictures' digests and ids, for finding equal ones."""
    return f"fill/{shard:04d}.arrow"


def fill(work: Work, begun: Begun, share: Share, *, store: Store, document: Document, progress: Progress) -> None:
    """Writes this share of the shards, but for those that are there.

    Raises:
        FailedPrecondition: an earlier stage has not ended.
        InvalidArgument: the index cannot take the vectors.
    """
    known, types = trained(work, begun)
    encoded = [(chunk, record["images"]) for chunk, record in records(work, begun)]
    images = sum(count for _, count in encoded)
    progress.stage("writing", images if share.of == 1 else None)
    draft = store.draft(begun.plan.collection, begun.generation)
    try:
        for shard in share.take(range(begun.plan.shards)):
            if (record := work.read_json(done(shard))) is not None:
                progress.advance(record["rows"])
                continue
            cost = Cost()
            filling = _Filling(settled(begun.types, types))
            slices = _gather(work, [chunk.images for chunk, count in encoded if count], shard)
            rows = _rows(slices, filling, document, progress)
            written = write_shard(draft.folder(shard), rows, known, attributes=types)
            sealed = draft.seal(shard, written)
            _note(work, sealed, filling, cost)
            del slices, rows
    finally:
        draft.close()


def sealed_shard(record: Mapping[str, Any]) -> Shard:
    """The shard that a record tells of."""
    files = tuple(File(**one) for one in record["shard"]["files"])
    return Shard(record["shard"]["index"], record["shard"]["images"], files)


def _gather(work: Work, files: Sequence[str], shard: int) -> list[Images]:
    """The shard's images in each chunk, in memory that is given back as a whole: slices of all sizes, each on the heap,
    would leave it in pieces that the next shard cannot use."""
    spans = [parse_span(work.read_range(file, *span_of(shard))) for file in files]
    memory = memoryview(mmap.mmap(-1, max(1, sum(end - start for start, end in spans))))
    found, at = [], 0
    for file, (start, end) in zip(files, spans, strict=True):
        if end > start:
            memory[at : at + end - start] = work.read_range(file, start, end)
            found.append(Images(memory[at : at + end - start]))
            at += end - start
    return found


def _rows(slices: Sequence[Images], filling: _Filling, document: Document, progress: Progress) -> Iterator[StoredRow]:
    for alike in itertools.groupby(_by_id(slices), key=lambda image: image.row.id):
        taken: Encoded | None = None
        for image in alike[1]:
            progress.advance(1)
            if taken is not None:
                line = f" by line {taken.row.line}" if taken.row.line else ""
                filling.refuse(image, f"the id {image.row.id!r} is taken{line}")
                continue
            try:
                attributes = conform(filling.schema, image.row.attributes)
            except InvalidArgument as exc:
                filling.refuse(image, str(exc))
                continue
            taken = image
            filling.keep(image, attributes)
            packed = document(image, attributes)
            yield StoredRow(image.row.id, image.vector, packed, image.thumbnail, attributes)


def _by_id(slices: Sequence[Images]) -> Iterator[Encoded]:
    """All images by the UTF-8 bytes of their ids; those of one id in the order of the source: the sort is stable."""
    if not slices:
        return
    starts = np.cumsum([0, *(len(one) for one in slices)])
    order = pc.sort_indices(pa.chunked_array([one.ids() for one in slices])).to_numpy()
    of_slice = np.searchsorted(starts, order, side="right") - 1
    # Neither is made a list: of a large shard, that would be as large as its vectors.
    for which, row in zip(of_slice, order, strict=True):
        yield slices[which][int(row) - int(starts[which])]


def _note(work: Work, sealed: Shard, filling: _Filling, cost: Cost) -> None:
    work.write(twins(sealed.index), filling.twins.to_bytes())
    record = {
        "shard": asdict(sealed),
        "rows": sealed.images + len(filling.refused),
        "refused": filling.refused,
        "values": {name: values.to_record() for name, values in filling.values.items()},
        **cost.lap(),
    }
    work.write_json(done(sealed.index), record)
