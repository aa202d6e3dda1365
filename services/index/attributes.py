"""The attributes of a shard's images: an Arrow file, a column each, mapped into memory.

The file is not compressed, so that what is read of it is what a condition looks at, and no more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as _pyarrow
import pyarrow.compute as _compute
from numpy.typing import NDArray

from sightline import filters
from sightline.errors import FailedPrecondition, InvalidArgument
from sightline.filters import AttributeValue, Filter

# Written without types.
pa: Any = _pyarrow
pc: Any = _compute

_TYPES = {
    "string": pa.string(),
    "int": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "strings": pa.list_(pa.string()),
}
_BATCH_ROWS = 65_536
_BATCH_BYTES = 8 << 20
"""A batch of the file is written when it has so many rows or bytes: what a writer holds."""

Mask = NDArray[np.bool_]


class AttributeWriter:
    """Writes the attributes of a shard's images, the same bytes for the same rows.

    Args:
        path: of the file.
        types: string, int, double, bool or strings, by name.
    """

    def __init__(self, path: Path, types: Mapping[str, str]) -> None:
        self._schema = _schema(types)
        self._writer = pa.ipc.new_file(str(path), self._schema)
        self._pending: list[Any] = []

    def add(self, rows: Sequence[Mapping[str, AttributeValue]]) -> None:
        """Appends rows. Raises InvalidArgument where a value is not of its attribute's type, or has none."""
        columns = [_column(rows, field) for field in self._schema]
        for row in rows:
            if unknown := row.keys() - set(self._schema.names):
                message = f"the shard is written without an attribute {min(unknown)!r}"
                raise InvalidArgument(message, reason="NO_ATTRIBUTE", field=f"attributes.{min(unknown)}")
        self._pending.append(pa.record_batch(columns, schema=self._schema))
        if sum(map(len, self._pending)) >= _BATCH_ROWS or sum(one.nbytes for one in self._pending) >= _BATCH_BYTES:
            self._flush()

    def __enter__(self) -> AttributeWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._pending:
            self._writer.write_batch(pa.concat_batches(self._pending))
            self._pending.clear()


class Attributes:
    """The attributes of a shard's images, as `AttributeWriter` wrote them.

    Args:
        path: of the file.
        types: by name, of those that can be asked for.
        rows: how many images there are.

    Raises:
        FailedPrecondition: it is no such file, or has other rows or types (CORRUPT_GENERATION).
    """

    def __init__(self, path: Path, types: Mapping[str, str], rows: int) -> None:
        try:
            self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except (pa.ArrowException, OSError) as exc:
            raise FailedPrecondition(f"{path.name}: {exc}", reason="CORRUPT_GENERATION") from exc
        found = {field.name: field.type for field in self._table.schema}
        wrong = [name for name, kind in types.items() if found.get(name) != _TYPES[kind]]
        if wrong or self._table.num_rows != rows:
            named = f", with {wrong[0]} as {types[wrong[0]]}" if wrong else ""
            message = f"{path.name} has {self._table.num_rows} rows of {found}, not {rows}{named}"
            raise FailedPrecondition(message[:300], reason="CORRUPT_GENERATION")

    def mask(self, condition: Filter) -> Mask:
        """Returns which rows meet a filter, bool [n].

        Args:
            condition: checked against the types by `sightline._filtering`.
        """
        match condition:
            case filters.All(parts):
                return self._all(parts)
            case filters.Any(parts):
                return ~self._none(parts)
            case filters.Not(parts):
                return self._none(parts)
        return self._mask_of_condition(condition)

    def _all(self, parts: Sequence[Filter]) -> Mask:
        mask = self.mask(parts[0])
        for part in parts[1:]:
            mask &= self.mask(part)
        return mask

    def _none(self, parts: Sequence[Filter]) -> Mask:
        mask = self.mask(parts[0])
        for part in parts[1:]:
            mask |= self.mask(part)
        return ~mask

    def _mask_of_condition(self, condition: Filter) -> Mask:
        match condition:
            case filters.Exists(name, present):
                column = self._table[name]
                return _as_mask(pc.is_valid(column) if present else pc.is_null(column))
            case filters.Equals(name, value):
                return _one_of(self._table[name], [value])
            case filters.OneOf(name, values):
                return _one_of(self._table[name], values)
            case filters.InRange(name, low, high):
                return _in_range(self._table[name], low, high)
        raise TypeError(f"no filter: {type(condition).__name__}")


