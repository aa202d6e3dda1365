"""A program that knows nothing but the SDK: calls what there is, and tells how it went, as JSON.

Where the gateway is, and what it asks of callers, is in SIGHTLINE_ADDRESS, SIGHTLINE_CA and SIGHTLINE_KEY.
"""

import asyncio
import importlib.metadata
import json
import os

from sightline import Client, FakeClient, ImageId, InvalidArgument, NotFound, SearchRequest, SyncClient, Tls


async def call() -> dict[str, object]:
    """Returns what came back of each kind of call."""
    ca, key = os.environ.get("SIGHTLINE_CA"), os.environ.get("SIGHTLINE_KEY", "")
    async with Client(os.environ["SIGHTLINE_ADDRESS"], tls=Tls(ca) if ca else None, key=key, timeout=30) as client:
        [collection] = await client.collections()
        result = await client.search("red apple", top_k=3, thumbnails=True)
        batch = await client.search_batch(["red apple", SearchRequest("apple", top_k=5000), ImageId("nobody")])
        async with client.stream() as stream:
            streamed = await asyncio.gather(*(stream.search("red apple", top_k=n) for n in (1, 2, 3)))
        row = (await client.embed(["red apple"]))[0]
        try:
            await client.search("apple", top_k=5000)
            refused = ""
        except InvalidArgument as error:
            refused = f"{error.field} {error.reason}"
        return {
            "serving": await client.serving(),
            "collection": collection.name,
            "hits": [hit.image.caption for hit in result],
            "thumbnails": [hit.thumbnail[8:12].decode() for hit in result],
            "batch": [
                isinstance(batch[0], type(result)),
                *(type(one) in (InvalidArgument, NotFound) for one in batch[1:]),
            ],
            "stream": [len(one) for one in streamed],
            "get": (await client.get(result[0].id)).image.caption,
            "vector": (await client.search(row, top_k=1))[0].image.caption,
            "refused": refused,
        }


def call_without_a_loop() -> int:
    """Returns how many hits the synchronous client brings of the fake."""
    with SyncClient(FakeClient()) as client:
        return len(client.search("apple"))


if __name__ == "__main__":
    said = asyncio.run(call())
    versions = {name: importlib.metadata.version(name) for name in ("grpcio", "protobuf", "numpy")}
    print(json.dumps(said | {"fake": call_without_a_loop(), "versions": versions}))
