"""Sources: CSV and Parquet tables, and what their columns become."""

from __future__ import annotations

import datetime
import decimal
import gzip
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.indexer.rows import Refusal, Row
from services.indexer.sources import Source, SourceOptions, open_source
from sightline.errors import InvalidArgument, NotFound


def rows(source: Source) -> list[Row]:
    """All rows, of which none is refused."""
    found = list(source.items)
    assert all(isinstance(row, Row) for row in found), found
    return [row for row in found if isinstance(row, Row)]


def csv(tmp_path: Path, text: str | bytes, name: str = "birds.csv") -> str:
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(file)


def parquet(tmp_path: Path, columns: Mapping[str, Any], name: str = "birds.parquet", **options: Any) -> str:
    pq.write_table(pa.table(dict(columns)), tmp_path / name, **options)
    return str(tmp_path / name)


class TestColumns:
    @pytest.mark.parametrize("uri", ["uri", "URL", "image", "image_path", "path", "file_name"])
    @pytest.mark.parametrize("caption", ["caption", "TEXT", "title"])
    def test_usual_names_are_known(self, tmp_path: Path, uri: str, caption: str) -> None:
        """Columns of addresses and captions are found by their usual names, in whatever case."""
        source = open_source(csv(tmp_path, f"{caption},{uri}\nA bird,a.jpg\n"))
        (row,) = rows(source)
        assert (row.uri, row.id, row.caption, dict(row.attributes)) == ("a.jpg", "a.jpg", "A bird", {})
        assert source.columns == {"uri": uri, "caption": caption}

    def test_the_caller_says_which(self, tmp_path: Path) -> None:
        """A column that the caller names goes before one with a usual name, which is an attribute then."""
        options = SourceOptions(uri="where", id="sku", caption="words")
        source = open_source(csv(tmp_path, "url,where,sku,words\nu,w,7,x\n"), options)
        (row,) = rows(source)
        assert (row.uri, row.id, row.caption, dict(row.attributes)) == ("w", "7", "x", {"url": "u"})

    def test_only_chosen_columns_become_attributes(self, tmp_path: Path) -> None:
        """Where attributes are named, others are left out, and what they hold troubles nobody."""
        options = SourceOptions(attributes=("price",), types={"price": "double"})
        (row,) = rows(open_source(csv(tmp_path, f"url,price,{'n' * 300}\nu,3,x\n"), options))
        assert dict(row.attributes) == {"price": 3.0}

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (SourceOptions(uri="nowhere"), "--uri-column: there is no column 'nowhere' .*; there are a, b"),
            (SourceOptions(), "--uri-column: say which column .*; there are a, b"),
            (SourceOptions(uri="a", attributes=("c",)), "--attribute: there is no column 'c'"),
            (SourceOptions(uri="a", types={"c": "int"}), "--type: there is no column 'c' .*; there are a, b"),
            (SourceOptions(uri="a", types={"b": "float"}), "attributes.b: may be string, .* not 'float'"),
            (SourceOptions(kind="xml"), "--source-kind: may be folder, .* not 'xml'"),
        ],
    )
    def test_what_does_not_fit_is_named(self, tmp_path: Path, options: SourceOptions, message: str) -> None:
        """A column that is not there, or is needed and not said, is told with those that are there."""
        with pytest.raises(InvalidArgument, match=message):
            open_source(csv(tmp_path, "a,b\n1,2\n"), options)

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            ("url,x,x", "two columns 'x'"),
            ("url," + "n" * 129, "may have at most 128 bytes, has 129"),
            ("url," + ",".join(f"c{i}" for i in range(300)), "may be 256 attributes, the source has 300"),
            ("", "must name the columns"),
        ],
    )
    def test_absurd_headers_are_refused(self, tmp_path: Path, header: str, message: str) -> None:
        """A table whose columns cannot be attributes is refused before its rows are read."""
        with pytest.raises(InvalidArgument, match=message):
            open_source(csv(tmp_path, f"{header}\n"))

    def test_other_encodings_are_named(self, tmp_path: Path) -> None:
        """A table that is no UTF-8 is told so, and not that it lacks columns."""
        with pytest.raises(InvalidArgument, match="is not UTF-8"):
            open_source(csv(tmp_path, "url,caption\na,b\n".encode("utf-16")))


