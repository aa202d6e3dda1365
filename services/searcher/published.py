"""What the store says should be served: the pointers of every collection, as of the last look."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from services.searcher.ports import Generations
from services.store import Manifest, Pointers
from sightline.errors import FailedPrecondition

log = logging.getLogger("sightline.published")

Key = tuple[str, int]
"""A collection's name and a generation's number."""

_NOTHING = Pointers(None, None)


class Published:
    """Remembers pointers. One that cannot be read any more, or a collection that is gone, changes nothing.

    Args:
        store: where they are.

    Attributes:
        readable: whether at the last look no pointer was unreadable.
    """

    def __init__(self, store: Generations) -> None:
        self._store = store
        self._pointers: dict[str, Pointers] = {}
        self.readable = True

    def look(self) -> None:
        """Reads all pointers. Blocks. Raises Unavailable."""
        readable = True
        for collection in self._store.collections():
            try:
                self._pointers[collection] = self._store.pointers(collection)
            except FailedPrecondition as error:
                log.warning("a pointer of %s is not followed: %s", collection, error)
                readable = False
        self.readable = readable

    def manifest(self, key: Key) -> Manifest:
        """Reads a manifest. Blocks. Raises what Store.manifest does."""
        return self._store.manifest(*key)

    def collections(self) -> list[str]:
        """Returns the names of all collections that were ever seen, sorted."""
        return sorted(self._pointers)

    def dropped(self, collection: str) -> bool:
        """Returns whether the store says that there is no such collection any more."""
        return self._pointers.get(collection, _NOTHING).dropped

    def current(self, collection: str) -> Key | None:
        """Returns the generation that is to be served; None where none was published."""
        pointer = self._pointers.get(collection, _NOTHING).current
        return (collection, pointer.generation) if pointer else None

    def wanted(self, collection: str) -> list[int]:
        """Returns the generations that a searcher should hold: CURRENT, NEXT, the one before, in this order."""
        pointers = self._pointers.get(collection, _NOTHING)
        current = pointers.current
        named = (current and current.generation, pointers.next, current and current.previous)
        return list(dict.fromkeys(number for number in named if number))

    def by_urgency(self) -> Iterator[Key]:
        """Yields all that is wanted: the first of every collection, then the second, then the third."""
        lists = {collection: self.wanted(collection) for collection in self.collections()}
        for place in range(3):
            yield from ((name, wanted[place]) for name, wanted in lists.items() if place < len(wanted))
