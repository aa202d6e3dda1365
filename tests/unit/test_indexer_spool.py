"""The spool: what a build has so far."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from services.indexer.rows import Row
from services.indexer.spool import Encoded, Spool


def _encoded(identifier: str, value: float = 1.0) -> Encoded:
    row = Row(identifier, "uri", "elsewhere", "words", {"tags": ("x", "y"), "n": 1, "d": 1.0, "b": True}, line=7)
    return Encoded(row, 640, 480, b"thumb", np.array([value, 0], dtype=np.float32))


def test_images_come_back_by_shard_and_id_as_they_went_in(tmp_path: Path) -> None:
    """A shard's images come sorted by the bytes of their ids, with everything that was known of them."""
    spool = Spool(tmp_path / "spool")
    spool.add([(0, _encoded("b")), (1, _encoded("z"))])
    spool.add([(0, _encoded("é")), (0, _encoded("a")), (0, _encoded("\U0001f34e")), (0, _encoded("Ａ"))])
    found = list(spool.shard(0))
    assert [image.row.id for image in found] == ["a", "b", "é", "Ａ", "\U0001f34e"]
    first, expected = found[0], _encoded("a")
    assert (first.row.uri, first.row.caption, first.row.line) == ("uri", "words", 7)
    assert dict(first.row.attributes) == dict(expected.row.attributes)
    assert [type(value) for value in first.row.attributes.values()] == [tuple, int, float, bool]
    assert (first.width, first.height, first.thumbnail) == (640, 480, b"thumb")
    assert first.vector.tolist() == [1.0, 0.0]
    assert [image.row.id for image in spool.shard(1)] == ["z"]


def test_an_id_belongs_to_the_row_that_came_first(tmp_path: Path) -> None:
    """The second to claim an id learns who has it."""
    spool = Spool(tmp_path / "spool")
    assert spool.claim(Row("a", "u", "u", line=3)) is None
    assert spool.claim(Row("a", "v", "v", line=9)) == 3


def test_a_sample_is_spread_over_all(tmp_path: Path) -> None:
    """Every n-th vector can be had, from the first on."""
    spool = Spool(tmp_path / "spool")
    spool.add([(0, _encoded(f"{i}", float(i))) for i in range(7)])
    assert [vector[0] for vector in spool.every(3)] == [0.0, 3.0, 6.0]
