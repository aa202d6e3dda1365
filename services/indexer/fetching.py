"""Files, and parts of files, as bytes: never more than a limit, in one request each."""

from __future__ import annotations

from typing import Any

from services.indexer.places import is_http, is_local, open_fs
from sightline.errors import InvalidArgument

Span = tuple[int, int]
"""A part of a file: its first byte, and how many there are."""


def fetch(location: str, span: Span | None = None, *, limit: int) -> bytes:
    """The bytes of a file, or of a part of it.

    Raises:
        InvalidArgument: it is empty, has more than `limit` bytes, or ends within the part.
        Exception: whatever its file system raises.
    """
    if span is not None and span[1] > limit:
        raise _too_large(limit)
    fs, path = open_fs(location)
    data = _read_span(fs, path, span) if span is not None else _read_start(fs, path, limit + 1)
    if not data:
        raise InvalidArgument("the file is empty", reason="EMPTY_IMAGE")
    if len(data) > limit:
        raise _too_large(limit)
    return data


def _read_span(fs: Any, path: str, span: Span) -> bytes:
    start, length = span
    if is_local(fs):
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read(length)
    else:
        data = bytes(fs.cat_file(path, start=start, end=start + length)) if length else b""
    if len(data) != length:
        raise InvalidArgument(f"the archive gave {len(data):,} of {length:,} bytes: it is cut off, or has changed")
    return data


def _read_start(fs: Any, path: str, size: int) -> bytes:
    if is_local(fs):
        with open(path, "rb") as file:
            return file.read(size)
    if is_http(fs):
        return _read_response(fs, path, size)
    try:
        return bytes(fs.cat_file(path, start=0, end=size))
    except Exception:
        if fs.size(path) == 0:  # of an empty object, S3 gives no range at all
            return b""
        raise


def _read_response(fs: Any, path: str, size: int) -> bytes:
    """Reads a response as it comes: one request, and no more than `size` bytes, whatever the server sends."""
    data = bytearray()
    # fsspec asks for the size first where it is not told one; of a stream, it makes no use.
    with fs.open(path, "rb", block_size=0, size=size) as file:
        while len(data) < size and (chunk := file.read(size - len(data))):
            data += chunk
    return bytes(data)


def _too_large(limit: int) -> InvalidArgument:
    return InvalidArgument(f"the file has more than {limit >> 20} MiB", reason="IMAGE_TOO_LARGE")
