"""Conditions on attributes: small frozen values that combine with `&`, `|` and `~`.

An attribute that an image lacks meets no condition but `exists(False)`, and so meets `~` of any other. Numbers compare
by their exact values, whole or not. Texts are ordered by their code points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

AttributeValue: TypeAlias = str | int | float | bool | Sequence[str]
"""What an attribute of an image may be."""


class Filter:
    """A condition that an image must meet. Made with :func:`attribute`."""

    # A long chain of one operator is one list, however it is bracketed: nesting has a limit.
    def __and__(self, other: Filter) -> Filter:
        return All((*_parts(self, All), *_parts(other, All)))

    def __or__(self, other: Filter) -> Filter:
        return Any((*_parts(self, Any), *_parts(other, Any)))

    def __invert__(self) -> Filter:
        return Not((self,))


@dataclass(frozen=True)
class All(Filter):
    """All of the filters hold."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class Any(Filter):
    """At least one of the filters holds."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class Not(Filter):
    """None of the filters holds."""

    filters: tuple[Filter, ...]


def _parts(condition: Filter, kind: type[All] | type[Any]) -> tuple[Filter, ...]:
    return condition.filters if isinstance(condition, kind) else (condition,)


@dataclass(frozen=True)
class Equals(Filter):
    """The attribute equals the value; a list attribute contains it."""

    attribute: str
    value: AttributeValue


@dataclass(frozen=True)
class OneOf(Filter):
    """The attribute equals one of the values."""

    attribute: str
    values: tuple[AttributeValue, ...]


@dataclass(frozen=True)
class InRange(Filter):
    """The attribute is at least the one end and less than the other; an end that is None is open."""

    attribute: str
    at_least: AttributeValue | None
    less_than: AttributeValue | None


@dataclass(frozen=True)
class Exists(Filter):
    """The attribute is present, or absent."""

    attribute: str
    present: bool


@dataclass(frozen=True)
class Attribute:
    """An attribute by name, to be tested."""

    name: str

    def equals(self, value: AttributeValue) -> Filter:
        """The attribute equals `value`; a list attribute contains it."""
        return Equals(self.name, value)

    def one_of(self, *values: AttributeValue) -> Filter:
        """The attribute equals one of `values`."""
        return OneOf(self.name, values)

    def between(self, at_least: AttributeValue | None = None, less_than: AttributeValue | None = None) -> Filter:
        """The attribute lies in this half-open range; an end that is None is open."""
        return InRange(self.name, at_least, less_than)

    def exists(self, present: bool = True) -> Filter:
        """The attribute is present, or absent where `present` is False."""
        return Exists(self.name, present)


def attribute(name: str) -> Attribute:
    """Names an attribute to test: ``attribute("group").equals("fruit") & ~attribute("year").between(2000, 2010)``."""
    return Attribute(name)
