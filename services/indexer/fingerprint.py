"""Whether a source is still what it was: a digest of the names, sizes and versions of its files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from services.indexer.places import Place, locate, readable

# What the file systems of fsspec call that which changes with a file.
_VERSION = ("size", "mtime", "ETag", "etag", "LastModified", "last_modified", "md5Hash", "generation")
_BRACES = re.compile(r"\{\d+\.\.\d+\}")


def fingerprint(source: str) -> str:
    """Returns hex digits that change where a file of the source was added, removed or written anew.

    What a table points to is not looked at, only the table.

    Raises:
        NotFound, Unavailable: it is not there, or cannot be listed.
    """
    digest = hashlib.sha256()
    for path, info in _files(source):
        version = {key: str(info[key]) for key in _VERSION if info.get(key) is not None}
        digest.update(json.dumps([path, version], sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def _files(source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    place = locate(_BRACES.sub("*", source))
    with readable(place.url):
        if any(mark in place.path for mark in "*?["):
            found = dict(place.fs.glob(place.path, detail=True))
            yield from sorted(found.items()) if found else _below(place)
        elif place.fs.isdir(place.path):
            yield from _below(place)
        else:
            yield place.path, place.fs.info(place.path)


def _below(place: Place) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from sorted(place.fs.find(place.path, detail=True).items())
