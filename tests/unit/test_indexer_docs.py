"""docs/indexing.md: what it says of sources is what they do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.indexer.rows import Row
from services.indexer.sources import KINDS, open_source
from services.indexer.sources.columns import CAPTION, ID, URI
from services.indexer.sources.tars import NOTES
from services.pictures import FORMATS

PAGE = (Path(__file__).parents[2] / "docs" / "indexing.md").read_text()


def row_of_table(what: str) -> str:
    """The line of a table that begins with these words."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {what}")]
    return line


def test_all_kinds_are_told() -> None:
    """The page lists the kinds that there are, and no others."""
    table = PAGE[PAGE.index("| kind | what it is") : PAGE.index("Look before you build")]
    told = [
        kind
        for line in table.splitlines()[2:]
        for kind in re.findall(r"`([a-z-]+)`", line.split("|")[1] if line else "")
    ]
    assert tuple(told) == KINDS


@pytest.mark.parametrize(("what", "names"), [("where the picture is", URI), ("id:", ID), ("caption:", CAPTION)])
def test_usual_names_of_columns_are_told(what: str, names: tuple[str, ...]) -> None:
    """The page lists the names of columns that are known, in the order in which they are tried."""
    assert tuple(re.findall(r"`(\w+)`", row_of_table(what).split("|")[2])) == names


def test_its_tables_are_sources(tmp_path: Path) -> None:
    """The tables that the page shows are read as it says."""
    for kind, block in (("csv", r"```\n(url,.*?)```"), ("jsonl", r"```json\n(\{.*?)```")):
        found = re.search(block, PAGE, re.DOTALL)
        assert found is not None
        (tmp_path / f"shop.{kind}").write_text(found[1])
    first, second = open_source(str(tmp_path / "shop.csv")).items
    assert isinstance(first, Row)
    assert isinstance(second, Row)
    assert (first.location, dict(first.attributes)) == (
        f"{tmp_path}/pictures/81.jpg",
        {"price": 59.9, "in_stock": True},
    )
    assert (second.caption, second.attributes["price"]) == ("Blue dress, long", 79.0)
    (line,) = open_source(str(tmp_path / "shop.jsonl")).items
    assert isinstance(line, Row)
    assert (line.id, line.location) == ("sku-81", "s3://shop/81.jpg")
    assert dict(line.attributes) == {"price": 59.9, "tags": ("v-neck",)}


def test_formats_and_notes_are_told() -> None:
    """The page names the formats that are read, and the notes that it says are passed over."""
    for kind in FORMATS:
        assert {"HEIF": "HEIC", "WEBP": "WebP"}.get(kind, kind) in PAGE
    notes = re.search(r"own notes \((.*?)…", PAGE, re.DOTALL)
    assert notes is not None
    assert set(re.findall(r"`(\w+)`", notes[1])) <= NOTES
