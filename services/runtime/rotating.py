"""Files that others replace while we run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

log = logging.getLogger("sightline.files")

T = TypeVar("T")
_Look = tuple[tuple[int, int, int] | None, ...]


class Rotating(Generic[T]):
    """What some files say, read again when one of them has changed. What cannot be read then leaves the old in force.

    Safe to use from several threads.

    Args:
        files: looked at, through links.
        read: reads them all; raises OSError or ValueError where they are wrong, without what is secret in them.
        every: seconds between looks.

    Raises:
        OSError, ValueError: they are wrong at first.
    """

    def __init__(self, files: Sequence[Path], read: Callable[[], T], *, every: float = 1.0) -> None:
        self._files, self._read, self._every = files, read, every
        self._lock = threading.Lock()
        self._seen = self._look()
        self._looked = time.monotonic()
        self._current = read()

    def current(self) -> T:
        """Returns what the files say; the same object until they say something else."""
        with self._lock:
            if time.monotonic() - self._looked >= self._every:
                self._renew()
            return self._current

    def _renew(self) -> None:
        self._looked = time.monotonic()
        if (seen := self._look()) == self._seen:
            return
        names = ", ".join(map(str, self._files))
        try:
            fresh = self._read()
        except (OSError, ValueError) as error:
            # Told once. Whoever replaces several files is read again when the last of them is there.
            log.error("%s changed and cannot be used, so the old stays in force: %s", names, error)
        else:
            self._current = fresh
            log.info("%s changed and is in force", names)
        self._seen = seen

    def _look(self) -> _Look:
        return tuple(map(_version, self._files))


def _version(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
