"""Whatever bytes come, a gateway answers what its documents say, and goes on."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError, Message
from PIL import Image

from benchmarks.bad_input import truncated_jpeg, zip_file
from benchmarks.emoji import CHECKOUT
from benchmarks.fuzz_http import http_half
from benchmarks.mutations import Mutations
from benchmarks.proof import Proof
from benchmarks.stage import staged
from benchmarks.stamped import COLLECTION
from services.local.cluster import LocalCluster
from services.local.topology import Topology
from services.runtime.calls import from_rpc_error
from sightline.v1 import collection_pb2, common_pb2, embed_pb2, image_pb2, search_pb2

MESSAGES = 100_000
REQUESTS = 3_000
"""Over HTTP."""

SEED = 4
CALLERS = 24
STREAM = 40  # messages of one stream
TIMEOUT = 60.0
GROWTH = 96 * 1024 * 1024
"""Bytes that a process may grow by after the first tenth: less than what a leak of a kilobyte a message makes."""

TOPOLOGY = Topology(groups=2, gateways=1, encoders=1, webs=1, redis=False, encoder_threads=1)
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "gateway": {"cache_bytes": 4 * 1024 * 1024},
    "encoder": {"remembered_texts": 1024},
}
PAGE = CHECKOUT / "docs" / "clients.md"
MALFORMED = "MALFORMED_MESSAGE"
_SERVICES = (search_pb2, image_pb2, collection_pb2, embed_pb2)


@dataclass(frozen=True)
class Target:
    """What is sent to: a cluster, and what there is to ask for. `ids` are two of the collection's."""

    cluster: LocalCluster
    collection: str
    dimension: int
    ids: tuple[str, str]


@dataclass(frozen=True)
class Rpc:
    """One rpc: its full method, what it takes and gives, and the codes that it may answer with."""

    method: str
    request: type[Message]
    response: type[Message]
    streams: bool
    codes: frozenset[str]


