"""CSV tables, by the standard library's reader: unlike those that read blocks, it gives up a record, not a file."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from services.indexer.places import Place
from services.indexer.rows import Refusal, Row
from services.indexer.sources.checks import short, to_bool, to_double, to_int
from services.indexer.sources.columns import Columns, choose
from services.indexer.sources.lines import LINE_LIMIT, TOO_LONG, read_lines
from services.indexer.sources.records import row_of
from services.indexer.sources.source import CSV, Source, SourceOptions
from sightline.errors import InvalidArgument

# Records that are looked at to find out what the columns are.
LOOKED_AT = 10_000


@dataclass(frozen=True, slots=True)
class Delimited:
    """A CSV file. Its first line names the columns."""

    name: str
    table: Place
    columns: Columns
    total: int | None = field(default=None, init=False)

    def rows(self) -> Iterator[Row | Refusal]:
        """A row for each record; an empty cell is a missing value."""
        for record in _records(self.table):
            yield record if isinstance(record, Refusal) else self._row(*record)

    def _row(self, line: int, record: dict[str, str]) -> Row | Refusal:
        values: dict[str, object] = dict(record)
        for name, kind in self.columns.guessed.items():
            if name not in record:
                continue
            values[name] = _guess(kind, record[name])
            if values[name] is None:
                reason = f"attributes.{short(name)}: {short(record[name])!r} is no {kind}, as the first rows are"
                return Refusal(record.get(self.columns.uri) or self.table.url, reason, line)
        return row_of(values, self.columns, self.table, line)


def open_csv(tables: Sequence[tuple[str, Place]], options: SourceOptions) -> Source:
    """CSV files, each a part. What their columns are is found out from the first records.

    Raises:
        InvalidArgument: the first file has no names of columns, has one twice, or lacks one that is needed.
    """
    header = _header(tables[0][1])
    columns = choose(dict.fromkeys(header, ""), options)
    texts = columns.of(dict.fromkeys(header, ""))
    seen: dict[str, list[str]] = {name: [] for name in texts if name not in options.types}
    for record in islice(chain.from_iterable(_records(table) for _, table in tables), LOOKED_AT):
        if not isinstance(record, Refusal):
            for name in seen.keys() & record[1].keys():
                seen[name].append(record[1][name])
    guessed = {name: kind for name, cells in seen.items() if (kind := type_of_cells(cells)) != "string"}
    columns = replace(columns, guessed=guessed)
    return Source(CSV, [Delimited(name, table, columns) for name, table in tables], columns.named, columns.types)


def type_of_cells(cells: Sequence[str]) -> str:
    """The narrowest of bool, int, double and string that all cells fit; numbers like 007 are texts."""
    if not cells or any(_is_padded(cell) for cell in cells):
        return "string"
    if all(to_bool(cell) is not None for cell in cells):
        return "bool"
    if all((number := to_int(cell)) is not None and -(1 << 63) <= number < 1 << 63 for cell in cells):
        return "int"
    return "double" if all(to_double(cell) is not None for cell in cells) else "string"


def _is_padded(cell: str) -> bool:
    digits = cell.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits.isdecimal()


def _guess(kind: str, cell: str) -> int | float | bool | None:
    if kind == "bool":
        return to_bool(cell)
    number = to_int(cell) if kind == "int" else None
    return number if number is not None else to_double(cell)


class _Lines:
    """Feeds a CSV reader, and takes lines back that a record has swallowed by mistake."""

    def __init__(self, table: Place) -> None:
        self._lines = read_lines(table)
        self._again: deque[tuple[int, bytes]] = deque()
        self.taken: list[tuple[int, bytes]] = []
        self.lost: Refusal | None = None

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._again:
            line = self._again.popleft()
        else:
            found = next(self._lines)
            if isinstance(found, Refusal):
                self.lost = found
                raise StopIteration
            line = found
        self.taken.append(line)
        # What is no UTF-8 becomes half of a surrogate pair, which no value may hold.
        return line[1].decode("utf-8", "surrogateescape")

    def give_back(self) -> None:
        """All lines that were taken, but for the first."""
        self._again.extendleft(reversed(self.taken[1:]))


def _records(table: Place) -> Iterator[tuple[int, dict[str, str]] | Refusal]:
    """The records below the header by the number of their first line: cells by column, without the empty ones."""
    header: list[str] | None = None
    for found in _cells(table):
        if isinstance(found, Refusal):
            yield found
        elif header is None:
            header = _checked(found[1], table)
        elif len(found[1]) != len(header):
            yield Refusal(table.url, f"has {len(found[1]):,} cells, there are {len(header):,} columns", found[0])
        else:
            yield found[0], {name: cell for name, cell in zip(header, found[1], strict=True) if name and cell}


def _cells(table: Place) -> Iterator[tuple[int, list[str]] | Refusal]:
    lines = _Lines(table)
    reader = csv.reader(lines, delimiter=_delimiter(table), strict=True)
    while True:
        lines.taken.clear()
        try:
            cells = next(reader)
        except StopIteration:
            if lines.lost is not None:
                yield lines.lost
            return
        except csv.Error as exc:
            # The quote that is at fault may have swallowed many good lines.
            lines.give_back()
            yield Refusal(table.url, f"not CSV: {exc}", lines.taken[0][0])
            continue
        number = lines.taken[0][0]
        if any(len(line) > LINE_LIMIT for _, line in lines.taken):
            yield Refusal(table.url, TOO_LONG, number)
        elif cells:
            yield number, cells


def _header(table: Place) -> list[str]:
    for found in _cells(table):
        if isinstance(found, Refusal):
            raise InvalidArgument(f"{table.url}, line {found.line}: {found.reason}", field="source")
        return [name for name in _checked(found[1], table) if name]
    raise InvalidArgument(f"{table.url} is empty: its first line must name the columns", field="source")


def _checked(header: list[str], table: Place) -> list[str]:
    names = [name.strip() for name in header]
    if any("\udc80" <= mark <= "\udcff" for name in names for mark in name):
        raise InvalidArgument(f"{table.url} is not UTF-8", field="source")
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InvalidArgument(f"{table.url} has two columns {short(twice[0])!r}", field="source")
    return names


def _delimiter(table: Place) -> str:
    """What parts the cells of the first line: that of comma, semicolon and tab which it has most of."""
    first = next(read_lines(table), None)
    if first is None or isinstance(first, Refusal):
        return ","
    return max(",;\t", key=lambda mark: first[1].count(mark.encode()))
