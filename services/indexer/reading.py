"""A row becomes a prepared picture: fetched, decoded, scaled and cut, all on worker threads off the encoder's path.

Threads suffice: Pillow decodes, scales and packs outside the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
from fsspec.core import split_protocol

from services.indexer.fetching import Span, fetch
from services.indexer.rows import Refusal, Row
from services.pictures import Pixels, Preparation, open_picture, prepare, thumbnail
from sightline.errors import InvalidArgument, Unavailable

# More than a query's picture may have: cameras write such files. Each thread holds one of them.
FILE_LIMIT = 64 << 20
FETCH_ATTEMPTS = 3
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, ValueError, ImportError, InvalidArgument)


@dataclass(frozen=True, slots=True)
class Picture:
    """A row's picture, ready for the encoder.

    Attributes:
        pixels: uint8 [height, width, 3] as the model's preparation says; empty where the row has its vector.
        thumbnail: a WebP file; empty where nothing was read.
        width, height: of the original, in pixels, upright; 0 where nothing was read.
    """

    row: Row
    pixels: Pixels = field(repr=False)
    thumbnail: bytes = field(repr=False)
    width: int
    height: int


class Reader:
    """Reads the pictures of rows on the threads of `executor`."""

    def __init__(
        self,
        preparation: Preparation,
        executor: Executor,
        *,
        fetch: Callable[[str, Span | None], bytes] | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._preparation, self._executor = preparation, executor
        self._fetch = fetch or fetch_file
        self._pause = pause

    async def read(self, row: Row) -> Picture | Refusal:
        """The row's picture, or why there is none; nothing is read where its vector is there already.

        Raises Unavailable where the store that its picture lies in fails: that is no fault of the picture.
        """
        if row.vector is not None:
            return Picture(row, np.empty((0, 0, 3), np.uint8), b"", 0, 0)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._read, row)

    def _read(self, row: Row) -> Picture | Refusal:
        try:
            picture = open_picture(self._fetch_patiently(row), max_bytes=FILE_LIMIT)
            return Picture(
                row=row,
                pixels=prepare(picture, self._preparation),
                thumbnail=thumbnail(picture),
                width=picture.width,
                height=picture.height,
            )
        except InvalidArgument as exc:
            return row.refused(exc.message)
        except Unavailable:
            raise
        except Exception as exc:  # each file system and each codec has errors of its own: none may end a build
            return row.refused(f"cannot be read: {_said(exc)}"[:500])

    def _fetch_patiently(self, row: Row) -> bytes:
        for attempt in range(FETCH_ATTEMPTS - 1):
            try:
                return self._fetch(row.location, row.span)
            except Exception as exc:
                if not _may_pass(exc):
                    raise
                self._pause(0.2 * 4**attempt)
        try:
            return self._fetch(row.location, row.span)
        except Exception as exc:
            if _may_pass(exc) and _is_in_store(row.location):
                # A build that went on would lack pictures that are there.
                message = f"{row.uri}: the store failed: {type(exc).__name__}: {exc}"[:500]
                raise Unavailable(message, reason="SOURCE_FAILED") from exc
            raise


def fetch_file(location: str, span: Span | None = None) -> bytes:
    """The bytes of a picture's file, or of a part of it. Raises InvalidArgument where it is empty or too large."""
    return fetch(location, span, limit=FILE_LIMIT)


def _said(exc: Exception) -> str:
    """What a disk says, without its number and without the path, which stands beside it; of others, their name too."""
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror.lower()
    return f"{type(exc).__name__}: {exc}"


def _is_in_store(location: str) -> bool:
    """Whether a picture lies in one store with others, as opposed to a disk or any one of the web's many servers."""
    return split_protocol(location)[0] not in (None, "file", "local", "http", "https", "data")


def _may_pass(exc: Exception) -> bool:
    """Whether another attempt may go better: a network's failures may, but for what a web server refuses for good."""
    if isinstance(exc, _LASTING):
        return False
    status = getattr(exc, "status", None)
    return not isinstance(status, int) or not 400 <= status < 500 or status in (408, 425, 429)
