"""Filters and attribute values, and the messages that they are on the wire; in both directions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightline import filters
from sightline._filtering import MAX_DEPTH
from sightline.errors import InvalidArgument
from sightline.filters import AttributeValue, Filter
from sightline.v1 import common_pb2


def to_filter(condition: Filter) -> common_pb2.Filter:
    """Returns the message of a condition.

    Raises:
        InvalidArgument: it has no place in a message: it is too deep, or has a number of more than 64 bits.
        TypeError: it is no filter, or a value of it is none that an attribute may have.
    """
    try:
        return _to_filter(condition, 1)
    except UnicodeEncodeError as exc:
        raise InvalidArgument("must be text that UTF-8 can write", reason="NOT_UTF8", field="filter") from exc
    except ValueError as exc:
        raise InvalidArgument("a whole number must fit into 64 bits", reason="BAD_VALUE", field="filter") from exc


def _to_filter(condition: Filter, depth: int) -> common_pb2.Filter:
    if depth > MAX_DEPTH:
        raise InvalidArgument(f"at most {MAX_DEPTH} levels deep", reason="FILTER_TOO_DEEP", field="filter")
    match condition:
        case filters.All(parts):
            return common_pb2.Filter(all=_to_filters(parts, depth + 1))
        case filters.Any(parts):
            return common_pb2.Filter(any=_to_filters(parts, depth + 1))
        case filters.Not(parts):
            return common_pb2.Filter(none=_to_filters(parts, depth + 1))
        case filters.Equals(name, value):
            test = common_pb2.Condition(attribute=name, equals=to_value(value))
        case filters.OneOf(name, values):
            listed = common_pb2.ValueList(values=[to_value(value) for value in values])
            test = common_pb2.Condition(attribute=name)
            getattr(test, "in").CopyFrom(listed)  # a keyword of Python
        case filters.InRange(name, low, high):
            ends = [None if end is None else to_value(end) for end in (low, high)]
            test = common_pb2.Condition(attribute=name, range=common_pb2.Range(at_least=ends[0], less_than=ends[1]))
        case filters.Exists(name, present):
            test = common_pb2.Condition(attribute=name, exists=present)
        case _:
            raise TypeError(f"a filter is made with sightline.attribute, got {type(condition).__name__}")
    return common_pb2.Filter(condition=test)


def _to_filters(parts: Sequence[Filter], depth: int) -> common_pb2.FilterList:
    return common_pb2.FilterList(filters=[_to_filter(part, depth) for part in parts])


def to_value(value: AttributeValue) -> common_pb2.Value:
    """Returns the message of an attribute's value; TypeError where it is none. Numbers may be numpy's."""
    match value:
        case bool() | np.bool_():  # before int, of which bool is one
            return common_pb2.Value(bool_value=bool(value))
        case str():
            return common_pb2.Value(string_value=value)
        case int() | np.integer():
            return common_pb2.Value(int_value=int(value))
        case float() | np.floating():
            return common_pb2.Value(double_value=float(value))
        case list() | tuple() if all(isinstance(one, str) for one in value):
            return common_pb2.Value(strings_value=common_pb2.StringList(values=value))
    raise TypeError(f"an attribute is a text, a number, true or false, or a list of texts, got {value!r}")


def from_filter(message: common_pb2.Filter, field: str = "filter") -> Filter:
    """Returns the condition that the message holds.

    Raises:
        InvalidArgument: something that must be set is not; names the field.
    """
    match message.WhichOneof("kind"):
        case "condition":
            return _from_condition(message.condition, f"{field}.condition")
        case "all":
            return filters.All(_from_filters(message.all, f"{field}.all"))
        case "any":
            return filters.Any(_from_filters(message.any, f"{field}.any"))
        case "none":
            return filters.Not(_from_filters(message.none, f"{field}.none"))
    raise InvalidArgument("must be a condition, or all, any or none of others", reason="FILTER_EMPTY", field=field)


def _from_filters(message: common_pb2.FilterList, field: str) -> tuple[Filter, ...]:
    return tuple(from_filter(one, f"{field}.filters[{place}]") for place, one in enumerate(message.filters))


def _from_condition(message: common_pb2.Condition, field: str) -> Filter:
    name = message.attribute
    match message.WhichOneof("test"):
        case "equals":
            return filters.Equals(name, _given(message.equals, f"{field}.equals"))
        case "in":
            listed: common_pb2.ValueList = getattr(message, "in")
            values = (_given(one, f"{field}.in.values[{place}]") for place, one in enumerate(listed.values))
            return filters.OneOf(name, tuple(values))
        case "range":
            ends = [
                _given(getattr(message.range, end), f"{field}.range.{end}") if message.range.HasField(end) else None
                for end in ("at_least", "less_than")
            ]
            return filters.InRange(name, *ends)
        case "exists":
            return filters.Exists(name, message.exists)
    raise InvalidArgument("must be equals, in, range or exists", reason="CONDITION_EMPTY", field=field)


def _given(message: common_pb2.Value, field: str) -> AttributeValue:
    if message.WhichOneof("kind") is None:
        raise InvalidArgument("must have a value", reason="BAD_VALUE", field=field)
    return from_value(message)


def from_value(message: common_pb2.Value) -> AttributeValue:
    """Returns the value that the message holds; an empty text where it holds none."""
    match message.WhichOneof("kind"):
        case "int_value":
            return message.int_value
        case "double_value":
            return message.double_value
        case "bool_value":
            return message.bool_value
        case "strings_value":
            return tuple(message.strings_value.values)
        case _:
            return message.string_value
