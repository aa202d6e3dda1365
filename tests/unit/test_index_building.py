"""Shards as they are written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.index import Row, check_factory, train, write_shard
from services.index.blobs import Blobs, BlobWriter
from sightline.errors import FailedPrecondition, InvalidArgument
from tests.corpus import Corpus, unit_vectors

CORPUS = Corpus.random(300)


@pytest.mark.parametrize("factory", ["Flat", "IVF8,SQfp16", "HNSW8,SQfp16"])
def test_the_same_rows_give_the_same_bytes(tmp_path: Path, factory: str) -> None:
    """Two builds of the same rows cannot be told apart, whatever the index."""
    built = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        trained = train(factory, 32, CORPUS.vectors)
        assert write_shard(folder, CORPUS.rows(0, 1), trained) == 300
        built.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    assert built[0] == built[1]
    assert ("index.faiss" in built[0]) == (factory != "Flat")


@pytest.mark.parametrize("factory", ["IVF4,PQ8np,RFlat", "IVF4,PQ8np,Refine(SQfp16)", "IDMap,IVF4,PQ8np,RFlat"])
def test_no_vector_is_kept_twice(tmp_path: Path, factory: str) -> None:
    """An index that refines by copies of the vectors is written without them: the stored vectors decide anyhow."""
    for name, index in (("without", "IVF4,PQ8np"), ("with", factory)):
        (tmp_path / name).mkdir()
        write_shard(tmp_path / name, CORPUS.rows(0, 1), train(index, 32, CORPUS.vectors))
    without, written = ((tmp_path / name / "index.faiss").read_bytes() for name in ("without", "with"))
    assert written == without


def test_a_shard_may_be_empty(tmp_path: Path) -> None:
    """A shard that no image falls into is written like any other."""
    assert write_shard(tmp_path, [], train("Flat", 32, CORPUS.vectors[:0])) == 0
    assert (tmp_path / "vectors.f32").stat().st_size == 0


ROWS = CORPUS.rows(0, 1)[:3]


@pytest.mark.parametrize(
    ("rows", "reason", "fault"),
    [
        ([ROWS[1], ROWS[0]], "ID_ORDER", "comes after"),
        ([ROWS[0], ROWS[0]], "ID_ORDER", "is there twice"),
        ([replace(ROWS[0], id="")], "ID_LENGTH", "1 to 512 bytes"),
        ([replace(ROWS[0], vector=ROWS[0].vector[:31])], "WRONG_DIMENSION", r"shape \(31,\), not \(32,\)"),
        ([replace(ROWS[0], vector=ROWS[0].vector * 1.01)], "NOT_UNIT", "length 1.01"),
        ([replace(ROWS[0], vector=np.full(32, np.nan, np.float32))], "NOT_UNIT", "length nan"),
    ],
)
def test_rows_that_could_not_be_searched_are_refused(tmp_path: Path, rows: list[Row], reason: str, fault: str) -> None:
    """Rows out of order, of a wrong dimension or not of unit length are refused with the reason."""
    with pytest.raises(InvalidArgument, match=fault) as caught:
        write_shard(tmp_path, rows, train("Flat", 32, CORPUS.vectors))
    assert caught.value.reason == reason


@pytest.mark.parametrize("factory", ["Nonsense", "", "flat", "IVF8,PQ5", "LSH"])
def test_an_unknown_index_is_refused_by_name(factory: str) -> None:
    """What FAISS cannot make over such vectors is refused with the factory string, before anything is built."""
    for attempt in (lambda: check_factory(factory, 32), lambda: train(factory, 32, CORPUS.vectors)):
        with pytest.raises(InvalidArgument, match=f"{factory!r} is no FAISS index") as caught:
            attempt()
        assert caught.value.field == "index"


def test_too_small_a_sample_is_refused() -> None:
    """An index that needs more vectors to be trained says so."""
    check_factory("IVF256,SQfp16", 32)
    with pytest.raises(InvalidArgument, match="cannot be trained on 100 vectors"):
        train("IVF256,SQfp16", 32, unit_vectors(100))


def test_blobs_come_back_by_place(tmp_path: Path) -> None:
    """Byte strings of any length, empty ones among them, come back as they were."""
    blobs = [b"", b"a", bytes(100_000), b"", "红".encode()]
    with BlobWriter(tmp_path, "ids") as writer:
        for blob in blobs:
            writer.add(blob)
    found = Blobs(tmp_path, "ids", len(blobs))
    assert [found[place] for place in range(len(found))] == blobs


def test_blobs_that_do_not_fit_their_index_are_refused(tmp_path: Path) -> None:
    """Two files that do not belong together are refused."""
    with BlobWriter(tmp_path, "ids") as writer:
        writer.add(b"abc")
    for length in (0, 2):
        with pytest.raises(FailedPrecondition, match=f"does not describe {length} entries"):
            Blobs(tmp_path, "ids", length)
    (tmp_path / "ids.bin").write_bytes(b"ab")
    with pytest.raises(FailedPrecondition, match="in the 2 bytes"):
        Blobs(tmp_path, "ids", 1)
