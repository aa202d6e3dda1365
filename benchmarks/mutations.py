"""Request messages that nobody would send: changed in what they mean, and in how they lie on the wire."""

from __future__ import annotations

import copy
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from sightline.v1 import common_pb2

_INT = (0, 1, -1, 2**7, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 1000, 1001)
_UINT = (0, 1, 9, 10, 64, 1000, 1001, 2**31, 2**32 - 1, 2**64 - 1)
_FLOAT = (0.0, -0.0, 1.0, -1.0, 1e-45, 3e38, -3e38, float("nan"), float("inf"), float("-inf"))
_WORDS = (
    *("", " ", "\t\n", "a", "red apple", "image-000001", "stamped", "nobody", "caption", "attributes.generation", "*"),
    *(
        "\x00",
        "\x1b[2J",
        "\u202eevil",
        "’; DROP TABLE images;--",
        "../../etc/passwd",
        "{{7*7}}",
        "%s%n",
        "e\u0301" * 40,
    ),
    *("猫" * 400, "x" * 4096, "x" * 4097, "👩‍👩‍👧" * 50, "\ufffe\uffff", "Ω" * 2048, "a b " * 300),
)
_DEPTH = 8  # of what is made up; filters go deeper
_MOST = 30  # repeated items that a change adds, but for the rare time when it is hundreds

Change = Callable[[Any], None]


class Mutations:
    """Changes messages, the same every time for one seed.

    Args:
        seed: of all that is drawn.
        files: image files, whole and broken.
    """

    def __init__(self, seed: int, files: Sequence[bytes]) -> None:
        self._draw = random.Random(seed)
        self._bytes = [b"", b"\x00", b"\xff" * 7, *files]

    def of(self, seeds: Sequence[Message]) -> bytes:
        """Returns one of the messages, changed a few times, as it goes over the wire."""
        message = copy.deepcopy(self._draw.choice(seeds))
        for _ in range(self._draw.randrange(4)):
            self._change(message)
        data = message.SerializeToString()
        if self._draw.random() < 0.35:
            for _ in range(self._draw.choice((1, 1, 2, 5))):
                data = self._draw.choice(_WIRE)(self._draw, data)
        return data

    def _change(self, message: Message) -> None:
        """Changes one place of a message: itself, or one of those in it."""
        places = list(_messages_in(message))
        place: Any = self._draw.choice(places)
        if self._draw.random() < 0.1:
            twins = [one for one in places if one is not place and one.DESCRIPTOR is place.DESCRIPTOR]
            if twins:
                place.CopyFrom(copy.deepcopy(self._draw.choice(twins)))
                return
        if isinstance(place, common_pb2.Filter) and self._draw.random() < 0.5:
            self._nest(place)
        elif fields := place.DESCRIPTOR.fields:
            self._set(place, self._draw.choice(fields))

    def _set(self, place: Any, field: FieldDescriptor, depth: int = 0) -> None:
        if depth > _DEPTH or self._draw.random() < 0.15:
            place.ClearField(field.name)
        elif field.message_type and field.message_type.GetOptions().map_entry:
            self._into_map(getattr(place, field.name), field)
        elif field.is_repeated:
            self._repeat(getattr(place, field.name), field, depth)
        elif field.message_type:
            inner = getattr(place, field.name)
            inner.SetInParent()
            self._fill(inner, depth)
        else:
            setattr(place, field.name, self._scalar(field))

    def _fill(self, place: Any, depth: int) -> None:
        if fields := place.DESCRIPTOR.fields:
            self._set(place, self._draw.choice(fields), depth + 1)

    def _repeat(self, items: Any, field: FieldDescriptor, depth: int) -> None:
        count = self._draw.choice((1, 2, _MOST)) if self._draw.random() < 0.98 else self._draw.choice((257, 1001))
        if not field.message_type:
            items.extend(self._scalar(field) for _ in range(count))
            return
        if not items or self._draw.random() < 0.5:
            self._fill(items.add(), depth)
        if depth == 0:
            items.extend([self._draw.choice(list(items)) for _ in range(count - 1)])

    def _into_map(self, entries: Any, field: FieldDescriptor) -> None:
        value: Any = field.message_type.fields_by_name["value"]  # type: ignore[union-attr]
        name = self._draw.choice(_WORDS)
        if value.message_type:
            self._fill(entries[name], 0)
        else:
            entries[name] = self._scalar(value)

    def _nest(self, place: common_pb2.Filter) -> None:
        """Wraps a filter in as many others as a message can hold: its reader stops at a hundred."""
        try:
            place.ParseFromString(_nested(self._draw, place.SerializeToString(), self._draw.choice((1, 5, 20, 40))))
        except DecodeError:  # it was deep already
            place.Clear()

    def _scalar(self, field: FieldDescriptor) -> Any:
        kinds: dict[int, Callable[[], Any]] = {
            FieldDescriptor.CPPTYPE_STRING: lambda: self._text_or_bytes(field),
            FieldDescriptor.CPPTYPE_BOOL: lambda: self._draw.random() < 0.5,
            FieldDescriptor.CPPTYPE_INT32: lambda: self._draw.choice([n for n in _INT if -(2**31) <= n < 2**31]),
            FieldDescriptor.CPPTYPE_INT64: lambda: self._draw.choice(_INT),
            FieldDescriptor.CPPTYPE_UINT32: lambda: self._draw.choice([n for n in _UINT if n < 2**32]),
            FieldDescriptor.CPPTYPE_UINT64: lambda: self._draw.choice(_UINT),
            FieldDescriptor.CPPTYPE_FLOAT: lambda: self._draw.choice(_FLOAT),
            FieldDescriptor.CPPTYPE_DOUBLE: lambda: self._draw.choice(_FLOAT),
            FieldDescriptor.CPPTYPE_ENUM: lambda: self._draw.choice((0, 1, 2, 99, -1)),
        }
        return kinds[field.cpp_type]()

    def _text_or_bytes(self, field: FieldDescriptor) -> str | bytes:
        if field.type != FieldDescriptor.TYPE_BYTES:
            return self._draw.choice(_WORDS)
        if self._draw.random() < 0.5:
            return self._draw.choice(self._bytes)
        numbers = [self._draw.choice((*_FLOAT, self._draw.gauss(0, 1))) for _ in range(self._draw.choice((1, 31, 32)))]
        return struct.pack(f"<{len(numbers)}f", *numbers)


