"""Ready-made embeddings: matrices in `.npy` files, each with a Parquet file that says what its rows are."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from services.indexer.places import Place
from services.indexer.rows import Refusal, Row
from services.indexer.sources.checks import CAPTION_LIMIT, URI_LIMIT, attributes_of, id_of, text_of
from services.indexer.sources.columns import ID, Columns, choose
from services.indexer.sources.parquet import merged, read_footers, read_records, wanted_columns, with_types
from services.indexer.sources.source import CLIP_RETRIEVAL, NPY, Source, SourceOptions
from services.indexer.sources.vectors import Matrix, Vector, read_matrix
from sightline.errors import InvalidArgument, SightlineError

# Row numbers as ids: of one width, so that a larger source does not name the same rows otherwise.
ID_DIGITS = 12

Pair = tuple[str, Place, Place | None]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A matrix and what its rows are; its first row is the `first`-th of the source, from 0."""

    name: str
    total: int | None
    matrix: Matrix
    metadata: Place | None
    columns: Columns
    first: int

    def rows(self) -> Iterator[Row | Refusal]:
        """A row for each vector."""
        for number, (vector, record) in enumerate(zip(self.matrix.vectors(), self._records(), strict=False)):
            if isinstance(record, Refusal):
                yield Refusal(record.uri, record.reason, number + 1)
            else:
                yield self._row(number, vector, record)

    def _records(self) -> Iterator[Mapping[str, Any] | Refusal]:
        if self.metadata is None:
            return iter([{}] * self.matrix.rows)
        return read_records(self.metadata, wanted_columns(self.columns))

    def _row(self, number: int, vector: Vector | str, record: Mapping[str, Any]) -> Row | Refusal:
        columns, line = self.columns, number + 1
        named = f"{self.matrix.file.url}, row {line:,}"
        if isinstance(vector, str):
            return Refusal(named, vector, line)
        try:
            uri = text_of(record, columns.uri, URI_LIMIT)
            return Row(
                id=id_of(record, columns.id) or f"{self.first + number:0{ID_DIGITS}d}",
                uri=uri,
                location=self.metadata.beside(uri) if uri and self.metadata else "",
                caption=text_of(record, columns.caption, CAPTION_LIMIT),
                attributes=attributes_of({name: record[name] for name in columns.of(record)}, columns.types),
                line=line,
                vector=vector,
            )
        except SightlineError as exc:
            return Refusal(named, str(exc), line)


def open_clip_retrieval(vectors: Sequence[Place], metadata: Sequence[Place], options: SourceOptions) -> Source:
    """What `clip-retrieval inference` writes: `img_emb/img_emb_0.npy` beside `metadata/metadata_0.parquet`.

    Raises:
        InvalidArgument: a file is broken or has no other to it, or both have not the same number of rows.
    """
    by_number = {_number(place): place for place in metadata}
    pairs = [(place.name, place, by_number.get(_number(place))) for place in vectors]
    if alone := [place for _, place, beside in pairs if beside is None]:
        raise InvalidArgument(f"{alone[0].url} has no metadata_{_number(alone[0])}.parquet", field="source")
    return _open(CLIP_RETRIEVAL, pairs, options, ids=(*ID, "key", "image_path"))


def open_npy(vectors: Sequence[Place], metadata: Sequence[Place], options: SourceOptions) -> Source:
    """`.npy` files, each with the Parquet file of its name, or of its number; one of each needs no common name.

    Raises:
        InvalidArgument: as of `open_clip_retrieval`.
    """
    pairs = [(place.name, place, _beside(place, vectors, metadata)) for place in vectors]
    if metadata and (alone := [place for _, place, beside in pairs if beside is None]):
        raise InvalidArgument(f"no Parquet file has the name or the number of {alone[0].url}", field="source")
    return _open(NPY, pairs, options, ids=ID)


def in_number_order(places: Sequence[Place]) -> list[Place]:
    """Files in the order of the numbers in their names: `img_emb_10` comes behind `img_emb_9`."""
    return sorted(places, key=lambda place: (_number(place), place.path))


def _open(kind: str, pairs: Sequence[Pair], options: SourceOptions, *, ids: tuple[str, ...]) -> Source:
    matrices = [read_matrix(place) for _, place, _ in pairs]
    footers = read_footers([beside for _, _, beside in pairs if beside is not None])
    if odd := [matrix for matrix in matrices if matrix.dimension != matrices[0].dimension]:
        raise InvalidArgument(
            f"{odd[0].file.url} has vectors of {odd[0].dimension}, {matrices[0].file.url} of {matrices[0].dimension}",
            field="source",
        )
    for (_, place, beside), matrix, footer in zip(pairs, matrices, footers, strict=False):
        if beside is not None and (rows := sum(footer.groups)) != matrix.rows:
            raise InvalidArgument(f"{place.url} has {matrix.rows:,} rows, {beside.url} {rows:,}", field="source")
    types, left_out = merged(footers)
    columns = with_types(choose(types, options, ids=ids, left_out=left_out, needs_uri=False), types)
    firsts = accumulate((matrix.rows for matrix in matrices), initial=0)
    parts = [
        Embeddings(name, matrix.rows, matrix, beside, columns, first)
        for (name, _, beside), matrix, first in zip(pairs, matrices, firsts, strict=False)
    ]
    return Source(kind, parts, columns.named, columns.types, left_out)


def _beside(place: Place, vectors: Sequence[Place], metadata: Sequence[Place]) -> Place | None:
    if len(vectors) == len(metadata) == 1:
        return metadata[0]
    stems = {posixpath.splitext(other.name)[0]: other for other in metadata}
    numbers = {_number(other): other for other in metadata}
    found = stems.get(posixpath.splitext(place.name)[0])
    return found or (numbers.get(_number(place)) if len(numbers) == len(metadata) else None)


def _number(place: Place) -> int:
    """The last number in a file's name; -1 where there is none."""
    found = re.findall(r"\d+", place.name)
    return int(found[-1]) if found else -1
