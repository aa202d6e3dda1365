"""A row becomes a prepared picture: fetched, decoded, scaled and cut, all on worker threads off the encoder's path.

Threads suffice: Pillow decodes, scales and packs outside the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

import fsspec

from services.indexer.rows import Refusal, Row
from services.pictures import Pixels, Preparation, open_picture, prepare, thumbnail
from sightline.errors import InvalidArgument

# More than a query's picture may have: cameras write such files. Each thread holds one of them.
FILE_LIMIT = 64 << 20
FETCH_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Picture:
    """A row's picture, ready for the encoder.

    Attributes:
        pixels: uint8 [height, width, 3] as the model's preparation says.
        thumbnail: a WebP file.
        width, height: of the original, in pixels, upright.
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
        fetch: Callable[[str], bytes] | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._preparation, self._executor = preparation, executor
        self._fetch = fetch or fetch_file
        self._pause = pause

    async def read(self, row: Row) -> Picture | Refusal:
        """The row's picture, or why there is none."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._read, row)

    def _read(self, row: Row) -> Picture | Refusal:
        try:
            picture = open_picture(self._fetch_patiently(row.location), max_bytes=FILE_LIMIT)
            return Picture(
                row=row,
                pixels=prepare(picture, self._preparation),
                thumbnail=thumbnail(picture),
                width=picture.width,
                height=picture.height,
            )
        except InvalidArgument as exc:
            return row.refused(exc.message)
        except Exception as exc:  # each file system and each codec has errors of its own: none may end a build
            return row.refused(f"cannot be read: {type(exc).__name__}: {exc}"[:500])

    def _fetch_patiently(self, location: str) -> bytes:
        for attempt in range(FETCH_ATTEMPTS - 1):
            try:
                return self._fetch(location)
            except (FileNotFoundError, PermissionError, IsADirectoryError, ValueError, ImportError, InvalidArgument):
                raise
            except Exception:  # a network's: those may pass
                self._pause(0.2 * 4**attempt)
        return self._fetch(location)


def fetch_file(location: str) -> bytes:
    """The bytes of a file anywhere that fsspec reaches. Raises InvalidArgument where it is empty or too large."""
    with fsspec.open(location, "rb", compression=None) as file:
        data: bytes = file.read(FILE_LIMIT + 1)
    if not data:
        raise InvalidArgument("the file is empty")
    if len(data) > FILE_LIMIT:
        raise InvalidArgument(f"the file has more than {FILE_LIMIT >> 20} MiB")
    return data
