"""Runs a gateway: python -m services.gateway"""

from __future__ import annotations

import asyncio
import sys

import grpc

from services.gateway import servicer, splice
from services.gateway.cache import LocalCache, RedisCache, TwoLevels
from services.gateway.catalog import Catalog
from services.gateway.encoder import EncoderReplica, Encoders
from services.gateway.metrics import GroupMetrics
from services.gateway.search import Search
from services.gateway.searchers import SearcherGroups, SearcherReplica
from services.gateway.settings import GatewaySettings
from services.gateway.vectors import Vectors
from services.gateway.vocabulary import BadVocabulary, Vocabulary, read_vocabulary
from services.runtime.gate import short_name
from services.runtime.keys import Keys
from services.runtime.pool import Pool
from services.runtime.server import serve
from services.runtime.settings import addresses, load
from services.runtime.tls import TlsFiles, server_credentials
from services.store import Store
from sightline.v1 import collection_pb2_grpc, embed_pb2_grpc, image_pb2_grpc

SERVICES = [f"sightline.v1.{name}Service" for name in ("Search", "Image", "Collection", "Embed")]


class Gateway:
    """Everything that a gateway is made of, put together."""

    def __init__(self, settings: GatewaySettings, vocabulary: Vocabulary | None = None) -> None:
        def encoder(channel: grpc.aio.Channel) -> EncoderReplica:
            return EncoderReplica(
                channel,
                max_batch=settings.encode_batch,
                lanes=settings.encode_lanes,
                capacity=settings.queue_capacity,
            )

        def searcher(channel: grpc.aio.Channel) -> SearcherReplica:
            return SearcherReplica(
                channel,
                max_batch=settings.search_batch,
                lanes=settings.search_lanes,
                capacity=settings.queue_capacity,
            )

        self._groups = GroupMetrics()
        every, patience = settings.probe_seconds, settings.probe_timeout_seconds
        self._encoders = Pool(addresses(settings.encoders), encoder, name="encoder", interval=every, timeout=patience)
        self._searchers = Pool(
            addresses(settings.searchers),
            searcher,
            name="searcher",
            interval=every,
            timeout=patience,
            alike=lambda one, other: one.group == other.group,
            changed=self._groups.reached,
        )
        # Whoever moved CURRENT saw every group serve it: what the searchers said before that is out of date.
        store = Store(settings.store, timeout=settings.store_timeout_seconds)
        self._catalog = Catalog(store, settings.poll_seconds, before_change=self._searchers.probe)
        self._cache = TwoLevels(LocalCache(settings.cache_bytes), _redis(settings))
        self._settings, self._vocabulary = settings, vocabulary
        self.ending = asyncio.Event()

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the public services to a server."""
        settings = self._settings
        encoders, searchers = Encoders(self._encoders), SearcherGroups(self._searchers, self._groups)
        vectors = Vectors(encoders, searchers)
        search = Search(self._catalog, vectors, searchers, self._cache, splice.body, expand=self._vocabulary)
        deadlines = servicer.Deadlines(settings.default_timeout_seconds)
        searching = servicer.SearchServicer(
            search,
            deadlines,
            window=settings.stream_window,
            age=settings.max_connection_age_seconds,
            ending=self.ending,
        )
        servicer.add_search_servicer(searching, server)
        image_pb2_grpc.add_ImageServiceServicer_to_server(
            servicer.ImageServicer(self._catalog, searchers, deadlines), server
        )
        collection_pb2_grpc.add_CollectionServiceServicer_to_server(servicer.CollectionServicer(self._catalog), server)
        embed_pb2_grpc.add_EmbedServiceServicer_to_server(servicer.EmbedServicer(encoders, deadlines), server)

    async def start(self) -> None:
        """Returns when the store has been read and every replica has answered, or not in time.

        Whoever knows no collection can answer nothing: callers are better off with another gateway.
        """
        await asyncio.gather(self._catalog.start(), self._encoders.start(), self._searchers.start())

    async def close(self) -> None:
        """Gives back what the gateway holds."""
        await asyncio.gather(
            self._catalog.close(), self._encoders.close(), self._searchers.close(), self._cache.close()
        )


def _redis(settings: GatewaySettings) -> RedisCache | None:
    if settings.redis_url is None:
        return None
    url = settings.redis_url.get_secret_value()
    return RedisCache(url, ttl=settings.cache_ttl_seconds, timeout=settings.redis_timeout_seconds)


def guard(settings: GatewaySettings) -> tuple[grpc.ServerCredentials | None, Keys | None]:
    """Returns what the settings ask of callers. Where a file is wrong, says so and exits with 2."""
    try:
        files = (
            settings.tls_cert
            and settings.tls_key
            and TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        )
        credentials = server_credentials(files) if files else None
    except (OSError, ValueError) as error:
        sys.exit(_wrong(f"SIGHTLINE_TLS_CERT, SIGHTLINE_TLS_KEY, SIGHTLINE_TLS_CLIENT_CA: {error}"))
    try:
        return credentials, Keys(settings.keys, map(short_name, SERVICES)) if settings.keys else None
    except (OSError, ValueError) as error:
        sys.exit(_wrong(f"SIGHTLINE_KEYS: {settings.keys}: {error}"))


def vocabulary(settings: GatewaySettings) -> Vocabulary | None:
    """Returns the vocabulary, where the settings name one. Where the file is wrong, says so and exits with 2."""
    try:
        return read_vocabulary(settings.vocabulary, settings.vocabulary_share) if settings.vocabulary else None
    except (OSError, BadVocabulary) as error:
        sys.exit(_wrong(f"SIGHTLINE_VOCABULARY: {error}"))


def _wrong(why: str) -> int:
    print(why, file=sys.stderr)
    return 2


async def main() -> None:
    """Serves until it is told to stop."""
    settings = load(GatewaySettings)
    credentials, keys = guard(settings)
    gateway = Gateway(settings, vocabulary(settings))
    await serve(
        settings,
        service_names=SERVICES,
        register=gateway.register,
        warm=gateway.start,
        close=gateway.close,
        ending=gateway.ending,
        credentials=credentials,
        keys=keys,
    )


if __name__ == "__main__":
    asyncio.run(main())
