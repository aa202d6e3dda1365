"""Captions of the images themselves as queries: each caption should find its image.

A table is CSV (`.csv`) or tab-separated (`.tsv`) with columns `id` and `caption`; `language` and any other column break
figures down. Or it is the JSONL file that the indexer takes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from training.evaluation.lines import BadLine
from training.evaluation.pictures import read_rows
from training.evaluation.queries import TEXT_LIMIT, AttributeValue, Query, QuerySet

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_Captioned = tuple[str, str, str, Mapping[str, AttributeValue]]  # id, caption, language, attributes


def read_captions(table: Path) -> QuerySet:
    """Every distinct caption in a language is one query, right on all images that bear it.

    Raises:
        BadLine: a row is wrong, or there is no caption.
        OSError, SightlineError: the file cannot be read.
    """
    delimiter = _DELIMITERS.get(table.suffix)
    rows = list(_table(table, delimiter) if delimiter else _jsonl(table))
    queries = tuple(_queries(rows))
    if not queries:
        raise BadLine(table, 0, "caption", "no row has one")
    return QuerySet(f"captions of the images themselves, {table.name}", queries)


def _queries(rows: Iterable[_Captioned]) -> Iterator[Query]:
    bearers: dict[tuple[str, str], dict[str, int]] = {}
    first: dict[tuple[str, str], Mapping[str, AttributeValue]] = {}
    for identifier, caption, language, attributes in rows:
        bearers.setdefault((caption, language), {})[identifier] = 1
        first.setdefault((caption, language), attributes)
    for number, ((caption, language), right) in enumerate(bearers.items(), 1):
        yield Query(str(number), caption, right, language, first[caption, language])


def _jsonl(table: Path) -> Iterator[_Captioned]:
    for row in read_rows(table):
        if caption := row.caption.strip():
            attributes = dict(row.attributes)
            yield row.id, caption, str(attributes.pop("language", "")), attributes


def _table(table: Path, delimiter: str) -> Iterator[_Captioned]:
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, delimiter=delimiter, strict=True)
        try:
            missing = {"id", "caption"} - set(rows.fieldnames or ())
            if missing:
                raise BadLine(table, 1, min(missing), "there is no such column")
            for row in rows:
                identifier, caption = (str(row.pop(name) or "").strip() for name in ("id", "caption"))
                language = str(row.pop("language", "") or "").strip()
                if None in row or None in row.values():
                    raise BadLine(table, rows.line_num, "", "has more or fewer cells than there are columns")
                if not identifier:
                    raise BadLine(table, rows.line_num, "id", "is empty")
                if len(caption.encode()) > TEXT_LIMIT:
                    raise BadLine(table, rows.line_num, "caption", f"may have at most {TEXT_LIMIT:,} bytes")
                if caption:
                    yield identifier, caption, language, {k: v for k, v in row.items() if v}
        except (csv.Error, UnicodeDecodeError) as exc:
            raise BadLine(table, rows.line_num + 1, "", f"cannot be read: {exc}") from exc
