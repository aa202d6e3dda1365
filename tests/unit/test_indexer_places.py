"""Sources and pictures on other machines: a web server, and one that speaks S3."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.indexer.places import locate
from services.indexer.reading import FETCH_ATTEMPTS, Picture, Reader, fetch_file
from services.indexer.rows import Refusal, Row
from services.indexer.sources import SourceOptions, open_source
from sightline.errors import InvalidArgument, NotFound, Unavailable
from tests.unit.indexer_fakes import PREPARATION, picture_bytes
from tests.unit.serving import s3_server, web_server
from tests.unit.source_files import clip_retrieval, img2dataset, write_tar


@pytest.fixture(scope="module")
def s3() -> Iterator[None]:
    with s3_server():
        yield


@pytest.fixture(params=["http", "s3"])
def carry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Carries what lies in `tmp_path` to a server, and gives its address there."""
    if request.param == "http":
        with web_server(tmp_path) as server:
            yield lambda: server.url
        return
    request.getfixturevalue("s3")

    def upload() -> str:
        bucket = f"bucket-{secrets.token_hex(4)}"
        fs = fsspec.filesystem("s3", use_listings_cache=False)
        fs.mkdir(bucket)
        fs.put(f"{tmp_path}/", f"{bucket}/", recursive=True)
        return f"s3://{bucket}"

    yield upload


def read(address: str, options: SourceOptions | None = None) -> list[tuple[Row, bytes]]:
    """All rows of a source with the bytes of their pictures, as far as they have any."""
    found = []
    for row in open_source(address, options or SourceOptions()).items:
        assert isinstance(row, Row), row
        found.append((row, fetch_file(row.location, row.span) if row.vector is None else b""))
    return found


class TestFarSources:
    def test_a_folder(self, tmp_path: Path, carry: Callable[[], str]) -> None:
        """A folder of pictures is listed and read from afar."""
        for name in ("a.png", "b b.png", "sub/c.png"):
            (tmp_path / "birds" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "birds" / name).write_bytes(picture_bytes())
        found = read(f"{carry()}/birds/", SourceOptions(kind="folder"))
        assert [row.id for row, _ in found] == ["a.png", "b b.png", "sub/c.png"]
        assert all(data == picture_bytes() for _, data in found)

    @pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
    def test_a_table(self, tmp_path: Path, carry: Callable[[], str], kind: str) -> None:
        """Addresses in a table far away are found beside it."""
        (tmp_path / "pictures").mkdir()
        (tmp_path / "pictures/a.png").write_bytes(picture_bytes())
        (tmp_path / "birds.csv").write_text("url,n\npictures/a.png,1\n")
        (tmp_path / "birds.jsonl").write_text('{"url": "pictures/a.png", "n": 1}')
        pq.write_table(pa.table({"url": ["pictures/a.png"], "n": [1]}), tmp_path / "birds.parquet")
        ((row, data),) = read(f"{carry()}/birds.{kind}")
        assert (row.uri, dict(row.attributes), data) == ("pictures/a.png", {"n": 1}, picture_bytes())

    def test_archives(self, tmp_path: Path, carry: Callable[[], str]) -> None:
        """Archives are read from afar, each picture by its range."""
        img2dataset(tmp_path)
        found = read(f"{carry()}/{{00000..00001}}.tar")
        assert [row.id for row, _ in found] == [f"{shard:05d}{number:04d}" for shard in range(2) for number in range(3)]
        assert [data for _, data in found] == [
            picture_bytes("JPEG", grey=10 * shard + number) for shard in range(2) for number in range(3)
        ]

    def test_embeddings(self, tmp_path: Path, carry: Callable[[], str]) -> None:
        """Ready-made embeddings are read from afar, equal to those that lie here."""
        clip_retrieval(tmp_path)
        far = [row for row, _ in read(carry())]
        near = [row for row, _ in read(str(tmp_path))]
        assert len(far) == 6
        for there, here in zip(far, near, strict=True):
            assert there.id == here.id
            assert there.vector is not None
            assert here.vector is not None
            assert np.array_equal(there.vector, here.vector)

    def test_what_is_not_there(self, carry: Callable[[], str]) -> None:
        """A source that a server does not have is not taken for an empty one."""
        with pytest.raises(NotFound):
            open_source(f"{carry()}/nothing.csv")


