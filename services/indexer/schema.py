"""The types of a collection's attributes: declared, or found from its rows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from services.indexer.rows import AttributeValue
from sightline.errors import InvalidArgument

# By the words that sightline.v1.AttributeType uses.
_TYPES: dict[type, str] = {str: "string", bool: "bool", int: "int", float: "double", tuple: "strings"}
_NUMBERS = {"int", "double"}

TYPES = tuple(_TYPES.values())
"""What an attribute can be."""


class Schema:
    """What each attribute is: what is declared, else the type of the first row that has it; int makes room for double.

    Args:
        declared: types by name, which no row changes.

    Raises:
        InvalidArgument: a declared type is none of TYPES; names the attribute.
    """

    def __init__(self, declared: Mapping[str, str] = MappingProxyType({})) -> None:
        for name, kind in declared.items():
            if kind not in TYPES:
                raise InvalidArgument(f"may be {', '.join(TYPES)}, not {kind!r}", field=f"attributes.{name}")
        self._declared = dict(declared)
        self._types = dict(declared)

    @classmethod
    def of(cls, types: Mapping[str, str]) -> Schema:
        """The schema that has found these types. They are not declared: whole numbers may still widen."""
        schema = cls(types)
        schema._declared.clear()
        return schema

    @property
    def types(self) -> Mapping[str, str]:
        """string, int, double, bool or strings, by name."""
        return MappingProxyType(self._types)

    def type_of(self, name: str) -> str:
        """One of TYPES."""
        return self._types[name]

    def admit(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Takes a row's attributes into account, all of them or none.

        Raises:
            InvalidArgument: one has another type than was declared, or than earlier rows gave it; names the attribute.
        """
        settled = {name: self._settle(name, _TYPES[type(value)]) for name, value in attributes.items()}
        self._types.update(settled)

    def merge(self, later: Schema) -> None:
        """Takes into account what a later part of the source has found.

        Where it found another type, this schema's stays, and `conform` refuses the rows that have the other.
        """
        for name, found in later.types.items():
            try:
                self._types[name] = self._settle(name, found)
            except InvalidArgument:
                continue

    def conform(self, attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
        """A row's attributes, by name, in the types that all rows settled on: whole numbers may become others.

        Raises:
            InvalidArgument: one has another type; names the attribute.
        """
        return {name: self._conform(name, value) for name, value in sorted(attributes.items())}

    def _conform(self, name: str, value: AttributeValue) -> AttributeValue:
        found, settled = _TYPES[type(value)], self._types[name]
        if found == settled:
            return value
        if (found, settled) == ("int", "double"):
            return float(value)  # type: ignore[arg-type]
        raise self._conflict(name, found)

    def _settle(self, name: str, found: str) -> str:
        known = self._types.get(name, found)
        if known == found or (known, found) == ("double", "int"):
            return known
        if (known, found) == ("int", "double") and name not in self._declared:
            return "double"
        raise self._conflict(name, found)

    def _conflict(self, name: str, found: str) -> InvalidArgument:
        where = "is declared" if name in self._declared else "in earlier rows"
        known = self._types[name]
        return InvalidArgument(f"is {found} here and {known} {where}", field=f"attributes.{name}")
