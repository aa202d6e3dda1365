"""One suite for every cache of answers: the real Redis, the local level, and both together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import redis

from services.gateway.answers import Source
from services.gateway.cache import LocalCache, RedisCache, TwoLevels
from tests.conftest import RedisServer

KEY, OTHER = b"k" * 32, b"o" * 32


def shared(server: RedisServer) -> RedisCache:
    return RedisCache(server.url, ttl=60, timeout=0.2, pause=0.3)


@pytest.fixture(params=["local", "redis", "both"])
async def cache(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[TwoLevels]:
    redis.Redis.from_url(redis_server.url).flushall()
    local = LocalCache(0 if request.param == "redis" else 1 << 20)
    both = TwoLevels(local, None if request.param == "local" else shared(redis_server))
    yield both
    await both.close()


async def eventually(cache: TwoLevels, key: bytes) -> tuple[bytes, Source] | None:
    """Returns what the cache has as soon as it has it: writes to Redis are not waited for."""
    for _ in range(100):
        if found := await cache.get(key):
            return found
        await asyncio.sleep(0.01)
    return None


async def test_what_was_put_is_found(cache: TwoLevels) -> None:
    """An answer that was put is found by its key, byte for byte, and no other key finds it."""
    cache.put(KEY, b"body\0\xff")
    found = await eventually(cache, KEY)
    assert found is not None
    assert found[0] == b"body\0\xff"
    assert await cache.get(OTHER) is None


async def test_the_last_put_wins(cache: TwoLevels) -> None:
    """A key that is put again has its last answer."""
    cache.put(KEY, b"one")
    await eventually(cache, KEY)
    cache.put(KEY, b"two")
    for _ in range(100):
        if (found := await cache.get(KEY)) and found[0] == b"two":
            return
        await asyncio.sleep(0.01)
    pytest.fail("the first answer stayed")


async def test_an_empty_cache_has_nothing(cache: TwoLevels) -> None:
    """An empty cache misses."""
    assert await cache.get(KEY) is None


async def test_gateways_share_what_is_in_redis(redis_server: RedisServer) -> None:
    """What one gateway put, another finds in Redis first and in its own memory after."""
    redis.Redis.from_url(redis_server.url).flushall()
    one, two = (TwoLevels(LocalCache(1 << 20), shared(redis_server)) for _ in range(2))
    one.put(KEY, b"body")
    assert await eventually(two, KEY) == (b"body", Source.SHARED)
    assert await two.get(KEY) == (b"body", Source.LOCAL)
    await asyncio.gather(one.close(), two.close())


@pytest.mark.parametrize("value", [b"", b"short", b"garbage that nobody sealed"])
async def test_garbage_in_redis_is_a_miss(redis_server: RedisServer, value: bytes) -> None:
    """A value in Redis that is not what was written is a miss, never an answer."""
    client = redis.Redis.from_url(redis_server.url)
    client.set(b"sightline:" + KEY, value)
    cache = shared(redis_server)
    assert await cache.get(KEY) is None
    await cache.close()


async def test_an_answer_of_another_key_is_a_miss(redis_server: RedisServer) -> None:
    """A sound answer that lies under another key is a miss: it answers another question."""
    client = redis.Redis.from_url(redis_server.url)
    cache = shared(redis_server)
    cache.put(KEY, b"body")
    assert await eventually(TwoLevels(LocalCache(0), cache), KEY)
    client.set(b"sightline:" + OTHER, client.get(b"sightline:" + KEY) or b"")
    assert await cache.get(OTHER) is None
    await cache.close()


@pytest.mark.parametrize("harm", [RedisServer.kill, RedisServer.stop])
async def test_redis_gone_or_hung_is_a_miss(
    harm: Callable[[RedisServer], None], fresh_redis: Callable[[], RedisServer]
) -> None:
    """Redis killed or hung is a miss and no error; after three failures it is left alone, and found again later."""
    server = fresh_redis()
    cache = shared(server)
    cache.put(KEY, b"body")
    assert await eventually(TwoLevels(LocalCache(0), cache), KEY)
    harm(server)
    began = asyncio.get_running_loop().time()
    for _ in range(20):
        assert await cache.get(KEY) is None
    assert asyncio.get_running_loop().time() - began < 3.0
    server.restore()
    for _ in range(50):
        cache.put(KEY, b"again")
        if await cache.get(KEY) == b"again":
            break
        await asyncio.sleep(0.1)
    else:
        pytest.fail("Redis is back, and is not used again")
    await cache.close()
