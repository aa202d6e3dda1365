"""Sources: ready-made embeddings, and matrices that are none."""

from __future__ import annotations

import io
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from services.indexer.rows import Refusal, Row
from services.indexer.sources import Source, SourceOptions, open_source
from sightline.errors import InvalidArgument, NotFound
from tests.unit.source_files import clip_retrieval, vectors


def rows(source: Source) -> list[Row]:
    """All rows, of which none is refused."""
    found = list(source.items)
    assert all(isinstance(row, Row) for row in found), found
    return [row for row in found if isinstance(row, Row)]


def unit(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = matrix.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))


class TestClipRetrieval:
    def test_its_folder_is_a_source(self, tmp_path: Path) -> None:
        """Each matrix of pictures is a part, with the rows of its metadata; those of texts are passed over."""
        source = open_source(str(clip_retrieval(tmp_path / "birds", parts=12)))
        assert source.kind == "clip-retrieval"
        assert source.total == 36
        assert [part.name for part in source.parts] == [f"img_emb_{part}.npy" for part in range(12)]
        found = rows(source)
        assert [row.id for row in found] == [f"{part}-{row}" for part in range(12) for row in range(3)]
        assert (found[4].caption, dict(found[4].attributes)) == ("bird 1-1", {"rank": 1})

    def test_vectors_become_unit_float32(self, tmp_path: Path) -> None:
        """Half precision and any length become float32 of length 1."""
        first = rows(open_source(str(clip_retrieval(tmp_path / "birds", parts=1))))
        expected = unit(vectors(3).astype(np.float16).astype(np.float32))
        for row, vector in zip(first, expected, strict=True):
            assert row.vector is not None
            assert row.vector.dtype == np.float32
            assert np.abs(row.vector - vector).max() < 1e-6
            assert abs(float(np.linalg.norm(row.vector)) - 1) < 1e-6

    def test_one_of_its_files_is_a_source(self, tmp_path: Path) -> None:
        """A single matrix of a folder finds its metadata."""
        folder = clip_retrieval(tmp_path / "birds")
        source = open_source(f"{folder}/img_emb/img_emb_1.npy")
        assert (source.kind, [row.id for row in rows(source)]) == ("clip-retrieval", ["1-0", "1-1", "1-2"])

    def test_files_that_do_not_belong_together_are_refused(self, tmp_path: Path) -> None:
        """A matrix without metadata, or with more or fewer rows, is refused before any row is read."""
        folder = clip_retrieval(tmp_path / "birds")
        pq.write_table(pa.table({"image_path": ["x"]}), folder / "metadata/metadata_1.parquet")
        with pytest.raises(InvalidArgument, match=r"img_emb_1\.npy has 3 rows, .*metadata_1\.parquet 1"):
            open_source(str(folder))
        (folder / "metadata/metadata_1.parquet").unlink()
        with pytest.raises(InvalidArgument, match=r"img_emb_1\.npy has no metadata_1\.parquet"):
            open_source(str(folder))

    def test_dimensions_must_agree(self, tmp_path: Path) -> None:
        """Vectors of two models are not one source."""
        folder = clip_retrieval(tmp_path / "birds")
        np.save(folder / "img_emb/img_emb_1.npy", np.ones((3, 4), np.float32))
        with pytest.raises(InvalidArgument, match=r"has vectors of 4, .* of 8"):
            open_source(str(folder))

    def test_an_empty_folder_is_told(self, tmp_path: Path) -> None:
        """A folder of embeddings without any is not an empty collection."""
        (tmp_path / "img_emb").mkdir()
        with pytest.raises(NotFound, match=r"no \.npy file where clip-retrieval"):
            open_source(str(tmp_path))