class TestCsv:
    def test_types_are_inferred(self, tmp_path: Path) -> None:
        """A column is what all its first cells are; an empty cell is missing, and numbers like 007 stay texts."""
        text = "url,int,double,bool,word,code,mixed\na,1,0.5,true,x,007,1\nb,-2,3,False,y,010,z\nc,,,,,,\n"
        first, second, third = (dict(row.attributes) for row in rows(open_source(csv(tmp_path, text))))
        assert first == {"int": 1, "double": 0.5, "bool": True, "word": "x", "code": "007", "mixed": "1"}
        assert second == {"int": -2, "double": 3.0, "bool": False, "word": "y", "code": "010", "mixed": "z"}
        assert isinstance(second["double"], float)
        assert third == {}

    def test_a_later_cell_that_does_not_fit_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A cell that is not what the first rows have is refused by name; a fraction among whole numbers is not."""
        monkeypatch.setattr("services.indexer.sources.delimited.LOOKED_AT", 2)
        text = "url,n\na,1\nb,2\nc,2.5\nd,many\n"
        found = list(open_source(csv(tmp_path, text)).items)
        assert [dict(row.attributes) for row in found if isinstance(row, Row)] == [{"n": 1}, {"n": 2}, {"n": 2.5}]
        assert found[3] == Refusal("d", "attributes.n: 'many' is no int, as the first rows are", 5)

    def test_declared_types_win(self, tmp_path: Path) -> None:
        """A declared type is what cells are read as, and those that do not fit are refused."""
        types = {"zip": "string", "n": "double", "ok": "bool", "tags": "strings"}
        text = 'url,zip,n,ok,tags\na,1,1,TRUE,"[""x"", ""y""]"\nb,2,2,false,z\nc,3,x,false,z\nd,4,4,0,z\n'
        first, second, third, fourth = open_source(csv(tmp_path, text), SourceOptions(types=types)).items
        assert isinstance(first, Row)
        assert dict(first.attributes) == {"zip": "1", "n": 1.0, "ok": True, "tags": ("x", "y")}
        assert isinstance(second, Row)
        assert second.attributes["tags"] == ("z",)
        assert third == Refusal("c", "attributes.n: 'x' is no double", 4)
        assert fourth == Refusal("d", "attributes.ok: '0' is no bool", 5)

    @pytest.mark.parametrize(("mark", "name"), [(";", "a.csv"), ("\t", "a.tsv"), (",", "a.csv")])
    def test_the_delimiter_is_found(self, tmp_path: Path, mark: str, name: str) -> None:
        """Commas, semicolons and tabs part cells, whichever the first line has most of."""
        (row,) = rows(open_source(csv(tmp_path, f"\ufeffurl{mark}caption\na{mark}Bird\n", name)))
        assert (row.uri, row.caption, row.line) == ("a", "Bird", 2)

    def test_cells_may_have_line_ends(self, tmp_path: Path) -> None:
        """A quoted cell may go over several lines; a row's line is where it begins."""
        first, second = rows(open_source(csv(tmp_path, 'url,caption\r\na,"two\r\nlines"\r\n\r\nb,"say ""hi"""\r\n')))
        assert (first.caption, first.line) == ("two\r\nlines", 2)
        assert (second.caption, second.line) == ('say "hi"', 5)

    def test_a_broken_quote_costs_one_line(self, tmp_path: Path) -> None:
        """A quote that is never closed costs the line that it stands in, not all that come after it."""
        lines = [f"u{i},{i}" for i in range(100)]
        lines[10] = 'u10,"no end'
        lines[20] = 'u20,"a"b'
        found = list(open_source(csv(tmp_path, "url,caption\n" + "\n".join(lines))).items)
        refused = [row for row in found if isinstance(row, Refusal)]
        assert [row.line for row in refused] == [12, 22]
        assert all("not CSV" in row.reason for row in refused)
        assert len(found) == 100
        assert [row.line for row in found] == list(range(2, 102))

    def test_bad_rows_do_not_hide_others(self, tmp_path: Path) -> None:
        """Rows with too few or too many cells, no UTF-8, no address, or no end are refused one by one."""
        text = b"url,caption\na\nb,x,y\nc,\xff\n,z\nd," + b"x" * 3_000_000 + b"\ne," + b"y" * 20_000 + b"\nf,ok\n"
        *refused, last = open_source(csv(tmp_path, text)).items
        assert isinstance(last, Row)
        assert (last.uri, last.line) == ("f", 8)
        reasons = [row.reason for row in refused if isinstance(row, Refusal)]
        assert [row.line for row in refused] == [2, 3, 4, 5, 6, 7]
        assert "has 1 cells, there are 2 columns" in reasons[0]
        assert "has 3 cells" in reasons[1]
        assert "caption: not UTF-8" in reasons[2]
        assert "url: missing or empty" in reasons[3]
        assert "not CSV" in reasons[4] or "may have at most" in reasons[4]
        assert "caption: may have at most 16,384 bytes" in reasons[5]

    def test_packed_files_are_read(self, tmp_path: Path) -> None:
        """A packed table is unpacked on the way; one that is cut off says after which line."""
        whole = gzip.compress(b"url,caption\n" + b"".join(b"u%d,%d\n" % (i, i * i) for i in range(5000)))
        assert len(rows(open_source(csv(tmp_path, whole, "birds.csv.gz")))) == 5000
        *read, last = open_source(csv(tmp_path, whole[: len(whole) // 2], "birds.csv.gz")).items
        assert len(read) > 1000
        assert isinstance(last, Refusal)
        assert f"cut off or broken after line {len(read) + 1:,}" in last.reason

    def test_several_files_are_one_source(self, tmp_path: Path) -> None:
        """A folder of tables, or a pattern, is read file by file; one that lacks the column says so row by row."""
        csv(tmp_path, "url,n\na,1\n", "1.csv")
        csv(tmp_path, "n,url\n2,b\n", "2.csv")
        csv(tmp_path, "n,where\n3,c\n", "3.csv")
        for source in (
            open_source(str(tmp_path)),
            open_source(f"{tmp_path}/*.csv"),
            open_source(f"{tmp_path}/{{1..3}}.csv"),
        ):
            assert [part.name for part in source.parts] == ["1.csv", "2.csv", "3.csv"]
            first, second, third = source.items
            assert isinstance(first, Row)
            assert isinstance(second, Row)
            assert (first.uri, second.uri, dict(second.attributes)) == ("a", "b", {"n": 2})
            assert isinstance(third, Refusal)
            assert "url: missing" in third.reason


class TestParquet:
    def test_column_types_are_the_schema(self, tmp_path: Path) -> None:
        """Attributes have the types of the file's columns; times become ISO texts, decimals doubles, NaN nothing."""
        zone = datetime.timezone(datetime.timedelta(hours=2))
        file = parquet(
            tmp_path,
            {
                "url": ["a", "b"],
                "id": [7, 8],
                "int": pa.array([1, None], pa.int16()),
                "double": pa.array([0.5, float("nan")], pa.float32()),
                "bool": [True, False],
                "word": pa.array(["x", "x"]).dictionary_encode(),
                "tags": [["x", "y"], []],
                "price": [decimal.Decimal("1.25"), None],
                "day": [datetime.date(2024, 1, 2), None],
                "at": pa.array(
                    [datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=zone), None], pa.timestamp("ns", "+02:00")
                ),
                "nested": [{"x": 1}, None],
                "bytes": [b"x", b"y"],
            },
        )
        source = open_source(file)
        first, second = rows(source)
        assert (first.id, first.line, second.line) == ("7", 1, 2)
        assert dict(first.attributes) == {
            "int": 1,
            "double": 0.5,
            "bool": True,
            "word": "x",
            "tags": ("x", "y"),
            "price": 1.25,
            "day": "2024-01-02",
            "at": "2024-01-02T01:04:05+00:00",
        }
        assert dict(second.attributes) == {"bool": False, "word": "x", "tags": ()}
        expected = ["int", "double", "bool", "string", "strings", "double", "string", "string"]
        assert list(source.types.values()) == expected
        assert source.left_out == {"nested": "struct<x: int64>", "bytes": "binary"}

    def test_nested_columns_are_refused_by_name_where_they_are_wanted(self, tmp_path: Path) -> None:
        """A column that cannot be an attribute is an error only for those who ask for it."""
        file = parquet(tmp_path, {"url": ["a"], "nested": [{"x": 1}], "image": [{"bytes": b""}]})
        assert dict(rows(open_source(file))[0].attributes) == {}
        with pytest.raises(InvalidArgument, match="no column 'nested' that it could be"):
            open_source(file, SourceOptions(attributes=("nested",)))
        with pytest.raises(InvalidArgument, match=r"no column 'image' .* there are url, but not nested \(struct"):
            open_source(file, SourceOptions(uri="image"))

    def test_columns_without_names_are_left_out(self, tmp_path: Path) -> None:
        """What pandas keeps its index in, and what has no name, is no attribute."""
        source = open_source(parquet(tmp_path, {"url": ["a"], "": [1], "__index_level_0__": [2]}))
        assert [dict(row.attributes) for row in rows(source)] == [{}]
        assert source.left_out == {"": "without a name", "__index_level_0__": "an index of pandas"}

    def test_each_group_of_rows_is_a_part(self, tmp_path: Path) -> None:
        """Groups of rows are read one without the other, and every row knows its number in the file."""
        file = parquet(tmp_path, {"url": [f"{i}" for i in range(10)]}, row_group_size=4)
        source = open_source(file)
        assert [(part.name, part.total) for part in source.parts] == [
            ("birds.parquet#0000", 4),
            ("birds.parquet#0001", 4),
            ("birds.parquet#0002", 2),
        ]
        assert source.total == 10
        found = list(source.parts[1].rows())
        assert found == list(source.parts[1].rows())
        assert [(row.uri, row.line) for row in found] == [("4", 5), ("5", 6), ("6", 7), ("7", 8)]

    def test_files_with_different_columns_are_one_source(self, tmp_path: Path) -> None:
        """What the first file has says what a column is; whole numbers make room for others, texts take anything."""
        parquet(tmp_path, {"url": ["a"], "n": [1], "t": ["x"]}, "1.parquet")
        parquet(tmp_path, {"t": [5], "n": [0.5], "url": ["b"], "more": [True]}, "2.parquet")
        source = open_source(str(tmp_path))
        assert dict(source.types) == {"n": "double", "t": "string", "more": "bool"}
        assert [dict(row.attributes) for row in rows(source)] == [
            {"n": 1.0, "t": "x"},
            {"t": "5", "n": 0.5, "more": True},
        ]

    def test_what_is_no_parquet_is_named(self, tmp_path: Path) -> None:
        """A file that is broken as a whole is named before any row of the source is read."""
        parquet(tmp_path, {"url": ["a"]}, "1.parquet")
        (tmp_path / "2.parquet").write_bytes((tmp_path / "1.parquet").read_bytes()[:-20])
        with pytest.raises(InvalidArgument, match=r"2\.parquet is no sound Parquet file"):
            open_source(str(tmp_path))

    def test_a_broken_page_loses_the_rows_behind_it_and_says_so(self, tmp_path: Path) -> None:
        """Where a file is broken within, the rows that cannot be read are told, and other parts are read."""
        file = Path(parquet(tmp_path, {"url": [f"u{i:06d}" for i in range(1000)]}, row_group_size=500))
        data = bytearray(file.read_bytes())
        data[4:60] = b"\xff" * 56
        file.write_bytes(data)
        first, second = (list(part.rows()) for part in open_source(str(file)).parts)
        assert isinstance(first[-1], Refusal)
        assert "cannot be read" in first[-1].reason
        assert [type(row) for row in second] == [Row] * 500

    def test_a_value_that_is_no_text_costs_one_row(self, tmp_path: Path) -> None:
        """Bytes that are no UTF-8 in a column of texts cost the row that has them."""
        bad = pa.Array.from_buffers(
            pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"\xffx")]
        )
        first, second = open_source(parquet(tmp_path, {"url": ["a", "b"], "t": bad})).items
        assert isinstance(first, Refusal)
        assert "cannot be read" in first.reason
        assert isinstance(second, Row)

    def test_memory_does_not_grow_with_the_table(self, tmp_path: Path) -> None:
        """A table is read a piece at a time, and columns that nobody wants are not read at all."""
        heavy = ["x" * 30_000] * 1000
        file = parquet(tmp_path, {"url": [f"{i}" for i in range(1000)], "heavy": heavy}, use_dictionary=False)
        source = open_source(file, SourceOptions(attributes=()))
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        assert sum(1 for _ in source.items) == 1000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 8_000_000
        assert pa.total_allocated_bytes() - before < 8_000_000


def test_mixed_folders_ask_which(tmp_path: Path) -> None:
    """A folder of several kinds of tables is not guessed at; the caller says which."""
    csv(tmp_path, "url\na\n")
    parquet(tmp_path, {"url": ["b"]})
    with pytest.raises(InvalidArgument, match="holds csv, parquet; --source-kind"):
        open_source(str(tmp_path))
    assert [row.uri for row in rows(open_source(str(tmp_path), SourceOptions(kind="parquet")))] == ["b"]
    with pytest.raises(NotFound, match="no webdataset"):
        open_source(str(tmp_path), SourceOptions(kind="webdataset"))


def test_pictures_beside_a_table_make_a_folder(tmp_path: Path) -> None:
    """A folder with pictures in it is a folder of pictures, unless its table is named."""
    csv(tmp_path, "url\na.jpg\n")
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert open_source(str(tmp_path)).kind == "folder"
    assert open_source(str(tmp_path / "birds.csv")).kind == "csv"
    assert open_source(str(tmp_path), SourceOptions(kind="csv")).kind == "csv"
