"""Builds of every kind of source, by the command line, against an encoder that only pretends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from services.indexer.__main__ import app
from sightline.internal.v1 import encoder_pb2_grpc
from tests.unit.indexer_fakes import DIMENSION, picture_bytes
from tests.unit.source_files import img2dataset, write_tar
from tests.unit.test_indexer_cli import EncoderServer


@pytest.fixture(scope="module")
def encoder() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(4))
    encoder_pb2_grpc.add_EncoderServiceServicer_to_server(EncoderServer(), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield address
    server.stop(None)


def pictures(folder: Path) -> None:
    (folder / "pictures").mkdir(parents=True)
    for number in range(3):
        (folder / f"pictures/{number}.png").write_bytes(picture_bytes(grey=number))
    (folder / "pictures/broken.png").write_bytes(picture_bytes()[:50])


def folder(at: Path) -> Path:
    pictures(at)
    return at / "pictures"


def csv(at: Path) -> Path:
    pictures(at)
    rows = "".join(f"pictures/{name}.png,{name}\n" for name in (0, 1, 2, "broken"))
    (at / "birds.csv").write_text(f"url,caption\n{rows}")
    return at / "birds.csv"


def jsonl(at: Path) -> Path:
    pictures(at)
    rows = [json.dumps({"uri": f"pictures/{name}.png", "n": 1}) for name in (0, 1, 2, "broken")]
    (at / "birds.jsonl").write_text("\n".join(rows))
    return at / "birds.jsonl"


def parquet(at: Path) -> Path:
    pictures(at)
    pq.write_table(pa.table({"url": [f"pictures/{name}.png" for name in (0, 1, 2, "broken")]}), at / "birds.parquet")
    return at / "birds.parquet"


def webdataset(at: Path) -> Path:
    img2dataset(at, shards=1, samples=3)
    write_tar(at / "00001.tar", {"broken.jpg": picture_bytes("JPEG")[:300]})
    return at


def embeddings(at: Path) -> Path:
    at.mkdir(parents=True)
    vectors = np.eye(4, DIMENSION, dtype=np.float16)
    vectors[3] = 0
    np.save(at / "v.npy", vectors)
    return at / "v.npy"


@pytest.mark.parametrize("make", [folder, csv, jsonl, parquet, webdataset, embeddings])
def test_every_kind_becomes_a_generation(tmp_path: Path, encoder: str, make: Callable[[Path], Path]) -> None:
    """A build shows what the source is, indexes what is sound, and tells what is not."""
    source, store, errors = make(tmp_path / "source"), tmp_path / "store", tmp_path / "errors.jsonl"
    arguments = ["--store", str(store), "--collection", "birds", "--encoder", encoder, "--errors", str(errors)]
    result = CliRunner().invoke(app, ["build", str(source), *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "becomes" in result.output
    assert "generation 1 of birds: 3 images" in result.output
    (refused,) = map(json.loads, errors.read_text().splitlines())
    expected = "the vector is zero" if make is embeddings else "broken or truncated"
    assert expected in refused["reason"]
