"""Where pictures come from: a folder, or a JSONL file with a line for each, anywhere that fsspec reaches."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import fsspec
from fsspec.core import split_protocol, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from services.indexer.lines import parse_line
from services.indexer.rows import Refusal, Row
from sightline.errors import InvalidArgument, NotFound, SightlineError, Unavailable

# Longer lines are refused without being held in memory.
LINE_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """What a source names, in an order that never changes, and how many that is where it is cheap to know."""

    items: Iterator[Row | Refusal]
    total: int | None


def open_source(source: str) -> Source:
    """Opens a folder, whose files come by path, or a JSONL file, whose lines come as they stand.

    Raises:
        NotFound: there is nothing at `source`.
        InvalidArgument: it is neither a folder nor a JSONL file.
        Unavailable: it cannot be read.
    """
    try:
        fs, path = url_to_fs(source)
        is_folder, is_file = fs.isdir(path), fs.isfile(path)
    except (ValueError, ImportError) as exc:
        raise InvalidArgument(f"{source!r} is no address that can be read: {exc}", field="source") from exc
    except OSError as exc:
        raise Unavailable(f"{source} cannot be read: {exc}") from exc
    if is_folder:
        return _open_folder(fs, path)
    if not is_file:
        raise NotFound(f"there is nothing at {source!r}")
    if not path.endswith((".jsonl", ".ndjson")):
        raise InvalidArgument(f"{source!r} is neither a folder nor a .jsonl file", field="source")
    # Reading a far list twice for the sake of a progress bar would be too much.
    return Source(_read_lines(source), total=_count_lines(path) if isinstance(fs, LocalFileSystem) else None)


def _open_folder(fs: Any, root: str) -> Source:
    """Every file below `root` that is not hidden; its id is its path from there."""
    try:
        paths = sorted(fs.find(root))
    except OSError as exc:
        raise Unavailable(f"{root} cannot be listed: {exc}") from exc
    rows = [_file(fs, root, path) for path in paths]
    seen = [row for row in rows if not any(part.startswith(".") for part in row.id.split("/"))]
    return Source(iter(seen), total=len(seen))


def _file(fs: Any, root: str, path: str) -> Row:
    uri = fs.unstrip_protocol(path)
    return Row(id=posixpath.relpath(path, root), uri=uri, location=uri)


def _read_lines(source: str) -> Iterator[Row | Refusal]:
    try:
        with fsspec.open(source, "rb", compression=None) as file:
            for number, line in _bounded_lines(file):
                yield _row(source, number, line)
    except OSError as exc:
        raise Unavailable(f"{source} cannot be read: {exc}") from exc


def _count_lines(path: str) -> int:
    try:
        with open(path, "rb") as file:
            return sum(1 for _ in _bounded_lines(file))
    except OSError as exc:
        raise Unavailable(f"{path} cannot be read: {exc}") from exc


def _bounded_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Numbers the lines that are not blank; of one that is too long, only the first LINE_LIMIT + 1 bytes are kept."""
    number = 0
    while line := file.readline(LINE_LIMIT + 1):
        number += 1
        rest = line
        while len(rest) > LINE_LIMIT and not rest.endswith(b"\n"):
            rest = file.readline(LINE_LIMIT + 1)
        if line.strip():
            yield number, line


def _row(source: str, number: int, line: bytes) -> Row | Refusal:
    if len(line) > LINE_LIMIT:
        return Refusal("", f"a line may have at most {LINE_LIMIT:,} bytes", number)
    try:
        parsed = parse_line(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
    except SightlineError as exc:
        return Refusal("", str(exc), number)
    return Row(
        id=parsed.id,
        uri=parsed.uri,
        location=_location(source, parsed.uri),
        caption=parsed.caption,
        attributes=parsed.attributes,
        line=number,
    )


def _location(source: str, uri: str) -> str:
    """Where `uri` is read from: one without a scheme lies beside the file that names it, unless it is absolute."""
    if split_protocol(uri)[0] is not None or uri.startswith("/"):
        return uri
    return posixpath.join(posixpath.dirname(source), uri)
