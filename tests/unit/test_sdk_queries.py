"""Queries and filters as values, and as the messages that they become."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightline import Filter, ImageId, SearchRequest, Weighted, attribute, image, text, vector
from sightline._filter_messages import from_value, to_filter, to_value
from sightline._translate import from_image, to_query, to_request
from sightline.filters import AttributeValue
from sightline.queries import Picture, Text, as_query
from sightline.v1 import common_pb2


def test_mixtures_are_written_like_the_sums_they_are() -> None:
    """Parts add, subtract and scale, in any order, also by numpy's numbers and when nested."""
    mixed = text("red dress") + 0.5 * image(b"file") - text("stripes")
    assert mixed.terms == ((1.0, Text("red dress")), (0.5, Picture(b"file")), (-1.0, Text("stripes")))
    assert (2 * mixed).terms[1] == (1.0, Picture(b"file"))
    assert (-text("a")).terms == ((-1.0, Text("a")),)
    assert (text("a") - (text("b") - text("c"))).terms == ((1.0, Text("a")), (-1.0, Text("b")), (1.0, Text("c")))
    assert np.float64(0.5) * text("a") == 0.5 * text("a") == text("a") * 0.5


def test_weights_take_what_stands_for_a_query() -> None:
    """Plain words, bytes and arrays may stand in a weighted list, and mixtures within it are scaled."""
    listed = Weighted([(1.0, "dress"), (-0.5, ImageId("7")), (2.0, Weighted([(0.25, b"file")]))])
    assert listed.terms == ((1.0, Text("dress")), (-0.5, ImageId("7")), (0.5, Picture(b"file")))


def test_vectors_travel_as_little_endian_float32() -> None:
    """Whatever numbers they are given in; anything but one row of numbers is no vector."""
    for row in ([1, 2], np.array([1.0, 2.0]), np.array([1, 2], dtype=">f4")):
        message = to_query(as_query(row))
        assert message.vector.values == np.array([1, 2], dtype="<f4").tobytes()
    np.testing.assert_array_equal(vector([1, 2]).values, np.array([1, 2], dtype=np.float32))
    for bad in (np.ones((1, 2)), np.array(["a"]), 3.0, object()):
        with pytest.raises(TypeError):
            vector(bad)  # type: ignore[arg-type]


def test_a_path_is_a_picture_and_a_text_never_is_a_path(tmp_path: Path) -> None:
    """Words are words even where a file of that name exists."""
    (tmp_path / "cat").write_bytes(b"file")
    assert as_query(tmp_path / "cat") == Picture(b"file")
    assert as_query(str(tmp_path / "cat")) == Text(str(tmp_path / "cat"))


def test_a_question_carries_all_its_options() -> None:
    """Each option has its place in the message, and what is not set is not sent."""
    message = to_request(SearchRequest(text("a") - ImageId("7"), "shoes", 3, 0.25, ["caption"], None, 9, True))
    assert [term.weight for term in message.query.weighted.terms] == [1.0, -1.0]
    assert (message.collection, message.top_k, message.min_score) == ("shoes", 3, 0.25)
    assert (list(message.fields.paths), message.generation, message.refuse_partial) == (["caption"], 9, True)
    plain = to_request(SearchRequest("a"))
    assert not plain.HasField("min_score")
    assert not plain.HasField("fields")
    assert not plain.HasField("filter")


def test_filters_combine() -> None:
    """Tests of attributes join with &, | and ~, and become the message of the same shape."""
    condition = (attribute("group").equals("fruit") | attribute("year").between(2000, 2010)) & ~attribute("x").exists()
    message = to_filter(condition)
    either, none = message.all.filters
    assert either.any.filters[0].condition.equals.string_value == "fruit"
    assert either.any.filters[1].condition.range.at_least.int_value == 2000
    assert either.any.filters[1].condition.range.less_than.int_value == 2010
    assert none.none.filters[0].condition.exists


def test_open_ends_and_lists_of_values() -> None:
    """A range may be open at either end, and an attribute may be one of several values."""
    below = to_filter(attribute("price").between(less_than=9.5)).condition.range
    assert below.less_than.double_value == 9.5
    assert not below.HasField("at_least")
    listed = getattr(to_filter(attribute("group").one_of("a", "b")).condition, "in")
    assert [value.string_value for value in listed.values] == ["a", "b"]
    assert not to_filter(attribute("year").exists(False)).condition.exists
    with pytest.raises(TypeError, match=r"sightline\.attribute"):
        to_filter(Filter())


@pytest.mark.parametrize("value", ["text", "", 7, -7, 0, 1.5, True, False, ("a", "b"), ()])
def test_attributes_come_back_as_they_were(value: AttributeValue) -> None:
    """A value keeps its type through the wire: True is not 1, 1 is not 1.0."""
    returned = from_value(common_pb2.Value.FromString(to_value(value).SerializeToString()))
    assert (returned, type(returned)) == (value, type(value))


def test_a_hit_without_fields_still_has_its_id() -> None:
    """Where an image's fields could not be fetched, or no id was asked for, the image has the hit's id."""
    assert from_image(common_pb2.Image(), "7").id == "7"
