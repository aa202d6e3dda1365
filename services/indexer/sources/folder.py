"""A folder of pictures, with all below it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from services.indexer.places import Place, is_http, readable
from services.indexer.rows import Refusal, Row
from services.indexer.sources.source import FOLDER, Source

SLICE = 1024


@dataclass(frozen=True, slots=True)
class Slice:
    """A run of the folder's files, by their paths."""

    name: str
    total: int | None
    root: Place
    paths: Sequence[str]

    def rows(self) -> Iterator[Row | Refusal]:
        """A row for each file; its id is its path from the folder."""
        for path in self.paths:
            uri = self.root.at(path).url
            name = posixpath.relpath(path, self.root.path)
            yield Row(id=unquote(name) if is_http(self.root.fs) else name, uri=uri, location=uri)


def open_folder(root: Place) -> Source:
    """Every file below `root` that is not hidden, by path, a part for each SLICE of them.

    Raises:
        Unavailable: it cannot be listed.
    """
    with readable(root.url):
        paths = sorted(path for path in root.fs.find(root.path) if not _is_hidden(posixpath.relpath(path, root.path)))
    parts = [
        Slice(f"{first:09d}", len(taken), root, taken)
        for first in range(0, len(paths), SLICE)
        if (taken := paths[first : first + SLICE])
    ]
    return Source(FOLDER, parts)


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))
