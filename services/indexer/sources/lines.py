"""Text files, line by line: numbered, never longer than a limit, packed or not."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from services.indexer.places import Place, read_through
from services.indexer.rows import Refusal

# Longer lines are refused without being held in memory.
LINE_LIMIT = 1 << 20
TOO_LONG = f"a line may have at most {LINE_LIMIT:,} bytes"


def read_lines(table: Place) -> Iterator[tuple[int, bytes] | Refusal]:
    """The lines of a file with their numbers, blank ones too; of one that is too long, only LINE_LIMIT + 1 bytes.

    A packed file that is cut off or broken ends with a Refusal that says after which line.

    Raises:
        NotFound, Unavailable: it cannot be read.
    """
    return read_through(table.url, _lines(table))


def count_lines(table: Place) -> int:
    """How many lines of a file are not blank."""
    return sum(1 for line in read_lines(table) if not isinstance(line, Refusal) and line[1].strip())


def _lines(table: Place) -> Iterator[tuple[int, bytes] | Refusal]:
    number = 0
    with table.open() as opened:
        # What fsspec opens knows no limit of a line.
        file = opened if table.is_local else io.BufferedReader(cast(io.RawIOBase, opened))
        try:
            for number, line in _bounded(file):
                yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
            yield Refusal(table.url, f"the file is cut off or broken after line {number:,}: {exc}", number + 1)


def _bounded(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(LINE_LIMIT + 1):
        number += 1
        rest = line
        while len(rest) > LINE_LIMIT and not rest.endswith(b"\n"):
            rest = file.readline(LINE_LIMIT + 1)
        yield number, line
