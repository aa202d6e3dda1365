"""Files under one URL: read anywhere that fsspec reaches, written where a write can be made conditional."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fsspec.core import url_to_fs

from services.store.patience import Patience
from services.store.remote import hidden, options, protocols, without_secrets
from services.store.writing import Writer, writer_for
from sightline.errors import InvalidArgument, SightlineError, Unavailable

T = TypeVar("T")

_SLOWEST_UPLOAD = 1_000_000
"""Bytes a second below which an upload counts as silent."""


class Files:
    """Files under `url`. Paths are relative to it, with slashes.

    Args:
        url: a folder, as a path or as any fsspec URL.
        timeout: seconds that one call may take.
        conditional: whether what cannot be written to conditionally is only read.

    Raises:
        InvalidArgument: fsspec cannot open such a URL; names the field `store`.
    """

    def __init__(self, url: str, timeout: float, *, conditional: bool = True) -> None:
        self.url = url
        self._patience = Patience(timeout)
        self._timeout = timeout
        try:
            self._fs, root = url_to_fs(url, **options(url, timeout))
        except (ValueError, ImportError) as exc:
            raise InvalidArgument(f"{hidden(url)!r} is no store that can be opened: {exc}", field="store") from exc
        self._root = root.rstrip("/")
        self._writer: Writer = writer_for(self._fs, conditional=conditional)

    @property
    def local(self) -> Path | None:
        """The folder, where it is one on this machine."""
        return Path(self._root or "/") if "file" in protocols(self._fs) else None

    def read(self, path: str) -> bytes | None:
        """Returns the file's bytes; None where there is no such file."""
        return self._unless_missing(lambda: _bytes(self._fs.cat_file(self._at(path))), path)

    def read_range(self, path: str, start: int, end: int) -> bytes | None:
        """Returns the bytes from `start` up to `end`, or all of them where the store cannot read ranges."""
        return self._unless_missing(lambda: _bytes(self._fs.cat_file(self._at(path), start=start, end=end)), path)

    def size(self, path: str) -> int | None:
        """Returns how many bytes the file has; None where there is no such file, or the store does not say."""
        return self._unless_missing(lambda: _number(self._fs.info(self._at(path)).get("size")), path)

    def names(self, path: str) -> list[str]:
        """Returns the names of what is in a folder, sorted; none where there is no such folder."""
        found = self._unless_missing(lambda: list(self._fs.ls(self._at(path), detail=False)), path or hidden(self.url))
        return sorted({str(one).rstrip("/").rsplit("/", 1)[-1] for one in found or []})

    def create(self, path: str, data: bytes) -> bool:
        """Writes a new file, atomically; returns False where there is one already."""
        return self._run(lambda: self._writer.create(self._at(path), data), path)

    def write(self, path: str, data: bytes) -> None:
        """Writes a file, atomically, over what was there."""
        self._run(lambda: self._writer.write(self._at(path), data), path)

    def exchange(self, path: str, check: Callable[[bytes | None], None], data: bytes) -> bool:
        """Writes a file if it is still as `check` saw it; `check` raises where that is not what was expected.

        Returns False where another writer came in between. Raises Unavailable where it is not known what happened.
        """
        try:
            return self._run(lambda: self._writer.exchange(self._at(path), check, data), path)
        except Unavailable as exc:
            message = f"{exc.message}; whether it was written is not known: look before you try again"
            raise Unavailable(message, reason=exc.reason) from exc

    def upload(self, file: Path, path: str) -> None:
        """Copies a local file into the store."""
        seconds = self._timeout + file.stat().st_size / _SLOWEST_UPLOAD
        self._run(lambda: self._writer.upload(file, self._at(path)), path, seconds)

    def remove(self, path: str) -> None:
        """Removes a file or a folder with all that is in it; nothing where there is none."""
        self._run(lambda: self._writer.remove(self._at(path)), path)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root or "/"

    def _unless_missing(self, call: Callable[[], T], path: str) -> T | None:
        try:
            return self._run(call, path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _run(self, call: Callable[[], T], path: str, seconds: float | None = None) -> T:
        try:
            return self._patience.run(call, path, seconds=seconds)
        except (FileNotFoundError, NotADirectoryError, SightlineError):
            raise
        except Exception as exc:  # each file system has errors of its own
            # Some errors name the whole URL, with the password in it.
            told = without_secrets(f"{type(exc).__name__}: {exc}", self.url)
            raise Unavailable(f"{path}: the store failed: {told}"[:500]) from exc


def _number(size: object) -> int | None:
    return int(size) if isinstance(size, int) else None


def _bytes(data: bytes | str) -> bytes:
    return data.encode() if isinstance(data, str) else data
