"""Brings the files of a shard to this machine, and checks that they are the ones that were published."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from services.store.files import Files
from services.store.manifest import File
from sightline.errors import FailedPrecondition, Unavailable

RANGE = 8 * 1024 * 1024
"""Bytes of one read. Each has the store's whole timeout, so that a slow transfer goes on and a silent one ends."""
PARALLEL = 4


def fetch(files: Files, path: str, file: File, target: Path) -> None:
    """Copies a file of the store to `target`, large ones in parallel ranges.

    Raises:
        FailedPrecondition: it is missing or of another size (CORRUPT_GENERATION).
        Unavailable: the store fell silent, or sent less than it has (CUT_SHORT).
    """
    with target.open("wb") as out:
        first = _range(files, path, file, 0)
        os.pwrite(out.fileno(), first, 0)
        # A server that knows no ranges has sent all of it.
        starts = range(RANGE, file.size, RANGE) if len(first) < file.size else ()

        def copy(start: int) -> None:
            os.pwrite(out.fileno(), _range(files, path, file, start), start)

        with ThreadPoolExecutor(PARALLEL, "fetch") as pool:
            for _ in pool.map(copy, starts):
                pass
        out.flush()
        os.fsync(out.fileno())


def _range(files: Files, path: str, file: File, start: int) -> bytes:
    end = min(start + RANGE, file.size)
    data = files.read_range(path, start, end) if end > start else files.read(path)
    if data is None:
        refuse(file, "is missing")
    if len(data) not in {end - start, file.size}:
        if files.size(path) == file.size:
            message = f"{file.name}: the store sent {len(data)} bytes where {end - start} were asked for"
            raise Unavailable(message, reason="CUT_SHORT")
        refuse(file, f"has another size than the {file.size} bytes that the manifest says")
    return data


def verify(folder: Path, file: File) -> None:
    """Checks a local file's size and SHA-256.

    Raises:
        FailedPrecondition: it is missing, or not the one that was published (CORRUPT_GENERATION).
    """
    path = folder / file.name
    if not path.is_file():
        refuse(file, "is missing")
    if (size := path.stat().st_size) != file.size:
        refuse(file, f"has {size} bytes, the manifest says {file.size}")
    if checksum(path) != file.sha256:
        refuse(file, "has another checksum than the manifest says")


def checksum(path: Path) -> str:
    """Returns the SHA-256 of a file as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse(file: File, fault: str) -> NoReturn:
    """Raises FailedPrecondition with reason CORRUPT_GENERATION."""
    raise FailedPrecondition(f"{file.name} {fault}", reason="CORRUPT_GENERATION")
