"""Long lists, in as many calls as the limits of one call ask for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from sightline.errors import SightlineError
from sightline.queries import Picture, Query, Text, Vector, Weighted

MAX_ITEMS = 256
"""Questions of one batch, and inputs of one call for vectors."""

MAX_IDS = 1000
MAX_THUMBNAILS = 64
"""Images of one call, and images of one that asks for thumbnails."""

MAX_BYTES = 32 * 1024 * 1024
"""Of the pictures of one call: half of what a message may have, and three of the largest pictures."""

_T = TypeVar("_T")
_PLACE = re.compile(r"^(\w+)\[(\d+)\]")


def in_calls(items: Iterable[_T], most: int, size: Callable[[_T], int] = lambda _: 0) -> Iterator[list[_T]]:
    """Yields the items in their order, as many at a time as one call takes: at most `most`, and MAX_BYTES."""
    chunk: list[_T] = []
    weight = 0
    for item in items:
        if chunk and (len(chunk) == most or weight + size(item) > MAX_BYTES):
            yield chunk
            chunk, weight = [], 0
        chunk.append(item)
        weight += size(item)
    if chunk:
        yield chunk


def bytes_of(query: Query) -> int:
    """Returns about how many bytes of a message a query takes."""
    match query:
        case Weighted(terms):
            return sum(bytes_of(part) for _, part in terms)
        case Picture(data) | Vector(data):
            return len(data)
        case Text(words):
            return 4 * len(words)
        case _:
            return 512


def countdown(seconds: float) -> Callable[[], float]:
    """Returns a function that says how many of the seconds are left; 0 where none are."""
    until = time.monotonic() + seconds
    return lambda: max(until - time.monotonic(), 0.0)


def shifted(error: SightlineError, places: int) -> SightlineError:
    """Returns the error with its field, such as ``inputs[3].text``, so many places further on."""
    field = _PLACE.sub(lambda found: f"{found[1]}[{int(found[2]) + places}]", error.field)
    return type(error)(error.message, reason=error.reason, field=field)
