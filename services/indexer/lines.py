"""One line of a JSONL source: `{"id": …, "uri": …, "caption": …, "attributes": {…}}`. Only uri must be there."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from services.indexer.rows import AttributeValue
from sightline.errors import InvalidArgument

CAPTION_LIMIT = 16_384
URI_LIMIT = 8_192
NAME_LIMIT = 128
ATTRIBUTES_LIMIT = 256

_KEYS = ("id", "uri", "caption", "attributes")


@dataclass(frozen=True, slots=True)
class Line:
    """What a line says."""

    id: str
    uri: str
    caption: str
    attributes: Mapping[str, AttributeValue]


def parse_line(line: bytes) -> Line:
    """Reads one line. Raises InvalidArgument with the field and what is wrong with it."""
    record = _parse_json(line)
    if not isinstance(record, dict):
        raise InvalidArgument("a line must be a JSON object")
    if unknown := [key for key in record if key not in _KEYS]:
        raise InvalidArgument(f"unknown; a line has {', '.join(_KEYS)}", field=_short(unknown[0]))
    uri = _text(record, "uri", URI_LIMIT)
    if not uri:
        raise InvalidArgument("missing or empty", field="uri")
    return Line(
        id=_text(record, "id", URI_LIMIT) or uri,
        uri=uri,
        caption=_text(record, "caption", CAPTION_LIMIT),
        attributes=_attributes(record.get("attributes")),
    )


def _parse_json(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as exc:
        raise InvalidArgument(f"not UTF-8 at byte {exc.start}") from exc
    except (ValueError, RecursionError) as exc:
        raise InvalidArgument(f"not JSON: {exc}") from exc


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _text(record: dict[str, Any], key: str, limit: int) -> str:
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidArgument("must be a text", field=key)
    return _checked(value, key, limit)


def _checked(text: str, field: str, limit: int) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise InvalidArgument("holds half of a surrogate pair", field=field) from exc
    if size > limit:
        raise InvalidArgument(f"may have at most {limit:,} bytes, has {size:,}", field=field)
    return text


def _attributes(record: Any) -> dict[str, AttributeValue]:
    if record is None:
        return {}
    if not isinstance(record, dict):
        raise InvalidArgument("must be an object", field="attributes")
    if len(record) > ATTRIBUTES_LIMIT:
        raise InvalidArgument(f"may be at most {ATTRIBUTES_LIMIT}, are {len(record)}", field="attributes")
    return {_name(name): _value(name, value) for name, value in record.items() if value is not None}


def _name(name: str) -> str:
    if not name:
        raise InvalidArgument("a name may not be empty", field="attributes")
    return _checked(name, f"attributes.{_short(name)}", NAME_LIMIT)


def _value(name: str, value: Any) -> AttributeValue:
    field = f"attributes.{_short(name)}"
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
        case list() if all(isinstance(item, str) for item in value):
            return tuple(_checked(item, field, CAPTION_LIMIT) for item in value)
    raise InvalidArgument("must be a text, a number, true or false, or a list of texts", field=field)


def _short(name: str) -> str:
    """A name as it may stand in a message: of a bounded length, without control characters."""
    return "".join(c if c.isprintable() else "?" for c in name[:64])
