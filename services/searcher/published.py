"""What the store says should be served: the pointers of every collection, as of the last look."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from services.runtime.outage import Outage
from services.searcher.notes import Noted, Notes
from services.searcher.ports import Generations
from services.store import Manifest, Pointers
from sightline.errors import FailedPrecondition, SightlineError

log = logging.getLogger("sightline.published")

Key = tuple[str, int]
"""A collection's name and a generation's number."""

_NOTHING = Pointers(None, None)


class Published:
    """Remembers pointers. One that cannot be read any more, or a collection that is gone, changes nothing.

    Args:
        store: where they are.
        notes: where what is known is kept for the next start, for stores that may be silent then; None keeps nothing.

    Attributes:
        readable: whether at the last look no collection was without a pointer that could be read, now or before.
    """

    def __init__(self, store: Generations, notes: Notes | None = None) -> None:
        self._store, self._notes = store, notes
        self._pointers: dict[str, Pointers] = {}
        self._manifests: dict[Key, Manifest] = {}
        self._damages: dict[str, Outage] = {}
        self._answers = True
        self.readable = True

    def look(self) -> None:
        """Reads all pointers. Blocks. Raises Unavailable; where nothing is known yet, what was noted is known then."""
        self._answers = False
        try:
            self._look()
        except SightlineError:
            self._recall()
            raise
        self._answers = True
        self._note()

    def manifest(self, key: Key) -> Manifest:
        """Reads a manifest, from what was noted where the store fails. Blocks. Raises what Store.manifest does."""
        if not self._answers and (noted := self._manifests.get(key)):
            return noted
        manifest = self._store.manifest(*key)
        self._manifests[key] = manifest
        self._note()
        return manifest

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

    def _look(self) -> None:
        readable = True
        for collection in self._store.collections():
            try:
                self._pointers[collection] = self._store.pointers(collection)
            except FailedPrecondition as error:
                self._damage(collection).failed(error)
                readable = readable and collection in self._pointers
            else:
                self._damage(collection).worked()
        self.readable = readable

    def _damage(self, collection: str) -> Outage:
        said = f"a pointer of {collection} is not followed", f"the pointers of {collection} are followed again"
        return self._damages.setdefault(collection, Outage(log, *said))

    def _recall(self) -> None:
        """Takes up what was noted of collections of which nothing is known yet."""
        for collection, noted in (self._notes.read() if self._notes else {}).items():
            if collection in self._pointers:
                continue
            log.warning("the store cannot be read: what was known of %s before is taken to be so", collection)
            self._pointers[collection] = noted.pointers
            self._manifests |= {(collection, number): manifest for number, manifest in noted.manifests.items()}

    def _note(self) -> None:
        wanted = set(self.by_urgency())
        self._manifests = {key: manifest for key, manifest in self._manifests.items() if key in wanted}
        if self._notes:
            self._notes.write({name: self._noted(name) for name in self.collections() if self.wanted(name)})

    def _noted(self, collection: str) -> Noted:
        manifests = {key[1]: manifest for key, manifest in self._manifests.items() if key[0] == collection}
        return Noted(self._pointers[collection], manifests)
