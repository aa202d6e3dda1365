"""The types that attributes settle on, over all chunks, from the kinds of rows that each has seen.

Two rows whose attributes have the same names and types are of one kind, and what becomes of the first becomes of all:
so the kinds of a chunk, in the order in which they came, say all that its rows would.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from services.indexer.rows import AttributeValue
from services.indexer.schema import Schema
from sightline.errors import InvalidArgument

Kinds = tuple[tuple[str, str], ...]

_EXAMPLES: dict[str, AttributeValue] = {"string": "", "bool": False, "int": 0, "double": 0.0, "strings": ()}


def kinds_of(attributes: Mapping[str, AttributeValue]) -> Kinds:
    """Each attribute of a row and its type, by name."""
    schema = Schema()
    schema.admit(attributes)
    return tuple(sorted(schema.types.items()))


def settle(declared: Mapping[str, str], kinds: Iterable[Kinds]) -> dict[str, str]:
    """The type of each attribute: of the first row that has it, where int makes room for double.

    Args:
        declared: types that no row changes.
        kinds: of all rows that have a picture, in their order; rows that do not fit in count for nothing.
    """
    schema = Schema(declared)
    for kind in kinds:
        try:
            schema.admit({name: _EXAMPLES[of] for name, of in kind})
        except InvalidArgument:
            continue
    return dict(sorted(schema.types.items()))


def settled(declared: Mapping[str, str], types: Mapping[str, str]) -> Schema:
    """The schema that has come to these types."""
    schema = Schema(declared)
    schema.admit({name: _EXAMPLES[of] for name, of in types.items()})
    return schema


def conform(schema: Schema, attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """A row's attributes in the types that were settled on. Raises InvalidArgument where one has another."""
    # What only refused rows have, has no type; such a row is refused for another of its attributes.
    return schema.conform({name: value for name, value in attributes.items() if name in schema.types})
