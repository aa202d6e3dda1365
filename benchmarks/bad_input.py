"""Whatever is sent, callers get a clear error; and whatever is published, the good generation keeps serving."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from struct import pack
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import grpc
import numpy as np
from PIL import Image

from benchmarks.losses import expect_whole
from benchmarks.proof import Proof
from benchmarks.stage import Stage, staged
from benchmarks.stamped import COLLECTION, flip_a_bit, indexer, truncate
from services.local.topology import Topology
from services.runtime.calls import from_rpc_error
from services.runtime.wire import error_from_message
from sightline import Client, InvalidArgument, NotFound
from sightline.errors import SightlineError
from sightline.v1 import collection_pb2, collection_pb2_grpc, common_pb2, image_pb2, image_pb2_grpc, search_pb2
from sightline.v1.search_pb2_grpc import SearchServiceStub

TOPOLOGY = Topology(groups=2, gateways=1, encoders=1, encoder_threads=1)
TIMEOUT = 30.0
SIDE = 50_000


@dataclass(frozen=True, slots=True)
class Case:
    """A request that is wrong, and what its error must say.

    Attributes:
        name: what is wrong with it.
        request: the question.
        kind, field: of the error.
        says: words of its message, the limit among them.
    """

    name: str
    request: search_pb2.SearchRequest
    kind: type[SightlineError]
    field: str
    says: tuple[str, ...]


def bar() -> dict[str, object]:
    """Bad requests by every way of asking and bad generations, under traffic."""
    proof = Proof()
    with TemporaryDirectory() as folder, staged(Path(folder), TOPOLOGY) as stage:
        asyncio.run(prove(stage, proof))
    wrong = len(cases(1))
    return proof.outcome(
        f"{wrong} kinds of bad requests, each by Search, SearchBatch and SearchStream, and unknown names: a clear "
        f"error with field and limit; 3 kinds of bad generations refused with the true reason; meanwhile 0 of "
        f"{_calls(proof)} good calls failed and no process ended"
    )


async def prove(stage: Stage, proof: Proof) -> None:
    """Sends all that is bad, while good questions go on."""
    before = {name: process.pid for name, process in stage.cluster.processes.items()}
    async with stage.traffic(rate=10) as traffic:
        await _prove_requests(stage, proof)
        await _prove_names(stage, proof)
        await _prove_generations(stage, proof)
    expect_whole(proof, "good calls meanwhile", await stage.judged(traffic.calls))
    proof.holds(
        "no process ended",
        all(one.is_running and one.pid == before[name] for name, one in stage.cluster.processes.items()),
    )


def cases(dimension: int) -> list[Case]:
    """Returns the bad questions for vectors of a dimension."""

    def text(words: str) -> search_pb2.Query:
        return search_pb2.Query(text=words)

    def vector(values: np.ndarray[Any, np.dtype[Any]]) -> search_pb2.Query:
        return search_pb2.Query(vector=common_pb2.Vector(values=values.astype("<f4").tobytes()))

    def image(file: bytes) -> search_pb2.Query:
        return search_pb2.Query(image=file)

    def case(name: str, query: search_pb2.Query, field: str, *says: str, top_k: int = 10) -> Case:
        request = search_pb2.SearchRequest(collection=COLLECTION, query=query, top_k=top_k)
        return Case(name, request, InvalidArgument, field, says)

    nan = np.ones(dimension)
    nan[-1] = np.nan
    terms = [search_pb2.WeightedTerm(weight=weight, text="a cat") for weight in (1.0, -1.0)]
    cancelled = search_pb2.Query(weighted=search_pb2.WeightedQuery(terms=terms))
    longer, bytes_of_longer = np.ones(dimension + 1), 4 * (dimension + 1)
    unknown = search_pb2.SearchRequest(collection=COLLECTION, query=search_pb2.Query(image_id="nobody"))
    return [
        case("empty text", text(""), "query.text", "empty", "4,096"),
        case("blank text", text(" \t\n "), "query.text", "empty", "4,096"),
        case("1 MB of text", text("word " * 200_000), "query.text", "4,096 bytes", "1,000,000"),
        case("top_k 0", text("a cat"), "top_k", "1 to 1,000", "got 0", top_k=0),
        case("top_k 1,000,000", text("a cat"), "top_k", "1 to 1,000", "1,000,000", top_k=1_000_000),
        case("NaN vector", vector(nan), "query.vector", "finite numbers only"),
        case("wrong dimension", vector(longer), "query.vector", f"{dimension} float32", f"{bytes_of_longer} bytes"),
        case("truncated JPEG", image(truncated_jpeg()), "query.image", "broken or truncated"),
        case("50,000 × 50,000 PNG", image(huge_png()), "query.image", "64,000,000 pixels"),
        case("zip named .png", image(zip_file()), "query.image", "not an image", "JPEG, PNG"),
        case("zero weighted sum", cancelled, "query.weighted", "zero"),
        Case("unknown id", unknown, NotFound, "query.image_id", ("'nobody'", COLLECTION)),
        Case(
            "unknown collection",
            search_pb2.SearchRequest(collection="elsewhere", query=text("a cat")),
            NotFound,
            "collection",
            ("'elsewhere'",),
        ),
    ]


def truncated_jpeg() -> bytes:
    """A photograph-like JPEG of which the second half is missing."""
    noise = np.random.default_rng(2).integers(0, 256, (240, 320, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(noise).save(file, "JPEG")
    return file.getvalue()[: len(file.getvalue()) // 2]


def huge_png(side: int = SIDE) -> bytes:
    """A sound PNG of black pixels: 300 kB that would be 2.5 gigapixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + name + data + pack(">I", zlib.crc32(name + data))

    row = bytes(1 + (side + 7) // 8)  # a filter byte, then one bit a pixel
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    header = pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def zip_file() -> bytes:
    """An archive, whatever its name says."""
    file = BytesIO()
    with ZipFile(file, "w") as archive:
        archive.writestr("picture.png", b"none")
    return file.getvalue()


async def _prove_requests(stage: Stage, proof: Proof) -> None:
    bad = cases(stage.corpus.model.dimension)
    good = search_pb2.SearchRequest(collection=COLLECTION, query=search_pb2.Query(text="a good one"))
    async with grpc.aio.insecure_channel(stage.gateways[0]) as channel:
        stub: Any = SearchServiceStub(channel)
        for case in bad:
            _expect(proof, f"{case.name}, Search", await _error(stub.Search(case.request, timeout=TIMEOUT)), case)
        mixed = [one for case in bad for one in (case.request, good)]
        batch = await stub.SearchBatch(search_pb2.SearchBatchRequest(requests=mixed), timeout=TIMEOUT)
        _expect_mixed(proof, "SearchBatch", [*batch.items], bad)
        asked = [search_pb2.SearchStreamRequest(correlation_id=str(at), request=one) for at, one in enumerate(mixed)]
        answers = {answer.correlation_id: answer async for answer in stub.SearchStream(iter(asked), timeout=TIMEOUT)}
        _expect_mixed(proof, "SearchStream", [answers.get(str(at)) for at in range(len(mixed))], bad)


def _expect_mixed(proof: Proof, way: str, items: list[Any], bad: list[Case]) -> None:
    """Expects of answers that each second question was bad, and the others good."""
    for case, item in zip(bad, items[::2], strict=True):
        _expect(proof, f"{case.name}, {way}", error_from_message(item.error), case)
    answered = sum(len(item.response.hits) == 10 for item in items[1::2])
    proof.expect(f"{way}: good questions among them that were answered", answered, len(bad))


async def _prove_names(stage: Stage, proof: Proof) -> None:
    """Asks the other services for what there is not."""
    nobody = cases(1)[-2]
    elsewhere = cases(1)[-1]
    async with grpc.aio.insecure_channel(stage.gateways[0]) as channel:
        images: Any = image_pb2_grpc.ImageServiceStub(channel)
        collections: Any = collection_pb2_grpc.CollectionServiceStub(channel)
        for name, call, case in (
            ("unknown id, Get", images.Get(image_pb2.GetImageRequest(id="nobody")), replace(nobody, field="id")),
            (
                "unknown collection, Get",
                images.Get(image_pb2.GetImageRequest(id="nobody", collection="elsewhere")),
                elsewhere,
            ),
            (
                "unknown collection, its Get",
                collections.Get(collection_pb2.GetCollectionRequest(collection="elsewhere")),
                elsewhere,
            ),
        ):
            _expect(proof, name, await _error(call), case)


async def _prove_generations(stage: Stage, proof: Proof) -> None:
    """Publishes what is damaged and what another model made."""
    corpus = stage.corpus
    serving = corpus.current()
    foreign = replace(corpus.model, name="another", digest="f0" * 16)
    for name, said in (
        ("flipped bit", "shard 1: vectors.f32 has another checksum"),
        ("truncated", "shard 1: vectors.f32 has"),
        ("of another model", "made by model another (f0f0f0f0f0f0)"),
    ):
        generation = await asyncio.to_thread(corpus.build, foreign if name == "of another model" else None)
        file = corpus.folder(generation, 1) / "vectors.f32"
        {"flipped bit": flip_a_bit, "truncated": truncate}.get(name, lambda _: None)(file)
        code, output = await asyncio.to_thread(indexer, "publish", stage.cluster, "--generation", str(generation))
        proof.expect(f"{name}: publish ends with", code, 1)
        proof.figures[f"{name}: it says"] = output.strip().splitlines()[-1][:300]
        proof.holds(f"{name}: the true reason", "refuses it" in output and said in output)
        proof.expect(f"{name}: CURRENT", corpus.current(), serving)
        async with Client(stage.gateways[0]) as client:
            result = await client.search("still there", collection=COLLECTION)
        proof.expect(f"{name}: answers come from", (result.generation, result.coverage.complete), (serving, True))


async def _error(call: Any) -> SightlineError | None:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error)
    return None


def _expect(proof: Proof, name: str, error: SightlineError | None, case: Case) -> None:
    proof.figures[name] = f"{type(error).__name__} {error}"
    right = isinstance(error, case.kind) and error.field == case.field and all(word in str(error) for word in case.says)
    if not right:
        proof.faults.append(f"{name}: {type(error).__name__} {error}, not of {case.field} with {case.says}")


def _calls(proof: Proof) -> int:
    return sum(one["calls"] for one in proof.figures.values() if isinstance(one, dict))
