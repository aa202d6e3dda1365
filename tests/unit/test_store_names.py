"""The rules for names."""

from __future__ import annotations

from collections import Counter

import pytest

from services.store import check_collection, check_id, shard_of
from sightline.errors import InvalidArgument


@pytest.mark.parametrize("identifier", ["a", "a/b c.jpg", "红苹果", "x" * 512, "\u202e"])
def test_an_id_may_be_any_text(identifier: str) -> None:
    """An id is any text of 1 to 512 bytes without control characters."""
    assert check_id(identifier) == identifier.encode()


@pytest.mark.parametrize(
    ("identifier", "limit"),
    [
        ("", "1 to 512 bytes"),
        ("é" * 257, "1 to 512 bytes"),
        ("a\0b", "control"),
        ("a\x85", "control"),
        ("\ud800", "UTF-8"),
    ],
)
def test_a_wrong_id_is_refused_by_name(identifier: str, limit: str) -> None:
    """What is no id is refused with the field and the limit."""
    with pytest.raises(InvalidArgument, match=limit) as caught:
        check_id(identifier, field="query.id")
    assert caught.value.field == "query.id"


@pytest.mark.parametrize("name", ["", "A", "a_b", "a/b", "..", "x" * 64, "a\n"])
def test_a_wrong_collection_name_is_refused(name: str) -> None:
    """A collection's name is 1 to 63 lower-case letters, digits and hyphens, and nothing that leads elsewhere."""
    with pytest.raises(InvalidArgument, match="lower-case") as caught:
        check_collection(name)
    assert caught.value.field == "collection"


def test_an_image_stays_in_its_shard() -> None:
    """The shard of an id is part of the format at rest: these may never change."""
    assert [shard_of(identifier, 8) for identifier in ("a", "b", "红苹果", "emoji/1f34e")] == [7, 5, 7, 7]


def test_images_spread_evenly() -> None:
    """Shards come out about equally large."""
    sizes = Counter(shard_of(f"image-{number}", 4) for number in range(4000))
    assert sorted(sizes) == [0, 1, 2, 3]
    assert max(sizes.values()) - min(sizes.values()) < 200
