"""The schema: attribute types found from rows."""

from __future__ import annotations

import pytest

from services.indexer.rows import AttributeValue
from services.indexer.schema import Schema
from sightline.errors import InvalidArgument


def _schema(*rows: dict[str, AttributeValue]) -> Schema:
    schema = Schema()
    for row in rows:
        schema.admit(row)
    return schema


def test_each_of_the_five_types_is_found() -> None:
    """An attribute is what its first row makes it."""
    schema = _schema({"s": "x", "i": 1, "d": 1.0, "b": True, "l": ()})
    assert [schema.type_of(name) for name in "sidbl"] == ["string", "int", "double", "bool", "strings"]


@pytest.mark.parametrize("rows", [({"n": 1}, {"n": 0.5}), ({"n": 0.5}, {"n": 1})])
def test_whole_numbers_widen(rows: tuple[dict[str, AttributeValue], ...]) -> None:
    """Where some rows have whole numbers and some others, all become numbers, in whichever order they come."""
    schema = _schema(*rows)
    assert schema.type_of("n") == "double"
    widened = schema.conform({"n": 1})
    assert widened == {"n": 1.0}
    assert isinstance(widened["n"], float)


@pytest.mark.parametrize(("first", "second"), [("x", 1), (1, "x"), (True, 1), (1, True), ("x", ("x",)), (0.5, False)])
def test_other_types_do_not_mix(first: AttributeValue, second: AttributeValue) -> None:
    """A row whose attribute has another type than earlier rows gave it is refused, with the attribute's name."""
    schema = _schema({"a": first})
    with pytest.raises(InvalidArgument, match="in earlier rows") as caught:
        schema.admit({"a": second})
    assert caught.value.field == "attributes.a"


def test_a_refused_row_leaves_no_trace() -> None:
    """A refused row decides nothing for the rows after it, not even by its other attributes."""
    schema = _schema({"a": "x"})
    with pytest.raises(InvalidArgument):
        schema.admit({"b": 1, "a": 1})
    schema.admit({"b": "text"})
    assert schema.type_of("b") == "string"


def test_attributes_come_by_name() -> None:
    """Whatever order a row has its attributes in, they are stored in the same one."""
    assert list(_schema({"b": 1, "a": 2}).conform({"b": 1, "a": 2})) == ["a", "b"]


def test_declared_types_win() -> None:
    """No row changes a type that is declared; whole numbers fit where numbers are declared, and not the other way."""
    schema = Schema({"n": "double", "i": "int"})
    schema.admit({"n": 1, "i": 1})
    assert dict(schema.types) == {"n": "double", "i": "int"}
    with pytest.raises(InvalidArgument, match=r"attributes\.i: is double here and int is declared"):
        schema.admit({"i": 0.5})
    with pytest.raises(InvalidArgument, match=r"attributes\.n: may be string, .*, not 'float'"):
        Schema({"n": "float"})


def test_parts_are_merged_in_their_order() -> None:
    """What a later part found is added; where both differ the earlier stands, but for whole numbers, which widen."""
    schema = _schema({"n": 1, "t": "x"})
    schema.merge(_schema({"n": 0.5, "t": 3, "b": True}))
    assert dict(schema.types) == {"n": "double", "t": "string", "b": "bool"}
    with pytest.raises(InvalidArgument, match=r"attributes\.t: is int here and string in earlier rows"):
        schema.conform({"n": 1, "t": 3})


def test_a_schema_is_made_again_from_its_types() -> None:
    """Types that were kept make a schema that goes on where the first one stood."""
    schema = Schema.of(_schema({"n": 1}).types)
    schema.admit({"n": 0.5})
    assert dict(schema.types) == {"n": "double"}
    assert dict(Schema.of(schema.types).types) == {"n": "double"}
