"""The build: a source becomes a generation, whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.index import load
from services.indexer.build import World, build
from services.indexer.documents import document
from services.indexer.page import render
from services.indexer.plan import Plan
from services.indexer.ports import Vector
from services.indexer.reading import Reader
from services.indexer.rows import Refusal
from services.indexer.sources import open_source
from services.indexer.work import Work
from services.pictures import Pixels
from services.store import AttributeField, Manifest, Pointer, Store, shard_of
from sightline.errors import FailedPrecondition, InternalError, InvalidArgument, SightlineError, Unavailable
from sightline.v1 import common_pb2
from tests.unit.indexer_fakes import BROKEN, DIMENSION, FakeEncoder, picture_bytes

UNIT: Vector = np.array([1] + [0] * (DIMENSION - 1), dtype=np.float32)


class Silent:
    """Progress that nobody watches, but for its count."""

    def __init__(self) -> None:
        self.stages: dict[str, int] = {}
        self.totals: list[int | None] = []

    def stage(self, name: str, total: int | None) -> None:
        self.stages[name] = 0
        self.totals.append(total)

    def advance(self, images: int) -> None:
        self.stages[list(self.stages)[-1]] += images


@dataclass
class Bench:
    """A store, and builds into it with everything that they said."""

    home: Path
    store: Store
    refused: list[Refusal] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    progress: Silent = field(default_factory=Silent)

    def build(self, source: Path | str, encoder: FakeEncoder | None = None, **plan: Any) -> Manifest:
        """Builds generation n of `birds` from n calls."""
        with ThreadPoolExecutor(2) as executor:
            world = World(
                store=self.store,
                work=self.work,
                connect=lambda: encoder or FakeEncoder(),
                document=document,
                reader_for=lambda model: Reader(model.preparation, executor),
                render=render,
                refuse=self.refused.append,
                warn=self.warnings.append,
                progress=self.progress,
            )
            given = {name: plan.pop(name) for name in ("restart", "keep") if name in plan}
            return build(Plan("birds", source=str(source), **plan), open_source(str(source)), world, **given).manifest

    @property
    def work(self) -> Work:
        """Where builds leave what they have."""
        return Work(f"{self.store.url}/birds/work", name="work")

    def reasons(self) -> dict[str, str]:
        """Why each thing was left out, by its file name or line."""
        return {Path(refusal.uri).name or f"line {refusal.line}": refusal.reason for refusal in self.refused}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "home").mkdir()
    return Bench(tmp_path / "home", Store(str(tmp_path / "store")))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 40 pictures."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for i in range(40):
        (folder / ("deep" if i % 3 else "") / f"{i}.png").write_bytes(picture_bytes(grey=i))
    return folder


def write_lines(folder: Path, *records: Mapping[str, object] | str) -> Path:
    file = folder / "images.jsonl"
    file.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return file


def documents(store: Store, manifest: Manifest) -> dict[str, common_pb2.Image]:
    """All stored images by id, and a check that each lies in its shard."""
    found = {}
    for shard in manifest.shards:
        loaded = load(store, manifest, [shard.index])
        rows = [shard.index << 32 | row for row in range(loaded.images)]
        for packed in loaded.documents(rows):
            image = common_pb2.Image.FromString(packed)
            assert shard_of(image.id, len(manifest.shards)) == shard.index
            found[image.id] = image
    return found


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_folder_becomes_a_generation(bench: Bench, photos: Path) -> None:
    """Every picture of a folder lies in the shard of its id, with document, thumbnail and vector; NEXT points there."""
    manifest = bench.build(photos, shards=3)
    assert (manifest.images, len(manifest.shards), manifest.generation) == (40, 3, 1)
    assert (manifest.model.name, manifest.model.digest, manifest.model.dimension) == ("fake", "d1", DIMENSION)
    found = documents(bench.store, manifest)
    assert len(found) == 40
    image = found["deep/1.png"]
    assert (image.uri, image.width, image.height) == (f"file://{photos}/deep/1.png", 40, 30)
    assert bench.store.pointers("birds").next == 1
    assert bench.store.pointers("birds").current is None
    assert bench.progress.stages == {"reading": 40, "encoding": 40, "writing": 40}


def test_a_picture_is_found_by_its_own_vector(bench: Bench, photos: Path) -> None:
    """What the encoder said of a picture is what the index holds of it."""
    manifest = bench.build(photos)
    loaded = load(bench.store, manifest, range(4))
    (row,) = loaded.find(["0.png"])
    assert row is not None
    (vector,) = loaded.vectors([row])
    (hits,) = loaded.search(vector[None], [1])
    assert hits.ids == [b"0.png"]
    assert loaded.thumbnails([row])[0][:4] == b"RIFF"


def test_the_same_inputs_end_in_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    """Two builds of the same source write the same files, byte for byte."""
    found = []
    for name in ("one", "two"):
        (tmp_path / name / "home").mkdir(parents=True)
        Bench(tmp_path / name / "home", Store(str(tmp_path / name / "store"))).build(photos)
        found.append(digests(tmp_path / name / "store" / "birds" / "generations"))
    assert found[0] == found[1]
    assert len(found[0]) > 10


def test_broken_files_are_left_out_with_their_reasons(bench: Bench, photos: Path) -> None:
    """Files of every kind of brokenness are skipped and counted, each with a reason; the others are indexed."""
    for name, data in BROKEN.items():
        (photos / name).write_bytes(data)
    assert bench.build(photos).images == 40
    assert bench.reasons().keys() == BROKEN.keys()
    assert all(bench.reasons().values())
    assert bench.progress.stages["encoding"] == 40 + len(BROKEN)


def test_lines_keep_what_they_say(bench: Bench, photos: Path) -> None:
    """Caption and attributes of a line are stored in the types that all rows settled on."""
    file = write_lines(
        photos,
        {"id": "a", "uri": "0.png", "caption": "A bird", "attributes": {"n": 1, "tags": ["x"], "ok": True}},
        {"id": "b", "uri": "3.png", "attributes": {"n": 0.5, "name": "Ü", "big": 1 << 62}},
    )
    manifest = bench.build(file)
    assert manifest.attributes == (
        AttributeField("big", "int", 1),
        AttributeField("n", "double", 2),
        AttributeField("name", "string", 1),
        AttributeField("ok", "bool", 1),
        AttributeField("tags", "strings", 1),
    )
    a, b = (documents(bench.store, manifest)[name] for name in "ab")
    assert (a.uri, a.caption) == ("0.png", "A bird")
    assert (a.attributes["n"].double_value, a.attributes["n"].WhichOneof("kind")) == (1.0, "double_value")
    assert (a.attributes["ok"].bool_value, list(a.attributes["tags"].strings_value.values)) == (True, ["x"])
    assert (b.attributes["big"].int_value, b.attributes["name"].string_value) == (1 << 62, "Ü")


def test_bad_rows_are_left_out_by_line(bench: Bench, photos: Path) -> None:
    """A bad line, a bad id, an id taken and an attribute of another type are each refused with line and reason."""
    file = write_lines(
        photos,
        {"id": "a", "uri": "0.png", "attributes": {"n": 1}},
        "{",
        {"id": "a", "uri": "3.png"},
        {"id": "b\n", "uri": "6.png"},
        {"id": "c", "uri": "9.png", "attributes": {"n": "one"}},
        {"id": "d", "uri": "missing.png"},
        {"id": "é" * 257, "uri": "12.png"},
    )
    assert bench.build(file).images == 1
    reasons = {refusal.line: refusal.reason for refusal in bench.refused}
    assert "not JSON" in reasons[2]
    assert reasons[3] == "the id 'a' is taken by line 1"
    assert "control characters" in reasons[4]
    assert reasons[5] == "attributes.n: is string here and int in earlier rows"
    assert "no such file or directory" in reasons[6]
    assert "512 bytes" in reasons[7]


def test_a_row_that_is_left_out_stands_in_nobodys_way(bench: Bench, photos: Path) -> None:
    """Neither the id nor the types of a row whose picture is broken, or that is refused itself, bind later rows."""
    file = write_lines(
        photos,
        {"id": "a", "uri": "missing.png", "attributes": {"n": "one"}},
        {"id": "b", "uri": "0.png", "attributes": {"n": 1}},
        {"id": "a", "uri": "3.png", "attributes": {"n": "two"}},
        {"id": "a", "uri": "6.png", "attributes": {"n": 2}},
    )
    assert documents(bench.store, bench.build(file)).keys() == {"a", "b"}
    assert [refusal.line for refusal in bench.refused] == [1, 3]


def test_an_attribute_of_broken_pictures_alone_is_none(bench: Bench, photos: Path) -> None:
    """The schema lists what indexed images have, and counts those."""
    file = write_lines(photos, {"uri": "0.png"}, {"uri": "gone.png", "attributes": {"ghost": 1}})
    assert bench.build(file).attributes == ()


@pytest.mark.parametrize("content", [{}, BROKEN])
def test_nothing_indexed_is_an_error_and_no_generation(bench: Bench, tmp_path: Path, content: dict[str, bytes]) -> None:
    """Where nothing could be indexed the build fails, and neither a generation nor NEXT appears."""
    folder = tmp_path / "nothing"
    folder.mkdir()
    for name, data in content.items():
        (folder / name).write_bytes(data)
    with pytest.raises(FailedPrecondition, match="nothing could be indexed"):
        bench.build(folder)
    assert bench.store.generations("birds") == []
    assert bench.store.pointers("birds").next is None


def failing_after(pictures: int) -> Callable[[Pixels], Vector | SightlineError]:
    left = iter(range(pictures))

    def answer(pixels: Pixels) -> Vector | SightlineError:
        if next(left, None) is None:
            raise Unavailable("no encoder answers")
        return UNIT

    return answer


def test_a_failed_build_leaves_no_half_generation(bench: Bench, photos: Path) -> None:
    """Where the encoders go away for good the build fails; the next one is not troubled by what it left."""
    with pytest.raises(Unavailable):
        bench.build(photos, FakeEncoder(answer=failing_after(33)))
    assert bench.store.generations("birds") == []
    manifest = bench.build(photos)
    assert bench.store.generations("birds") == [manifest.generation]
    assert len(documents(bench.store, manifest)) == 40


def test_a_killed_build_is_built_over(bench: Bench, photos: Path) -> None:
    """What a killed build left in the store is never a generation, and a later build does not trip over it."""
    left = bench.store.begin("birds")
    left.folder(0).joinpath("vectors.f32").write_bytes(b"half")
    assert bench.store.generations("birds") == []
    manifest = bench.build(photos)
    assert manifest.generation > left.generation
    assert bench.store.generations("birds") == [manifest.generation]


def test_a_picture_that_the_encoder_refuses_is_left_out(bench: Bench, photos: Path) -> None:
    """An error of one picture, and a vector that is none, cost that picture alone."""

    def answer(pixels: Pixels) -> Vector | SightlineError:
        grey = int(pixels[0, 0, 0])
        nothing = np.full(DIMENSION, np.nan, dtype=np.float32)
        refused: dict[int, Vector | SightlineError] = {0: InternalError("out of memory"), 3: nothing, 6: 2 * UNIT}
        return refused.get(grey, UNIT)

    assert bench.build(photos, FakeEncoder(answer=answer)).images == 37
    assert bench.reasons() == {
        "0.png": "the encoder refused it: out of memory",
        "3.png": "the encoder's vector is not of unit length",
        "6.png": "the encoder's vector is not of unit length",
    }


def test_batches_are_filled(bench: Bench, photos: Path) -> None:
    """Pictures go to the encoder in full batches."""
    encoder = FakeEncoder()
    bench.build(photos, encoder)
    assert encoder.batches == [32, 8]


@pytest.mark.parametrize(("plan", "field"), [({"index": "Flut"}, "Flut"), ({"index": "IVF64,Flat"}, "IVF64")])
def test_an_index_that_cannot_be_made_is_named(bench: Bench, photos: Path, plan: dict[str, Any], field: str) -> None:
    """A factory string that FAISS does not know, or that needs more images than there are, fails by name."""
    with pytest.raises(InvalidArgument, match=field):
        bench.build(photos, **plan)
    assert bench.store.generations("birds") == []


def test_an_index_that_is_trained_is_built_too(bench: Bench, photos: Path) -> None:
    """Any factory string will do; what is learnt is learnt once and shared by all shards."""
    manifest = bench.build(photos, index="IVF1,SQfp16", shards=2)
    assert manifest.index == "IVF1,SQfp16"
    loaded = load(bench.store, manifest, range(2))
    (vector,) = loaded.vectors([row for row in loaded.find(["deep/1.png"]) if row is not None])
    assert loaded.search(vector[None], [1])[0].ids == [b"deep/1.png"]


def test_another_model_than_what_is_served_is_warned_about(bench: Bench, photos: Path) -> None:
    """A build with another model than CURRENT's warns before the work begins, and names both models."""
    first = bench.build(photos)
    bench.store.commit_current("birds", None, Pointer(first.generation))
    bench.build(photos)
    assert bench.warnings == []
    other = FakeEncoder()
    other.model = replace(other.model, name="other", digest="d2")
    bench.build(photos, other)
    (warning,) = bench.warnings
    assert "served with the model fake, the encoders have other" in warning