class TestPatterns:
    def test_a_pattern_names_files(self, tmp_path: Path, s3: None) -> None:
        """A pattern names the archives that fit it, in their order, on any server that lists."""
        img2dataset(tmp_path, shards=3, samples=1)
        fs = fsspec.filesystem("s3", use_listings_cache=False)
        fs.mkdir("patterns")
        fs.put(f"{tmp_path}/", "patterns/birds/", recursive=True)
        for address in ("s3://patterns/birds/*.tar", "s3://patterns/birds/0000[0-2].tar", "s3://patterns/birds"):
            assert [part.name for part in open_source(address).parts] == ["00000.tar", "00001.tar", "00002.tar"]

    def test_an_address_may_have_a_query(self, tmp_path: Path) -> None:
        """What follows the question mark of a web address, such as a signature, is no part of a file's name."""
        (tmp_path / "birds.csv").write_text("url\na.png\n")
        with web_server(tmp_path) as server:
            source = open_source(f"{server.url}/birds.csv?signature=a*b")
            (row,) = source.items
        assert source.kind == "csv"
        assert isinstance(row, Row)
        assert row.location == f"{server.url}/a.png"

    def test_counting_must_end(self, tmp_path: Path) -> None:
        """Numbers in braces count up, and not for ever."""
        for braces in ("{5..1}", "{0..9999999999}"):
            with pytest.raises(InvalidArgument, match="must count up"):
                open_source(f"{tmp_path}/{braces}.tar")


