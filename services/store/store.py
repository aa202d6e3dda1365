"""The store: generations of collections, anywhere that fsspec reaches.

    <url>/<collection>/CURRENT                                  which generation is served, and which was before it;
                                                                or that the collection was dropped
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
    """CURRENT and NEXT of a collection; None where not set.

    Attributes:
        dropped: whether CURRENT says that there is no such collection any more.
    """

    current: Pointer | None
    next: int | None
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class _Dropped:
    """What CURRENT says of a dropped collection: the highest number that was ever used in it."""

    generation: int


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
        current = _parse_current(self._files.read(f"{collection}/CURRENT"))
        if isinstance(current, _Dropped):
            current, dropped = None, True
        else:
            dropped = False
        following = _parse_pointer("NEXT", self._files.read(f"{collection}/NEXT"))
        return Pointers(current, following.generation if following else None, dropped)

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

    def begin(self, collection: str, token: bytes = b"") -> Draft:
        """Claims the next free generation number and returns the draft to fill; two builders never get the same.

        Args:
            collection: its name.
            token: who claims. What this one has claimed before and not published, it gets again.

        Raises:
            InvalidArgument: the collection's name is wrong.
            FailedPrecondition: the store can only be read (READ_ONLY_STORE).
        """
        numbers = self._numbers(check_collection(collection))
        first = max([*numbers, self._dropped_at(collection)]) + 1
        for generation in [*(reversed(numbers) if token else ()), *range(first, first + _CLAIMS)]:
            claim = f"{self._home(collection, generation)}/{CLAIM}"
            if generation >= first and self._files.create(claim, token):
                return self.draft(collection, generation)
            # Several processes of one build come here at the same time.
            if token and self._files.read(claim) == token and not self._has_manifest(collection, generation):
                return self.draft(collection, generation)
        raise Unavailable(f"no number for a new generation of {collection}: others took {_CLAIMS} of them meanwhile")

    def draft(self, collection: str, generation: int) -> Draft:
        """Returns a generation that was begun before, to go on with it."""
        return Draft(self._files, self._home(collection, generation), collection, generation)

    def keep(self, collection: str, name: str, data: bytes) -> str:
        """Writes a file beside the generations, where no searcher looks; returns where it is."""
        path = f"{check_collection(collection)}/{name}"
        self._files.write(path, data)
        return f"{self.url.rstrip('/')}/{path}"

    def discard(self, collection: str, name: str) -> None:
        """Removes a file or folder beside the generations."""
        self._files.remove(f"{check_collection(collection)}/{name}")

    def remove(self, collection: str, generation: int) -> None:
        """Removes a generation, its manifest first. The highest number stays used."""
        home = self._home(collection, generation)
        self._files.remove(f"{home}/manifest.json")
        if generation < max(self._numbers(collection), default=0):
            self._files.remove(home)
            return
        for name in self._files.names(home):
            if name != CLAIM:
                self._files.remove(f"{home}/{name}")

    def drop(self, collection: str, expected: Pointer | None) -> None:
        """Says in CURRENT that there is no such collection any more, in place of `expected`, atomically.

        From then on gateways do not know it, and searchers let go of it. Its files stay, and so do its numbers: what
        is built under this name later is another generation.

        Raises:
            FailedPrecondition: as for `commit_current`.
        """
        highest = max([*self._numbers(check_collection(collection)), self._dropped_at(collection)])
        self._exchange_current(collection, expected, _dump({"dropped": True, "generation": highest}))
        self.set_next(collection, None)

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
        self._exchange_current(collection, expected, _dump({"generation": new.generation, "previous": new.previous}))

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

    def _exchange_current(self, collection: str, expected: Pointer | None, data: bytes) -> None:
        def check(found: bytes | None) -> None:
            current = _parse_current(found)
            if (pointer := None if isinstance(current, _Dropped) else current) != expected:
                raise _moved(collection, expected, pointer)

        if not self._files.exchange(f"{collection}/CURRENT", check, data):
            raise _moved(collection, expected, self.pointers(collection).current)

    def _dropped_at(self, collection: str) -> int:
        current = _parse_current(self._files.read(f"{collection}/CURRENT"))
        return current.generation if isinstance(current, _Dropped) else 0

    def _home(self, collection: str, generation: int) -> str:
        return f"{check_collection(collection)}/generations/{generation:08d}"

    def _numbers(self, collection: str) -> list[int]:
        names = self._files.names(f"{check_collection(collection)}/generations")
        return [int(name) for name in names if len(name) == 8 and name.isdecimal()]

    def _has_manifest(self, collection: str, generation: int) -> bool:
        return "manifest.json" in self._files.names(self._home(collection, generation))


def _parse_current(data: bytes | None) -> Pointer | _Dropped | None:
    try:
        record = json.loads(data or b"null")
    except ValueError:
        record = None
    if isinstance(record, dict) and record.get("dropped") is True and _is_number(record.get("generation"), least=0):
        return _Dropped(record["generation"])
    return _parse_pointer("CURRENT", data)


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


def _dump(record: dict[str, int | bool]) -> bytes:
    return json.dumps(record).encode() + b"\n"


def _moved(collection: str, expected: Pointer | None, found: Pointer | None) -> FailedPrecondition:
    def said(pointer: Pointer | None) -> str:
        return f"generation {pointer.generation} (before: {pointer.previous})" if pointer else "not set"

    message = f"CURRENT of {collection} is {said(found)}, expected was {said(expected)}: another committer moved it"
    return FailedPrecondition(message, reason="CURRENT_MOVED")
