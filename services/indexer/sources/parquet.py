"""Parquet tables: a part for each group of rows, read a few hundred rows at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.indexer.places import Place, readable
from services.indexer.rows import Refusal, Row
from services.indexer.sources.checks import short
from services.indexer.sources.columns import Columns, choose
from services.indexer.sources.records import row_of
from services.indexer.sources.source import PARQUET, Source, SourceOptions
from sightline.errors import InvalidArgument

BATCH_ROWS = 256
# Columns are read through a buffer of this many bytes, not as a whole.
_BUFFER = 1 << 20
_FOOTERS_AT_ONCE = 16
_NO_NAMES = {"": "without a name", "__index_level_0__": "an index of pandas"}

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Footer:
    """What the end of a Parquet file says.

    Attributes:
        types: the attribute type of each column that can be one, in the file's order.
        left_out: the Arrow type of each column that cannot.
        groups: how many rows each group has.
    """

    types: dict[str, str]
    left_out: dict[str, str]
    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A group of rows of a Parquet file; its first row is the `first`-th of the file, from 1."""

    name: str
    total: int | None
    table: Place
    number: int
    first: int
    columns: Columns

    def rows(self) -> Iterator[Row | Refusal]:
        """A row for each record."""
        wanted = wanted_columns(self.columns)
        for line, record in enumerate(read_records(self.table, wanted, self.number), start=self.first):
            if isinstance(record, Refusal):
                yield Refusal(record.uri, record.reason, line)
            else:
                yield row_of(record, self.columns, self.table, line)


def open_parquet(tables: Sequence[tuple[str, Place]], options: SourceOptions) -> Source:
    """Parquet files; their columns' types are the attributes' types.

    Raises:
        InvalidArgument: a file is no sound Parquet, or lacks a column that is needed.
    """
    footers = read_footers([table for _, table in tables])
    types, left_out = merged(footers)
    columns = choose(types, options, left_out=left_out)
    columns = with_types(columns, types)
    parts = [
        Group(f"{name}#{number:04d}", total, table, number, first, columns)
        for (name, table), footer in zip(tables, footers, strict=True)
        for number, (total, first) in enumerate(zip(footer.groups, _firsts(footer.groups), strict=True))
    ]
    return Source(PARQUET, parts, columns.named, columns.types, left_out)


def read_footers(tables: Sequence[Place]) -> list[Footer]:
    """The footers of many files, some of them at once. Raises InvalidArgument where one is no Parquet file."""
    with ThreadPoolExecutor(_FOOTERS_AT_ONCE, thread_name_prefix="footers") as pool:
        return list(pool.map(_footer, tables))


def merged(footers: Sequence[Footer]) -> tuple[dict[str, str], dict[str, str]]:
    """What the columns of all files are: the first file that has one says, but int makes room for double."""
    types: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for footer in footers:
        for name, kind in footer.types.items():
            widens = types.get(name) == "int" and kind == "double"
            types[name] = kind if widens else types.get(name, kind)
        left_out |= footer.left_out
    return types, {name: why for name, why in left_out.items() if name not in types}


def with_types(columns: Columns, types: dict[str, str]) -> Columns:
    """The columns with the types that the table gives those of its attributes which nobody declares."""
    found = {name: types[name] for name in columns.of(dict.fromkeys(types, ""))}
    return replace(columns, types={**found, **columns.types})


def wanted_columns(columns: Columns) -> list[str]:
    """The columns that rows are made of; what else the file has is not read."""
    return list(dict.fromkeys([*columns.named.values(), *columns.types]))


def read_records(table: Place, wanted: Sequence[str], group: int | None = None) -> Iterator[Record | Refusal]:
    """The records of a group of rows, or of all of them. Where the file is broken, a last Refusal says so.

    Raises:
        NotFound, Unavailable: it cannot be read.
    """
    try:
        with _sound(table), table.open() as opened:
            file = pq.ParquetFile(opened, buffer_size=_BUFFER)
            columns = [name for name in wanted if name in file.schema_arrow.names]
            groups = range(file.num_row_groups) if group is None else [group]
            for batch in file.iter_batches(BATCH_ROWS, list(groups), columns, use_threads=False):
                yield from _records(table, batch)
    except InvalidArgument as exc:
        yield Refusal(table.url, f"the rows from here on cannot be read: {exc.message}")


def _records(table: Place, batch: pa.RecordBatch) -> Iterator[Record | Refusal]:
    batch = pa.RecordBatch.from_arrays(list(map(_in_microseconds, batch.columns)), names=batch.schema.names)
    for number in range(batch.num_rows):
        try:
            yield {name: _value(column[number]) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
        except (ValueError, OverflowError, ArithmeticError) as exc:
            yield Refusal(table.url, f"has a value that cannot be read: {exc}"[:300])


def _value(cell: pa.Scalar) -> Any:
    """A cell as Python has it; a number that is none is what some writers make of a missing one."""
    value = cell.as_py()
    return None if isinstance(value, float) and math.isnan(value) else value


def _in_microseconds(column: pa.Array) -> pa.Array:
    """Python's times know no nanoseconds, and time zones only where their names are installed."""
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", "UTC" if column.type.tz else None), safe=False)
    return column.cast(pa.time64("us"), safe=False) if pa.types.is_time64(column.type) else column


def _footer(table: Place) -> Footer:
    with _sound(table), table.open() as opened:
        file = pq.ParquetFile(opened)
        schema, metadata = file.schema_arrow, file.metadata
        groups = tuple(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
    names = schema.names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidArgument(f"{table.url} has two columns {short(twice[0])!r}", field="source")
    types = {column.name: "" if column.name in _NO_NAMES else type_of(column.type) for column in schema}
    return Footer(
        types={name: kind for name, kind in types.items() if kind},
        left_out={one.name: _NO_NAMES.get(one.name, str(one.type)) for one in schema if not types[one.name]},
        groups=groups,
    )


@contextmanager
def _sound(table: Place) -> Iterator[None]:
    """Tells a file that is broken, InvalidArgument, from one that cannot be read now, Unavailable."""
    with readable(table.url):
        try:
            yield
        except (OSError, pa.ArrowException) as exc:
            # Arrow's own complaints about a file's content come without the number that those of a system have.
            if isinstance(exc, pa.ArrowException) or (type(exc) is OSError and exc.errno is None):
                raise InvalidArgument(f"{table.url} is no sound Parquet file: {exc}"[:500], field="source") from exc
            raise


def type_of(kind: pa.DataType) -> str:
    """The attribute type that values of an Arrow type have; empty where they can be none."""
    if pa.types.is_dictionary(kind):
        return type_of(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "strings" if _is_text(kind.value_type) else ""
    return next((name for fits, name in _TYPES if fits(kind)), "")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


_TYPES: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (_is_text, "string"),
    (pa.types.is_boolean, "bool"),
    (pa.types.is_integer, "int"),
    (pa.types.is_floating, "double"),
    (pa.types.is_decimal, "double"),
    (pa.types.is_timestamp, "string"),
    (pa.types.is_date, "string"),
    (pa.types.is_time, "string"),
)


def _firsts(groups: Sequence[int]) -> list[int]:
    return [1 + before for before in accumulate(groups, initial=0)][:-1]