@dataclass
class Seen:
    """What came back: how often each code and reason, and what should not have come."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    messages: int = 0

    def note(self, rpc: Rpc, code: str, reason: str, data: bytes) -> None:
        """Notes an answer, and a fault where no document speaks of it."""
        self.outcomes[f"{rpc.method.rpartition('.')[2]} {code} {reason}".strip()] += 1
        if code not in rpc.codes or (reason == MALFORMED) != (not sound(rpc, data)):
            self.wrong.append(f"{rpc.method}: {code} {reason} to {data[:200].hex()}")


def bar() -> dict[str, object]:
    """Mutated messages over gRPC, and the web process driven by its OpenAPI."""
    proof = Proof()
    with TemporaryDirectory() as folder, staged(Path(folder), TOPOLOGY, overrides=SETTINGS, images=500) as stage:
        one, another, *_ = stage.corpus.ids()
        target = Target(stage.cluster, COLLECTION, stage.corpus.model.dimension, (one, another))
        asyncio.run(prove(target, proof, messages=MESSAGES))
        http_half(proof, stage.cluster, REQUESTS)
    return proof.outcome(
        f"{MESSAGES:,} mutated messages over gRPC: no process ended, nothing but documented codes, memory bounded; "
        f"{proof.figures['HTTP requests']:,} requests by OpenAPI: no server error, and every reply as documented"
    )


async def prove(target: Target, proof: Proof, *, messages: int) -> None:
    """Sends so many messages, spread over all rpcs."""
    cluster, seen = target.cluster, Seen()
    before = {name: process.pid for name, process in cluster.processes.items()}
    logged = {name: process.log.stat().st_size for name, process in cluster.processes.items()}
    sent = mutated(messages, target)
    await send(cluster.gateway, islice(sent, messages // 20), seen)
    early = {name: resident(process.pid) for name, process in cluster.processes.items()}
    await send(cluster.gateway, sent, seen)
    late = {name: resident(process.pid) for name, process in cluster.processes.items()}

    proof.figures["messages"] = seen.messages
    proof.figures["outcomes"] = dict(seen.outcomes.most_common())
    proof.expect("answers that no document speaks of", seen.wrong[:5], [])
    answered = sum(count for what, count in seen.outcomes.items() if what.endswith(" OK"))
    proof.holds("many of them are sound", answered > seen.messages / 20)
    alive = all(one.is_running and one.pid == before[name] for name, one in cluster.processes.items())
    proof.holds("no process ended", alive)
    proof.expect("faults in the logs", list(faults_of(cluster, logged))[:3], [])
    proof.figures["MiB that processes grew by"] = {name: (late[name] - early[name]) >> 20 for name in late}
    proof.holds("memory is bounded", all(late[name] - early[name] < GROWTH for name in late))


def mutated(count: int, target: Target) -> Iterator[tuple[Rpc, list[bytes]]]:
    """Yields calls until they have so many messages together: one each, but for streams, which end with the first that
    is malformed."""
    mutations = Mutations(SEED, [truncated_jpeg(), zip_file(), dot()])
    known = list(rpcs())
    seeds = {rpc: [one for one in seeds_for(target) if isinstance(one, rpc.request)] for rpc in known}
    turns = cycle([rpc for rpc in known for _ in range(3 if "SearchService" in rpc.method else 1)])
    while count > 0:
        rpc = next(turns)
        messages = [mutations.of(seeds[rpc])]
        while rpc.streams and len(messages) < min(STREAM, count) and sound(rpc, messages[-1]):
            messages.append(mutations.of(seeds[rpc]))
        count -= len(messages)
        yield rpc, messages


async def send(address: str, calls: Iterator[tuple[Rpc, list[bytes]]], seen: Seen) -> None:
    """Makes the calls, some at a time, and notes what comes of them."""
    async with grpc.aio.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)]) as channel:

        async def caller() -> None:
            for rpc, messages in calls:
                seen.messages += len(messages)
                await (_stream if rpc.streams else _unary)(channel, rpc, messages, seen)

        await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def _unary(channel: grpc.aio.Channel, rpc: Rpc, messages: Sequence[bytes], seen: Seen) -> None:
    [data] = messages
    call: Any = channel.unary_unary(rpc.method)
    try:
        reply = await call(data, timeout=TIMEOUT)
    except grpc.aio.AioRpcError as error:
        seen.note(rpc, error.code().name, _reason(error), data)
        return
    seen.note(rpc, "OK", "", data)
    for code, reason in _item_errors(rpc.response.FromString(reply)):
        if code not in rpc.codes:
            seen.wrong.append(f"{rpc.method}: an item with {code} {reason} of {data[:200].hex()}")


async def _stream(channel: grpc.aio.Channel, rpc: Rpc, messages: Sequence[bytes], seen: Seen) -> None:
    """A stream ends at a message that is malformed; all before it are answered."""

    async def asking() -> AsyncIterator[bytes]:
        for data in messages:
            yield data

    answers: list[Any] = []
    code, reason = "OK", ""
    call: Any = channel.stream_stream(rpc.method)
    try:
        async for reply in call(asking(), timeout=TIMEOUT):
            answers += [rpc.response.FromString(reply)]
    except grpc.aio.AioRpcError as error:
        code, reason = error.code().name, _reason(error)
    seen.note(rpc, code, reason, messages[-1])
    seen.outcomes["SearchService/SearchStream messages answered"] += len(answers)
    if len(answers) != (expected := sum(sound(rpc, data) for data in messages)):
        seen.wrong.append(f"{rpc.method}: {len(answers)} answers to {expected} sound messages")
    errors = [found for answer in answers for found in _item_errors(answer)]
    seen.wrong += [f"{rpc.method}: an answer with {found}" for found in errors if found[0] not in rpc.codes]


def sound(rpc: Rpc, data: bytes) -> bool:
    """Whether the bytes are a message of the kind that the rpc takes."""
    try:
        rpc.request.FromString(data)
    except DecodeError:
        return False
    return True


def rpcs() -> Iterator[Rpc]:
    """Every public rpc, with the codes that docs/clients.md allows it."""
    documented = dict(re.findall(r"^\| `(\w+/\w+)` \| ([A-Z_, ]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    for module in _SERVICES:
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield Rpc(
                    f"/{service.full_name}/{method.name}",
                    method.input_type._concrete_class,
                    method.output_type._concrete_class,
                    method.client_streaming,
                    frozenset(documented[f"{service.name}/{method.name}"].split(", ")),
                )


def seeds_for(target: Target) -> list[Message]:
    """Messages that make sense, of every kind."""
    collection, (one, another) = target.collection, target.ids
    vector = common_pb2.Vector(values=np.ones(target.dimension, "<f4").tobytes())
    terms = [
        search_pb2.WeightedTerm(weight=1, text="red"),
        search_pb2.WeightedTerm(weight=-0.5, image_id=one),
        search_pb2.WeightedTerm(weight=0.25, vector=vector),
    ]
    queries = [
        search_pb2.Query(text="red apple"),
        search_pb2.Query(image_id=another),
        search_pb2.Query(vector=vector),
        search_pb2.Query(image=dot()),
        search_pb2.Query(weighted=search_pb2.WeightedQuery(terms=terms)),
    ]
    test = common_pb2.Condition(attribute="generation", equals=common_pb2.Value(int_value=1))
    searches = [search_pb2.SearchRequest(collection=collection, query=query, top_k=5) for query in queries]
    filtered = search_pb2.SearchRequest(query=queries[2], filter=common_pb2.Filter(condition=test), min_score=-1)
    filtered.fields.paths.extend(["caption", "attributes.generation"])
    asked = [*searches, filtered]
    known = common_pb2.Image(id=one, caption="new", attributes={"a": common_pb2.Value(double_value=1)})
    return [
        *asked,
        search_pb2.SearchBatchRequest(requests=asked),
        *(search_pb2.SearchStreamRequest(correlation_id="1", request=request, timeout_ms=30_000) for request in asked),
        image_pb2.GetImageRequest(id=another, thumbnail=True),
        image_pb2.BatchGetImagesRequest(collection=collection, ids=[one, "nobody"], generation=1),
        image_pb2.UpsertImagesRequest(collection=collection, images=[known]),
        image_pb2.DeleteImagesRequest(collection=collection, ids=[one]),
        collection_pb2.ListCollectionsRequest(),
        collection_pb2.GetCollectionRequest(collection=collection),
        embed_pb2.EmbedRequest(inputs=[embed_pb2.EmbedInput(text="red"), embed_pb2.EmbedInput(image=dot())]),
    ]


@cache
def dot() -> bytes:
    """A small image file."""
    file = BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    return file.getvalue()


def resident(pid: int) -> int:
    """Bytes of memory that a process has (Linux only)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def faults_of(cluster: LocalCluster, logged: Mapping[str, int]) -> Iterator[str]:
    """Lines of the processes' logs, beyond so many bytes, that tell of a fault of ours."""
    for name, process in cluster.processes.items():
        lines = process.log.read_bytes()[logged[name] :].decode("utf-8", "replace").splitlines()
        yield from (line for line in lines if "Traceback" in line or _level(line) == "ERROR")


def _level(line: str) -> str:
    try:
        return str(json.loads(line)["level"])
    except (ValueError, KeyError, TypeError):
        return ""


def _reason(error: grpc.aio.AioRpcError) -> str:
    return from_rpc_error(error).reason


def _item_errors(reply: Any) -> Iterator[tuple[str, str]]:
    items = [reply, *getattr(reply, "items", ())]
    for item in items:
        if "error" in item.DESCRIPTOR.fields_by_name and item.HasField("error"):
            status = next(one for one in grpc.StatusCode if one.value[0] == item.error.code)
            yield status.name, item.error.reason