class TestWebServers:
    def test_a_picture_takes_one_request(self, tmp_path: Path) -> None:
        """A picture on a web server is asked for once, without asking for its size first."""
        (tmp_path / "a.png").write_bytes(picture_bytes())
        with web_server(tmp_path) as server:
            assert fetch_file(f"{server.url}/a.png") == picture_bytes()
            assert [method for method, _, _ in server.asked] == ["GET"]

    def test_a_picture_of_an_archive_takes_one_range(self, tmp_path: Path) -> None:
        """Of an archive on a web server, no more than the picture is asked for."""
        write_tar(tmp_path / "a.tar", {"a.png": picture_bytes(), "b.png": picture_bytes(grey=7)})
        with web_server(tmp_path) as server:
            row = list(open_source(f"{server.url}/a.tar").items)[1]
            assert isinstance(row, Row)
            assert row.span is not None
            server.asked.clear()
            assert fetch_file(row.location, row.span) == picture_bytes(grey=7)
            start, length = row.span
            assert server.asked == [("GET", "/a.tar", f"bytes={start}-{start + length - 1}")]

    def test_archives_need_ranges(self, tmp_path: Path) -> None:
        """From a server that serves files only as a whole, archives are refused, tables and pictures are not."""
        write_tar(tmp_path / "a.tar", {"a.png": picture_bytes()})
        (tmp_path / "a.png").write_bytes(picture_bytes())
        (tmp_path / "a.csv").write_text("url\na.png\n")
        with web_server(tmp_path, ranges=False) as server:
            with pytest.raises(InvalidArgument, match="does not serve ranges"):
                list(open_source(f"{server.url}/a.tar").items)
            ((row, data),) = read(f"{server.url}/a.csv")
            assert (row.uri, data) == ("a.png", picture_bytes())

    def test_endless_files_are_left(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """No more than the limit is read of a file, whatever the server sends."""
        monkeypatch.setattr("services.indexer.reading.FILE_LIMIT", 1 << 20)
        with (tmp_path / "a.png").open("wb") as file:
            file.truncate(8 << 30)
        with web_server(tmp_path) as server, pytest.raises(InvalidArgument, match="more than 1 MiB"):
            fetch_file(f"{server.url}/a.png")

    def test_a_table_on_the_web_names_the_web(self, tmp_path: Path) -> None:
        """A table that comes from a web server leads to that server, not into the files of this machine."""
        theirs = ("file:///etc/a.png", "file:a.png", "local:///a.png", "tar://a.png::/b.tar")
        (tmp_path / "a.csv").write_text("url\n/etc/hostname\ns3://b/c.png\n" + "\n".join(theirs))
        with web_server(tmp_path) as server:
            first, second, *others = open_source(f"{server.url}/a.csv").items
            assert isinstance(first, Row)
            assert isinstance(second, Row)
            assert (first.location, second.location) == (f"{server.url}/etc/hostname", "s3://b/c.png")
            reasons = [one.reason for one in others if isinstance(one, Refusal)]
            assert reasons == ["a table on the web may not name files of this machine"] * len(theirs)

    def test_a_silent_server_is_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that takes a request and says nothing is not waited for without end."""
        monkeypatch.setattr("services.indexer.places.SILENT_SECONDS", 0.1)
        with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
            fetch_file(f"http://127.0.0.1:{silent.getsockname()[1]}/a.png")

    def test_connections_are_kept(self, tmp_path: Path) -> None:
        """Many pictures of one server come over one connection."""
        for number in range(10):
            (tmp_path / f"{number}.png").write_bytes(picture_bytes(grey=number))
        with web_server(tmp_path) as server:
            for number in range(10):
                assert fetch_file(f"{server.url}/{number}.png") == picture_bytes(grey=number)
            assert len(server.callers) == 1

    async def test_what_a_server_refuses_is_not_asked_again(self, tmp_path: Path) -> None:
        """A picture that is gone is a refusal at once; one that cannot be reached is tried again first."""
        pauses: list[float] = []
        with ThreadPoolExecutor(1) as executor, web_server(tmp_path) as server:
            reader = Reader(PREPARATION, executor, pause=pauses.append)
            gone = await reader.read(Row("a", "a", f"{server.url}/a.png"))
            assert isinstance(gone, Refusal)
            assert "FileNotFoundError" in gone.reason
            assert pauses == []
            dead = await reader.read(Row("a", "a", "http://127.0.0.1:9/a.png"))
            assert isinstance(dead, Refusal)
            assert len(pauses) == FETCH_ATTEMPTS - 1


class TestS3:
    def test_an_empty_object_is_called_empty(self, s3: None) -> None:
        """An object without content is refused as such, though no range of it exists."""
        fs = fsspec.filesystem("s3", use_listings_cache=False)
        fs.mkdir("empty")
        fs.pipe("empty/a.png", b"")
        with pytest.raises(InvalidArgument, match="the file is empty"):
            fetch_file("s3://empty/a.png")

    def test_a_server_that_is_gone_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a server cannot be reached, the source is unavailable, not empty."""
        with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9/a\.csv cannot be read"):
            open_source("http://127.0.0.1:9/a.csv")


async def test_a_picture_in_an_archive_becomes_a_prepared_picture(tmp_path: Path) -> None:
    """What is a part of a file is read and prepared as a file of its own would be; a vector needs no reading."""
    (row,) = open_source(str(write_tar(tmp_path / "a.tar", {"a.png": picture_bytes()}))).items
    assert isinstance(row, Row)
    with ThreadPoolExecutor(1) as executor:
        reader = Reader(PREPARATION, executor)
        picture = await reader.read(row)
        assert isinstance(picture, Picture)
        assert picture.pixels[4, 4].tolist() == [90, 30, 30]
        made = await reader.read(Row("a", "", "", vector=np.ones(1, np.float32)))
        assert isinstance(made, Picture)
        assert (made.width, made.thumbnail) == (0, b"")


def test_places_know_their_names() -> None:
    """A place is named by its path, without what a web address has behind it."""
    assert locate("http://h/a/b.csv?x=/c.tar").name == "b.csv"
    assert locate("/a/b.csv").url == "file:///a/b.csv"
