"""Sources: webdataset archives as img2dataset writes them, and archives that mean no good."""

from __future__ import annotations

import io
import json
import tarfile
import tracemalloc
from pathlib import Path

import fsspec
import pytest

from services.indexer.reading import fetch_file
from services.indexer.rows import Refusal, Row
from services.indexer.sources import SourceOptions, open_source
from sightline.errors import InvalidArgument
from tests.unit.indexer_fakes import picture_bytes
from tests.unit.source_files import img2dataset, write_tar


def items(path: Path, options: SourceOptions | None = None) -> list[Row | Refusal]:
    return list(open_source(str(path), options or SourceOptions()).items)


def row(path: Path, options: SourceOptions | None = None) -> Row:
    (found,) = items(path, options)
    assert isinstance(found, Row), found
    return found


def refusal(path: Path, options: SourceOptions | None = None) -> Refusal:
    (found,) = items(path, options)
    assert isinstance(found, Refusal), found
    return found


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A member that is no file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


class TestImg2dataset:
    def test_a_folder_of_archives_is_a_source(self, tmp_path: Path) -> None:
        """Each archive is a part, in the order of names; what img2dataset notes beside them is passed over."""
        source = open_source(str(img2dataset(tmp_path / "birds")))
        assert source.kind == "webdataset"
        assert [part.name for part in source.parts] == ["00000.tar", "00001.tar"]
        assert source.columns == {"uri": "url", "caption": ".txt"}
        found = list(source.items)
        assert [one.id for one in found if isinstance(one, Row)] == [
            f"{shard:05d}{number:04d}" for shard in range(2) for number in range(3)
        ]
        assert found == list(source.items)

    def test_a_sample_is_a_row(self, tmp_path: Path) -> None:
        """Key, address, caption and attributes come from the files that belong to the picture."""
        first = next(open_source(str(img2dataset(tmp_path / "birds"))).items)
        assert isinstance(first, Row)
        assert (first.id, first.uri, first.caption) == (
            "000000000",
            "https://example.org/000000000.jpg",
            "bird 000000000",
        )
        assert dict(first.attributes) == {"score": 0.0}

    def test_a_picture_is_read_by_its_range(self, tmp_path: Path) -> None:
        """A row says where in the archive its picture is, and reading that gives the file that was put there."""
        for number, found in enumerate(items(img2dataset(tmp_path / "birds", shards=1) / "00000.tar")):
            assert isinstance(found, Row)
            assert fetch_file(found.location, found.span) == picture_bytes("JPEG", grey=number)

    def test_what_img2dataset_notes_can_be_asked_for(self, tmp_path: Path) -> None:
        """Its notes are no attributes unless they are named."""
        folder = img2dataset(tmp_path / "birds", shards=1, samples=1)
        options = SourceOptions(attributes=("width", "status"), types={"width": "double"})
        assert dict(row(folder, options).attributes) == {"width": 40.0, "status": "success"}

    def test_ids_and_captions_from_its_notes(self, tmp_path: Path) -> None:
        """Ids and captions may come from the JSON of a sample."""
        folder = img2dataset(tmp_path / "birds", shards=1, samples=1)
        found = row(folder, SourceOptions(id="url", caption="license"))
        assert (found.id, found.caption) == ("https://example.org/000000000.jpg", "")


