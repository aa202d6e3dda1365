"""Lists of byte strings in two files: the strings end to end in `.bin`, and where each begins in `.idx`."""

from __future__ import annotations

import mmap
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from sightline.errors import FailedPrecondition


class BlobWriter:
    """Writes `<name>.bin` and `<name>.idx` (little-endian uint64 [n + 1]) into a folder, one string after the other."""

    def __init__(self, folder: Path, name: str) -> None:
        self._data = (folder / f"{name}.bin").open("wb")
        self._offsets = (folder / f"{name}.idx").open("wb")
        self._end = 0
        self._mark()

    def add(self, blob: bytes) -> None:
        """Appends one string."""
        self._data.write(blob)
        self._end += len(blob)
        self._mark()

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._data.close()
        self._offsets.close()

    def _mark(self) -> None:
        self._offsets.write(self._end.to_bytes(8, "little"))


class Blobs:
    """The strings of a folder's `<name>.bin` and `<name>.idx`, mapped into memory.

    Raises:
        FailedPrecondition: the files do not belong together, or not to `length` strings (CORRUPT_GENERATION).
    """

    def __init__(self, folder: Path, name: str, length: int) -> None:
        self._data = map_file(folder / f"{name}.bin")
        offsets = np.frombuffer(map_file(folder / f"{name}.idx"), dtype="<u8")
        if not _fit(offsets, length, len(self._data)):
            message = f"{name}.idx does not describe {length} entries in the {len(self._data)} bytes of {name}.bin"
            raise FailedPrecondition(message, reason="CORRUPT_GENERATION")
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, place: int) -> bytes:
        start, end = self._offsets[place : place + 2].tolist()
        return self._data[start:end]


def map_file(path: Path) -> mmap.mmap | bytes:
    """Returns the file, mapped for reading; an empty one, which cannot be mapped, as empty bytes."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _fit(offsets: NDArray[np.uint64], length: int, size: int) -> bool:
    if len(offsets) != length + 1 or offsets[0] != 0 or offsets[-1] != size:
        return False
    return bool((offsets[:-1] <= offsets[1:]).all())
