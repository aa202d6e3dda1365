"""A program that runs in a pod: asks without end what it is told to, and tells of every answer.

It knows the SDK and numpy. Its first line of input is its order; a further line, or the end of its
input, ends it. It answers with a line of JSON for each call that is over, in no order.

Gateways are asked over gRPC by the SDK. Where its order names the page's Service, that is asked for words over HTTP,
at a tenth of the rate, as the simplest of callers would: each time by a new connection, and once.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np

from sightline import Client, ImageId
from sightline.errors import SightlineError

KINDS = ("text", "vector", "text", "id", "again")
DEEPEST = 32
REPEATED = 10
HTTP_EVERY = 10
FIRST_OVER_HTTP = 5_000_000
"""Numbers of what is asked over HTTP begin here, so that it is nothing that was just asked over gRPC."""


def question(number: int, order: dict[str, Any]) -> tuple[str, Any, int]:
    """Returns what the question of that number is: its kind; words, a vector or an id; and how many hits it wants.

    Questions `again` are few, so that caches have their answers; each other one comes once in tens of thousands.
    """
    kind = KINDS[number % len(KINDS)]
    texts, ids = order["texts"], order["ids"]
    round, place = divmod(number, len(texts) if kind == "text" else len(ids))
    if kind == "vector":
        drawn = np.random.default_rng(number).standard_normal(order["dimension"])
        return kind, np.asarray(drawn, np.float32), 1 + number % DEEPEST
    if kind == "again":
        return kind, texts[number // len(KINDS) % min(REPEATED, len(texts))], 10
    return kind, texts[place] if kind == "text" else ids[place], 1 + (round + number) % DEEPEST


async def ask(client: Client, number: int, order: dict[str, Any]) -> dict[str, Any]:
    """Asks a gateway one question; returns what is told of the answer. Raises SightlineError."""
    kind, asked, top_k = question(number, order)
    query = ImageId(asked) if kind == "id" else asked
    result = await client.search(query, collection=order["collection"], top_k=top_k, timeout=order["timeout"])
    return {
        "generation": result.generation,
        "ids": [hit.id for hit in result.hits],
        "images": [hit.image.id for hit in result.hits] != [hit.id for hit in result.hits],
        "scores": [hit.score for hit in result.hits],
        "shards": [result.coverage.shards_asked, result.coverage.shards_answered],
        "matched": result.coverage.images_matched,
        "degraded": [one.reason for one in result.degraded],
        "cache": str(result.cache),
    }


def ask_over_http(number: int, order: dict[str, Any]) -> dict[str, Any]:
    """Asks the page's Service one question of words; returns the same.

    Raises:
        OSError, HTTPException: it did not answer, or refused.
        ValueError, LookupError: it answered something else.
    """
    _, words, top_k = question(number, order)
    asked = urlencode({"q": words, "collection": order["collection"], "top_k": top_k})
    timeout = order["timeout"]
    request = Request(f"{order['http']}/v1/search?{asked}", headers={"x-timeout-ms": str(int(timeout * 1000))})
    with urlopen(request, timeout=timeout) as reply:
        result = json.load(reply)
    hits, coverage = result["hits"], result["coverage"]
    return {
        "generation": result["generation"],
        "ids": [hit["id"] for hit in hits],
        "images": [hit["image"]["id"] for hit in hits] != [hit["id"] for hit in hits],
        "scores": [hit["score"] for hit in hits],
        "shards": [coverage["shards_asked"], coverage["shards_answered"]],
        "matched": coverage["images_matched"],
        "degraded": [one["reason"] for one in result["degraded"]],
        "cache": result["cache"],
    }


async def tell(number: int, answer: Awaitable[dict[str, Any]]) -> None:
    """Tells what came of one question, when it is over."""
    told: dict[str, Any] = {"number": number, "began": time.time()}
    began = time.monotonic()
    try:
        told |= await answer
    except (SightlineError, OSError, HTTPException, ValueError, LookupError) as error:
        told["error"] = f"{type(error).__name__} {getattr(error, 'reason', '')}: {error}"[:300]
    print(json.dumps(told | {"seconds": round(time.monotonic() - began, 4)}), flush=True)


async def embed(client: Client, order: dict[str, Any]) -> str:
    """Returns the vectors of the texts, float32, in base64."""
    rows = [
        await client.embed(texts=order["texts"][at : at + 64], timeout=60) for at in range(0, len(order["texts"]), 64)
    ]
    return base64.b64encode(np.concatenate(rows).astype("<f4").tobytes()).decode()


def _await_end(ended: threading.Event) -> None:
    os.read(0, 1)  # of the file itself: a buffered one would be locked when the program ends
    ended.set()


async def main() -> None:
    """Does what is ordered."""
    order = json.loads(sys.stdin.readline())
    asking: list[asyncio.Task[None]] = []
    ended = threading.Event()
    threading.Thread(target=_await_end, args=(ended,), daemon=True).start()

    # As many as can be waited for at once, until their time is up.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(64))

    async with Client(order["address"]) as client:
        print(json.dumps({"vectors": await embed(client, order)}), flush=True)
        began, number = time.monotonic(), 0
        while not ended.is_set() and number < order["calls"]:
            await asyncio.sleep(max(0.0, began + number / order["rate"] - time.monotonic()))
            at = order["first"] + number
            asking.append(asyncio.create_task(tell(at, ask(client, at, order))))
            if order["http"] and number % HTTP_EVERY == 0:
                at = FIRST_OVER_HTTP + at // HTTP_EVERY * len(KINDS)
                asking.append(asyncio.create_task(tell(at, asyncio.to_thread(ask_over_http, at, order))))
            number += 1
        await asyncio.gather(*asking)
    print(json.dumps({"asked": len(asking)}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