class TestWebdataset:
    def test_a_picture_alone_is_enough(self, tmp_path: Path) -> None:
        """Without any text a sample has its key as id, and the address that fsspec opens it by."""
        found = row(write_tar(tmp_path / "a.tar", {"x/1.png": picture_bytes()}))
        assert (found.id, found.caption, dict(found.attributes)) == ("x/1", "", {})
        with fsspec.open(found.uri) as file:
            assert file.read() == picture_bytes()

    def test_files_belong_together_by_their_names(self, tmp_path: Path) -> None:
        """What differs only in its ending is one sample; of several pictures the first is taken."""
        members = {
            "a.seg.txt": b"no",
            "a.JPG": picture_bytes(),
            "a.png": b"second",
            "a.cls": b"7",
            "a.txt": b" Bird \n",
        }
        found = row(write_tar(tmp_path / "a.tar", members))
        assert (found.id, found.caption) == ("a", "Bird")
        assert fetch_file(found.location, found.span) == picture_bytes()

    def test_files_without_a_picture_are_told(self, tmp_path: Path) -> None:
        """A sample without a picture is refused; files without an ending are no samples."""
        file = write_tar(tmp_path / "a.tar", {"README": b"x", "a.txt": b"x", "b.jpg": picture_bytes()})
        first, second = items(file)
        assert isinstance(first, Refusal)
        assert first.reason == "there is no picture beside these files"
        assert first.uri == f"tar://a::file://{file}"
        assert isinstance(second, Row)

    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("json", b"{", "a.json: not JSON"),
            ("json", b"[1]", "a.json: it must be a JSON object"),
            ("json", b'{"score": [1]}', "attributes.score: must be a text"),
            ("json", b'{"x": 123456789012345678901234567890}', "attributes.x: a whole number must fit into 64 bits"),
            ("txt", b"\xff", "a.txt: not UTF-8 at byte 0"),
            ("txt", b"x" * 20_000, "may have at most 16,384 bytes"),
            ("json", b" " * (2 << 20), "a.json: may have at most 1,048,576 bytes"),
        ],
    )
    def test_bad_texts_are_refused(self, tmp_path: Path, name: str, content: bytes, reason: str) -> None:
        """A sample whose texts cannot be read is refused with what is wrong; the next is read."""
        members = {"a.jpg": picture_bytes(), f"a.{name}": content, "b.jpg": picture_bytes()}
        first, second = items(write_tar(tmp_path / "a.tar", members))
        assert isinstance(first, Refusal)
        assert reason in first.reason
        assert isinstance(second, Row)

    def test_objects_in_its_json_are_left_out(self, tmp_path: Path) -> None:
        """What cannot be an attribute is left out and named, so that the picture is not lost for it."""
        members = {"a.jpg": picture_bytes(), "a.json": json.dumps({"box": {"x": 1}, "n": 1}).encode()}
        source = open_source(str(write_tar(tmp_path / "a.tar", members)))
        (found,) = source.items
        assert isinstance(found, Row)
        assert (dict(found.attributes), source.left_out) == ({"n": 1}, {"box": "an object"})

    def test_packed_archives_are_refused(self, tmp_path: Path) -> None:
        """An archive that is packed as a whole has no ranges: the caller is told to unpack it."""
        (tmp_path / "a.tar.gz").write_bytes(b"x")
        with pytest.raises(InvalidArgument, match="unpack it"):
            open_source(str(tmp_path / "a.tar.gz"))


