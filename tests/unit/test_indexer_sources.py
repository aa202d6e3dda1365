"""Sources: what a folder and a JSONL file name, and what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest

from services.indexer.rows import Refusal, Row
from services.indexer.sources import open_source
from services.indexer.sources.lines import LINE_LIMIT
from sightline.errors import InvalidArgument, NotFound


def _lines(tmp_path: Path, *lines: bytes | str | dict[str, object]) -> list[Row | Refusal]:
    file = tmp_path / "images.jsonl"
    encoded = [
        line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
        for line in lines
    ]
    file.write_bytes(b"\n".join(encoded))
    return list(open_source(str(file)).items)


def _row(tmp_path: Path, line: dict[str, object]) -> Row:
    (row,) = _lines(tmp_path, line)
    assert isinstance(row, Row), row
    return row


def _reason(tmp_path: Path, line: bytes | str | dict[str, object]) -> str:
    (refusal,) = _lines(tmp_path, line)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.line == 1
    return refusal.reason


class TestFolder:
    def test_files_come_by_path_with_their_relative_path_as_id(self, tmp_path: Path) -> None:
        """A folder's files come in the order of their paths, and each is named by its path from the folder."""
        for name in ("b.png", "a/z.jpg", "a/deep/x.webp"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        source = open_source(str(tmp_path))
        rows = [row for row in source.items if isinstance(row, Row)]
        assert [row.id for row in rows] == ["a/deep/x.webp", "a/z.jpg", "b.png"]
        assert rows[2].uri == f"file://{tmp_path}/b.png"
        assert source.total == 3

    def test_hidden_files_and_folders_are_passed_over(self, tmp_path: Path) -> None:
        """What hides behind a leading dot is no part of a source."""
        for name in (".DS_Store", ".cache/a.png", "a.png"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        assert [row.id for row in open_source(str(tmp_path)).items if isinstance(row, Row)] == ["a.png"]

    def test_files_that_are_no_pictures_are_counted_apart(self, tmp_path: Path) -> None:
        """What lies beside pictures by its name is counted, and is neither read nor told as broken; what has an
        unknown ending, or none, may be a picture."""
        for name in ("a.JPG", "b", "c.xyz", "raw.cr2", "README.TXT", "Thumbs.db", ".DS_Store", ".git/x.png", "d/m.mov"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        source = open_source(str(tmp_path))
        assert [row.id for row in source.items if isinstance(row, Row)] == ["a.JPG", "b", "c.xyz", "raw.cr2"]
        assert (source.total, source.passed_over) == (4, 5)

    def test_any_file_system_will_do(self) -> None:
        """A folder may lie anywhere that fsspec reaches."""
        memory = fsspec.filesystem("memory")
        memory.pipe("/photos-test/a b.png", b"x")
        (row,) = open_source("memory://photos-test").items
        assert isinstance(row, Row)
        assert row.id == "a b.png"
        with fsspec.open(row.location) as file:
            assert file.read() == b"x"

    def test_what_is_not_there_is_named(self, tmp_path: Path) -> None:
        """A source that does not exist is not taken for an empty one."""
        with pytest.raises(NotFound, match="nowhere"):
            open_source(str(tmp_path / "nowhere"))

    def test_other_files_and_unknown_schemes_are_no_sources(self, tmp_path: Path) -> None:
        """A file whose name says no kind of source, and an address that nobody can read, are told so."""
        (tmp_path / "photo.png").write_bytes(b"x")
        with pytest.raises(InvalidArgument, match="neither a folder nor"):
            open_source(str(tmp_path / "photo.png"))
        with pytest.raises(InvalidArgument, match="no address"):
            open_source("nosuch://photos")


class TestLines:
    def test_a_line_may_say_everything(self, tmp_path: Path) -> None:
        """A line gives id, uri, caption, and attributes of five types; null is none."""
        attributes = {"s": "red", "i": 3, "d": 0.5, "b": True, "l": ["x", "y"], "n": None}
        row = _row(tmp_path, {"id": "1", "uri": "a.png", "caption": "An apple", "attributes": attributes})
        assert (row.id, row.uri, row.caption, row.line) == ("1", "a.png", "An apple", 1)
        assert dict(row.attributes) == {"s": "red", "i": 3, "d": 0.5, "b": True, "l": ("x", "y")}

    def test_only_the_uri_must_be_there(self, tmp_path: Path) -> None:
        """Without an id, the uri is the id."""
        row = _row(tmp_path, {"uri": "https://example.org/a.png"})
        assert row.id == row.uri == row.location == "https://example.org/a.png"

    def test_a_relative_uri_lies_beside_the_file(self, tmp_path: Path) -> None:
        """A uri without a scheme is read from where the JSONL file lies, and told as it was given."""
        row = _row(tmp_path, {"uri": "pictures/a.png"})
        assert (row.uri, row.location) == ("pictures/a.png", f"{tmp_path}/pictures/a.png")
        assert _row(tmp_path, {"uri": "/data/a.png"}).location == "/data/a.png"

    def test_blank_lines_and_a_byte_order_mark_do_no_harm(self, tmp_path: Path) -> None:
        """Blank lines count, so that the numbers are those that an editor shows."""
        first, second = _lines(tmp_path, b'\xef\xbb\xbf{"uri": "a"}', b"", b"  ", b'{"uri": "b"}')
        assert (first.line, second.line) == (1, 4)

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("{", "not JSON"),
            (b'{"uri": "\xff"}', "not UTF-8 at byte 9"),
            ("[]", "must be a JSON object"),
            ({}, "uri: missing or empty"),
            ({"uri": ""}, "uri: missing or empty"),
            ({"uri": 3}, "uri: must be a text"),
            ({"uri": "a", "meta": {"x": 1}}, "attributes.meta: must be"),
            ({"uri": "a", "x": 1, "attributes": {"x": 2}}, "attributes.x: given twice"),
            ({"uri": "a", "caption": "x" * 20_000}, "caption: may have at most 16,384 bytes, has 20,000"),
            ({"uri": "a", "attributes": []}, "attributes: must be an object"),
            ({"uri": "a", "attributes": {"x": {}}}, "attributes.x: must be"),
            ({"uri": "a", "attributes": {"x": [1]}}, "attributes.x: must be"),
            ({"uri": "a", "attributes": {"": 1}}, "a name may not be empty"),
            ({"uri": "a", "attributes": {"n": 1 << 63}}, "attributes.n: a whole number must fit into 64 bits"),
            ({"uri": "a", "attributes": {f"a{i}": 1 for i in range(257)}}, "may be at most 256, are 257"),
            ('{"uri": "a", "attributes": {"x": NaN}}', "NaN is no JSON number"),
            ('{"uri": "a", "attributes": {"x": 1e999}}', "attributes.x: must be"),
            ('{"uri": "a\\ud800"}', "surrogate"),
            ("[" * 100_000, "not JSON"),
        ],
    )
    def test_a_bad_line_is_refused_with_field_and_limit(
        self, tmp_path: Path, line: bytes | str | dict[str, object], reason: str
    ) -> None:
        """A bad line is refused by number, with the field at fault and what is wrong with it."""
        assert reason in _reason(tmp_path, line)

    def test_lines_are_counted_beforehand_where_they_are_near(self, tmp_path: Path) -> None:
        """How many lines there are is known from the start for a file on this machine, blank ones left out."""
        file = tmp_path / "images.jsonl"
        file.write_bytes(b'{"uri": "a"}\n\n{"uri": "b"}')
        assert open_source(str(file)).total == 2

    def test_a_bad_line_does_not_hide_those_after_it(self, tmp_path: Path) -> None:
        """After a refused line, even one without an end in sight, the next is read."""
        bad, good = _lines(tmp_path, b"x" * (3 * LINE_LIMIT), b'{"uri": "a"}')
        assert isinstance(bad, Refusal)
        assert bad.reason == "a line may have at most 1,048,576 bytes"
        assert isinstance(good, Row)
        assert good.line == 2