def _one_of(column: Any, values: Sequence[AttributeValue]) -> Mask:
    if pa.types.is_list(column.type):
        return np.concatenate([_holds_one_of(chunk, values) for chunk in column.chunks] or [_nothing(0)])
    known = sorted({own for value in values if (own := _exactly(value, column.type)) is not None})
    if not known:
        return _nothing(len(column))
    if len(known) == 1:
        return _as_mask(pc.equal(column, pa.scalar(known[0], column.type)))
    if pa.types.is_floating(column.type) and 0.0 in known:
        known += [0.0, -0.0]  # equal, but neither is in a set that has only the other
    # Nulls are in no set that has none.
    return _as_mask(pc.is_in(column, value_set=pa.array(known, column.type)))


def _in_range(column: Any, low: AttributeValue | None, high: AttributeValue | None) -> Mask:
    inside = _as_mask(pc.is_valid(column))
    for end, test in ((low, pc.greater_equal), (high, pc.less)):
        if end is None:
            continue
        own, beyond = _at_least(end, column.type)
        if own is not None:
            inside &= _as_mask(test(column, pa.scalar(own, column.type)))
        elif beyond == (test is pc.greater_equal):
            # No value of this type reaches that end; or, below all of them, none is less.
            return _nothing(len(column))
    return inside


def _schema(types: Mapping[str, str]) -> Any:
    return pa.schema([(name, _TYPES[kind]) for name, kind in sorted(types.items())])


def _column(rows: Sequence[Mapping[str, AttributeValue]], field: Any) -> Any:
    values = [row.get(field.name) for row in rows]
    try:
        if pa.types.is_list(field.type) and any(isinstance(value, str) for value in values):
            raise pa.ArrowTypeError("a text is no list of texts")  # to Arrow it is one, of its letters
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as exc:
        message = f"is not {field.type} in every row: {exc}"
        raise InvalidArgument(message, reason="WRONG_TYPE", field=f"attributes.{field.name}") from exc


def _holds_one_of(lists: Any, values: Sequence[AttributeValue]) -> Mask:
    """Which lists of one chunk have an element that is one of the values."""
    held = pc.is_in(lists.flatten(), value_set=pa.array(sorted(set(values)), pa.string()))  # type: ignore[type-var]
    places = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    found = _nothing(len(lists))
    found[places[held.to_numpy(zero_copy_only=False)]] = True
    return found


def _exactly(value: AttributeValue, kind: Any) -> Any:
    """Returns the value in a column's type; None where nothing of that type equals it."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return value
    if pa.types.is_integer(kind):
        whole = isinstance(value, int) or value.is_integer()
        return int(value) if whole and -(1 << 63) <= value < 1 << 63 else None
    return float(value) if float(value) == value else None


def _at_least(end: AttributeValue, kind: Any) -> tuple[Any, bool]:
    """Returns the least value of a column's type that is not less than `end`: what is at least the one is at least the
    other. Where there is none, or all are, returns None, and whether `end` is beyond them all."""
    if not isinstance(end, int | float) or isinstance(end, bool):
        return end, False
    if pa.types.is_integer(kind):
        if not -(1 << 63) <= end < 1 << 63:
            return None, end > 0
        least = math.ceil(end)
        return (least, False) if least < 1 << 63 else (None, True)
    near = float(end)
    return (near if near >= end else math.nextafter(near, math.inf)), False


def _as_mask(chunked: Any) -> Mask:
    mask: Mask = pc.fill_null(chunked, False).combine_chunks().to_numpy(zero_copy_only=False)
    return mask.copy()


def _nothing(rows: int) -> Mask:
    return np.zeros(rows, np.bool_)
