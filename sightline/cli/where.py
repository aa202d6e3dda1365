"""Conditions as they are written on the command line: `price<50`, `tags in v-neck,"a, b"`, `year not exists`.

A value is read in the type that the collection's schema gives its attribute.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from functools import reduce

from sightline.errors import InvalidArgument
from sightline.filters import AttributeValue, Filter, attribute
from sightline.results import AttributeField, AttributeType

GRAMMAR = "NAME = | != | < | <= | > | >= VALUE; NAME [not] in VALUE,VALUE,…; or NAME [not] exists"

_FORM = re.compile(
    r"\s*(?P<name>.+?)\s*(?:(?P<sign><=|>=|!=|=|<|>)\s*(?P<value>.*?)"
    r"|\s(?P<without>not\s+)?(?:(?P<exists>exists)|in\s+(?P<values>.+?)))\s*",
    re.DOTALL,
)


def parse_where(conditions: Iterable[str], schema: Sequence[AttributeField]) -> Filter | None:
    """Returns the filter that all the conditions make together; None where there are none.

    Raises:
        InvalidArgument: one is not of the grammar, or does not fit the schema; the field is `--where`.
    """
    parts = [_parse(condition, {one.name: one.type for one in schema}) for condition in conditions]
    return reduce(lambda every, part: every & part, parts) if parts else None


def _parse(condition: str, types: dict[str, AttributeType]) -> Filter:
    found = _FORM.fullmatch(condition)
    if not found:
        raise _wrong(f"{condition!r} is no condition: {GRAMMAR}")
    name = found["name"]
    if name not in types:
        known = ", ".join(sorted(types)) or "none"
        raise _wrong(f"there is no attribute {name!r}; there are: {known}")
    if found["exists"]:
        return attribute(name).exists(not found["without"])
    if found["sign"]:
        return _compare(name, found["sign"], _value(found["value"], name, types[name]), types[name])
    [listed] = csv.reader([found["values"]], skipinitialspace=True)
    one_of = attribute(name).one_of(*(_value(value.strip(), name, types[name]) for value in listed))
    return ~one_of if found["without"] else one_of


def _compare(name: str, sign: str, value: AttributeValue, kind: AttributeType) -> Filter:
    own = attribute(name)
    if sign in ("=", "!="):
        return own.equals(value) if sign == "=" else ~own.equals(value)
    if kind in (AttributeType.BOOL, AttributeType.STRINGS):
        raise _wrong(f"{name!r} is of type {kind}, which has no order; compare it by = or !=")
    end = _next(value) if sign in ("<=", ">") else value
    return own.between(less_than=end) if sign.startswith("<") else own.between(at_least=end)


def _value(written: str, name: str, kind: AttributeType) -> AttributeValue:
    """Reads a value in the type of its attribute; quotes around a text are no part of it."""
    try:
        match kind:
            case AttributeType.BOOL:
                return {"true": True, "false": False}[written.lower()]
            case AttributeType.INT | AttributeType.DOUBLE:
                return _number(written)
    except (KeyError, ValueError):
        wanted = "true or false" if kind is AttributeType.BOOL else "a number"
        raise _wrong(f"{name!r} is compared with {wanted}, got {written!r}") from None
    quoted = len(written) >= 2 and written[0] == written[-1] == '"'
    return written[1:-1] if quoted else written


def _number(written: str) -> int | float:
    try:
        return int(written)
    except ValueError:
        number = float(written)
        if math.isnan(number):
            raise
        return number


def _next(value: AttributeValue) -> AttributeValue:
    """Returns the value that follows in its order: what is less than it is at most `value`."""
    match value:
        case int():
            return value + 1
        case float():
            return math.nextafter(value, math.inf)
        case str():
            return value + "\0"
    raise TypeError(f"{value!r} has no order")


def _wrong(message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="BAD_CONDITION", field="--where")
