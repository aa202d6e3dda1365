"""What is learnt from: images and what is said of them.

A table is CSV (`.csv`), tab-separated (`.tsv`) or JSONL with `uri` and `caption`, and where wanted `language`. An image
may come in many rows; a caption that several images bear is right on each of them.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.evaluation.lines import LINE_LIMIT, BadLine, Record, numbered_records
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
    for row in _rows(file, {"uri", "caption"}):
        image, caption = _image(row), _caption(row)
        if not image:
            raise row.bad("uri", "is empty")
        if caption:
            pairs.append((image, caption))
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
    for row in _rows(file, {"caption"}):
        if caption := _caption(row):
            captions[caption] = None
        if image := _image(row):
            images[image] = None
    if not captions:
        raise BadLine(file, 0, "caption", "no row has one")
    return tuple(captions), tuple(images)


def _gathered(pairs: list[tuple[str, str]]) -> Table:
    images = {image: place for place, image in enumerate(dict.fromkeys(image for image, _ in pairs))}
    bearers: defaultdict[str, dict[int, None]] = defaultdict(dict)
    for image, caption in pairs:
        bearers[caption][images[image]] = None
    return Table(tuple(images), tuple(bearers), tuple(tuple(sorted(places)) for places in bearers.values()))


def _image(row: Record) -> str:
    uri = row.text("uri", LINE_LIMIT).strip()
    return uri if "://" in uri or not uri else str(row.file.parent / uri)


def _caption(row: Record) -> str:
    return row.text("caption", TEXT_LIMIT).strip()


def _rows(file: Path, columns: set[str]) -> Iterator[Record]:
    delimiter = _DELIMITERS.get(file.suffix.lower())
    return _table(file, delimiter, columns) if delimiter else numbered_records(file)


def _table(file: Path, delimiter: str, columns: set[str]) -> Iterator[Record]:
    with file.open(encoding="utf-8-sig", newline="") as opened:
        rows = csv.DictReader(opened, delimiter=delimiter, strict=True)
        try:
            if missing := columns - set(rows.fieldnames or ()):
                raise BadLine(file, 1, min(missing), "there is no such column")
            for row in rows:
                yield Record(file, rows.line_num, row)
        except (csv.Error, UnicodeDecodeError) as error:
            raise BadLine(file, rows.line_num + 1, "", f"cannot be read: {error}") from error