def _messages_in(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if not field.message_type:
            continue
        if field.message_type.GetOptions().map_entry:
            inner = list(value.values()) if field.message_type.fields_by_name["value"].message_type else []
        else:
            inner = list(value)[:_MOST] if field.is_repeated else [value]
        for one in inner:
            yield from _messages_in(one)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _nested(draw: random.Random, inner: bytes, levels: int) -> bytes:
    """A filter as bytes, in so many others."""
    for _ in range(levels):
        listed = b"\x0a" + _varint(len(inner)) + inner  # FilterList.filters
        inner = bytes([draw.choice((0x12, 0x1A, 0x22))]) + _varint(len(listed)) + listed  # Filter.all, any, none
    return inner


# What happens to bytes.


def _cut(draw: random.Random, data: bytes) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _flip(draw: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]


def _insert(draw: random.Random, data: bytes) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] + draw.randbytes(draw.randrange(1, 9)) + data[at:]


def _remove(draw: random.Random, data: bytes) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] + data[at + draw.randrange(1, 9) :]


def _again(draw: random.Random, data: bytes) -> bytes:
    return data + data[: draw.randrange(len(data) + 1)] if len(data) < 100_000 else data


def _other_type(draw: random.Random, data: bytes) -> bytes:
    """The first field says that it is of another wire type."""
    return bytes([data[0] & 0xF8 | draw.randrange(8)]) + data[1:] if data else b"\x0f"


def _unknown(draw: random.Random, data: bytes) -> bytes:
    """A field that no version has: newer callers send such."""
    number = draw.choice((50, 1000, 2**29 - 1))
    return data + _varint(number << 3 | 2) + b"\x03new"


def _endless(draw: random.Random, data: bytes) -> bytes:
    """A length that goes on beyond all bounds."""
    return data + b"\x0a" + draw.choice((b"\xff" * 9 + b"\x01", b"\xff" * 11, b"\x80" * 10, _varint(2**31 - 1)))


def _no_utf8(draw: random.Random, data: bytes) -> bytes:
    """A letter becomes half of one."""
    letters = [at for at, byte in enumerate(data[:4096]) if 0x61 <= byte <= 0x7A]
    if not letters:
        return data
    at = draw.choice(letters)
    return data[:at] + draw.choice((b"\xff", b"\xc3", b"\xed")) + data[at + 1 :]


def _abyss(draw: random.Random, data: bytes) -> bytes:
    """Groups in groups, deeper than any reader goes."""
    return data + b"\x0b" * draw.choice((10, 99, 101, 5000))


def _deep_filter(draw: random.Random, data: bytes) -> bytes:
    """A filter in filters, up to where no reader follows; to most messages it is a field of another type."""
    inner = _nested(draw, b"\x0a\x00", draw.choice((48, 49, 50, 200, 2000)))
    return data + b"\x32" + _varint(len(inner)) + inner  # SearchRequest.filter


_WIRE = (_cut, _flip, _insert, _remove, _again, _other_type, _unknown, _endless, _no_utf8, _abyss, _deep_filter)
