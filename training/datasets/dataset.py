"""What a dataset is once it is read, and how it is written for the indexer and the evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightline.queries import ImageId, Part, Text
from training.evaluation.queries import AttributeValue, Query, QuerySet

IMAGES, QUERIES = "images.jsonl", "queries.jsonl"
_NAMED = 5


class DatasetError(Exception):
    """A local copy is not as it should be; the message names the files, and where they come from."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the pool."""

    id: str
    file: Path
    caption: str = ""
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A pool of pictures, and the questions that are asked of it."""

    pictures: tuple[Picture, ...]
    asked: QuerySet


def write(dataset: Dataset, folder: Path) -> None:
    """Writes images.jsonl, which the indexer takes, and queries.jsonl, which the evaluation takes."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = dataset.asked
    head = {"about": asked.about, "pool": asked.pool, "cutoffs": list(asked.cutoffs)}
    _write_lines(folder / IMAGES, (_picture(picture) for picture in dataset.pictures))
    _write_lines(folder / QUERIES, [head, *(_query(query) for query in asked.queries)])


def read_json(file: Path, origin: str) -> Any:
    """The content of a JSON file of a dataset. Raises DatasetError with where it comes from."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(f"{file} is missing: {origin}") from None
    except (ValueError, OSError) as exc:
        raise DatasetError(f"{file} cannot be read: {exc}. {origin}") from exc


def check_files(files: Sequence[Path], origin: str) -> None:
    """Raises DatasetError where pictures are missing: a smaller pool would flatter every figure."""
    missing = [file for file in files if not file.is_file()]
    if missing:
        named = ", ".join(str(file) for file in missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
        raise DatasetError(f"{len(missing):,} of {len(files):,} pictures are missing ({named}): {origin}")


def _picture(picture: Picture) -> dict[str, Any]:
    line = {"id": picture.id, "uri": str(picture.file.resolve()), "caption": picture.caption}
    return {**line, "attributes": dict(picture.attributes)}


def _query(query: Query) -> dict[str, Any]:
    line: dict[str, Any] = {"id": query.id, "text": query.text, "right": dict(query.right)}
    line |= {"language": query.language, "attributes": dict(query.attributes)}
    return line | ({"terms": [_term(*term) for term in query.terms]} if query.terms else {})


def _term(weight: float, part: Part) -> dict[str, Any]:
    assert isinstance(part, Text | ImageId), "datasets have no other parts"
    said = {"text": part.words} if isinstance(part, Text) else {"image_id": part.id}
    return {"weight": weight, **said}


def _write_lines(file: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
