"""Crossmodal-3600 (Thapliyal et al., 2022): 3,600 pictures of the whole world, captioned in 36 languages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from training.datasets.dataset import Dataset, DatasetError, Picture, check_files
from training.evaluation.lines import BadLine, Record, numbered_records
from training.evaluation.queries import Query, QuerySet

PUBLISHED = 3_600
_ORIGIN = (
    "wanted are captions.jsonl of captions.zip, and the folder images with the 3,600 JPEG files of images.tgz, both of "
    'the page "Crossmodal-3600" of google.github.io'
)


def crossmodal3600(root: Path, captions: str = "first", languages: Sequence[str] = ()) -> Dataset:
    """All 3,600 pictures, asked in each language.

    Args:
        root: the folder with `captions.jsonl` and `images/`.
        captions: `first` asks the first caption of each picture and language, as clip_benchmark does; `all` asks each
            of them, as the paper does.
        languages: those to ask, such as `de`; all that the file has where there are none.

    Raises:
        DatasetError: files are missing, or of another format.
    """
    if captions not in ("first", "all"):
        raise DatasetError(f"the captions of Crossmodal-3600 are first or all, not {captions!r}")
    records = _records(root / "captions.jsonl")
    pictures = tuple(_picture(root, record) for record in records)
    check_files([picture.file for picture in pictures], _ORIGIN)
    known = dict.fromkeys(key for record in records for key in record.values if isinstance(record.get(key), dict))
    if unknown := [language for language in languages if language not in known]:
        raise DatasetError(f"there is no language {unknown[0]!r}; there are {', '.join(known)}")
    queries = tuple(
        query for language in languages or known for record in records for query in _asked(record, language, captions)
    )
    if not queries:
        raise DatasetError(f"{root / 'captions.jsonl'} has no captions: {_ORIGIN}")
    about = f"Crossmodal-3600, {len(languages or known)} languages, {captions} caption of each picture and language"
    return Dataset(pictures, QuerySet(about, queries, PUBLISHED))


def _records(file: Path) -> list[Record]:
    try:
        return list(numbered_records(file))
    except FileNotFoundError:
        raise DatasetError(f"{file} is missing: {_ORIGIN}") from None
    except BadLine as exc:
        raise DatasetError(f"{exc}. {_ORIGIN}") from exc


def _picture(root: Path, record: Record) -> Picture:
    key = record.get("image/key")
    if not isinstance(key, str) or not key:
        raise DatasetError(str(record.bad("image/key", f"missing. {_ORIGIN}")))
    locale = record.get("image/locale")
    return Picture(key, root / "images" / f"{key}.jpg", attributes={"locale": locale} if locale else {})


def _asked(record: Record, language: str, captions: str) -> Iterator[Query]:
    key: Any = record.get("image/key")
    said = (record.get(language) or {}).get("caption") or []
    for number, text in enumerate(said[:1] if captions == "first" else said):
        if isinstance(text, str) and text.strip():
            yield Query(f"{language}/{key}#{number}", text.strip(), {key: 1}, language)
