"""JSONL tables: an object a line. `{"uri": …, "id": …, "caption": …, "attributes": {…}, …}`; only uri must be there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, NoReturn

from services.indexer.places import Place
from services.indexer.rows import Refusal, Row
from services.indexer.sources.checks import short
from services.indexer.sources.columns import Columns, choose
from services.indexer.sources.lines import LINE_LIMIT, TOO_LONG, count_lines, read_lines
from services.indexer.sources.records import row_of
from services.indexer.sources.source import JSONL, Source, SourceOptions
from sightline.errors import InvalidArgument, SightlineError

# Lines that are looked at to find out which keys there are.
LOOKED_AT = 1000


@dataclass(frozen=True, slots=True)
class Lines:
    """A JSONL file."""

    name: str
    total: int | None
    table: Place
    columns: Columns

    def rows(self) -> Iterator[Row | Refusal]:
        """A row for each line that is not blank."""
        for found in _objects(self.table):
            yield found if isinstance(found, Refusal) else self._row(*found)

    def _row(self, number: int, found: dict[str, Any]) -> Row | Refusal:
        try:
            return row_of(_flat(found), self.columns, self.table, number)
        except SightlineError as exc:
            return Refusal(self.table.url, str(exc), number)


def open_jsonl(tables: Sequence[tuple[str, Place]], options: SourceOptions) -> Source:
    """JSONL files, each a part; which keys there are is found out from the first lines."""
    first = islice(chain.from_iterable(_objects(table) for _, table in tables), LOOKED_AT)
    names = {name: "" for found in first if not isinstance(found, Refusal) for name in found[1]}
    columns = choose(names, options, is_open=True)
    columns = replace(columns, uri=columns.uri or "uri")
    parts = [Lines(name, _total(table), table, columns) for name, table in tables]
    return Source(JSONL, parts, columns.named, columns.types)


def _total(table: Place) -> int | None:
    """Reading a far or a packed file twice for the sake of a progress bar would be too much."""
    return count_lines(table) if table.is_local and not table.name.endswith(".gz") else None


def _objects(table: Place) -> Iterator[tuple[int, dict[str, Any]] | Refusal]:
    for line in read_lines(table):
        if isinstance(line, Refusal):
            yield line
        elif line[1].strip():
            yield _object(table, *line)


def _object(table: Place, number: int, line: bytes) -> tuple[int, dict[str, Any]] | Refusal:
    if len(line) > LINE_LIMIT:
        return Refusal(table.url, TOO_LONG, number)
    try:
        return number, parse_object(line, "a line")
    except SightlineError as exc:
        return Refusal(table.url, str(exc), number)


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """A record with its `attributes` beside its other keys."""
    attributes = record.pop("attributes", None)
    if attributes is None:
        return record
    if not isinstance(attributes, dict):
        raise InvalidArgument("must be an object", field="attributes")
    if twice := attributes.keys() & record.keys():
        raise InvalidArgument("given twice", field=f"attributes.{short(min(twice))}")
    return record | attributes


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def parse_object(text: bytes, what: str, constant: Callable[[str], None] = _no_constant) -> dict[str, Any]:
    """Reads a JSON object; `constant` says what NaN and Infinity are. Raises InvalidArgument with what is wrong."""
    try:
        record = json.loads(text.decode("utf-8"), parse_constant=constant)
    except UnicodeDecodeError as exc:
        raise InvalidArgument(f"not UTF-8 at byte {exc.start}") from exc
    except (ValueError, RecursionError) as exc:
        raise InvalidArgument(f"not JSON: {exc}") from exc
    if not isinstance(record, dict):
        raise InvalidArgument(f"{what} must be a JSON object")
    return record
