"""Writes that two committers cannot both win. What a file system lacks for that, it is only read from."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, Protocol

from services.store.remote import protocols
from sightline.errors import FailedPrecondition

Check = Callable[[bytes | None], None]


class Writer(Protocol):
    """Writes to one kind of file system. Paths are as that file system names them."""

    def create(self, path: str, data: bytes) -> bool: ...
    def write(self, path: str, data: bytes) -> None: ...
    def exchange(self, path: str, check: Check, data: bytes) -> bool: ...
    def upload(self, file: Path, path: str) -> None: ...
    def remove(self, path: str) -> None: ...


def writer_for(fs: Any, *, conditional: bool = True) -> Writer:
    """Returns what writes to the file system; without `conditional`, to any that can be written to at all."""
    names = protocols(fs)
    if "file" in names:
        return LocalWriter()
    if "memory" in names:
        return MemoryWriter(fs)
    if "s3" in names:
        return S3Writer(fs)
    return NoWriter(names[0]) if conditional else PlainWriter(fs, names[0])


class LocalWriter:
    """A disk: rename is atomic, and a lock beside the file keeps committers apart."""

    def create(self, path: str, data: bytes) -> bool:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("xb") as file:
                _flush(file, data)
        except FileExistsError:
            return False
        sync_folder(target.parent)
        return True

    def write(self, path: str, data: bytes) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), 0o644)
                _flush(file, data)
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_folder(target.parent)

    def exchange(self, path: str, check: Check, data: bytes) -> bool:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.with_name(f".{target.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            check(target.read_bytes() if target.exists() else None)
            self.write(path, data)
        return True

    def upload(self, file: Path, path: str) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if file != Path(path):
            shutil.copyfile(file, path)

    def remove(self, path: str) -> None:
        if Path(path).is_dir():
            shutil.rmtree(path)
        else:
            Path(path).unlink(missing_ok=True)


class MemoryWriter:
    """fsspec's `memory://`, for tests: one process, so one lock."""

    _lock = threading.Lock()

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def create(self, path: str, data: bytes) -> bool:
        with self._lock:
            if self._fs.exists(path):
                return False
            self._fs.pipe_file(path, data)
            return True

    def write(self, path: str, data: bytes) -> None:
        with self._lock:
            self._fs.pipe_file(path, data)

    def exchange(self, path: str, check: Check, data: bytes) -> bool:
        with self._lock:
            check(self._fs.cat_file(path) if self._fs.exists(path) else None)
            self._fs.pipe_file(path, data)
            return True

    def upload(self, file: Path, path: str) -> None:
        self._fs.put_file(str(file), path)

    def remove(self, path: str) -> None:
        if self._fs.exists(path):
            self._fs.rm(path, recursive=True)


class S3Writer:
    """S3, and what speaks like it: a PUT that succeeds only where nothing, or a known version, lies there."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def create(self, path: str, data: bytes) -> bool:
        try:
            self._fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        return True

    def write(self, path: str, data: bytes) -> None:
        self._fs.pipe_file(path, data)

    def exchange(self, path: str, check: Check, data: bytes) -> bool:
        # The tag comes before the bytes: should they change in between, the tag no longer matches.
        tag, _ = self._seen(path)
        check(self._fs.cat_file(path) if tag else None)
        condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        ours = secrets.token_hex(16)
        try:
            self._call("put_object", path, Body=data, Metadata={"writer": ours}, **condition)
        except Exception:
            # A write that was done is refused when it is tried again, where only its answer was lost.
            found, writer = self._seen(path)
            if found == tag and writer != ours:
                raise  # it is still as it was, so that something else went wrong
            return writer == ours
        return True

    def upload(self, file: Path, path: str) -> None:
        self._fs.put_file(str(file), path)

    def remove(self, path: str) -> None:
        if self._fs.exists(path):
            self._fs.rm(path, recursive=True)

    def _seen(self, path: str) -> tuple[str | None, str]:
        """Returns the version of what lies there, None where nothing does, and whose write it was."""
        try:
            head = self._call("head_object", path)
        except FileNotFoundError:
            return None, ""
        return str(head["ETag"]), str(head.get("Metadata", {}).get("writer", ""))

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        bucket, key, _ = self._fs.split_path(path)
        return self._fs.call_s3(method, Bucket=bucket, Key=key, **arguments)


class NoWriter:
    """A store of which no conditional write is known: it is read, and never written to."""

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol

    def create(self, path: str, data: bytes) -> bool:
        self._refuse()

    def write(self, path: str, data: bytes) -> None:
        self._refuse()

    def exchange(self, path: str, check: Check, data: bytes) -> bool:
        self._refuse()

    def upload(self, file: Path, path: str) -> None:
        self._refuse()

    def remove(self, path: str) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        message = f"a store at {self._protocol}:// can only be read: two writers there could not be kept apart"
        raise FailedPrecondition(message, reason="READ_ONLY_STORE")


class PlainWriter(NoWriter):
    """Whole files, the last writer's: enough where all writers would write the same."""

    def __init__(self, fs: Any, protocol: str) -> None:
        super().__init__(protocol)
        self._fs = fs

    def write(self, path: str, data: bytes) -> None:
        self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        self._fs.pipe_file(path, data)

    def remove(self, path: str) -> None:
        if self._fs.exists(path):
            self._fs.rm(path, recursive=True)


def _flush(file: Any, data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes sure that the names in a folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
