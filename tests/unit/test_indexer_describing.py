"""What is shown of a source before anything is done with it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from typer.testing import CliRunner

from services.indexer.__main__ import app
from services.indexer.describing import describe, print_description
from services.indexer.sources import open_source
from tests.unit.source_files import clip_retrieval, img2dataset


def inspect(*arguments: str) -> str:
    """What the command prints."""
    result = CliRunner().invoke(app, ["inspect", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def test_columns_their_types_and_samples_are_shown(tmp_path: Path) -> None:
    """The schema is shown with what became of each column, how full it is, and values of it."""
    table = {"url": ["a", "b"], "text": ["A bird", "Two"], "price": [1.5, None], "box": [{"x": 1}, None]}
    pq.write_table(pa.table(table), tmp_path / "birds.parquet")
    found = describe(open_source(str(tmp_path / "birds.parquet")))
    assert (found.kind, found.parts, found.rows, found.looked_at) == ("parquet", 1, 2, 2)
    assert found.columns == {"uri": "url", "caption": "text"}
    (price,) = found.attributes
    assert (price.name, price.type, price.filled, price.samples) == ("price", "double", 1, ["1.5"])
    printed = inspect(str(tmp_path / "birds.parquet"))
    assert "parquet: 1 part, 2 rows" in printed
    expected = (("url", "uri", "a · b"), ("price", "attribute", "double", "50 %", "1.5"), ("box", "left out", "struct"))
    for words in expected:
        assert any(all(word in line for word in words) for line in printed.splitlines()), (words, printed)


def test_what_cannot_be_indexed_is_shown(tmp_path: Path) -> None:
    """Of rows that cannot be indexed the first few are shown with the reason, markup and control characters as text."""
    (tmp_path / "a.csv").write_text("url,n\na,1\n[red]b\x1b[2J,x\n,2\nc\n")
    printed = inspect(str(tmp_path / "a.csv"))
    assert "2 of the first 4 rows cannot be indexed" in printed
    assert "row 4: url: missing or empty" in printed
    assert "has 1 cells, there are 2 columns" in printed
    assert "[red]b" in printed
    assert "\x1b" not in printed


def test_vectors_are_shown(tmp_path: Path) -> None:
    """Of ready-made embeddings the dimension is shown."""
    assert "clip-retrieval: 2 parts, 6 rows, vectors of 8 dimensions" in inspect(str(clip_retrieval(tmp_path)))


def test_programs_get_json(tmp_path: Path) -> None:
    """For programs all of it is JSON."""
    found = json.loads(inspect(str(img2dataset(tmp_path)), "--json", "--attribute", "width:double"))
    assert (found["kind"], found["parts"], found["rows"]) == ("webdataset", 2, None)
    assert [(one["name"], one["type"]) for one in found["attributes"]] == [("width", "double")]


def test_types_are_overridden(tmp_path: Path) -> None:
    """A type that is given on the command line is the one that is shown, and names may have colons."""
    (tmp_path / "a.csv").write_text("where,sku,words,dc:n\na,7,A bird,1\n")
    columns = ["--uri-column", "where", "--id-column", "sku", "--caption-column", "words"]
    found = json.loads(inspect(str(tmp_path / "a.csv"), *columns, "--type", "dc:n:string", "--json"))
    assert found["columns"] == {"uri": "where", "id": "sku", "caption": "words"}
    assert found["attributes"] == [{"name": "dc:n", "type": "string", "filled": 1, "samples": ["1"]}]
    result = CliRunner().invoke(app, ["inspect", str(tmp_path / "a.csv"), "--type", "n:float"])
    assert result.exit_code == 1
    assert "--type: must be NAME:TYPE" in result.output


def test_an_empty_source_is_shown_as_such(tmp_path: Path) -> None:
    """A folder without anything is shown as one, and no error."""
    console = Console(record=True, width=100)
    print_description(console, describe(open_source(str(tmp_path))))
    assert "folder: 0 parts, 0 rows" in console.export_text()
