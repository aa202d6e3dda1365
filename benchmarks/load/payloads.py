"""Messages from a scenario's data: JSON, in which ghz's templates are filled in anew for each call."""

from __future__ import annotations

import json
import random
import re
import string
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from google.protobuf import json_format
from google.protobuf.message import Message

from benchmarks.load.scenario import Scenario, ScenarioError
from sightline.v1 import search_pb2

Payload: TypeAlias = Callable[[int], list[bytes]]

REQUESTS: Mapping[str, type[Message]] = {
    "Search": search_pb2.SearchRequest,
    "SearchBatch": search_pb2.SearchBatchRequest,
    "SearchStream": search_pb2.SearchStreamRequest,
}

_ACTION = re.compile(r"\{\{\s*(\.?\w+)((?:\s+\d+)*)\s*\}\}")


def _random_string(length: int) -> str:
    return "".join(random.choices(string.ascii_letters + string.digits, k=length))


_FIELDS: Mapping[str, Callable[[int], str]] = {
    ".RequestNumber": str,
    ".TimestampUnix": lambda _: str(int(time.time())),
    ".TimestampUnixMilli": lambda _: str(time.time_ns() // 1_000_000),
    ".TimestampUnixNano": lambda _: str(time.time_ns()),
    ".UUID": lambda _: str(uuid.uuid4()),
}
_FUNCTIONS: Mapping[str, Callable[..., str]] = {
    "newUUID": lambda: str(uuid.uuid4()),
    "randomInt": lambda low, high: str(random.randrange(low, high)),
    "randomString": _random_string,
}


def payload(scenario: Scenario) -> Payload:
    """Returns what gives the messages, serialised, of the n-th call, from 0: one, or all that a stream is sent.

    Raises:
        ScenarioError: the data are no messages of the rpc, or hold a template that only ghz knows.
    """
    makers = [_maker(entry, REQUESTS[scenario.method], place) for place, entry in enumerate(scenario.messages)]
    if scenario.method == "SearchStream":
        return lambda number: [make(number) for make in makers]
    return lambda number: [makers[number % len(makers)](number)]


def _maker(entry: Mapping[str, Any], kind: type[Message], place: int) -> Callable[[int], bytes]:
    text = json.dumps(entry)
    try:
        first = _message(text, kind, 0)
    except (json_format.ParseError, KeyError, TypeError, ValueError) as error:
        raise ScenarioError(f"data[{place}]: {error}") from error
    if "{{" not in text:
        return lambda _: first
    return lambda number: _message(text, kind, number)


def _message(text: str, kind: type[Message], number: int) -> bytes:
    filled = _ACTION.sub(lambda action: _filled(action, number), text)
    if "{{" in filled:
        raise ValueError(f"{filled[filled.index('{{') :][:60]!r} is a template that only ghz knows")
    return json_format.Parse(filled, kind()).SerializeToString()


def _filled(action: re.Match[str], number: int) -> str:
    name, arguments = action[1], [int(one) for one in action[2].split()]
    if name in _FIELDS and not arguments:
        return _FIELDS[name](number)
    return _FUNCTIONS[name](*arguments) if name in _FUNCTIONS else action[0]
