"""COCO-Text (Veit et al., 2016): words that can be read in pictures of MS-COCO, and the pictures that bear them.

Asked is as in scene text retrieval (Mishra, Alahari and Jawahar, 2013): a query is one word, and right are all pictures
in which it can be read, compared without case. Which words are asked is a choice of our own: the figures (mAP above
all) compare models with each other, and with nothing that is published.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from training.datasets.dataset import Dataset, DatasetError, Picture, check_files, read_json
from training.evaluation.queries import Query, QuerySet

POOL = 10_000
LETTERS = 3
"""A word has at least so many: of shorter ones nearly every picture with text bears some."""

_FILE = "cocotext.v2.json"
_ORIGIN = (
    f"wanted are {_FILE} of COCO-Text v2.0 (Veit et al., 2016), and the folder train2014 with the JPEG files of "
    '"2014 Train images" of cocodataset.org'
)


def coco_text(root: Path) -> Dataset:
    """The 10,000 pictures of the validation split, with text and without; for the test split no words are published.

    Args:
        root: the folder with `cocotext.v2.json` and `train2014/`.

    Raises:
        DatasetError: files are missing, or of another format.
    """
    content = read_json(root / _FILE, _ORIGIN)
    images, words = (_listed(content, key) for key in ("imgs", "anns"))
    pool = {image["id"]: image["file_name"] for image in images if image["set"] == "val"}
    pictures = tuple(Picture(name, root / "train2014" / name) for name in sorted(pool.values()))
    check_files([picture.file for picture in pictures], _ORIGIN)
    bearers: defaultdict[str, set[str]] = defaultdict(set)
    for word in words:
        if word["image_id"] in pool and (text := _word(word)):
            bearers[text].add(pool[word["image_id"]])
    if not bearers:
        raise DatasetError(f"{root / _FILE} has no word that can be read in a picture of the split val: {_ORIGIN}")
    queries = tuple(Query(text, text, dict.fromkeys(sorted(of), 1), "en") for text, of in sorted(bearers.items()))
    about = (
        f"COCO-Text v2.0, validation split; {len(queries):,} English words of {LETTERS} letters or more, which is a "
        "selection of our own: no published figure is comparable"
    )
    return Dataset(pictures, QuerySet(about, queries, POOL))


def _word(annotation: dict[str, Any]) -> str:
    """The word, in lower case; empty where it cannot be read, is of another language, or is no word of letters."""
    text = annotation["utf8_string"].strip().casefold()
    legible = annotation.get("legibility") == "legible" and annotation.get("language") == "english"
    return text if legible and len(text) >= LETTERS and text.isalpha() else ""


def _listed(content: Any, key: str) -> list[dict[str, Any]]:
    wanted = {"imgs": {"id", "file_name", "set"}, "anns": {"image_id", "utf8_string"}}[key]
    found = content.get(key) if isinstance(content, dict) else None
    listed: Iterable[Any] = found.values() if isinstance(found, dict) else ()
    rows = [row for row in listed if isinstance(row, dict)]
    if not rows:
        raise DatasetError(f"{_FILE} has no {key}: {_ORIGIN}")
    for row in rows:
        if missing := wanted - row.keys():
            raise DatasetError(f"{_FILE}, {key} {row.get('id')}: lacks {', '.join(sorted(missing))}: {_ORIGIN}")
    return rows
