"""Matrices of vectors in `.npy` files: read by their bytes, a piece at a time, and never unpickled."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from services.indexer.places import Place, readable
from sightline.errors import InvalidArgument

BLOCK_BYTES = 1 << 18
MAX_DIMENSION = 65_536
_HEADER_BYTES = 4096

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix of floats in a file: `rows` × `dimension` of `dtype`, row by row from byte `start`."""

    file: Place
    rows: int
    dimension: int
    dtype: np.dtype[np.floating]
    start: int

    def vectors(self) -> Iterator[Vector | str]:
        """Each row as a unit vector, float32 [dimension], or what is wrong with it.

        Raises:
            NotFound, Unavailable: the file cannot be read, or is shorter than it was.
        """
        stride = self.dimension * self.dtype.itemsize
        at_once = max(1, BLOCK_BYTES // stride)
        with readable(self.file.url), self.file.open() as opened:
            opened.seek(self.start)
            for first in range(0, self.rows, at_once):
                count = min(at_once, self.rows - first)
                data = opened.read(count * stride)
                if len(data) != count * stride:
                    raise EOFError(f"it ends within row {first + len(data) // stride:,}")
                yield from units(np.frombuffer(data, self.dtype).reshape(count, self.dimension))


def units(vectors: NDArray[np.floating]) -> Iterator[Vector | str]:
    """Each row of [n, dimension] as float32 [dimension] of length 1, or why it has no direction."""
    wide = vectors.astype(np.float64)
    finite = np.asarray(np.isfinite(wide).all(axis=1))
    largest = np.abs(wide).max(axis=1)
    sound = finite & (largest > 0)
    # By their largest number first, or squares may be too large or too small.
    wide = wide[sound] / largest[sound, np.newaxis]
    found = iter((wide / np.sqrt(np.square(wide).sum(axis=1, keepdims=True))).astype(np.float32))
    for is_sound, is_finite in zip(sound, finite, strict=True):
        if is_sound:
            yield next(found).copy()  # no row keeps its block in memory
        else:
            yield "the vector is zero" if is_finite else "the vector holds NaN or an infinity"


def read_matrix(file: Place) -> Matrix:
    """Reads the header of a `.npy` file.

    Raises:
        InvalidArgument: it is none, or no matrix of float16, float32 or float64 row by row, or has not all its bytes.
        NotFound, Unavailable: it cannot be read.
    """
    with readable(file.url):
        size = file.size()
        with file.open() as opened:
            head = io.BytesIO(opened.read(_HEADER_BYTES))
    try:
        shape, by_column, dtype = _header(head)
    except Exception as exc:  # it is parsed as Python's literals are, which may fail in any way
        raise _refused(file, f"is no sound .npy file: {exc}"[:300]) from exc
    if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
        raise _refused(file, f"holds {dtype}; vectors are float16, float32 or float64")
    if len(shape) != 2 or not 1 <= shape[1] <= MAX_DIMENSION or shape[0] < 0:
        raise _refused(file, f"has the shape {shape}; vectors are [images, dimension]")
    if by_column and min(shape) > 1:
        raise _refused(file, "lies column by column; save it in C order")
    matrix = Matrix(file, shape[0], shape[1], dtype, head.tell())
    if (needed := head.tell() + shape[0] * shape[1] * dtype.itemsize) > size:
        raise _refused(file, f"is cut off: it has {size:,} of {needed:,} bytes")
    return matrix


def _header(head: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[np.floating]]:
    version = npy.read_magic(head)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} is not known")
    shape, by_column, dtype = read(head)
    return shape, by_column, dtype


def _refused(file: Place, what: str) -> InvalidArgument:
    return InvalidArgument(f"{file.url} {what}", field="source")
