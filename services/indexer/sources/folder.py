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

# Endings of what lies beside pictures and is never one. Files of any other ending, or of none, are opened to see.
_NO_PICTURES = frozenset(
    (
        *("csv", "css", "htm", "html", "ini", "js", "json", "jsonl", "log", "md", "rst", "toml", "tsv", "txt", "xml"),
        *("xmp", "yaml", "yml", "aae", "db", "lnk", "npy", "npz", "parquet", "sqlite"),
        *("doc", "docx", "epub", "odp", "ods", "odt", "pdf", "ppt", "pptx", "rtf", "xls", "xlsx"),
        *("7z", "bz2", "gz", "rar", "tar", "tgz", "xz", "zip", "zst"),
        *("3gp", "aac", "avi", "flac", "m4a", "m4v", "mkv", "mov", "mp3", "mp4", "mpeg", "mpg", "ogg", "wav", "webm"),
        *("wma", "wmv"),
    )
)


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
    """Every file below `root` that may be a picture, by path, a part for each SLICE of them; the others are counted.

    Raises:
        Unavailable: it cannot be listed.
    """
    with readable(root.url):
        found = root.fs.find(root.path)
    paths = sorted(path for path in found if _may_be_picture(posixpath.relpath(path, root.path)))
    parts = [
        Slice(f"{first:09d}", len(taken), root, taken)
        for first in range(0, len(paths), SLICE)
        if (taken := paths[first : first + SLICE])
    ]
    return Source(FOLDER, parts, passed_over=len(found) - len(paths))


def _may_be_picture(path: str) -> bool:
    """Whether a file is neither hidden nor of an ending that says that it is something else."""
    ending = posixpath.splitext(path)[1].removeprefix(".").casefold()
    return ending not in _NO_PICTURES and not any(part.startswith(".") for part in path.split("/"))
