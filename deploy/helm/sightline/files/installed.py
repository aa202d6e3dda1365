"""What `helm test` asks: does the gateway answer, and are all shards of all that is published searched?"""

import asyncio
import os
import sys

from sightline import Client, SightlineError, Tls


async def main() -> None:
    """Searches every collection; ends with a sentence."""
    async with Client(os.environ["GATEWAY"], tls=tls(os.environ.get("TLS")), key=os.environ.get("KEY", "")) as client:
        collections = await client.collections()
        for collection in collections:
            found = await client.search("red", collection=collection.name, top_k=1, refuse_partial=True)
            print(f"{collection.name}: {found.coverage.images_searched:,} images of generation {found.generation}")
    print("All that is published can be searched." if collections else "It works, and nothing is published yet.")


def tls(folder: str | None) -> Tls | None:
    """What is mounted: whom to trust, and what to show where gateways ask for it."""
    if not folder:
        return None
    shows = os.environ.get("SHOWS") == "true"
    return Tls(f"{folder}/ca.crt", *((f"{folder}/tls.crt", f"{folder}/tls.key") if shows else ()))


try:
    asyncio.run(main())
except SightlineError as error:
    sys.exit(f"{type(error).__name__}: {error}")
