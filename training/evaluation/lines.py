"""Lines of a JSONL file, each an object; what is wrong with one is said with its number, its field and the limit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

LINE_LIMIT = 4 << 20


class BadLine(ValueError):
    """A file is not what it should be. `line` counts from 1; 0 where it is about the whole file."""

    def __init__(self, file: Path, line: int, field: str, problem: str) -> None:
        where = f"{file}, line {line}" if line else str(file)
        super().__init__(f"{where}: {field}: {problem}" if field else f"{where}: {problem}")
        self.file, self.line, self.field, self.problem = file, line, field, problem


@dataclass(frozen=True, slots=True)
class Record:
    """One line's object, and where it stands."""

    file: Path
    line: int
    values: dict[str, Any]

    def keys(self) -> set[str]:
        """The names of its fields."""
        return set(self.values)

    def get(self, field: str) -> Any:
        """A field as it stands; None where it is missing."""
        return self.values.get(field)

    def bad(self, field: str, problem: str) -> BadLine:
        """The error that this line has."""
        return BadLine(self.file, self.line, field, problem)

    def known(self, *fields: str) -> None:
        """Raises BadLine where it has other fields than these: a misspelt one would go unheeded."""
        if unknown := self.keys() - set(fields):
            name = "".join(c if c.isprintable() else "?" for c in min(unknown)[:64])
            raise self.bad(name, f"unknown; there are {', '.join(fields)}")

    def text(self, field: str, limit: int) -> str:
        """A text of at most so many bytes of UTF-8; empty where it is missing."""
        value = self.values.get(field)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.bad(field, "must be a text")
        return self.checked(value, field, limit)

    def checked(self, text: str, field: str, limit: int) -> str:
        """The text, if it can be sent and is short enough."""
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise self.bad(field, "holds half of a surrogate pair") from None
        if size > limit:
            raise self.bad(field, f"may have at most {limit:,} bytes, has {size:,}")
        return text

    def whole(self, field: str, least: int, most: int, default: int) -> int:
        """A whole number within bounds."""
        value = self.values.get(field)
        return default if value is None else self.whole_of(value, field, least, most)

    def whole_of(self, value: Any, field: str, least: int, most: int) -> int:
        """The value, if it is a whole number within bounds."""
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.bad(field, f"must be a whole number from {least:,} to {most:,}")
        return value


def numbered_records(file: Path) -> Iterator[Record]:
    """The objects of a JSONL file; blank lines are passed over.

    Raises:
        BadLine: a line is too long, not UTF-8, not JSON, or no object.
        OSError: the file cannot be read.
    """
    with file.open("rb") as lines:
        number = 0
        while line := lines.readline(LINE_LIMIT + 1):
            number += 1
            if len(line) > LINE_LIMIT:
                raise BadLine(file, number, "", f"may have at most {LINE_LIMIT:,} bytes")
            if line.strip():
                yield Record(file, number, _object(file, number, line.removeprefix(b"\xef\xbb\xbf")))


def _object(file: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as exc:
        raise BadLine(file, number, "", f"not UTF-8 at byte {exc.start}") from exc
    except (ValueError, RecursionError) as exc:
        raise BadLine(file, number, "", f"not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise BadLine(file, number, "", "must be a JSON object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