class TestNpy:
    @pytest.mark.parametrize("names", [("a.npy", "a.parquet"), ("v_0.npy", "rows_0.parquet"), ("v.npy", "m.parquet")])
    def test_a_matrix_finds_its_table(self, tmp_path: Path, names: tuple[str, str]) -> None:
        """A matrix goes with the Parquet file of its name, of its number, or with the only one."""
        np.save(tmp_path / names[0], vectors(2))
        pq.write_table(
            pa.table({"id": ["x", "y"], "url": ["a.jpg", "http://h/b.jpg"], "n": [1, 2]}), tmp_path / names[1]
        )
        for address in (tmp_path, tmp_path / names[0]):
            source = open_source(str(address))
            first, second = rows(source)
            assert (source.kind, first.id, first.uri, second.id) == ("npy", "x", "a.jpg", "y")
            assert (first.location, dict(first.attributes)) == (f"{tmp_path}/a.jpg", {"n": 1})

    def test_ids_are_row_numbers_where_there_are_none(self, tmp_path: Path) -> None:
        """Without ids, rows are numbered through all matrices, at one width."""
        np.save(tmp_path / "v_1.npy", vectors(2))
        np.save(tmp_path / "v_10.npy", vectors(1))
        np.save(tmp_path / "v_2.npy", vectors(1))
        source = open_source(str(tmp_path))
        assert [row.id for row in rows(source)] == ["000000000000", "000000000001", "000000000002", "000000000003"]
        assert [part.name for part in source.parts] == ["v_1.npy", "v_2.npy", "v_10.npy"]
        assert [row.id for row in source.parts[2].rows() if isinstance(row, Row)] == ["000000000003"]

    @pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
    def test_floats_of_all_sizes_are_read(self, tmp_path: Path, dtype: str) -> None:
        """Floats of 16, 32 and 64 bits, in either order of bytes, give the same directions."""
        np.save(tmp_path / "v.npy", vectors(3).astype(dtype))
        found = np.array([row.vector for row in rows(open_source(str(tmp_path)))])
        assert np.abs(found - unit(vectors(3))).max() < 2e-3

    @pytest.mark.parametrize("value", [1e-30, 1e30, 6e4])
    def test_lengths_do_not_matter(self, tmp_path: Path, value: float) -> None:
        """The smallest and the largest vectors keep their direction."""
        np.save(tmp_path / "v.npy", np.full((1, 4), value, np.float32))
        (row,) = rows(open_source(str(tmp_path)))
        assert row.vector is not None
        assert np.allclose(row.vector, 0.5)

    def test_vectors_without_a_direction_are_refused(self, tmp_path: Path) -> None:
        """A zero vector, NaN and infinity are refused by their row; the others are read."""
        matrix = vectors(4)
        matrix[0], matrix[1, 3], matrix[2, 0] = 0, np.nan, np.inf
        np.save(tmp_path / "v.npy", matrix)
        zero, nan, infinite, sound = open_source(str(tmp_path)).items
        assert zero == Refusal(f"file://{tmp_path}/v.npy, row 1", "the vector is zero", 1)
        assert isinstance(nan, Refusal)
        assert isinstance(infinite, Refusal)
        assert nan.reason == infinite.reason == "the vector holds NaN or an infinity"
        assert isinstance(sound, Row)

    def test_bad_metadata_costs_its_row(self, tmp_path: Path) -> None:
        """A row whose metadata is too large is refused; its neighbours keep their own vectors."""
        np.save(tmp_path / "v.npy", np.eye(3, 4, dtype=np.float32))
        pq.write_table(pa.table({"id": ["a", "b", "c"], "caption": ["x", "y" * 20_000, "z"]}), tmp_path / "v.parquet")
        first, second, third = open_source(str(tmp_path)).items
        assert isinstance(first, Row)
        assert isinstance(second, Refusal)
        assert "caption: may have at most" in second.reason
        assert isinstance(third, Row)
        assert third.vector is not None
        assert third.vector.tolist() == [0, 0, 1, 0]

    def test_memory_does_not_grow_with_the_matrix(self, tmp_path: Path) -> None:
        """A matrix is read a piece at a time."""
        np.save(tmp_path / "v.npy", np.ones((4_000, 2048), np.float16))
        tracemalloc.start()
        assert sum(1 for _ in open_source(str(tmp_path)).items) == 4_000
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
        tracemalloc.stop()


class Trap:
    """Whoever unpickles this makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.file,)


class TestHostile:
    def test_nothing_is_unpickled(self, tmp_path: Path) -> None:
        """A matrix of objects is refused, and what it would run is not run."""
        trap = tmp_path / "sprung"
        np.save(tmp_path / "v.npy", np.array([[Trap(trap)]], dtype=object), allow_pickle=True)
        with pytest.raises(InvalidArgument, match="holds object"):
            open_source(str(tmp_path / "v.npy"))
        (tmp_path / "v.npy").write_bytes(pickle.dumps(Trap(trap)))
        with pytest.raises(InvalidArgument, match=r"no sound \.npy file"):
            open_source(str(tmp_path / "v.npy"))
        assert not trap.exists()

    @pytest.mark.parametrize(
        ("matrix", "message"),
        [
            (np.ones((2, 3), np.int8), "holds int8; vectors are float16, float32 or float64"),
            (np.ones((2, 3), np.complex64), "holds complex64"),
            (np.ones(4, np.float32), r"has the shape \(4,\)"),
            (np.ones((2, 0), np.float32), r"has the shape \(2, 0\)"),
            (np.ones((1, 70_000), np.float16), r"has the shape \(1, 70000\)"),
            (np.asfortranarray(np.ones((2, 3), np.float32)), "lies column by column"),
        ],
    )
    def test_other_matrices_are_refused(self, tmp_path: Path, matrix: NDArray[np.generic], message: str) -> None:
        """A matrix that is no list of vectors is refused with what it is."""
        np.save(tmp_path / "v.npy", matrix)
        with pytest.raises(InvalidArgument, match=message):
            open_source(str(tmp_path / "v.npy"))

    def test_a_cut_off_matrix_is_refused(self, tmp_path: Path) -> None:
        """A matrix that has not all the bytes that its header promises is refused before it is read."""
        np.save(tmp_path / "v.npy", vectors(100))
        (tmp_path / "v.npy").write_bytes((tmp_path / "v.npy").read_bytes()[:-1])
        with pytest.raises(InvalidArgument, match="is cut off: it has 3,327 of 3,328 bytes"):
            open_source(str(tmp_path / "v.npy"))

    @pytest.mark.parametrize(
        "header",
        [
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 8)}",
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 8)}",
            b"{'descr': '<f4', 'fortran_order': False, 'shape': 'x'}",
            b"{'descr': '<f4', 'fortran_order': False}",
            b"__import__('os').abort()",
            b"(" * 3000,
            b"",
        ],
    )
    def test_absurd_headers_are_refused(self, tmp_path: Path, header: bytes) -> None:
        """A header that promises what no file has, or is none, is refused."""
        file = io.BytesIO()
        file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        (tmp_path / "v.npy").write_bytes(file.getvalue())
        with pytest.raises(InvalidArgument, match=r"v\.npy"):
            open_source(str(tmp_path / "v.npy"))

    def test_archives_of_matrices_are_no_source(self, tmp_path: Path) -> None:
        """An .npz file is told to be none of what is read."""
        np.savez(tmp_path / "v.npz", vectors(2))
        with pytest.raises(InvalidArgument, match="neither a folder nor"):
            open_source(str(tmp_path / "v.npz"))
        with pytest.raises(InvalidArgument, match=r"no sound \.npy file"):
            open_source(str(tmp_path / "v.npz"), SourceOptions(kind="npy"))
