"""Files and folders anywhere that fsspec reaches, and how what goes wrong with them is told."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import urljoin, urlsplit

from fsspec.core import split_protocol, url_to_fs

from services.store.remote import protocols
from sightline.errors import InvalidArgument, NotFound, SightlineError, Unavailable

T = TypeVar("T")

# Archives are passed through once, one block at a time; smaller blocks would cost a request for each member.
_BLOCK = 4 << 20

# Lists of addresses are full of servers that are gone, or that do not answer.
CONNECT_SECONDS = 10.0
SILENT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """A file or a folder.

    Attributes:
        fs: the fsspec file system that it lies on.
        path: as that file system names it.
    """

    fs: Any
    path: str

    @property
    def url(self) -> str:
        """Its full address."""
        return str(self.fs.unstrip_protocol(self.path))

    @property
    def name(self) -> str:
        """The last part of its path, without the query that an address may have."""
        path = urlsplit(self.path).path if is_http(self.fs) else self.path
        return posixpath.basename(path.rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine."""
        return is_local(self.fs)

    def at(self, path: str) -> Place:
        """Another path of the same file system."""
        return Place(self.fs, path)

    def open(self) -> BinaryIO:
        """Opens the file for reading, from anywhere in it where its server can do that, and unpacks `.gz`."""
        if self.name.endswith(".gz"):
            return cast(BinaryIO, self.fs.open(self.path, "rb", compression="gzip"))
        if self.is_local:
            return open(self.path, "rb")
        return cast(BinaryIO, self.fs.open(self.path, "rb", block_size=_BLOCK, cache_type="readahead"))

    def serves_ranges(self) -> bool:
        """Whether the file can be read from anywhere in it, which not every web server lets one do."""
        if not is_http(self.fs):
            return True
        with self.fs.open(self.path, "rb", block_size=1, cache_type="none") as file:
            try:
                file.seek(1)
                file.read(1)
            except ValueError:
                return False
        return True

    def size(self) -> int:
        """How many bytes the file has."""
        return int(self.fs.size(self.path) or 0)

    def beside(self, uri: str) -> str:
        """Where `uri` is read from: one without a scheme lies beside this file, unless it is absolute.

        Raises:
            InvalidArgument: this file comes from a web server, and names one of this machine.
        """
        if is_http(self.fs):
            joined = urljoin(self.path, uri)
            if any(split_protocol(link)[0] in (None, "file", "local") for link in joined.split("::")):
                raise InvalidArgument("a table on the web may not name files of this machine")
            return joined
        if split_protocol(uri)[0] is not None or uri.startswith("/"):
            return uri
        return posixpath.join(posixpath.dirname(self.path if self.is_local else self.url), uri)


def locate(url: str) -> Place:
    """The place with an address. Raises InvalidArgument where fsspec can do nothing with it."""
    try:
        return Place(*open_fs(url))
    except (ValueError, ImportError) as exc:
        raise InvalidArgument(f"{url!r} is no address that can be read: {exc}", field="source") from exc


def open_fs(url: str) -> tuple[Any, str]:
    """The file system and the path of an address. fsspec keeps one file system a thread, and that its connections."""
    if not url.startswith(("http://", "https://")):
        return cast(tuple[Any, str], url_to_fs(url))
    import aiohttp  # noqa: PLC0415  # not installed where nothing is read from the web; fsspec says so then

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    return cast(tuple[Any, str], url_to_fs(url, client_kwargs={"timeout": timeout}))


def is_http(fs: Any) -> bool:
    """Whether a file system is a web server."""
    return "http" in protocols(fs)


def is_local(fs: Any) -> bool:
    """Whether a file system is this machine's."""
    return "file" in protocols(fs)


@contextmanager
def readable(url: str) -> Iterator[None]:
    """Names the file in every error of its file system: NotFound where it is not there, else Unavailable."""
    try:
        yield
    except SightlineError:
        raise
    except FileNotFoundError as exc:
        raise NotFound(f"there is nothing at {url!r}") from exc
    except Exception as exc:  # each file system has errors of its own
        raise Unavailable(f"{url} cannot be read: {type(exc).__name__}: {exc}"[:500]) from exc


def read_through(url: str, items: Iterator[T]) -> Iterator[T]:
    """Yields what an iterator over a file yields, its errors told by `readable`."""
    while True:
        with readable(url):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item
