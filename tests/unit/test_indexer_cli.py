"""The command line, end to end, against an encoder and searchers that only pretend."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from services.indexer.__main__ import app
from services.indexer.searchers import SearcherReplicas
from sightline.internal.v1 import encoder_pb2, encoder_pb2_grpc, searcher_pb2, searcher_pb2_grpc
from sightline.v1 import common_pb2
from tests.unit.indexer_fakes import BROKEN, DIMENSION, picture_bytes, seeded_vector

MODEL = common_pb2.Model(name="fake", digest="d1", dimension=DIMENSION)


class EncoderServer(encoder_pb2_grpc.EncoderServiceServicer):
    """Gives each picture the vector that its pixels seed."""

    def Describe(self, request: Any, context: Any) -> encoder_pb2.DescribeResponse:
        return encoder_pb2.DescribeResponse(
            model=MODEL, image_height=8, image_width=8, resize_mode="shortest", interpolation="bicubic", scope="emoji",
            scope_note="Use real weights."
        )  # fmt: skip

    def Encode(self, request: Any, context: Any) -> encoder_pb2.EncodeResponse:
        vectors = [seeded_vector(np.frombuffer(item.pixels, np.uint8)) for item in request.items]
        return encoder_pb2.EncodeResponse(vectors=np.array(vectors).astype("<f4").tobytes(), model=MODEL)


@dataclass
class SearcherServer(searcher_pb2_grpc.SearcherServiceServicer):
    """Says that it is group 0 of 1 and has loaded what it is told."""

    loaded: list[int] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)

    def Search(self, request: Any, context: Any) -> searcher_pb2.SearchResponse:
        raise NotImplementedError

    def Fetch(self, request: Any, context: Any) -> searcher_pb2.FetchResponse:
        raise NotImplementedError

    def Status(self, request: Any, context: Any) -> searcher_pb2.StatusResponse:
        response = searcher_pb2.StatusResponse(group=0, groups=1)
        birds = response.collections.add(collection="birds", generations=self.loaded)
        for generation, reason in self.refused.items():
            birds.refused.add(generation=generation, reason=reason)
        return response


@dataclass
class Installation:
    """The addresses of an encoder and a searcher, and a store."""

    encoder: str
    searcher: str
    searching: SearcherServer
    store: str

    def run(self, command: str, *arguments: str, collection: str = "birds") -> Result:
        """Runs a command on the store."""
        given = ["--store", self.store, *(["--collection", collection] if collection else []), *arguments]
        return CliRunner().invoke(app, [command, *given], env={"COLUMNS": "200"})

    def build(self, source: Path, *arguments: str) -> Result:
        """Builds a generation."""
        return self.run("build", str(source), "--encoder", self.encoder, "--workers", "2", *arguments)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    server = grpc.server(ThreadPoolExecutor(4))
    searching = SearcherServer()
    encoder_pb2_grpc.add_EncoderServiceServicer_to_server(EncoderServer(), server)
    searcher_pb2_grpc.add_SearcherServiceServicer_to_server(searching, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield Installation(address, address, searching, str(tmp_path / "store"))
    server.stop(None)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.png").write_bytes(picture_bytes(grey=i))
    return folder


def test_a_build_says_what_it_did_and_what_it_left_out(
    installation: Installation, photos: Path, tmp_path: Path
) -> None:
    """A build ends with the number of images, a table of what was left out, a file with all of that, and no CURRENT.
    Files that are no pictures by their names are counted apart."""
    for name, data in BROKEN.items():
        (photos / name).write_bytes(data)
    (photos / "README.txt").write_text("Birds of 2024")
    report = tmp_path / "report.html"
    result = installation.build(photos, "--errors", str(tmp_path / "errors.jsonl"), "--report", str(report))
    assert result.exit_code == 0, result.output
    assert "generation 1 of birds: 5 images" in result.output
    assert f"{len(BROKEN)} left out" in result.output
    assert "encoding: 11 of 11 images" in result.output
    assert "11 rows, 1 other file passed over" in result.output
    assert "no pictures by their names: 1<" in report.read_text()
    records = [json.loads(line) for line in (tmp_path / "errors.jsonl").read_text().splitlines()]
    assert {Path(record["uri"]).name for record in records} == BROKEN.keys()
    assert all(record["reason"] for record in records)


def test_a_build_warns_of_the_models_scope(installation: Installation, photos: Path) -> None:
    """Photographs given to a model for emoji are indexed with a warning that points to real weights."""
    assert "Use real weights." in installation.build(photos).output
    assert "Use real weights." not in installation.build(photos, "--scope", "emoji").output


def test_publish_moves_current_when_searchers_serve(installation: Installation, photos: Path) -> None:
    """What searchers serve is published; what they refuse is not, and the exit code says so."""
    installation.build(photos)
    installation.searching.loaded = [1]
    result = installation.run("publish", "--searchers", installation.searcher)
    assert (result.exit_code, result.output) == (0, "CURRENT of birds is generation 1\n")
    installation.build(photos)
    installation.searching.refused = {2: "the checksum of shard 3 is wrong"}
    result = installation.run("publish", "--searchers", installation.searcher)
    assert result.exit_code == 1
    assert "refuses it: the checksum of shard 3 is wrong" in result.output
    (found,) = json.loads(installation.run("list", "--json").output)
    assert (found["current"], found["next"]) == (1, 2)


def test_build_publishes_and_rollback_returns(installation: Installation, photos: Path) -> None:
    """A build may publish at once; a rollback returns to the generation before."""
    installation.searching.loaded = [1, 2]
    for _ in range(2):
        result = installation.build(photos, "--publish", "--searchers", installation.searcher)
        assert result.exit_code == 0, result.output
    assert "CURRENT of birds is generation 2, before it 1" in result.output
    result = installation.run("rollback", "--searchers", installation.searcher)
    assert result.output == "CURRENT of birds is generation 1, before it 2\n"


def test_a_publish_that_failed_needs_no_other_build(installation: Installation, photos: Path) -> None:
    """Where a build is made and its publish fails, the same command publishes what is there, and tidies up."""
    options = ["--publish", "--searchers", installation.searcher, "--timeout", "0"]
    assert installation.build(photos, *options).exit_code == 1
    installation.searching.loaded = [1]
    result = installation.build(photos, *options)
    assert "CURRENT of birds is generation 1" in result.output
    assert not (Path(installation.store) / "birds" / "work").exists()


def test_what_is_built_in_a_work_folder_is_published(installation: Installation, photos: Path, tmp_path: Path) -> None:
    """A publisher is told a work folder instead of a number, waits for what is built there, and tidies it up."""
    work = str(tmp_path / "work")
    early = installation.run("publish", "--work", work, "--unchecked")
    assert (early.exit_code, "no build has ended in" in early.output) == (1, True)
    assert installation.build(photos, "--work", work, "--keep-work").exit_code == 0
    result = installation.run("publish", "--work", work, "--unchecked")
    assert result.output == "CURRENT of birds is generation 1\n"
    assert not Path(work).exists()


def test_parts_do_not_throw_each_other_s_work_away(installation: Installation, photos: Path) -> None:
    """--restart is refused where several processes build together."""
    result = installation.build(photos, "--part", "0/2", "--restart")
    assert result.exit_code == 1
    assert "--restart: the parts of a build would throw each other's work away" in result.output


def test_nobody_to_ask_must_be_said(installation: Installation, photos: Path) -> None:
    """Publishing without searchers needs --unchecked; it is refused before any work is done."""
    result = installation.build(photos, "--publish")
    assert result.exit_code == 1
    assert "--unchecked" in result.output
    assert installation.run("list", collection="").output == "The store holds no collection.\n"
    assert "there is no collection 'birds'" in installation.run("list").output
    assert installation.build(photos, "--publish", "--unchecked").exit_code == 0


def test_list_shows_states(installation: Installation, photos: Path) -> None:
    """A list shows which generation is CURRENT, which was before it and which is NEXT, with size, index and model."""
    for _ in range(2):
        installation.build(photos, "--publish", "--unchecked")
    installation.build(photos)
    rows = [line.split() for line in installation.run("list", collection="").output.splitlines() if "birds" in line]
    states = [next(word for word in row if word in {"previous", "CURRENT", "NEXT"}) for row in rows]
    assert states == ["previous", "CURRENT", "NEXT"]
    (found,) = json.loads(installation.run("list", "--json", collection="").output)
    assert (found["name"], found["current"], found["previous"], found["next"]) == ("birds", 2, 1, 3)
    first = found["generations"][0]
    assert (first["images"], first["shards"], first["index"], first["model"]["name"]) == (5, 4, "Flat", "fake")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--encoder", "nowhere"], "--encoder: must be host:port"),
        (["--encoder", ","], "--encoder: names nobody"),
        (["--collection", "Birds!"], "a collection's name is"),
        (["--index", "Flut"], "Flut"),
        (["--store", "nosuch://x"], "nosuch"),
        (["--publish", "--searchers", "host:0"], "--searchers: must be host:port"),
        (["--errors", "/dev/null/errors.jsonl"], "--errors: /dev/null/errors.jsonl cannot be written"),
        (["--report", "/nowhere/report.html"], "--report: there is no folder /nowhere"),
    ],
)
def test_bad_input_is_a_sentence(installation: Installation, photos: Path, arguments: list[str], message: str) -> None:
    """Bad input ends with 1 and a sentence that names what is wrong, before any picture is read, never with a
    traceback."""
    result = installation.build(photos, *arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert "reading:" not in result.output


async def test_searchers_that_do_not_answer_are_listed_with_the_reason() -> None:
    """A dead searcher and a name that nobody knows are part of the answer, not the end of it."""
    replicas = SearcherReplicas(["127.0.0.1:1", "no-such-name.invalid:7700"], timeout=2.0)
    unknown, dead = await replicas.statuses("birds")
    assert unknown.error.startswith("the name is not known")
    assert dead.address == "127.0.0.1:1"
    assert dead.error


def test_what_was_done_once_is_not_done_again(installation: Installation, photos: Path) -> None:
    """With a note's URL a command is done the first time and passed over from then on; one that fails leaves none."""
    note = f"{installation.store}/.once/first"
    again = ("publish", "--store", installation.store, "--collection", "birds", "--unchecked")
    failed = CliRunner().invoke(app, ["--once", note, *again])
    assert (failed.exit_code, Path(note).exists()) == (1, False)
    installation.build(photos)
    first, second = (CliRunner().invoke(app, ["--once", note, *again]) for _ in range(2))
    assert first.output == "CURRENT of birds is generation 1\n"
    assert (second.exit_code, second.output) == (0, f"done before, says {note}\n")
    assert "birds" in installation.run("list", collection="").output