class TestScope:
    """A model that is for emoji alone says so when it is given something else."""

    def test_other_pictures_are_warned_about_once(self, bench: Bench, photos: Path) -> None:
        """Photographs are indexed with a warning that says what to do instead."""
        assert bench.build(photos, FakeEncoder(scope="emoji")).images == 40
        (warning,) = bench.warnings
        assert "is for emoji alone" in warning
        assert "Real weights are as easy: see the docs." in warning
        assert "--scope emoji" in warning

    def test_pictures_that_are_said_to_be_emoji_are_not(self, bench: Bench, photos: Path) -> None:
        """A source that is declared, or whose rows all have an attribute of that name, is in scope."""
        bench.build(photos, FakeEncoder(scope="emoji"), scope="emoji")
        bench.build(write_lines(photos, {"uri": "0.png", "attributes": {"emoji": "🐦"}}), FakeEncoder(scope="emoji"))
        assert bench.warnings == []

    def test_one_row_without_the_attribute_is_enough(self, bench: Bench, photos: Path) -> None:
        """A photograph among emoji is warned about by name."""
        rows: list[dict[str, object]] = [
            {"uri": "0.png", "attributes": {"emoji": "🐦"}},
            {"uri": "3.png"},
            {"uri": "6.png"},
        ]
        bench.build(write_lines(photos, *rows), FakeEncoder(scope="emoji"))
        assert ["3.png" in warning for warning in bench.warnings] == [True]

    def test_models_for_all_pictures_never_warn(self, bench: Bench, photos: Path) -> None:
        """A model without a scope is for everything."""
        bench.build(photos)
        assert bench.warnings == []
