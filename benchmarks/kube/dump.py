"""A program that runs in a pod: tells what vectors lie in the store, as JSON.

dump.py STORE COLLECTION GENERATION        0: the current one
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from services.index.blobs import Blobs
from services.store import Store

store, collection = Store(sys.argv[1]), sys.argv[2]
pointer = store.pointers(collection).current
generation = int(sys.argv[3]) or (pointer.generation if pointer else 0)
manifest = store.manifest(collection, generation)
ids: list[str] = []
vectors = b""
for number, shard in enumerate(manifest.shards):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in shard.files:
            if file.name in ("vectors.f32", "ids.bin", "ids.idx"):
                store.fetch(collection, generation, number, file, folder / file.name)
        images = shard.images
        listed = Blobs(folder, "ids", images)
        ids += [bytes(listed[row]).decode() for row in range(images)]
        vectors += np.fromfile(folder / "vectors.f32", "<f4")[: images * manifest.model.dimension].tobytes()
print(json.dumps({"generation": generation, "ids": ids, "vectors": base64.b64encode(vectors).decode()}))
