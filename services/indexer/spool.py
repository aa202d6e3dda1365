"""What a build has so far, on local disk: bounded memory however many images there are, and sorted when it is read.

A spool is private to one build and gone with it; nothing of a killed build is ever taken for a generation.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from services.indexer.ports import Vector
from services.indexer.rows import AttributeValue, Row

# One writer, and nobody who would read it after a crash: neither a journal nor syncing is of use.
_SETUP = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE claims (id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID;
CREATE TABLE images (shard INTEGER, id TEXT, row TEXT, width INTEGER, height INTEGER, thumbnail BLOB, vector BLOB);
"""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An indexed image: its row, its size in pixels, its thumbnail (WebP) and its unit vector, float32 [dimension]."""

    row: Row
    width: int
    height: int
    thumbnail: bytes = field(repr=False)
    vector: Vector = field(repr=False)


class Spool:
    """Images by shard and id."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._db.executescript(_SETUP)

    def claim(self, row: Row) -> int | None:
        """Takes a row's id for it; where another row has it, returns that row's line (0: it has none), else None."""
        taken = self._db.execute("INSERT OR IGNORE INTO claims VALUES (?, ?)", (row.id, row.line)).rowcount
        if taken:
            return None
        line: int = self._db.execute("SELECT line FROM claims WHERE id = ?", (row.id,)).fetchone()[0]
        return line

    def release(self, row: Row) -> None:
        """Gives back the id that a row has claimed."""
        self._db.execute("DELETE FROM claims WHERE id = ?", (row.id,))

    def add(self, images: Sequence[tuple[int, Encoded]]) -> None:
        """Keeps images, each with the number of its shard."""
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (shard, i.row.id, _dump(i.row), i.width, i.height, i.thumbnail, i.vector.astype("<f4").tobytes())
                for shard, i in images
            ],
        )
        self._db.execute("COMMIT")

    def shard(self, number: int) -> Iterator[Encoded]:
        """The images of a shard by id, in the order of its UTF-8 bytes."""
        self._db.execute("CREATE INDEX IF NOT EXISTS by_id ON images (shard, id)")
        found = self._db.execute(
            "SELECT id, row, width, height, thumbnail, vector FROM images WHERE shard = ? ORDER BY id", (number,)
        )
        for identifier, row, width, height, small, vector in found:
            yield Encoded(_load(identifier, row), width, height, small, np.frombuffer(vector, dtype="<f4"))

    def every(self, step: int) -> Iterator[Vector]:
        """Every `step`-th vector, float32 [dimension], in the order in which they came."""
        found = self._db.execute("SELECT vector FROM images WHERE (rowid - 1) % ? = 0 ORDER BY rowid", (step,))
        return (np.frombuffer(vector, dtype="<f4") for (vector,) in found)

    def close(self) -> None:
        """Lets go of the file."""
        self._db.close()


def _dump(row: Row) -> str:
    return json.dumps([row.uri, row.caption, dict(row.attributes), row.line])


def _load(identifier: str, dumped: str) -> Row:
    uri, caption, attributes, line = json.loads(dumped)
    return Row(identifier, uri, uri, caption, _tuples(attributes), line)


def _tuples(attributes: Mapping[str, AttributeValue | list[str]]) -> dict[str, AttributeValue]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in attributes.items()}
