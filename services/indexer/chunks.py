"""Rows and encoded images as they lie in the work folder: Arrow, the same bytes for the same content.

An encoded chunk is one Arrow stream for each shard, end to end, behind a table of where each begins: whoever fills a
shard reads that shard's alone.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from services.indexer.ports import Vector
from services.indexer.rows import AttributeValue, Row

_ROWS = pa.schema([("row", pa.string()), ("vector", pa.binary())])
_IMAGES = pa.schema(
    [
        ("id", pa.string()),
        ("row", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("thumbnail", pa.binary()),
        ("vector", pa.binary()),
        ("digest", pa.uint64()),
    ]
)
_POSITION = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Encoded:
    """An indexed image: its row, its size in pixels, its thumbnail (WebP) and its unit vector, float32 [dimension].

    Attributes:
        digest: of its prepared pixels, or of its vector where nothing was read; equal pictures have equal ones.
    """

    row: Row
    width: int
    height: int
    thumbnail: bytes = field(repr=False)
    vector: Vector = field(repr=False)
    digest: int = 0


def pack_rows(rows: Sequence[Row]) -> bytes:
    """Rows as a file."""
    vectors = [None if row.vector is None else row.vector.astype("<f4").tobytes() for row in rows]
    return pack(
        _ROWS, [pa.record_batch([pa.array([_dump(row) for row in rows]), pa.array(vectors, pa.binary())], _ROWS)]
    )


def unpack_rows(data: bytes) -> list[Row]:
    """The rows of such a file."""
    batch = _unpack(data)
    return [
        _load(row, None if vector is None else np.frombuffer(vector, "<f4"))
        for row, vector in zip(batch["row"].to_pylist(), batch["vector"].to_pylist(), strict=True)
    ]


def pack_images(shards: Sequence[Sequence[Encoded]]) -> bytes:
    """Encoded images as a file, by shard."""
    parts = [pack(_IMAGES, [_batch(images)]) if images else b"" for images in shards]
    ends = np.cumsum([_POSITION.size * (len(shards) + 1), *(len(part) for part in parts)], dtype="<u8")
    return ends.tobytes() + b"".join(parts)


def span_of(shard: int) -> tuple[int, int]:
    """Where a file of encoded images says where the images of a shard are."""
    return _POSITION.size * shard, _POSITION.size * (shard + 2)


def parse_span(data: bytes) -> tuple[int, int]:
    """Where the images of a shard are: first byte, and the one after the last."""
    start, end = np.frombuffer(data, "<u8").tolist()
    return start, end


class Images:
    """The images of a shard in a chunk, in the order of the source; they stay packed until they are asked for."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._batch = _unpack(data)

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def ids(self) -> pa.Array:
        """Their ids."""
        return self._batch["id"]

    def __getitem__(self, place: int) -> Encoded:
        row, width, height, thumbnail, vector, digest = (
            self._batch[name][place] for name in ("row", "width", "height", "thumbnail", "vector", "digest")
        )
        return Encoded(
            _load(row.as_py(), None),
            width.as_py(),
            height.as_py(),
            thumbnail.as_py(),
            np.frombuffer(vector.as_buffer(), "<f4"),
            digest.as_py(),
        )

    def vector(self, place: int) -> Vector:
        """One vector, float32 [dimension]."""
        return np.frombuffer(self._batch["vector"][place].as_buffer(), "<f4")


def _batch(images: Sequence[Encoded]) -> pa.RecordBatch:
    columns = [
        [image.row.id for image in images],
        [_dump(image.row) for image in images],
        [image.width for image in images],
        [image.height for image in images],
        [image.thumbnail for image in images],
        [image.vector.astype("<f4").tobytes() for image in images],
        [image.digest for image in images],
    ]
    return pa.record_batch([pa.array(values, one.type) for values, one in zip(columns, _IMAGES, strict=True)], _IMAGES)


def pack(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> bytes:
    """An Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _unpack(data: bytes | memoryview) -> pa.RecordBatch:
    return pa.ipc.open_stream(pa.py_buffer(data)).read_next_batch()


def _dump(row: Row) -> str:
    # In ASCII: the address of a file may hold what is no UTF-8.
    return json.dumps([row.id, row.uri, row.location, row.caption, dict(row.attributes), row.line, row.span])


def _load(dumped: str, vector: Vector | None) -> Row:
    identifier, uri, location, caption, attributes, line, span = json.loads(dumped)
    return Row(identifier, uri, location, caption, _tuples(attributes), line, tuple(span) if span else None, vector)


def _tuples(attributes: Mapping[str, Any]) -> dict[str, AttributeValue]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in attributes.items()}
