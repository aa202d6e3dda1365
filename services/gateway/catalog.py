"""What can be searched: the collections of the store and their current generations, looked up about once a second."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Protocol

from services.gateway.metrics import GenerationMetrics
from services.gateway.single_flight import SingleFlight
from services.runtime.outage import Outage
from services.runtime.store_metrics import store_read_timestamp_seconds
from services.store import Manifest, Pointer, Pointers
from sightline.errors import FailedPrecondition, InvalidArgument, NotFound, SightlineError, Unavailable

log = logging.getLogger("sightline.catalog")


class Generations(Protocol):
    """The part of the store that is read here. Its calls block."""

    def collections(self) -> list[str]: ...

    def pointers(self, collection: str) -> Pointers: ...

    def manifest(self, collection: str, generation: int) -> Manifest: ...


async def _nothing() -> None:
    pass


class Catalog:
    """Knows every collection's current generation, as of the last look at the store.

    A store that does not answer changes nothing: what was current stays current. Before it has answered once, nothing
    is known, and all questions are Unavailable.

    Args:
        store: the generations.
        interval: seconds between looks at it.
        before_change: awaited between seeing that something else is current and saying so.
    """

    def __init__(
        self, store: Generations, interval: float, before_change: Callable[[], Awaitable[None]] = _nothing
    ) -> None:
        self._store, self._interval, self._before_change = store, interval, before_change
        self._current: dict[str, Pointer] = {}
        self._manifests: dict[tuple[str, int], Manifest] = {}
        self._looks: SingleFlight[None, None] = SingleFlight()
        self._reads: SingleFlight[tuple[str, int], Manifest] = SingleFlight()
        self._absent: dict[tuple[str, int], SightlineError] = {}  # since the last look
        self._outage = Outage(log, "the store cannot be read, so nothing changes", "the store can be read again")
        self._damages: dict[str, Outage] = {}
        self._known = asyncio.Event()
        self._polling: asyncio.Task[None] | None = None
        self._metrics = GenerationMetrics()

    async def start(self) -> None:
        """Looks at the store again and again; returns when it has been read once."""
        await self.refresh()
        self._polling = asyncio.create_task(self._poll())
        await self._known.wait()

    async def close(self) -> None:
        """Stops looking."""
        if self._polling:
            self._polling.cancel()

    async def refresh(self, deadline: float = math.inf) -> None:
        """Looks at the store now, or waits for the look that is under way; DeadlineExceeded where that takes long."""
        await self._looks.run(None, lambda _: self._refresh(), deadline)

    def current(self) -> list[tuple[Manifest, Pointer]]:
        """Returns all collections that have a current generation, by name. Raises Unavailable (STORE_UNREAD)."""
        self._check_known()
        return [(self._manifests[name, at.generation], at) for name, at in sorted(self._current.items())]

    def one(self, collection: str) -> tuple[Manifest, Pointer]:
        """Returns a collection as it is now; see `resolve`."""
        name = self._name(collection)
        pointer = self._current[name]
        return self._manifests[name, pointer.generation], pointer

    async def resolve(self, collection: str, generation: int, deadline: float = math.inf) -> Manifest:
        """Returns the manifest of a generation, of the current one where `generation` is 0.

        Raises:
            NotFound: no such collection or generation.
            InvalidArgument: no collection is named, and there are several.
            FailedPrecondition: nothing has been published.
            Unavailable: the store does not answer, or has not done so once (STORE_UNREAD).
            DeadlineExceeded: the store takes longer than until `deadline`, in `loop.time()` seconds.
        """
        name = self._name(collection)
        generation = generation or self._current[name].generation
        if known := self._manifests.get((name, generation)):
            return known
        manifest, _ = await self._reads.run((name, generation), lambda _: self._read(name, generation), deadline)
        return manifest

    async def _read(self, name: str, generation: int) -> Manifest:
        if absent := self._absent.get((name, generation)):
            raise absent
        try:
            manifest = await asyncio.to_thread(self._store.manifest, name, generation)
        except NotFound as error:
            self._absent[name, generation] = error
            raise
        self._manifests[name, generation] = manifest
        return manifest

    async def _refresh(self) -> None:
        try:
            current = await asyncio.to_thread(self._look)
        except SightlineError as error:
            self._outage.failed(error)
            return
        self._outage.worked()
        store_read_timestamp_seconds.set_to_current_time()
        if current != self._current:
            await self._before_change()
        self._change(current)
        self._known.set()

    def _name(self, collection: str) -> str:
        if collection in self._current:
            return collection
        self._check_known()
        if collection:
            raise NotFound(f"there is no collection {collection[:80]!r}", reason="NO_COLLECTION", field="collection")
        if not self._current:
            raise FailedPrecondition("no collection has been published yet", reason="NOTHING_PUBLISHED")
        if len(self._current) > 1:
            names = ", ".join(sorted(self._current))
            raise InvalidArgument(
                f"name one of the collections: {names}", reason="COLLECTION_NEEDED", field="collection"
            )
        return next(iter(self._current))

    def _check_known(self) -> None:
        if not self._known.is_set():
            message = "this gateway has not been able to read the store yet, so it knows no collection"
            raise Unavailable(message, reason="STORE_UNREAD")

    def _look(self) -> dict[str, Pointer]:
        found = {name: self._look_at(name) for name in self._store.collections()}
        return {name: pointer for name, pointer in found.items() if pointer}

    def _look_at(self, name: str) -> Pointer | None:
        try:
            pointer = self._store.pointers(name).current
            if pointer and (name, pointer.generation) not in self._manifests:
                self._manifests[name, pointer.generation] = self._store.manifest(name, pointer.generation)
        except FailedPrecondition as error:
            # The other collections are not to wait for one that is damaged.
            self._damage(name).failed(error)
            return self._current.get(name)
        self._damage(name).worked()
        return pointer

    def _damage(self, name: str) -> Outage:
        said = f"collection {name} cannot be read, so it stays as it is", f"collection {name} can be read again"
        return self._damages.setdefault(name, Outage(log, *said))

    def _change(self, current: dict[str, Pointer]) -> None:
        for name, pointer in current.items():
            if self._current.get(name) != pointer:
                log.info("collection %s is at generation %d", name, pointer.generation)
        self._current = current
        self._metrics.are({name: pointer.generation for name, pointer in current.items()})
        self._absent.clear()
        kept = {(name, one) for name, at in current.items() for one in (at.generation, at.previous)}
        self._manifests = {key: value for key, value in self._manifests.items() if key in kept}

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self.refresh()
