"""`python -m services.searcher`: one searcher of one group."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc

from services.index import Cache, LoadedGeneration, load, use_threads
from services.runtime.server import serve
from services.runtime.settings import load as load_settings
from services.searcher.holder import Holder
from services.searcher.notes import Notes
from services.searcher.searching import Searching
from services.searcher.servicer import SearcherServicer
from services.searcher.settings import SearcherSettings
from services.store import Manifest, Store
from sightline.internal.v1 import searcher_pb2, searcher_pb2_grpc

SERVICE = searcher_pb2.DESCRIPTOR.services_by_name["SearcherService"].full_name


@dataclass(frozen=True, slots=True)
class Searcher:
    """A searcher, put together: `warm` returns when all that was published is loaded."""

    servicer: SearcherServicer
    warm: Callable[[], Awaitable[None]]
    close: Callable[[], Awaitable[None]]

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the service to a server."""
        searcher_pb2_grpc.add_SearcherServiceServicer_to_server(self.servicer, server)


def build(settings: SearcherSettings, store: Store | None = None) -> Searcher:
    """Puts a searcher together, over the store of the settings unless another is given."""
    source = store or Store(settings.store, timeout=settings.store_timeout_seconds)
    cache = Cache(settings.cache_dir)

    def load_shards(manifest: Manifest) -> LoadedGeneration:
        return load(source, manifest, range(settings.group, len(manifest.shards), settings.groups), cache=cache)

    # The pointers of a disk that is gone are of no use: so are its shards.
    notes = None if source.is_local else Notes(settings.cache_dir / "published.json")
    holder = Holder(
        source,
        load_shards,
        prune=cache.prune,
        notes=notes,
        poll_seconds=settings.poll_seconds,
        linger_seconds=settings.linger_seconds,
    )
    searching = Searching(
        max_batch=settings.max_batch,
        capacity=settings.queue_capacity,
        prepare=lambda: use_threads(settings.threads),
    )
    servicer = SearcherServicer(holder, searching, group=settings.group, groups=settings.groups)

    async def close() -> None:
        await searching.close()
        await holder.close()

    return Searcher(servicer, holder.start, close)


def main() -> None:
    """Serves until told to stop."""
    settings = load_settings(SearcherSettings)
    asyncio.run(_serve(settings))


async def _serve(settings: SearcherSettings) -> None:
    searcher = build(settings)
    await serve(
        settings,
        service_names=[SERVICE],
        register=searcher.register,
        warm=searcher.warm,
        close=searcher.close,
    )


if __name__ == "__main__":
    main()
