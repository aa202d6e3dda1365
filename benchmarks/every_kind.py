"""Questions of every kind to an observed cluster, at a steady rate; what becomes of them is for Prometheus to see."""

from __future__ import annotations

import asyncio
import json
import random
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self

import numpy as np

from benchmarks.emoji import COLLECTION, MODEL, Emoji
from benchmarks.observed import KEY, Observed
from sightline import Client, ImageId
from sightline.errors import SightlineError

RATE = 20.0
"""Of what is asked in a second; some of it is many questions."""

DIMENSION = int(json.loads((MODEL / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]["embed_dim"])
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class EveryKind:
    """Asks from its `async with` to the end of it.

    Args:
        seen: what is asked.
        rate: how much a second.
        seed: of what is drawn by chance.
    """

    def __init__(self, seen: Observed, *, rate: float = RATE, seed: int = 1) -> None:
        self._seen, self._rate, self._chance = seen, rate, random.Random(seed)
        self._clients = [Client(address, key=KEY, timeout=2.0) for address in seen.cluster.gateways]
        self._stranger = Client(seen.cluster.gateway, timeout=2.0)
        self._asking: set[asyncio.Task[None]] = set()
        self._ticking: asyncio.Task[None] | None = None
        self.asked = 0

    async def __aenter__(self) -> Self:
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ticking:
            self._ticking.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        for client in (*self._clients, self._stranger):
            await client.close()

    async def _tick(self) -> None:
        began = asyncio.get_running_loop().time()
        while True:
            self.asked += 1
            task = asyncio.create_task(self._quietly(self._chance.choices(*zip(*self._kinds(), strict=True))[0]()))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
            await asyncio.sleep(began + self.asked / self._rate - asyncio.get_running_loop().time())

    async def _quietly(self, asking: Coroutine[Any, Any, object]) -> None:
        with suppress(SightlineError, OSError):
            await asking

    def _kinds(self) -> list[tuple[Callable[[], Coroutine[Any, Any, object]], int]]:
        """What is asked, and how often."""
        return [
            (self._text, 50),
            (self._same_at_once, 8),
            (self._image, 10),
            (self._vector, 6),
            (self._many, 6),
            (self._picture, 3),
            (self._batch, 4),
            (self._stream, 3),
            (self._get, 4),
            (self._embed, 2),
            (self._page, 10),
            (self._wrong, 2),
            (self._hurried, 2),
            (self._unknown, 1),
        ]

    @property
    def _client(self) -> Client:
        return self._chance.choice(self._clients)

    def _words(self) -> str:
        """A few texts are asked often, most seldom, and some never twice."""
        place = min(int(self._chance.paretovariate(0.7)) - 1, len(self._seen.pictures) - 1)
        own = f" {self._chance.random():.6f}" if self._chance.random() < 0.4 else ""
        return self._seen.pictures[place].caption + own

    def _some(self) -> Emoji:
        return self._chance.choice(self._seen.pictures)

    async def _text(self) -> None:
        await self._client.search(self._words(), collection=COLLECTION)

    async def _same_at_once(self) -> None:
        words, client = f"{self._words()} {self._chance.random():.6f}", self._client
        await asyncio.gather(*(client.search(words, collection=COLLECTION) for _ in range(4)))

    async def _image(self) -> None:
        await self._client.search(ImageId(self._some().id), collection=COLLECTION, top_k=self._chance.randint(1, 30))

    async def _vector(self) -> None:
        drawn = np.random.default_rng(self.asked).standard_normal(DIMENSION).astype(np.float32)
        await self._client.search(drawn, collection=COLLECTION)

    async def _many(self) -> None:
        await self._client.search(ImageId(self._some().id), collection=COLLECTION, top_k=50)

    async def _picture(self) -> None:
        await self._client.search(self._some().file, collection=COLLECTION)

    async def _batch(self) -> None:
        await self._client.search_batch([self._words() for _ in range(8)])

    async def _stream(self) -> None:
        async with self._client.stream() as stream:
            await asyncio.gather(*(stream.search(self._words(), collection=COLLECTION) for _ in range(8)))

    async def _get(self) -> None:
        await self._client.get_many([self._some().id for _ in range(5)], collection=COLLECTION, thumbnails=True)

    async def _embed(self) -> None:
        await self._client.embed(texts=[self._words()])

    async def _wrong(self) -> None:
        await self._client.search("x", collection="nowhere")

    async def _hurried(self) -> None:
        await self._client.search(f"{self._words()} {self._chance.random()}", collection=COLLECTION, timeout=0.001)

    async def _unknown(self) -> None:
        await self._stranger.search("x", collection=COLLECTION)

    async def _page(self) -> None:
        path = self._chance.choice(["", "v1/collections", f"v1/collections/{COLLECTION}", "v1/nothing"])
        await asyncio.to_thread(_fetch, f"{self._seen.cluster.web}{path}")


def _fetch(address: str) -> None:
    with suppress(urllib.error.HTTPError), _OPENER.open(address, timeout=5) as reply:
        reply.read()
