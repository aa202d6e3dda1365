"""Shares of a stage, refusals on their way to the report, and what a stage costs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from services.indexer.rows import Refusal, Row
from services.indexer.work import Work
from sightline.errors import FailedPrecondition, InvalidArgument

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Share:
    """Every `of`-th piece of work, from the `index`-th on, counted from 0; all of it by default."""

    index: int = 0
    of: int = 1

    @classmethod
    def parse(cls, said: str) -> Share:
        """Reads `2/8`: the third of eight. Raises InvalidArgument."""
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", said)
        if not found or not int(found[1]) < int(found[2]):
            raise InvalidArgument(f"must be i/n with i from 0 to n - 1, not {said!r}", field="--part")
        return cls(int(found[1]), int(found[2]))

    def take(self, items: Iterable[T]) -> Iterator[T]:
        """The items that belong to it."""
        return (item for number, item in enumerate(items) if number % self.of == self.index)

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"


@dataclass(slots=True)
class Cost:
    """Seconds by the clock and of this process's CPUs since the last `lap`."""

    _wall: float = field(default_factory=time.monotonic)
    _cpu: float = field(default_factory=time.process_time)

    def lap(self) -> dict[str, float]:
        """What it took since the last time."""
        wall, cpu = time.monotonic(), time.process_time()
        spent = {"seconds": wall - self._wall, "cpu_seconds": cpu - self._cpu}
        self._wall, self._cpu = wall, cpu
        return spent


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal, and where its picture is, for those who want to see it."""

    refusal: Refusal
    location: str = ""
    span: tuple[int, int] | None = None

    @classmethod
    def row(cls, row: Row, reason: str) -> Refused:
        """Why a row is not indexed."""
        return cls(row.refused(reason), row.location, row.span)

    def to_record(self) -> dict[str, Any]:
        """As plain values."""
        one = self.refusal
        return {"uri": one.uri, "reason": one.reason, "line": one.line, "location": self.location, "span": self.span}

    @classmethod
    def of(cls, record: dict[str, Any]) -> Refused:
        """From plain values."""
        span = record["span"]
        refusal = Refusal(record["uri"], record["reason"], record["line"])
        return cls(refusal, record["location"], (span[0], span[1]) if span else None)


@dataclass(frozen=True, slots=True, order=True)
class Chunk:
    """A run of rows of a part of the source."""

    part: int
    number: int

    @property
    def rows(self) -> str:
        """The file of what was read."""
        return f"read/{self.part:05d}/{self.number:05d}.arrow"

    @property
    def refused(self) -> str:
        """The file of what was refused while it was read; there where something was."""
        return f"read/{self.part:05d}/{self.number:05d}.refused"

    @property
    def images(self) -> str:
        """The file of what was encoded."""
        return f"encode/{self.part:05d}-{self.number:05d}.bin"

    @property
    def encoded(self) -> str:
        """The file that says that it was encoded, and what came of it."""
        return f"encode/{self.part:05d}-{self.number:05d}.json"


def part_done(part: int) -> str:
    """The file that says that a part of the source was read, and how many rows its chunks have."""
    return f"read/{part:05d}/done.json"


def chunks(work: Work, parts: int) -> list[tuple[Chunk, int]]:
    """All chunks of a source that was read, in its order, each with how many rows it has.

    Raises:
        FailedPrecondition: it was not read to the end.
    """
    found, missing = [], []
    for part in range(parts):
        if (done := work.read_json(part_done(part))) is None:
            missing.append(part)
        else:
            found += [(Chunk(part, number), rows) for number, rows in enumerate(done["chunks"])]
    if missing:
        raise unfinished("read", "parts", missing, parts)
    return found


def unfinished(stage: str, what: str, missing: list[int], of: int) -> FailedPrecondition:
    """Why the next stage cannot begin."""
    named = ", ".join(map(str, missing[:8])) + (", …" if len(missing) > 8 else "")
    message = f"the stage {stage} has not ended: {len(missing):,} of {of:,} {what} are missing ({named})"
    return FailedPrecondition(message, reason="STAGE_UNFINISHED")
