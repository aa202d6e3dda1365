"""The store: generations of collections, anywhere that fsspec reaches.

    <url>/<collection>/CURRENT                                  which generation is served, and which was before it
    <url>/<collection>/NEXT                                     which is to be loaded beside it
    <url>/<collection>/generations/00000007/manifest.json       written last
    <url>/<collection>/generations/00000007/shard-0003/…

All calls block, none for ever: what the store does not answer in time is Unavailable, reason STORE_TIMEOUT.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from services.store.draft import CLAIM, Draft, shard_name
from services.store.files import Files
from services.store.manifest import File, Manifest, parse_manifest
from services.store.names import check_collection, is_collection
from services.store.transfer import fetch
from sightline.errors import FailedPrecondition, NotFound, Unavailable

_CLAIMS = 100
"""Builders that may take a number before our own claim succeeds."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """What CURRENT says: the generation that is served, and the one before it (0: there is none)."""

    generation: int
    previous: int = 0


@dataclass(frozen=True, slots=True)
class Pointers:
    """CURRENT and NEXT of a collection; None where not set."""

    current: Pointer | None
    next: int | None


class Store:
    """Generations at a URL.

    Args:
        url: a folder, as a path or as any fsspec URL.
        timeout: seconds that the store may stay silent.

    Raises:
        InvalidArgument: there is no such kind of URL; names the field `store`.
    """

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        self.url = url
        self._files = Files(url, timeout)

    @property
    def is_local(self) -> bool:
        """Whether the store is a disk of this machine, whose files are used where they lie."""
        return self._files.local is not None

    def collections(self) -> list[str]:
        """Returns the names of the collections that the store has, sorted. Raises Unavailable."""
        return [name for name in self._files.names("") if is_collection(name)]

    def pointers(self, collection: str) -> Pointers:
        """Returns CURRENT and NEXT. Raises Unavailable; FailedPrecondition (BAD_POINTER) where one is unreadable."""
        check_collection(collection)
        current = _parse_pointer("CURRENT", self._files.read(f"{collection}/CURRENT"))
        following = _parse_pointer("NEXT", self._files.read(f"{collection}/NEXT"))
        return Pointers(current, following.generation if following else None)

    def generations(self, collection: str) -> list[int]:
        """Returns the published generations (those that have a manifest), ascending."""
        return [number for number in self._numbers(collection) if self._has_manifest(collection, number)]

    def manifest(self, collection: str, generation: int) -> Manifest:
        """Returns the manifest of a generation.

        Raises:
            NotFound: there is no such generation (GENERATION_NOT_FOUND).
            FailedPrecondition: it cannot be read, or is another generation's (BAD_MANIFEST).
            Unavailable: the store does not answer.
        """
        data = self._files.read(f"{self._home(collection, generation)}/manifest.json")
        if data is None:
            message = f"collection {collection} has no generation {generation}"
            raise NotFound(message, reason="GENERATION_NOT_FOUND")
        manifest = parse_manifest(data)
        if (manifest.collection, manifest.generation) != (collection, generation):
            message = (
                f"the manifest of {collection} {generation} is that of {manifest.collection} {manifest.generation}"
            )
            raise FailedPrecondition(message, reason="BAD_MANIFEST")
        return manifest

    def begin(self, collection: str) -> Draft:
        """Claims the next free generation number and returns the draft to fill; two builders never get the same.

        Raises:
            InvalidArgument: the collection's name is wrong.
            FailedPrecondition: the store can only be read (READ_ONLY_STORE).
        """
        first = max(self._numbers(check_collection(collection)), default=0) + 1
        for generation in range(first, first + _CLAIMS):
            home = self._home(collection, generation)
            if self._files.create(f"{home}/{CLAIM}", b""):
                return Draft(self._files, home, collection, generation)
        raise Unavailable(f"no number for a new generation of {collection}: others took {_CLAIMS} of them meanwhile")

    def set_next(self, collection: str, generation: int | None) -> None:
        """Points NEXT to a published generation, so that searchers load it; None removes NEXT.

        Raises NotFound where there is no such generation.
        """
        if generation is None:
            self._files.remove(f"{check_collection(collection)}/NEXT")
            return
        self.manifest(collection, generation)
        self._files.write(f"{collection}/NEXT", _dump({"generation": generation}))

    def commit_current(self, collection: str, expected: Pointer | None, new: Pointer) -> None:
        """Moves CURRENT from `expected` (None: not set yet) to `new`, atomically: of several committers one wins.

        Publishing 8 over 7 is `commit_current(c, Pointer(7, 6), Pointer(8, 7))`, rolling it back
        `commit_current(c, Pointer(8, 7), Pointer(7, 8))`.

        Raises:
            FailedPrecondition: CURRENT is not `expected` (CURRENT_MOVED), or the store has no conditional write
                (READ_ONLY_STORE).
            NotFound: `new.generation` is not published.
        """
        self.manifest(collection, new.generation)
        data = _dump({"generation": new.generation, "previous": new.previous})

        def check(found: bytes | None) -> None:
            if (current := _parse_pointer("CURRENT", found)) != expected:
                raise _moved(collection, expected, current)

        if not self._files.exchange(f"{collection}/CURRENT", check, data):
            raise _moved(collection, expected, self.pointers(collection).current)

    def local_folder(self, collection: str, generation: int, shard: int) -> Path | None:
        """Returns the shard's folder where the store is a disk of this machine, else None."""
        home = self._home(collection, generation)
        return self._files.local / home / shard_name(shard) if self._files.local else None

    def fetch(self, collection: str, generation: int, shard: int, file: File, target: Path) -> None:
        """Copies a file of a shard to the local path `target`, in parallel ranges.

        Raises:
            FailedPrecondition: it is missing or of another size (CORRUPT_GENERATION). The checksum is not looked at.
            Unavailable: the store fell silent, or sent less than it has.
        """
        home = self._home(collection, generation)
        fetch(self._files, f"{home}/{shard_name(shard)}/{file.name}", file, target)

    def _home(self, collection: str, generation: int) -> str:
        return f"{check_collection(collection)}/generations/{generation:08d}"

    def _numbers(self, collection: str) -> list[int]:
        names = self._files.names(f"{check_collection(collection)}/generations")
        return [int(name) for name in names if len(name) == 8 and name.isdecimal()]

    def _has_manifest(self, collection: str, generation: int) -> bool:
        return "manifest.json" in self._files.names(self._home(collection, generation))


def _parse_pointer(name: str, data: bytes | None) -> Pointer | None:
    if data is None:
        return None
    try:
        record = json.loads(data)
        pointer = Pointer(record["generation"], record.get("previous", 0))
        if _is_number(pointer.generation, least=1) and _is_number(pointer.previous, least=0):
            return pointer
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise FailedPrecondition(f"{name} cannot be read: {data[:80]!r}", reason="BAD_POINTER")


def _is_number(value: object, *, least: int) -> bool:
    """Whether it is a generation's number, one that a message can carry."""
    return type(value) is int and least <= value < 1 << 63


def _dump(record: dict[str, int]) -> bytes:
    return json.dumps(record).encode() + b"\n"


def _moved(collection: str, expected: Pointer | None, found: Pointer | None) -> FailedPrecondition:
    def said(pointer: Pointer | None) -> str:
        return f"generation {pointer.generation} (before: {pointer.previous})" if pointer else "not set"

    message = f"CURRENT of {collection} is {said(found)}, expected was {said(expected)}: another committer moved it"
    return FailedPrecondition(message, reason="CURRENT_MOVED")
