"""FashionIQ (Wu et al., 2021): "like this one, but …". Composed queries of a reference picture and words.

The original protocol of the validation split: each category is ranked by itself, over all pictures of its split file,
the reference among them. The two captions of a pair are joined by "and" into one text (CLIP4Cir, Baldrati et al.,
2022). Papers report Recall@10 and @50, Hit@10 and Hit@50 here, and their mean over the three categories.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sightline.queries import ImageId, Text
from training.datasets.dataset import Dataset, DatasetError, Picture, check_files, read_json
from training.evaluation.queries import Query, QuerySet

CATEGORIES = ("dress", "shirt", "toptee")
PUBLISHED = {"dress": 3_817, "shirt": 6_346, "toptee": 5_373}
CUTOFFS = (10, 50)
_ORIGIN = (
    "wanted are captions/cap.CATEGORY.val.json and image_splits/split.CATEGORY.val.json of the repository "
    "XiaoxiaoGuo/fashion-iq, and the folder images with a .jpg or .png file of each id"
)


def fashioniq(root: Path, category: str, weight: float = 1.0) -> Dataset:
    """The validation split of one category.

    Args:
        root: the folder with `captions/`, `image_splits/` and `images/`.
        category: `dress`, `shirt` or `toptee`.
        weight: of the words, where the reference picture has 1: unit vectors are added.

    Raises:
        DatasetError: files are missing, or of another format.
    """
    if category not in CATEGORIES:
        raise DatasetError(f"the categories of FashionIQ are {', '.join(CATEGORIES)}, not {category!r}")
    pool = read_json(root / "image_splits" / f"split.{category}.val.json", _ORIGIN)
    pairs = read_json(root / "captions" / f"cap.{category}.val.json", _ORIGIN)
    if not isinstance(pool, list) or not isinstance(pairs, list) or not pairs:
        raise DatasetError(f"the split and the captions of {category} must be lists that are not empty: {_ORIGIN}")
    pictures = tuple(Picture(str(one), _file(root / "images", str(one))) for one in dict.fromkeys(pool))
    check_files([picture.file for picture in pictures], _ORIGIN)
    known = {picture.id for picture in pictures}
    queries = tuple(_query(number, pair, known, category, weight) for number, pair in enumerate(pairs))
    about = (
        f"FashionIQ, {category}, validation split; reference picture + {weight:g} × its two captions, over all "
        f"{PUBLISHED[category]:,} pictures of the category"
    )
    return Dataset(pictures, QuerySet(about, queries, PUBLISHED[category], CUTOFFS))


def joined(captions: list[str]) -> str:
    """The captions of a pair as one text: "Is shorter and has no sleeves"."""
    first, *others = [caption.strip(".?, ") for caption in captions]
    return " and ".join([first.capitalize(), *others])


def _file(folder: Path, identifier: str) -> Path:
    png = folder / f"{identifier}.png"
    return png if png.is_file() else folder / f"{identifier}.jpg"


def _query(number: int, pair: Any, known: set[str], category: str, weight: float) -> Query:
    try:
        reference, target, text = str(pair["candidate"]), str(pair["target"]), joined(pair["captions"])
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        message = f"pair {number} of {category} lacks candidate, target or captions: {_ORIGIN}"
        raise DatasetError(message) from exc
    for identifier in (reference, target):
        if identifier not in known:
            raise DatasetError(f"pair {number} of {category} speaks of {identifier}, which is not in the split file")
    terms = ((1.0, ImageId(reference)), (weight, Text(text)))
    return Query(f"{category}#{number}", text, {target: 1}, "en", {"category": category}, terms)
