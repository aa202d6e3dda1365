"""What is in a tar file and where: its headers alone are read, and none of what they say is trusted."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

# A header with a long name, or with attributes of its own, is held in memory.
_HEADER_LIMIT = 1 << 20
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Attributes:
        name: its path there, which nobody follows.
        start, size: where its bytes are, and how many.
        fault: why they cannot be read; empty where they can.
    """

    name: str
    start: int
    size: int
    fault: str = ""


def members(file: BinaryIO) -> Iterator[Member | str]:
    """The members of an archive, folders aside; where it ends before its end, a last text says how."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    try:
        for info in _infos(file, size):
            if not info.isdir():
                yield Member(info.name, info.offset_data, info.size, _fault(info, size))
    except (tarfile.TarError, ArithmeticError, LookupError, ValueError, RecursionError) as exc:
        yield f"is cut off or broken, and what came behind is lost: {exc}"


def _infos(file: BinaryIO, size: int) -> Iterator[tarfile.TarInfo]:
    archive = tarfile.TarFile(fileobj=_Bounded(file))  # type: ignore[arg-type]
    before = -1
    while (info := archive.next()) is not None:
        if archive.offset <= before:
            raise tarfile.ReadError(f"a header at byte {before:,} leads back")
        before = archive.offset
        archive.members = []  # type: ignore[attr-defined]  # it would keep them all
        yield info
    # The reader ends in silence before what is no header.
    file.seek(archive.offset)
    block = file.read(_BLOCK)
    if len(block) < _BLOCK:
        raise tarfile.ReadError(f"it ends at byte {size:,} without an end mark")
    if any(block):
        raise tarfile.ReadError(f"there is no header at byte {archive.offset:,}")


def _fault(info: tarfile.TarInfo, size: int) -> str:
    if info.issym() or info.islnk():
        return "is a link and no file"
    if not info.isreg() or info.issparse():
        return "is no plain file"
    if info.size < 0 or info.offset_data + info.size > size:
        return "is cut off"
    return ""


class _Bounded:
    """A file of which a header cannot ask for more than its limit."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """Reads `size` bytes, or refuses to."""
        if not 0 <= size <= _HEADER_LIMIT:
            raise tarfile.ReadError(f"a header asks for {size:,} bytes")
        return self._file.read(size)
