"""The store: generations of collections, anywhere that fsspec reaches.

    <url>/<collection>/CURRENT                                  which generation is served, and which was before it
    <url>/<collection>/NEXT                                     which is to be loaded beside it
    <url>/<collection>/generations/00000007/manifest.json       written last
    <url>/<collection>/generations/00000007/shard-0003/…

All calls block, none for ever: what the store does not answer in time is Unavailable, reason STORE_TIMEOUT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.store.manifest import AttributeField, Manifest, Model, Shard


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
    """

    def __init__(self, url: str, *, timeout: float = 30.0) -> None: ...

    def collections(self) -> list[str]:
        """Returns the collections that have generations, by name. Raises Unavailable."""
        raise NotImplementedError

    def pointers(self, collection: str) -> Pointers:
        """Returns CURRENT and NEXT. Raises Unavailable; FailedPrecondition (BAD_POINTER) where one is unreadable."""
        raise NotImplementedError

    def generations(self, collection: str) -> list[int]:
        """Returns the published generations (those that have a manifest), ascending."""
        raise NotImplementedError

    def manifest(self, collection: str, generation: int) -> Manifest:
        """Returns the manifest of a generation.

        Raises:
            NotFound: there is no such generation (reason GENERATION_NOT_FOUND).
            FailedPrecondition: it cannot be read (BAD_MANIFEST).
            Unavailable: the store does not answer.
        """
        raise NotImplementedError

    def begin(self, collection: str) -> Draft:
        """Claims the next free generation number and returns the draft to fill; two builders never get the same.

        Raises:
            InvalidArgument: the collection's name is wrong.
            FailedPrecondition: the store can only be read (READ_ONLY_STORE).
        """
        raise NotImplementedError

    def set_next(self, collection: str, generation: int | None) -> None:
        """Points NEXT to a published generation, so that searchers load it; None removes NEXT.

        Raises NotFound where there is no such generation.
        """
        raise NotImplementedError

    def commit_current(self, collection: str, expected: Pointer | None, new: Pointer) -> None:
        """Moves CURRENT from `expected` (None: not set yet) to `new`, atomically: of several committers one wins.

        Publishing 8 over 7 is `commit_current(c, Pointer(7, 6), Pointer(8, 7))`, rolling it back
        `commit_current(c, Pointer(8, 7), Pointer(7, 8))`.

        Raises:
            FailedPrecondition: CURRENT is not `expected` (CURRENT_MOVED), or the store has no conditional write
                (READ_ONLY_STORE).
            NotFound: `new.generation` is not published.
        """
        raise NotImplementedError


class Draft:
    """A generation that is being built. It is none until `publish`; one that is given up is never served.

    Attributes:
        collection, generation: what it will be.
    """

    collection: str
    generation: int

    def folder(self, shard: int) -> Path:
        """Returns the local folder, made and empty, for the files of a shard."""
        raise NotImplementedError

    def seal(self, shard: int, images: int) -> Shard:
        """Checksums the files in the shard's folder and brings them to the store."""
        raise NotImplementedError

    def publish(
        self, model: Model, *, index: str = "Flat", attributes: Sequence[AttributeField] = ()
    ) -> Manifest:
        """Writes the manifest over all sealed shards, which must be 0 to n - 1. Nothing is served before CURRENT moves."""
        raise NotImplementedError

    def discard(self) -> None:
        """Removes what was built; the number stays used."""
        raise NotImplementedError
