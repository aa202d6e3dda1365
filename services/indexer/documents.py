"""What is told of an image, as it lies in the index: a serialised sightline.v1.Image, always the same bytes."""

from __future__ import annotations

from collections.abc import Mapping

from services.indexer.chunks import Encoded
from services.indexer.rows import AttributeValue
from sightline.v1 import common_pb2


def document(image: Encoded, attributes: Mapping[str, AttributeValue]) -> bytes:
    """Packs an image with its attributes, which are of the types that the collection's schema says."""
    message = common_pb2.Image(
        id=image.row.id, uri=image.row.uri, caption=image.row.caption, width=image.width, height=image.height
    )
    for name, value in attributes.items():
        message.attributes[name].CopyFrom(_value(value))
    # Maps have no order of their own on the wire.
    return message.SerializeToString(deterministic=True)


def _value(value: AttributeValue) -> common_pb2.Value:
    match value:
        case bool():
            return common_pb2.Value(bool_value=value)
        case str():
            return common_pb2.Value(string_value=value)
        case int():
            return common_pb2.Value(int_value=value)
        case float():
            return common_pb2.Value(double_value=value)
        case tuple():
            return common_pb2.Value(strings_value=common_pb2.StringList(values=value))
