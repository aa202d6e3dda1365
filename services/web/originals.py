"""Originals: read from where they are, below the roots that the operator names and nowhere else."""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from fsspec.core import split_protocol, url_to_fs

from services.store.patience import Patience
from services.store.remote import protocols
from services.web.media import HEAD, media_type
from sightline.errors import InvalidArgument, NotFound, SightlineError, Unavailable

CHUNK = 1024 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Original:
    """A picture where it lies.

    Attributes:
        fs: the fsspec file system.
        path: its path there.
        size: its bytes.
        type: its media type, by its first bytes.
        etag: a strong entity tag; empty where the place tells nothing that would change with the file.
    """

    fs: Any
    path: str
    size: int
    type: str
    etag: str


class Root:
    """One place below which originals may be read: a folder, or any fsspec URL."""

    def __init__(self, url: str) -> None:
        # A redirect would lead out of the root.
        options = {"allow_redirects": False} if url.startswith(("http://", "https://")) else {}
        try:
            self.fs, path = url_to_fs(url, **options)
        except (ValueError, ImportError) as exc:
            raise InvalidArgument(f"{url!r} is no place that can be opened: {exc}", field="originals") from exc
        self.local = "file" in protocols(self.fs)
        self._path = str(Path(path).resolve()) if self.local else path.rstrip("/")

    def join(self, relative: str) -> str:
        """Returns the address of a path below this root."""
        return f"{self._path}/{relative}"

    def path_of(self, uri: str) -> str | None:
        """Returns the path of `uri` in this root's file system; None where it does not lie below the root."""
        protocol, bare = split_protocol(uri)
        if (protocol or "file") not in protocols(self.fs):
            return None
        if self.local:  # links are followed first, so that none leads out
            place = Path(bare).resolve()
            return str(place) if place.is_relative_to(self._path) else None
        path = str(self.fs._strip_protocol(uri))
        steps = unquote(path.partition("?")[0]).replace("\\", "/").split("/")
        below = path.startswith(f"{self._path}/") and not {".", ".."}.intersection(steps)
        return path if below else None


class Originals:
    """Opens and reads originals.

    Args:
        roots: folders and URLs; no original is served where there are none. A uri without a scheme that is no absolute
            path lies below the first of them.
        max_bytes: larger ones are refused.
        timeout: seconds that one read may take.

    Raises:
        InvalidArgument: a root cannot be opened.
    """

    def __init__(self, roots: tuple[str, ...], *, max_bytes: int, timeout: float) -> None:
        self._roots = [Root(url) for url in roots]
        self._max_bytes = max_bytes
        self._patience = Patience(timeout)

    async def open(self, uri: str) -> Original:
        """Finds the original of an indexed image.

        Raises:
            NotFound: it is gone, or lies where originals are not served from.
            InvalidArgument: it is too large, or no picture.
            Unavailable: its place does not answer.
        """
        # Resolving follows links, which asks the disk.
        return await self._read(lambda: self._open(uri))

    async def read(self, original: Original, start: int, end: int) -> AsyncIterator[bytes]:
        """Reads the bytes from `start` up to `end`, a megabyte at a time."""
        for begin in range(start, end, CHUNK):
            stop = min(begin + CHUNK, end)
            yield await self._read(partial(_bytes, original.fs, original.path, begin, stop))

    def _open(self, uri: str) -> Original:
        fs, path = self._place(uri)
        info = fs.info(path)
        if info.get("type") != "file":
            raise FileNotFoundError(path)
        size = info.get("size")
        if size is None or size > self._max_bytes:
            message = f"the original has more than {self._max_bytes:,} bytes, or does not say how many"
            raise InvalidArgument(message, reason="NOT_A_PICTURE", field="id")
        kind = media_type(_bytes(fs, path, 0, min(HEAD, size)))
        if kind is None:
            raise InvalidArgument("the original is no picture of a known format", reason="NOT_A_PICTURE", field="id")
        return Original(fs, path, size, kind, _etag(path, info))

    def _place(self, uri: str) -> tuple[Any, str]:
        if "::" not in uri and uri.isprintable() and self._roots:
            relative = split_protocol(uri)[0] is None and not posixpath.isabs(uri)
            address = self._roots[0].join(uri) if relative else uri
            for root in self._roots[:1] if relative else self._roots:
                if path := root.path_of(address):
                    return root.fs, path
        raise NotFound("originals are not served from where this one lies", reason="ORIGINAL_NOT_SERVED", field="id")

    async def _read(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(self._patience.run, call, "the original")
        except (FileNotFoundError, NotADirectoryError, PermissionError) as exc:
            raise NotFound("the original is not where it was", reason="ORIGINAL_GONE", field="id") from exc
        except SightlineError:
            raise
        except Exception as exc:  # each file system has errors of its own
            raise Unavailable(f"the original cannot be read: {type(exc).__name__}") from exc


def _etag(path: str, info: dict[str, Any]) -> str:
    validators = [info.get(name) for name in ("mtime", "ino", "ETag", "etag", "LastModified", "md5", "generation")]
    if not any(validators):
        return ""
    seen = repr((path, info["size"], *validators)).encode()
    return f'"{hashlib.blake2b(seen, digest_size=12).hexdigest()}"'


def _bytes(fs: Any, path: str, start: int, end: int) -> bytes:
    data = bytes(fs.cat_file(path, start=start, end=end))
    if len(data) != end - start:  # a place that cannot read ranges sends everything
        data = data[start:end]
    if len(data) != end - start:
        raise OSError(f"{len(data)} bytes where {end - start} were asked for")
    return data
