"""What a source is, whatever its kind: parts that can be read one without the other, each a run of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from services.indexer.rows import Refusal, Row

FOLDER, CSV, JSONL, PARQUET = "folder", "csv", "jsonl", "parquet"
WEBDATASET, CLIP_RETRIEVAL, NPY = "webdataset", "clip-retrieval", "npy"
KINDS = (FOLDER, CSV, JSONL, PARQUET, WEBDATASET, CLIP_RETRIEVAL, NPY)


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What a caller says of a source; what is not said is found out.

    Attributes:
        kind: one of KINDS.
        uri, id, caption: the columns, or keys, that have them.
        attributes: the only columns that become attributes; None: all that can.
        types: what attributes are, by name: string, int, double, bool or strings.
    """

    kind: str = ""
    uri: str = ""
    id: str = ""
    caption: str = ""
    attributes: tuple[str, ...] | None = None
    types: Mapping[str, str] = field(default_factory=dict)


class Part(Protocol):
    """A piece of a source that is read by itself: a table or a piece of one, an archive, a slice of a listing."""

    @property
    def name(self) -> str:
        """Unique in the source, and the same every time that it is opened."""

    @property
    def total(self) -> int | None:
        """How many rows it has, where that is cheap to know."""

    def rows(self) -> Iterator[Row | Refusal]:
        """The same rows in the same order every time.

        Raises:
            NotFound: what it reads is gone.
            Unavailable: it cannot be read now.
        """


@dataclass(frozen=True, slots=True)
class Source:
    """What a source names, in an order that never changes.

    Attributes:
        kind: one of KINDS.
        parts: its pieces.
        columns: which column gives `uri`, `id` and `caption`; empty where none are needed.
        types: attributes whose type is known before any row is read, since it is declared or a Parquet file says it.
        left_out: columns that cannot become attributes, and why.
        passed_over: files of a folder that are no pictures by their names; they are no rows.
    """

    kind: str
    parts: Sequence[Part]
    columns: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    passed_over: int = 0

    @property
    def items(self) -> Iterator[Row | Refusal]:
        """All rows, part by part."""
        return (row for part in self.parts for row in part.rows())

    @property
    def total(self) -> int | None:
        """How many rows there are, where that is cheap to know."""
        totals = [part.total for part in self.parts]
        return None if None in totals else sum(total for total in totals if total is not None)
