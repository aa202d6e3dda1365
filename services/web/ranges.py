"""Conditional and partial requests, as RFC 9110 has them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sightline.errors import InvalidArgument

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `start` up to `end`, of `size`."""

    start: int
    end: int
    size: int

    @property
    def partial(self) -> bool:
        """Whether it is less than the whole."""
        return (self.start, self.end) != (0, self.size)


def span_of(header: str | None, size: int) -> Span:
    """Returns what a Range header asks for. Several ranges, or none that can be read, stand for the whole.

    Raises:
        InvalidArgument: no byte lies in the range (RANGE_NOT_SATISFIABLE).
    """
    found = _RANGE.fullmatch(header or "")
    if not found or found.groups() == ("", ""):
        return Span(0, size, size)
    first, last = found.groups()
    if first == "":
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return Span(0, size, size)
    if start >= end:
        message = f"the range {header} has no byte of {size:,}"
        raise InvalidArgument(message, reason="RANGE_NOT_SATISFIABLE", field="range")
    return Span(start, end, size)


def matches(header: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names this entity tag."""
    named = [one.strip().removeprefix("W/") for one in (header or "").split(",")]
    return bool(etag) and (etag in named or "*" in named)
