"""What a filter must be, which filters are the same, and what meets one: for the service and the fake alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b

from sightline.errors import InvalidArgument
from sightline.filters import All, Any, AttributeValue, Equals, Exists, Filter, InRange, Not, OneOf

MAX_DEPTH = 8
"""Levels of all, any and none, with the condition in the innermost."""

MAX_FILTERS = 256
"""Conditions and lists of them in one filter."""

MAX_VALUES = 4096
"""Values of one `in`."""

MAX_TEXT_BYTES = 16_384
"""Bytes of UTF-8 of one text, as many as an attribute may have."""

_NAMES = {All: "all", Any: "any", Not: "none"}
_NUMBERS = ("int", "double")


def check_filter(condition: Filter) -> None:
    """Checks a filter as far as that can be done without knowing the collection.

    Raises:
        InvalidArgument: it is too deep, too large, has an empty list, or a value that nothing could equal; names the
            field, such as `filter.all.filters[1].condition.in.values[0]`.
    """
    for count, (path, part, depth) in enumerate(_walk(condition, "filter", 1), 1):
        if depth > MAX_DEPTH:
            raise InvalidArgument(f"at most {MAX_DEPTH} levels deep", reason="FILTER_TOO_DEEP", field="filter")
        if count > MAX_FILTERS:
            message = f"at most {MAX_FILTERS} conditions and lists of them"
            raise InvalidArgument(message, reason="FILTER_TOO_LARGE", field="filter")
        if isinstance(part, All | Any | Not):
            if not part.filters:
                raise InvalidArgument("must have at least one filter", reason="FILTER_EMPTY", field=path)
            continue
        _check_condition(part, path)


def check_types(condition: Filter, types: Mapping[str, str]) -> None:
    """Checks that a filter, itself right, asks for attributes that there are, and for values of their types.

    Args:
        types: string, int, double, bool or strings, by the attribute's name.

    Raises:
        InvalidArgument: names the field and what it could be.
    """
    for path, part, _ in _walk(condition, "filter", 1):
        if isinstance(part, All | Any | Not):
            continue
        name = _attribute(part)
        if name not in types:
            raise InvalidArgument(_unknown(name, types), reason="NO_ATTRIBUTE", field=f"{path}.attribute")
        if isinstance(part, InRange) and types[name] in ("bool", "strings"):
            message = f"{name!r} is of type {types[name]}, which has no order"
            raise InvalidArgument(message, reason="WRONG_TYPE", field=f"{path}.range")
        for place, value in _values(part):
            if not _fits(value, types[name]):
                message = f"{name!r} is tested for {_WANTED[types[name]]}, got {str(value)[:80]!r}"
                raise InvalidArgument(message, reason="WRONG_TYPE", field=f"{path}.{place}")


def filter_key(condition: Filter) -> bytes:
    """Returns 32 bytes that are the same for filters that differ in the order of their lists alone."""
    return blake2b(_written(condition).encode("utf-8", "surrogatepass"), digest_size=32).digest()


def meets(attributes: Mapping[str, AttributeValue], condition: Filter) -> bool:
    """Whether an image with these attributes meets a filter that was checked."""
    match condition:
        case All(parts):
            return all(meets(attributes, part) for part in parts)
        case Any(parts):
            return any(meets(attributes, part) for part in parts)
        case Not(parts):
            return not any(meets(attributes, part) for part in parts)
    return _meets_condition(attributes.get(_attribute(condition)), condition)


_WANTED = {
    "string": "texts",
    "int": "numbers",
    "double": "numbers",
    "bool": "true or false",
    "strings": "texts, one at a time",
}


def _walk(condition: Filter, path: str, depth: int) -> Iterator[tuple[str, Filter, int]]:
    """Every part of a filter with the field that it is in the message, the whole before its parts."""
    if isinstance(condition, All | Any | Not):
        here = f"{path}.{_NAMES[type(condition)]}"
        yield here, condition, depth
        for place, part in enumerate(condition.filters):
            yield from _walk(part, f"{here}.filters[{place}]", depth + 1)
    else:
        yield f"{path}.condition", condition, depth


def _attribute(condition: Filter) -> str:
    assert isinstance(condition, Equals | OneOf | InRange | Exists)
    return condition.attribute


def _values(condition: Filter) -> Sequence[tuple[str, AttributeValue]]:
    """The values of a condition, each with the field that it is in the condition's message."""
    match condition:
        case Equals(_, value):
            return [("equals", value)]
        case OneOf(_, values):
            return [(f"in.values[{place}]", value) for place, value in enumerate(values)]
        case InRange(_, low, high):
            ends = (("range.at_least", low), ("range.less_than", high))
            return [(place, end) for place, end in ends if end is not None]
    return []


def _check_condition(condition: Filter, path: str) -> None:
    if not _attribute(condition):
        raise InvalidArgument("must name an attribute", reason="ATTRIBUTE_EMPTY", field=f"{path}.attribute")
    values = _values(condition)
    if isinstance(condition, OneOf) and not 1 <= len(values) <= MAX_VALUES:
        message = f"must have 1 to {MAX_VALUES:,} values, got {len(values):,}"
        raise InvalidArgument(message, reason="VALUES_OUT_OF_RANGE", field=f"{path}.in.values")
    if isinstance(condition, InRange) and not values:
        raise InvalidArgument("must have an end", reason="RANGE_EMPTY", field=f"{path}.range")
    for place, value in values:
        if fault := _fault(value):
            raise InvalidArgument(fault, reason="BAD_VALUE", field=f"{path}.{place}")


def _fault(value: AttributeValue) -> str:
    match value:
        case bool():
            return ""
        case str():
            long = len(value.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES
            return f"must be at most {MAX_TEXT_BYTES:,} bytes of UTF-8" if long else ""
        case int():
            return "" if -(1 << 63) <= value < 1 << 63 else "a whole number must fit into 64 bits"
        case float():
            return "must be a number, got NaN" if math.isnan(value) else ""
    return "must be one value: a list attribute is tested for one text at a time"


def _fits(value: AttributeValue, kind: str) -> bool:
    if kind in _NUMBERS:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, bool if kind == "bool" else str)


def _unknown(name: str, types: Mapping[str, str]) -> str:
    known = ", ".join(f"{known} ({kind})" for known, kind in sorted(types.items())[:32])
    has = f"it has {known}" if known else "its images have no attributes"
    return f"the collection has no attribute {name[:80]!r}; {has}"


def _written(condition: Filter) -> str:
    match condition:
        case All(parts) | Any(parts) | Not(parts):
            return f"{type(condition).__name__}({','.join(sorted({_written(part) for part in parts}))})"
        case OneOf(name, values):
            return f"OneOf({name!r},{','.join(sorted({repr(value) for value in values}))})"
    return repr(condition)


def _meets_condition(own: AttributeValue | None, condition: Filter) -> bool:
    if own is None or isinstance(condition, Exists):
        return isinstance(condition, Exists) and (own is not None) == condition.present
    match condition:
        case Equals(_, value):
            return _equal(own, value)
        case OneOf(_, values):
            return any(_equal(own, value) for value in values)
        case InRange(_, low, high):
            return _within(own, low, high)
    raise TypeError(f"no filter: {type(condition).__name__}")


def _equal(own: AttributeValue, value: AttributeValue) -> bool:
    return value in own if isinstance(own, list | tuple) else own == value


def _within(own: AttributeValue, low: AttributeValue | None, high: AttributeValue | None) -> bool:
    # Both are numbers, or both are texts: that was checked.
    return (low is None or own >= low) and (high is None or own < high)  # type: ignore[operator]
