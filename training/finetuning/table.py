"""What is learnt from: images and what is said of them.

A table is CSV (`.csv`), tab-separated (`.tsv`) or JSONL with `uri` and `caption`, and where wanted `language`. An image
may come in many rows; a caption that several images bear is right on each of them.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.evaluation.lines import BadLine
from training.evaluation.queries import TEXT_LIMIT

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True, slots=True)
class Table:
    """Captions, each once, and the images that bear them.

    Attributes:
        images: where they are: paths and addresses that fsspec opens, each once.
        captions: in the order of the file.
        bearers: for each caption the places of its images.
    """

    images: tuple[str, ...]
    captions: tuple[str, ...]
    bearers: tuple[tuple[int, ...], ...]

    def __add__(self, other: Table) -> Table:
        """The captions of both, over the images of both; a caption of both is right on the images of both."""
        return _gathered([*self._pairs(), *other._pairs()])

    def _pairs(self) -> Iterator[tuple[str, str]]:
        for caption, places in zip(self.captions, self.bearers, strict=True):
            yield from ((self.images[place], caption) for place in places)


def read_table(file: Path) -> Table:
    """Reads a table; places are relative to it.

    Raises:
        BadLine: a row is wrong, or there is none.
        OSError: it cannot be read.
    """
    pairs = []
    for line, row in _rows(file, {"uri", "caption"}):
        uri, caption = (str(row.get(name) or "").strip() for name in ("uri", "caption"))
        if not uri:
            raise BadLine(file, line, "uri", "is empty")
        if len(caption.encode()) > TEXT_LIMIT:
            raise BadLine(file, line, "caption", f"may have at most {TEXT_LIMIT:,} bytes")
        if caption:
            pairs.append((uri if "://" in uri else str(file.parent / uri), caption))
    if not pairs:
        raise BadLine(file, 0, "caption", "no row has one")
    return _gathered(pairs)


def read_captions(file: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Reads a table in which images may be missing: the column `uri`, or some of its values.

    Returns:
        Captions and images, each once, in the order of the file.

    Raises:
        BadLine: a row is wrong, or there is none.
        OSError: it cannot be read.
    """
    captions, images = dict[str, None](), dict[str, None]()
    for line, row in _rows(file, {"caption"}):
        uri, caption = (str(row.get(name) or "").strip() for name in ("uri", "caption"))
        if len(caption.encode()) > TEXT_LIMIT:
            raise BadLine(file, line, "caption", f"may have at most {TEXT_LIMIT:,} bytes")
        if caption:
            captions[caption] = None
        if uri:
            images[uri if "://" in uri else str(file.parent / uri)] = None
    if not captions:
        raise BadLine(file, 0, "caption", "no row has one")
    return tuple(captions), tuple(images)


def _gathered(pairs: list[tuple[str, str]]) -> Table:
    images = {image: place for place, image in enumerate(dict.fromkeys(image for image, _ in pairs))}
    bearers: defaultdict[str, dict[int, None]] = defaultdict(dict)
    for image, caption in pairs:
        bearers[caption][images[image]] = None
    return Table(tuple(images), tuple(bearers), tuple(tuple(sorted(places)) for places in bearers.values()))


def _rows(file: Path, columns: set[str]) -> Iterator[tuple[int, Mapping[str, object]]]:
    delimiter = _DELIMITERS.get(file.suffix)
    return _table(file, delimiter, columns) if delimiter else _jsonl(file)


def _jsonl(file: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    with file.open(encoding="utf-8-sig") as opened:
        for number, line in enumerate(opened, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise BadLine(file, number, "", f"is no JSON: {error}") from error
            if not isinstance(row, dict):
                raise BadLine(file, number, "", "must be an object with uri and caption")
            yield number, row


def _table(file: Path, delimiter: str, columns: set[str]) -> Iterator[tuple[int, Mapping[str, object]]]:
    with file.open(encoding="utf-8-sig", newline="") as opened:
        rows = csv.DictReader(opened, delimiter=delimiter, strict=True)
        try:
            if missing := columns - set(rows.fieldnames or ()):
                raise BadLine(file, 1, min(missing), "there is no such column")
            for row in rows:
                yield rows.line_num, row
        except (csv.Error, UnicodeDecodeError) as error:
            raise BadLine(file, rows.line_num + 1, "", f"cannot be read: {error}") from error