class TestHostile:
    @pytest.mark.parametrize("name", ["../../etc/passwd.jpg", "/etc/passwd.jpg", "a/../../b.jpg", "~root/x.jpg"])
    def test_paths_lead_nowhere(self, tmp_path: Path, name: str) -> None:
        """A member's name is a name and never a path: only bytes of the archive are read."""
        found = row(write_tar(tmp_path / "a.tar", {name: picture_bytes()}))
        assert found.id == name.removesuffix(".jpg")
        assert found.location == str(tmp_path / "a.tar")
        assert fetch_file(found.location, found.span) == picture_bytes()

    @pytest.mark.parametrize(
        ("member", "reason"),
        [
            (special("a.jpg", tarfile.SYMTYPE, "/etc/passwd"), "a.jpg is a link and no file"),
            (special("a.jpg", tarfile.LNKTYPE, "/etc/passwd"), "a.jpg is a link and no file"),
            (special("a.jpg", tarfile.CHRTYPE), "a.jpg is no plain file"),
            (special("a.jpg", tarfile.FIFOTYPE), "a.jpg is no plain file"),
        ],
    )
    def test_links_and_devices_are_refused(self, tmp_path: Path, member: tarfile.TarInfo, reason: str) -> None:
        """A link or a device in the place of a picture is refused and not followed."""
        first, second = items(write_tar(tmp_path / "a.tar", {"a": member, "b.jpg": picture_bytes()}))
        assert isinstance(first, Refusal)
        assert first.reason == reason
        assert isinstance(second, Row)

    def test_folders_are_passed_over(self, tmp_path: Path) -> None:
        """Folders in an archive are no samples."""
        assert row(write_tar(tmp_path / "a.tar", {"d": special("d.x/", tarfile.DIRTYPE), "a.jpg": picture_bytes()}))

    @pytest.mark.parametrize("kept", [0.3, 0.5, 0.77, 0.97])
    def test_a_cut_off_archive_says_so(self, tmp_path: Path, kept: float) -> None:
        """Of an archive that was cut off, what is whole is read, and the rest is told as lost."""
        file = img2dataset(tmp_path / "birds", shards=1, samples=20) / "00000.tar"
        data = file.read_bytes()
        whole = len(items(file))
        end = len(data.rstrip(b"\0"))
        file.write_bytes(data[: int(end * kept)])
        found = items(file)
        last = found[-1]
        assert isinstance(last, Refusal)
        assert "cut off or broken" in last.reason
        assert len(found) <= whole + 1
        for one in found:
            if isinstance(one, Row):
                assert fetch_file(one.location, one.span).startswith(b"\xff\xd8")

    def test_an_archive_without_its_end_mark_says_so(self, tmp_path: Path) -> None:
        """An archive that ends between two files is not taken for a whole one."""
        file = write_tar(tmp_path / "a.tar", {"a.jpg": picture_bytes(), "b.jpg": picture_bytes()})
        file.write_bytes(file.read_bytes()[:1024])
        first, last = items(file)
        assert isinstance(first, Row)
        assert isinstance(last, Refusal)
        assert "without an end mark" in last.reason

    def test_a_broken_header_says_so(self, tmp_path: Path) -> None:
        """What is no header where one must be is told, with its place."""
        file = write_tar(tmp_path / "a.tar", {"a.jpg": picture_bytes(), "b.jpg": picture_bytes()})
        data = bytearray(file.read_bytes())
        data[1024:1536] = b"\x99" * 512
        file.write_bytes(data)
        first, last = items(file)
        assert isinstance(first, Row)
        assert isinstance(last, Refusal)
        assert "no header at byte 1,024" in last.reason

    @pytest.mark.parametrize("content", [b"", b"no archive at all" * 100, bytes(511)])
    def test_what_is_no_archive_is_told(self, tmp_path: Path, content: bytes) -> None:
        """A file that is no archive is one refusal and no error."""
        (tmp_path / "a.tar").write_bytes(content)
        assert "cut off or broken" in refusal(tmp_path / "a.tar").reason

    @pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
    def test_a_header_cannot_fill_the_memory(self, tmp_path: Path, kind: bytes) -> None:
        """A header that claims gigabytes for a name is refused before they are read."""
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, 2 << 30
        with (tmp_path / "a.tar").open("wb") as file:
            file.write(info.tobuf(tarfile.GNU_FORMAT))
            file.truncate(3 << 30)
        tracemalloc.start()
        assert "a header asks for" in refusal(tmp_path / "a.tar").reason
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
        tracemalloc.stop()

    def test_negative_sizes_do_not_lead_back(self, tmp_path: Path) -> None:
        """A member that claims to end before it begins ends the archive."""
        info = tarfile.TarInfo("a.jpg")
        head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        head[124:136] = b"\xff" * 11 + b"\x00"
        head[148:156] = b"        "
        head[148:156] = b"%06o\0 " % sum(head)
        (tmp_path / "a.tar").write_bytes(bytes(head) * 3)
        assert all(isinstance(one, Refusal) for one in items(tmp_path / "a.tar"))

    def test_an_archive_that_has_changed_is_noticed(self, tmp_path: Path) -> None:
        """A range that the archive no longer has is a reason, never half a picture."""
        file = write_tar(tmp_path / "a.tar", {"a.jpg": picture_bytes()})
        found = row(file)
        file.write_bytes(file.read_bytes()[:600])
        with pytest.raises(InvalidArgument, match="88 of"):
            fetch_file(found.location, found.span)

    def test_memory_does_not_grow_with_the_archive(self, tmp_path: Path) -> None:
        """An archive of any number of files is read in bounded memory, its pictures not at all."""
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            for number in range(1500):
                info = tarfile.TarInfo(f"{number:06d}.jpg")
                info.size = 2000
                archive.addfile(info, io.BytesIO(bytes(2000)))
        tracemalloc.start()
        assert sum(1 for _ in open_source(str(tmp_path / "a.tar")).items) == 1500
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()
