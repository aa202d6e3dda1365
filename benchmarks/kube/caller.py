"""A program that runs in a pod: asks without end what it is told to, and tells of every answer.

It knows the SDK and numpy. Its first line of input is its order; a further line, or the end of its
input, ends it. It answers with a line of JSON for each call that is over, in no order.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import threading
import time
from typing import Any

import numpy as np

from sightline import Client, ImageId
from sightline.errors import SightlineError

KINDS = ("text", "vector", "text", "id", "again")
DEEPEST = 32
REPEATED = 10


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
    """Asks one question; returns what is told of it."""
    kind, asked, top_k = question(number, order)
    told: dict[str, Any] = {"number": number, "began": time.time()}
    began = time.monotonic()
    try:
        query = ImageId(asked) if kind == "id" else asked
        result = await client.search(query, collection=order["collection"], top_k=top_k, timeout=order["timeout"])
    except SightlineError as error:
        told["error"] = f"{type(error).__name__} {error.reason}: {error}"[:300]
    else:
        told |= {
            "generation": result.generation,
            "ids": [hit.id for hit in result.hits],
            "images": [hit.image.id for hit in result.hits] != [hit.id for hit in result.hits],
            "scores": [hit.score for hit in result.hits],
            "shards": [result.coverage.shards_asked, result.coverage.shards_answered],
            "matched": result.coverage.images_matched,
            "degraded": [one.reason for one in result.degraded],
            "cache": str(result.cache),
        }
    return told | {"seconds": round(time.monotonic() - began, 4)}


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
    asking: set[asyncio.Task[None]] = set()
    ended = threading.Event()
    threading.Thread(target=_await_end, args=(ended,), daemon=True).start()

    async def keep(number: int) -> None:
        print(json.dumps(await ask(client, number, order)), flush=True)

    async with Client(order["address"]) as client:
        print(json.dumps({"vectors": await embed(client, order)}), flush=True)
        began, number = time.monotonic(), 0
        while not ended.is_set() and number < order["calls"]:
            await asyncio.sleep(max(0.0, began + number / order["rate"] - time.monotonic()))
            task = asyncio.create_task(keep(order["first"] + number))
            asking.add(task)
            task.add_done_callback(asking.discard)
            number += 1
        await asyncio.gather(*asking)
    print(json.dumps({"asked": number}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
