"""One collection as every kind of source has it: small pictures with words and attributes, and some that are broken."""

from __future__ import annotations

import csv
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

_FORMATS = ("PNG", "JPEG", "WEBP")
_ENDINGS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}
_TAGS = ("red", "round", "old")


@dataclass(frozen=True, slots=True)
class Made:
    """A source.

    Attributes:
        address: as the indexer is given it.
        images: how many of it are good.
        broken: what marks each one that is not in a refusal's address and line, and a part of the true reason.
    """

    address: str
    images: int
    broken: Mapping[tuple[str, int], str]


@dataclass(frozen=True, slots=True)
class Item:
    """A picture's file, and why it cannot be indexed; empty where it can."""

    name: str
    data: bytes
    fault: str = ""

    @property
    def record(self) -> dict[str, Any]:
        """What a table says of it."""
        number = int(self.name[:5])
        record = {
            "uri": f"files/{self.name}",
            "caption": f"picture {number}",
            "price": number / 4,
            "year": 1990 + number % 30,
        }
        return record | {"tag": _TAGS[number % 3]}


def items(count: int) -> list[Item]:
    """So many pictures and, in between, 5 % that are none: empty, cut off, no picture, too large by their header."""
    return [_item(number) for number in range(count)]


def _item(number: int) -> Item:
    if number % 20 == 7:
        data, fault, ending = _BROKEN[number // 20 % len(_BROKEN)]()
        return Item(f"{number:05d}.{ending}", data, fault)
    kind = _FORMATS[number % 3]
    return Item(f"{number:05d}.{_ENDINGS[kind]}", _picture(number, kind))


def _picture(number: int, kind: str) -> bytes:
    drawn = np.random.default_rng(number)
    shapes = Image.fromarray(drawn.integers(0, 256, (3, 4, 3), np.uint8)).resize((96, 72), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    shapes.save(out, kind)
    return out.getvalue()


def _cut_off() -> tuple[bytes, str, str]:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "JPEG")
    return out.getvalue()[:1500], "broken or truncated", "jpg"


def _archive() -> tuple[bytes, str, str]:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.txt"), "words")
    return out.getvalue(), "not an image that can be read", "png"


def _too_large() -> tuple[bytes, str, str]:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9_000, 9_000, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return data, "this one has 9,000 × 9,000", "png"


_BROKEN: tuple[Callable[[], tuple[bytes, str, str]], ...] = (
    lambda: (b"", "empty", "png"),
    _cut_off,
    lambda: (b"just words\n", "not an image that can be read", "jpg"),
    _archive,
    _too_large,
)


def folder(home: Path, count: int) -> Made:
    """Files in a folder."""
    found = _files(home, count)
    return Made(str(home / "files"), *_faults(found, lambda item, line: (item.name, 0)))


def csv_table(home: Path, count: int) -> Made:
    """A CSV file beside them."""
    found = _files(home, count)
    with (home / "images.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(found[0].record))
        writer.writeheader()
        writer.writerows(item.record for item in found)
    return Made(str(home / "images.csv"), *_faults(found, lambda item, line: (item.name, line + 1)))


def jsonl(home: Path, count: int) -> Made:
    """A JSONL file beside them."""
    found = _files(home, count)
    records = [{key: item.record[key] for key in ("uri", "caption")} for item in found]
    for record, item in zip(records, found, strict=True):
        record["attributes"] = {key: item.record[key] for key in ("price", "year", "tag")}
    (home / "images.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return Made(str(home / "images.jsonl"), *_faults(found, lambda item, line: (item.name, line)))


def parquet(home: Path, count: int) -> Made:
    """A Parquet file of several row groups beside them."""
    found = _files(home, count)
    table = pa.Table.from_pylist([item.record for item in found])
    pq.write_table(table, home / "images.parquet", row_group_size=max(1, count // 5))
    return Made(str(home / "images.parquet"), *_faults(found, lambda item, line: (item.name, line)))


def webdataset(home: Path, count: int) -> Made:
    """Archives as img2dataset writes them: picture, text and JSON of each, 500 to an archive."""
    home.mkdir(parents=True)
    found = items(count)
    for first in range(0, count, 500):
        with tarfile.open(home / f"{first // 500:05d}.tar", "w") as archive:
            for item in found[first : first + 500]:
                stem = item.name.partition(".")[0]
                record = {key: value for key, value in item.record.items() if key != "uri"}
                _add(archive, item.name, item.data)
                _add(archive, f"{stem}.txt", item.record["caption"].encode())
                _add(archive, f"{stem}.json", json.dumps({"key": stem, **record}).encode())
    return Made(str(home), *_faults(found, lambda item, line: (item.name.partition(".")[0], 0)))


def clip_retrieval(home: Path, count: int, *, dimension: int) -> Made:
    """Embeddings as `clip-retrieval inference` writes them: float16, in several files; some are no vectors."""
    vectors = embeddings(count, dimension).astype(np.float16)
    records = [_item_record(number) for number in range(count)]
    (home / "img_emb").mkdir(parents=True)
    (home / "metadata").mkdir()
    size = max(1, count // 4)
    broken = {}
    for number, first in enumerate(range(0, count, size)):
        part = vectors[first : first + size].copy()
        for row in range(7, len(part), 20):
            part[row] = 0 if row // 20 % 2 else np.nan
            broken[f"img_emb_{number}.npy", row + 1] = "is zero" if row // 20 % 2 else "NaN"
        np.save(home / "img_emb" / f"img_emb_{number}.npy", part)
        table = pa.Table.from_pylist(records[first : first + size])
        pq.write_table(table, home / "metadata" / f"metadata_{number}.parquet")
    return Made(str(home), count - len(broken), broken)


def npy(home: Path, count: int, *, dimension: int) -> Made:
    """A matrix beside a Parquet file; some of its rows are no vectors."""
    home.mkdir(parents=True)
    vectors, broken = embeddings(count, dimension), {}
    for row in range(7, count, 20):
        vectors[row] = 0 if row // 20 % 2 else np.inf
        broken["vectors.npy", row + 1] = "is zero" if row // 20 % 2 else "infinity"
    np.save(home / "vectors.npy", vectors)
    pq.write_table(pa.Table.from_pylist([_item_record(number) for number in range(count)]), home / "vectors.parquet")
    return Made(str(home / "vectors.npy"), count - len(broken), broken)


def embeddings(count: int, dimension: int) -> NDArray[np.float32]:
    """Random unit vectors, float32 [count, dimension]."""
    drawn = np.random.default_rng(11).standard_normal((count, dimension), dtype=np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def _item_record(number: int) -> dict[str, Any]:
    return {"image_path": f"/photos/{number:06d}.jpg", "caption": f"picture {number}", "year": 1990 + number % 30}


def _files(home: Path, count: int) -> list[Item]:
    (home / "files").mkdir(parents=True)
    found = items(count)
    for item in found:
        (home / "files" / item.name).write_bytes(item.data)
    return found


def _faults(found: list[Item], place: Callable[[Item, int], tuple[str, int]]) -> tuple[int, dict[tuple[str, int], str]]:
    broken = {place(item, line): item.fault for line, item in enumerate(found, 1) if item.fault}
    return len(found) - len(broken), broken


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
