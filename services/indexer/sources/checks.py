"""What any record of any table must be to become a row: one set of limits for all kinds of sources."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from services.indexer.rows import AttributeValue
from sightline.errors import InvalidArgument

CAPTION_LIMIT = 16_384
URI_LIMIT = 8_192
NAME_LIMIT = 128
ATTRIBUTES_LIMIT = 256

_WORDS = {"true": True, "false": False}


def text_of(record: Mapping[str, Any], name: str, limit: int) -> str:
    """The text that a record has under a name; empty where it has none.

    Raises:
        InvalidArgument: it is no text, no UTF-8, or has more than `limit` bytes; names the column.
    """
    value = record.get(name) if name else None
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidArgument("must be a text", field=short(name))
    return _checked(value, short(name), limit)


def id_of(record: Mapping[str, Any], name: str) -> str:
    """The id that a record has under a name: a text, or a whole number as text; empty where it has none.

    Raises:
        InvalidArgument: as of `text_of`.
    """
    value = record.get(name) if name else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text_of(record, name, URI_LIMIT)


def attributes_of(record: Mapping[str, Any], types: Mapping[str, str]) -> dict[str, AttributeValue]:
    """The values of a record as attributes; those that are None are missing.

    Args:
        record: values by name.
        types: what some of them are declared to be.

    Raises:
        InvalidArgument: there are too many, or one is nothing that an attribute can be; names it.
    """
    given = {name: value for name, value in record.items() if value is not None}
    if len(given) > ATTRIBUTES_LIMIT:
        raise InvalidArgument(f"may be at most {ATTRIBUTES_LIMIT}, are {len(given):,}", field="attributes")
    return {check_name(name): attribute(name, value, types.get(name, "")) for name, value in given.items()}


def check_name(name: str) -> str:
    """The name of an attribute. Raises InvalidArgument where it is empty, too long or no UTF-8."""
    if not name:
        raise InvalidArgument("a name may not be empty", field="attributes")
    return _checked(name, f"attributes.{short(name)}", NAME_LIMIT)


def attribute(name: str, value: Any, declared: str = "") -> AttributeValue:
    """One value as an attribute: a time becomes its ISO text, a decimal a double, and all what they are declared to be.

    Raises:
        InvalidArgument: it is not of the declared type, or of none; names the attribute.
    """
    field = f"attributes.{short(name)}"
    value = _plain(value)
    if declared and (value := _CASTS[declared](given := value)) is None:
        raise InvalidArgument(f"{short(str(given))!r} is no {declared}", field=field)
    match value:
        case str():
            return _checked(value, field, CAPTION_LIMIT)
        case bool():
            return value
        case int():
            if not -(1 << 63) <= value < 1 << 63:
                raise InvalidArgument("a whole number must fit into 64 bits", field=field)
            return value
        case float() if math.isfinite(value):
            return value
        case list() | tuple() if all(isinstance(item, str) for item in value):
            return tuple(_checked(item, field, CAPTION_LIMIT) for item in value)
    raise InvalidArgument("must be a text, a number, true or false, or a list of texts", field=field)


def short(name: str) -> str:
    """A name as it may stand in a message: of a bounded length, without control characters."""
    return "".join(c if c.isprintable() else "?" for c in name[:64])


def _checked(text: str, field: str, limit: int) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        # Bytes of a text file that are no UTF-8 come as such halves.
        is_raw = "\udc80" <= text[exc.start] <= "\udcff"
        raise InvalidArgument("not UTF-8" if is_raw else "holds half of a surrogate pair", field=field) from exc
    if size > limit:
        raise InvalidArgument(f"may have at most {limit:,} bytes, has {size:,}", field=field)
    return text


def _plain(value: Any) -> Any:
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal():
            return float(value)
    return value


def to_int(value: Any) -> int | None:
    """A whole number, also as a text or as a number without a fraction; None where it is none."""
    match value:
        case bool():
            return None
        case int():
            return value
        case float() if value.is_integer():
            return int(value)
        case str():
            try:
                return int(value) if value.isascii() and "_" not in value and len(value) < 40 else None
            except ValueError:
                return None
    return None


def to_double(value: Any) -> float | None:
    """A finite number, also as a text; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and (not value.isascii() or "_" in value):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def to_bool(value: Any) -> bool | None:
    """True or false, also as a word; None where it is neither."""
    if isinstance(value, str):
        return _WORDS.get(value.casefold())
    return value if isinstance(value, bool) else None


def _to_text(value: Any) -> str | None:
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
    return None


def _to_texts(value: Any) -> tuple[str, ...] | None:
    """A list of texts; a text is a list of itself, unless it is one in JSON."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return None


_CASTS = {"string": _to_text, "int": to_int, "double": to_double, "bool": to_bool, "strings": _to_texts}
