"""Writes the files of a shard. Rows lie in the order of their ids, so that an id is found by bisection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from services.index import engine
from services.index.attributes import AttributeWriter
from services.index.blobs import BlobWriter
from services.store import ATTRIBUTES_FILE, check_id
from sightline.errors import InvalidArgument

UNIT_TOLERANCE = 1e-3
_CHUNK = 1024
"""Rows that FAISS is given at a time."""


@dataclass(frozen=True, slots=True)
class Row:
    """One image at rest.

    Attributes:
        id: as `services.store.check_id` allows.
        vector: float32 [dimension], of unit length.
        document: serialised sightline.v1.Image.
        thumbnail: a WebP file; may be empty.
        attributes: by name, of the types that the shard is written with.
    """

    id: str
    vector: NDArray[np.float32] = field(repr=False)
    document: bytes = field(repr=False)
    thumbnail: bytes = field(repr=False, default=b"")
    attributes: Mapping[str, str | int | float | bool | Sequence[str]] = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trained:
    """What all shards of a collection share: rotation, coarse centroids, codebooks; empty for Flat."""

    factory: str
    dimension: int
    blob: bytes = field(repr=False, default=b"")


def check_factory(factory: str, dimension: int) -> None:
    """Raises InvalidArgument, naming the string, where FAISS cannot make such an index. Cheap: trains nothing."""
    if factory != engine.FLAT:
        engine.make(factory, dimension)


def train(factory: str, dimension: int, sample: NDArray[np.float32]) -> Trained:
    """Trains an index once for all the shards of a collection.

    Args:
        factory: a FAISS factory string, such as `Flat` (exact) or `IVF1024,SQfp16`.
        dimension: of the vectors.
        sample: float32 [n, dimension], unit vectors of the collection; may be empty where the index needs no training.

    Raises:
        InvalidArgument: FAISS does not know the factory string, or the sample is too small for it; names the string.
    """
    if factory == engine.FLAT:
        return Trained(factory, dimension)
    index = engine.make(factory, dimension)
    return Trained(factory, dimension, engine.train(index, factory, sample.reshape(-1, dimension)))


def write_shard(
    folder: Path, rows: Iterable[Row], trained: Trained, attributes: Mapping[str, str] = MappingProxyType({})
) -> int:
    """Writes a shard's files into `folder`; the same rows give the same bytes. Returns the number of rows, may be 0.

    Memory stays bounded: rows are taken one after the other. What FAISS keeps of them is held.

    Args:
        folder: a local folder, empty.
        rows: ascending by the UTF-8 bytes of their ids, no id twice.
        trained: of `train`.
        attributes: the type of each attribute by name, as `services.store.AttributeField` has them. Filters can ask
            for these; where there are none the rows' attributes are not looked at.

    Raises:
        InvalidArgument: rows are out of order, an id is wrong or there twice, or a vector has another dimension or is
            not of unit length (to 1e-3), or an attribute is not of the type that was given.
    """
    filling = engine.Filling(trained.blob) if trained.blob else None
    written = 0
    with ExitStack() as stack:
        vectors = stack.enter_context((folder / "vectors.f32").open("wb"))
        ids, documents, thumbnails = (
            stack.enter_context(BlobWriter(folder, name)) for name in ("ids", "documents", "thumbnails")
        )
        table = stack.enter_context(AttributeWriter(folder / ATTRIBUTES_FILE, attributes)) if attributes else None
        for chunk in _chunks(_in_order(rows)):
            matrix = np.stack([_checked(row, trained.dimension) for row, _ in chunk])
            vectors.write(matrix.astype("<f4").tobytes())
            for row, identifier in chunk:
                ids.add(identifier)
                documents.add(row.document)
                thumbnails.add(row.thumbnail)
            if table:
                table.add([row.attributes for row, _ in chunk])
            if filling:
                filling.add(matrix)
            written += len(chunk)
    if filling:
        filling.write(folder / "index.faiss")
    return written


def _chunks(rows: Iterator[tuple[Row, bytes]]) -> Iterator[list[tuple[Row, bytes]]]:
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk


def _in_order(rows: Iterable[Row]) -> Iterator[tuple[Row, bytes]]:
    before = b""
    for row in rows:
        identifier = check_id(row.id)
        if identifier <= before:
            fault = "is there twice" if identifier == before else f"comes after {before.decode()!r}"
            raise InvalidArgument(f"ids must ascend, each once; {row.id!r} {fault}", reason="ID_ORDER", field="id")
        before = identifier
        yield row, identifier


def _checked(row: Row, dimension: int) -> NDArray[np.float32]:
    vector = np.asarray(row.vector, np.float32)
    if vector.shape != (dimension,):
        message = f"the vector of {row.id!r} has shape {vector.shape}, not ({dimension},)"
        raise InvalidArgument(message, reason="WRONG_DIMENSION", field="vector")
    length = float(np.linalg.norm(vector.astype(np.float64)))
    # Written so that NaN fails as well.
    if not abs(length - 1.0) <= UNIT_TOLERANCE:
        message = f"the vector of {row.id!r} has length {length:.6g}, not 1"
        raise InvalidArgument(message, reason="NOT_UNIT", field="vector")
    return vector
