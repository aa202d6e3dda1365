"""Small collections as their tools write them: img2dataset's archives, clip-retrieval's embeddings, tables."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tests.unit.indexer_fakes import picture_bytes

DIMENSION = 8


def write_tar(file: Path, members: Mapping[str, bytes | tarfile.TarInfo]) -> Path:
    """An archive of files by name, or of whatever a header says."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file


def img2dataset(folder: Path, shards: int = 2, samples: int = 3) -> Path:
    """Archives of `samples` pictures each, with the notes and the statistics that img2dataset leaves beside them."""
    for shard in range(shards):
        members: dict[str, bytes | tarfile.TarInfo] = {}
        for number in range(samples):
            key = f"{shard:05d}{number:04d}"
            notes = {"url": f"https://example.org/{key}.jpg", "caption": f"bird {key}", "key": key, "width": 40}
            notes |= {"status": "success", "exif": "{}", "score": number / 2, "license": None}
            members[f"{key}.jpg"] = picture_bytes("JPEG", grey=10 * shard + number)
            members[f"{key}.json"] = json.dumps(notes | {"odd": float("nan")}).encode()
            members[f"{key}.txt"] = f"bird {key}".encode()
        write_tar(folder / f"{shard:05d}.tar", members)
        pq.write_table(pa.table({"url": ["x"]}), folder / f"{shard:05d}.parquet")
        (folder / f"{shard:05d}_stats.json").write_text("{}")
    return folder


def vectors(rows: int, seed: int = 0) -> NDArray[np.float32]:
    """Directions of no unit length, float32 [rows, DIMENSION]."""
    return np.random.default_rng(seed).standard_normal((rows, DIMENSION), np.float32)


def clip_retrieval(folder: Path, parts: int = 2, rows: int = 3) -> Path:
    """Embeddings in half precision, with texts' embeddings that are not ours."""
    for name in ("img_emb", "text_emb", "metadata"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for part in range(parts):
        for kind in ("img", "text"):
            np.save(folder / f"{kind}_emb/{kind}_emb_{part}.npy", vectors(rows, part).astype(np.float16))
        names = [f"{part}-{row}" for row in range(rows)]
        table = {"image_path": names, "caption": [f"bird {name}" for name in names], "rank": list(range(rows))}
        pq.write_table(pa.table(table), folder / f"metadata/metadata_{part}.parquet")
    return folder
