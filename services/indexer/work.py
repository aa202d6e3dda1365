"""The work folder: what the stages of a build leave for each other, anywhere that fsspec writes to.

    plan.json                  what is being built; there from the first to the very last
    read/00003/00012.arrow     chunk 12 of part 3 of the source; `.refused` beside it; `done.json` when all are there
    encode/00003-00012.bin     the same rows with vectors and thumbnails, by shard; `.json` beside it when it is there
    train/trained.json, .bin   the types of attributes, and what the index learnt
    fill/0007.json             shard 7 is in the store, with these files

A file is written whole or not at all, and the one that says that something is complete is written last. So a build that
is killed goes on from what is there, and two that write the same file write the same bytes.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from services.indexer.plan import Begun
from services.store.files import Files
from sightline.errors import FailedPrecondition

PLAN = "plan.json"
TRAINED = ("train", "fill")
STAGES = ("read", "encode", *TRAINED)


class Work:
    """A work folder.

    Args:
        url: where it is.
        name: what stands for it where its place must not count, as where it lies in the store.
    """

    def __init__(self, url: str, *, name: str = "", timeout: float = 60.0) -> None:
        self.url, self.name = url, name or url
        self._files = Files(url, timeout, conditional=False)

    def begun(self) -> Begun | None:
        """The build that has begun here; None where there is none. Raises FailedPrecondition where it is unreadable."""
        data = self.read(PLAN)
        if data is None:
            return None
        try:
            return Begun.from_json(data)
        except (ValueError, KeyError, TypeError) as exc:
            message = f"{self.url}/{PLAN} is not of this version: {exc}; --restart begins anew"
            raise FailedPrecondition(message, reason="WORK_UNREADABLE") from exc

    def write_plan(self, begun: Begun) -> None:
        """Notes what is being built."""
        self.write(PLAN, begun.to_json())

    def clear(self) -> None:
        """Removes everything, the plan last: a build whose tidying is killed is still known to be over."""
        for stage in STAGES:
            self.remove(stage)
        self.remove(PLAN)
        if (folder := self._files.local) is not None and folder.is_dir():
            for lock in folder.glob(".*.lock"):
                lock.unlink()
            with suppress(OSError):  # what else is in it is not ours
                folder.rmdir()

    def read(self, path: str) -> bytes | None:
        """A file's bytes; None where there is none."""
        return self._files.read(path)

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """The bytes of a file from `start` up to `end`. Raises FailedPrecondition where they are not there."""
        data = self._files.read_range(path, start, end) if end > start else b""
        if data is None or len(data) < end - start:
            raise FailedPrecondition(f"{self.url}/{path} is gone or cut off; --restart begins anew", reason="WORK_LOST")
        return data

    def read_json(self, path: str) -> Any:
        """What a JSON file says; None where there is none."""
        data = self.read(path)
        return None if data is None else json.loads(data)

    def write(self, path: str, data: bytes) -> None:
        """Writes a file, whole or not at all."""
        self._files.write(path, data)

    def write_json(self, path: str, value: Any) -> None:
        """Writes a value as JSON, in ASCII: a name may hold what is no UTF-8."""
        self.write(path, json.dumps(value, sort_keys=True).encode())

    def names(self, folder: str) -> list[str]:
        """The names of what is in a folder, sorted."""
        return self._files.names(folder)

    def remove(self, path: str) -> None:
        """Removes a file or a folder; nothing where there is none."""
        self._files.remove(path)

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Keeps others of this machine from doing the same at the same time, where the folder is on its disk.

        Elsewhere two would do the same work twice, to the same end.

        Raises:
            FailedPrecondition: another process is at it.
        """
        folder = self._files.local
        if folder is None:
            yield
            return
        made = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f".{what}.lock"
        with file.open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise FailedPrecondition(f"another process is at this in {self.url}", reason="WORK_BUSY") from exc
            try:
                yield
            finally:
                if self.read(PLAN) is None:  # nothing has begun, or all has ended
                    file.unlink(missing_ok=True)
                    with suppress(OSError):
                        for one in made or [folder]:
                            one.rmdir()
