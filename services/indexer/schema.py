"""The types of a collection's attributes, found from its rows."""

from __future__ import annotations

from collections.abc import Mapping

from services.indexer.rows import AttributeValue
from sightline.errors import InvalidArgument

# By the words that sightline.v1.AttributeType uses.
_TYPES: dict[type, str] = {str: "string", bool: "bool", int: "int", float: "double", tuple: "strings"}
_NUMBERS = {"int", "double"}


class Schema:
    """What each attribute is: the type of the first row that has it, where whole numbers make room for others."""

    def __init__(self) -> None:
        self._types: dict[str, str] = {}

    def admit(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Takes a row's attributes into account, all of them or none.

        Raises:
            InvalidArgument: one has another type than earlier rows gave it; names the attribute.
        """
        fresh: dict[str, str] = {}
        for name, value in attributes.items():
            found = _TYPES[type(value)]
            known = self._types.get(name, found)
            if known != found and not {known, found} <= _NUMBERS:
                raise InvalidArgument(f"is {found} here and {known} in earlier rows", field=f"attributes.{name}")
            fresh[name] = "double" if known != found else found
        self._types.update(fresh)

    @property
    def types(self) -> Mapping[str, str]:
        """All of them by name."""
        return dict(self._types)

    def type_of(self, name: str) -> str:
        """One of string, int, double, bool, strings."""
        return self._types[name]

    def conform(self, attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
        """A row's attributes by name in the types that all rows settled on: whole numbers may become others."""
        return {
            name: float(value) if isinstance(value, int) and self._types[name] == "double" else value
            for name, value in sorted(attributes.items())
        }
