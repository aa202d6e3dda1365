"""The bundled model's own pictures and questions: emoji, and what Unicode CLDR calls them in 20 languages."""

from __future__ import annotations

from pathlib import Path

from training.datasets.dataset import Dataset, Picture
from training.emoji import render
from training.evaluation.pictures import read_rows
from training.evaluation.queries import Query, QuerySet
from training.judge import QUERY_SETS

_PUBLISHED = 1_840


def emoji(folder: Path) -> Dataset:
    """Own names, held-out names and held-out keywords, as training.judge asks them; the attribute `set` says which.

    Args:
        folder: where the pictures are drawn, unless they are there.
    """
    render(folder)
    pictures = tuple(
        Picture(row.id, Path(row.location), row.caption, row.attributes) for row in read_rows(folder / "images.jsonl")
    )
    queries = tuple(
        Query(
            f"{name}/{one.language}/{one.text}",
            one.text,
            dict.fromkeys(sorted(one.right), 1),
            one.language,
            {"set": name},
        )
        for name, asked in QUERY_SETS.items()
        for one in asked()
    )
    about = (
        "Colour emoji by names and keywords in 20 languages (Unicode CLDR); right is each picture that bears the text"
    )
    return Dataset(pictures, QuerySet(about, queries, _PUBLISHED))
