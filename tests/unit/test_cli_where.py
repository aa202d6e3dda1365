"""Conditions as the command line takes them."""

from __future__ import annotations

import pytest

from sightline import Filter, InvalidArgument, attribute
from sightline._filtering import meets
from sightline.cli.where import parse_where
from sightline.filters import AttributeValue
from sightline.results import AttributeField, AttributeType

SCHEMA = [
    AttributeField("group", AttributeType.STRING, 1),
    AttributeField("year", AttributeType.INT, 1),
    AttributeField("price", AttributeType.DOUBLE, 1),
    AttributeField("fast", AttributeType.BOOL, 1),
    AttributeField("tags", AttributeType.STRINGS, 1),
    AttributeField("shop name", AttributeType.STRING, 1),
]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("group=fruit", attribute("group").equals("fruit")),
        (" group  !=  dried fruit ", ~attribute("group").equals("dried fruit")),
        ("group=a=b", attribute("group").equals("a=b")),
        ('group=""', attribute("group").equals("")),
        ("shop name = Blé", attribute("shop name").equals("Blé")),
        ("price<50", attribute("price").between(less_than=50)),
        ("price>=9.5", attribute("price").between(at_least=9.5)),
        ("year >= 2000", attribute("year").between(at_least=2000)),
        ("fast=TRUE", attribute("fast").equals(True)),
        ("tags=v-neck", attribute("tags").equals("v-neck")),
        ('tags in v-neck, "a, b"', attribute("tags").one_of("v-neck", "a, b")),
        ("year not in 1999,2001", ~attribute("year").one_of(1999, 2001)),
        ("price exists", attribute("price").exists()),
        ("price not exists", attribute("price").exists(False)),
    ],
)
def test_conditions_are_read_in_the_types_of_the_schema(written: str, meant: Filter) -> None:
    """A condition becomes the filter that it says, its values of the attribute's type."""
    assert parse_where([written], SCHEMA) == meant


@pytest.mark.parametrize("limit", [5, 9.5, -1.0, 2**53])
def test_at_most_and_more_than_are_exact(limit: float) -> None:
    """`<=` holds up to the very value and `>` from the next one on, whole or not."""
    kind = AttributeField("x", AttributeType.INT if isinstance(limit, int) else AttributeType.DOUBLE, 1)
    most, more = parse_where([f"x<={limit}"], [kind]), parse_where([f"x>{limit}"], [kind])
    for value in (limit - 1, limit, limit + 1):
        assert (_met(most, value), _met(more, value)) == (value <= limit, value > limit)


def test_texts_have_an_order_too() -> None:
    """`<=` and `>` compare texts by their code points."""
    most = parse_where(["group<=fruit"], SCHEMA)
    assert [_met(most, one, "group") for one in ("fig", "fruit", "fruits")] == [True, True, False]


def test_all_conditions_must_hold() -> None:
    """Several conditions make one filter; none make none."""
    both = attribute("price").between(less_than=50) & attribute("tags").equals("v-neck")
    assert parse_where(["price<50", "tags=v-neck"], SCHEMA) == both
    assert parse_where([], SCHEMA) is None


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("price", "is no condition"),
        ("=5", "is no condition"),
        ("colour=red", "there are: fast, group"),
        ("price=cheap", "with a number, got 'cheap'"),
        ("price=nan", "with a number"),
        ("fast=1", "true or false"),
        ("tags<5", "no order"),
        ("year in 1,x", "with a number, got 'x'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(written: str, says: str) -> None:
    """A condition outside of the grammar or the schema says what it could have been."""
    with pytest.raises(InvalidArgument, match=says) as caught:
        parse_where([written], SCHEMA)
    assert caught.value.field == "--where"


def _met(condition: Filter | None, value: AttributeValue, name: str = "x") -> bool:
    assert condition
    return meets({name: value}, condition)
