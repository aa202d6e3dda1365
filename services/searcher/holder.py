"""Which generations are in memory: those that CURRENT and NEXT point to, and the one before, of every collection.

One loop looks at the store about once a second and loads what is missing, one at a time. What cannot be loaded is
refused, with its reason, and what was served before is served on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from services.runtime.outage import Outage
from services.runtime.store_metrics import store_read_timestamp_seconds
from services.searcher.metrics import FAILURES, images, load_failures_total, load_seconds, refused_generations
from services.searcher.notes import Notes
from services.searcher.ports import Generation, Generations
from services.searcher.published import Key, Published
from services.searcher.refusals import Refusals
from services.store import Manifest
from sightline.errors import FailedPrecondition, InternalError, NotFound, SightlineError

log = logging.getLogger("sightline.holder")


@dataclass(frozen=True, slots=True)
class Holding:
    """What is held of one collection: the generations that can be asked, and why others were refused."""

    collection: str
    generations: tuple[int, ...]
    refused: dict[int, str]


class Holder:
    """Keeps the right generations in memory.

    Args:
        store: where they are.
        load: loads this group's shards of a generation; blocks.
        prune: told, per collection, which generations are still of use; blocks.
        poll_seconds: between looks at the store.
        notes: what is known is kept there, to start from where the store cannot be read then.
        linger_seconds: how long to keep what nothing points to any more, for gateways that have not noticed.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        store: Generations,
        load: Callable[[Manifest], Generation],
        *,
        prune: Callable[[str, Collection[int]], None] = lambda collection, keep: None,
        notes: Notes | None = None,
        poll_seconds: float = 1.0,
        linger_seconds: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._published, self._load, self._prune = Published(store, notes), load, prune
        self._outage = Outage(log, "the store cannot be read, so nothing changes", "the store can be read again", clock)
        self._poll_seconds, self._linger_seconds, self._clock = poll_seconds, linger_seconds, clock
        self._held: dict[Key, Generation] = {}
        self._surplus: dict[Key, float] = {}
        self._refusals = Refusals(clock)
        self._settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def settled(self) -> bool:
        """Whether all that was published when this process began is loaded; see `start`."""
        return self._settled.is_set()

    async def start(self) -> None:
        """Looks at the store until all that was found is loaded, and goes on looking after that.

        Where nothing has been published there is nothing to wait for. A CURRENT that is refused is waited for as long
        as no other collection can be served. A store that cannot be read is waited for, unless what was noted before
        can be loaded from copies: gateways say which generation they want, so that an old one does no harm.
        """
        self._task = asyncio.create_task(self._run())
        await self._settled.wait()

    async def close(self) -> None:
        """Stops looking."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def get(self, collection: str, generation: int) -> Generation:
        """Returns a generation. Who holds it may search it, even when it is dropped here meanwhile.

        Raises:
            FailedPrecondition: nothing has been published (NOTHING_PUBLISHED), or the generation is not loaded
                (GENERATION_NOT_LOADED); says why where it was refused.
            NotFound: there is no such collection (NO_COLLECTION).
        """
        if held := self._held.get((collection, generation)):
            return held
        if not self._published.wanted(collection):
            raise self._absent(collection)
        refusal = self._refusals.get((collection, generation))
        why = f"it was refused: {refusal.error}" if refusal else "it is not loaded"
        message = f"generation {generation} of {collection} cannot be searched: {why}"
        raise FailedPrecondition(message, reason="GENERATION_NOT_LOADED", field="generation")

    def holdings(self) -> list[Holding]:
        """Returns what is held, by collection."""
        return [self._holding(collection) for collection in self._published.collections()]

    async def poll(self) -> bool:
        """Looks at the store once and loads one generation that is missing; returns whether another one is due."""
        looked = await self._look()
        if not looked and (self.settled or not self._published.collections()):
            return False
        await self._forget_changed()
        while due := self._due():
            await self._try(due)
            # While the store is silent each look is a long one, and there is nothing new to see.
            if looked or self._complete():
                break
        await self._drop()
        self._count()
        if looked and self._due():
            return True
        if not self.settled and self._complete():
            await self._prune_unused(self._published.collections())
            self._settled.set()
        return False

    async def _look(self) -> bool:
        """Looks at the store; returns whether it could be read."""
        try:
            await asyncio.to_thread(self._published.look)
        except SightlineError as error:
            self._outage.failed(error)
            return False
        self._outage.worked()
        store_read_timestamp_seconds.set_to_current_time()
        return True

    async def _run(self) -> None:
        while True:
            try:
                if await self.poll():
                    continue
            except Exception:
                log.exception("looking for generations failed; going on")
            await asyncio.sleep(self._poll_seconds)

    def _due(self) -> Key | None:
        """Returns the most urgent generation that is missing and may be tried now."""
        missing = (key for key in self._published.by_urgency() if key not in self._held and self._refusals.due(key))
        return next(missing, None)

    async def _try(self, key: Key) -> None:
        manifest: Manifest | None = None
        try:
            manifest = await asyncio.to_thread(self._published.manifest, key)
            await self._check_model(manifest)
            with load_seconds.time():
                self._held[key] = await asyncio.to_thread(self._load, manifest)
        except Exception as error:
            self._refuse(key, error, manifest)
            return
        self._refusals.forget([key])
        images.labels(key[0], str(key[1])).set(self._held[key].images)
        log.info("generation %d of %s is loaded: %d images here", key[1], key[0], self._held[key].images)

    async def _check_model(self, manifest: Manifest) -> None:
        """Refuses what another model made than CURRENT's: no query could be compared with both."""
        current = self._published.current(manifest.collection)
        if current is None or current[1] == manifest.generation:
            return
        held = self._held.get(current)
        serving = held.manifest if held else await asyncio.to_thread(self._published.manifest, current)
        if serving.model.digest != manifest.model.digest:
            message = (
                f"it was made by model {manifest.model.name} ({manifest.model.digest[:12]}), "
                f"but what is served by {serving.model.name} ({serving.model.digest[:12]})"
            )
            raise FailedPrecondition(message, reason="ANOTHER_MODEL")

    def _refuse(self, key: Key, error: Exception, manifest: Manifest | None) -> None:
        if not isinstance(error, SightlineError):
            log.error("loading generation %d of %s failed", key[1], key[0], exc_info=error)
            error = InternalError(f"loading failed: {type(error).__name__}: {error}"[:300])
        refusal = self._refusals.add(key, error, manifest)
        load_failures_total.labels(key[0], error.reason).inc()
        wait = refusal.again - self._clock()
        log.warning("generation %d of %s is not loaded: %s (again in %.0f s)", key[1], key[0], error, wait)

    async def _forget_changed(self) -> None:
        """Lets those be tried at once that were published anew, or became CURRENT, since they were refused."""
        changed = await asyncio.to_thread(self._refusals.changed, self._published.manifest)
        current = [self._published.current(collection) for collection in self._published.collections()]
        promoted = [key for key in current if key and self._refusals.reason(key) == "ANOTHER_MODEL"]
        self._refusals.forget([*changed, *promoted])

    async def _drop(self) -> None:
        """Lets go of what nothing has pointed to for a while."""
        now, wanted = self._clock(), set(self._published.by_urgency())
        surplus = [key for key in self._held if key not in wanted and self._replaced(key[0])]
        self._surplus = {key: self._surplus.get(key, now) for key in surplus}
        gone = [key for key, since in self._surplus.items() if now - since >= self._linger_seconds]
        for key in gone:
            del self._held[key], self._surplus[key]
            images.remove(key[0], str(key[1]))
            log.info("generation %d of %s is dropped", key[1], key[0])
        self._refusals.keep(wanted)
        await self._prune_unused({collection for collection, _ in gone})

    def _count(self) -> None:
        for collection in self._published.collections():
            refused_generations.labels(collection).set(len(self._refusals.of(collection)))
            for reason in FAILURES:
                load_failures_total.labels(collection, reason)

    def _replaced(self, collection: str) -> bool:
        """Whether nobody needs what is not wanted: CURRENT is here, or the collection was dropped."""
        return self._published.dropped(collection) or self._published.current(collection) in self._held

    def _complete(self) -> bool:
        current = [key for name in self._published.collections() if (key := self._published.current(name))]
        missing = [key for key in current if key not in self._held]
        refused = [key for key in missing if self._refusals.final(key)]
        return self._published.readable and (not missing or missing == refused != current)

    async def _prune_unused(self, collections: Collection[str]) -> None:
        for collection in collections:
            held = [generation for name, generation in self._held if name == collection]
            await asyncio.to_thread(self._prune, collection, {*self._published.wanted(collection), *held})

    def _holding(self, collection: str) -> Holding:
        held = sorted(generation for name, generation in self._held if name == collection)
        return Holding(collection, tuple(held), self._refusals.of(collection))

    def _absent(self, collection: str) -> SightlineError:
        known = [name for name in self._published.collections() if not self._published.dropped(name)]
        if collection in known or not self._published.collections():
            what = f"collection {collection}" if collection in known else "any collection"
            return FailedPrecondition(f"nothing of {what} has been published yet", reason="NOTHING_PUBLISHED")
        return NotFound(f"there is no collection {collection[:80]!r}", reason="NO_COLLECTION", field="collection")
