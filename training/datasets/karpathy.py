"""Flickr30K and MS-COCO in the splits of Karpathy and Fei-Fei (2015), as papers on CLIP report them.

Every caption is a query of its own, as it stands in `raw` without white space around it, and right on its own image
alone, even where another image bears the same words. Of each image the first five captions are asked: five images of
COCO in a hundred have six or seven. Recall@K of the papers (text to image) is Hit@K here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from training.datasets.dataset import Dataset, DatasetError, Picture, check_files, read_json
from training.evaluation.queries import Query, QuerySet

CAPTIONS = 5

_SPLITS = 'caption_datasets.zip, which Karpathy published with "Deep Visual-Semantic Alignments"'
_FLICKR = (
    f"wanted are dataset_flickr30k.json of {_SPLITS}, and the folder flickr30k-images with the 31,783 JPEG files that "
    "the University of Illinois hands out on request (Flickr30k, Young et al., 2014)"
)
_COCO = (
    f'wanted are dataset_coco.json of {_SPLITS}, and the folder val2014 with the JPEG files of "2014 Val images" of '
    "cocodataset.org (Lin et al., 2014)"
)


def flickr30k(root: Path, pool: str = "test") -> Dataset:
    """The 1,000 images and 5,000 captions of the test split.

    Args:
        root: the folder with `dataset_flickr30k.json` and `flickr30k-images/`.
        pool: `test` ranks the 1,000 images of the split, as papers do; `full` ranks all 31,014 of Karpathy's list for
            the same captions, which is much harder.

    Raises:
        DatasetError: files are missing, or of another format.
    """
    if pool not in ("test", "full"):
        raise DatasetError(f"the pool of Flickr30K is test or full, not {pool!r}")
    images = _images(root / "dataset_flickr30k.json", _FLICKR)
    ranked = [image for image in images if pool == "full" or image["split"] == "test"]
    published = 1_000 if pool == "test" else 31_014
    about = f"Flickr30K, Karpathy's test split; ranked are the {published:,} images of the {pool} pool"
    return _dataset(about, published, ranked, root / "flickr30k-images", _FLICKR)


def coco(root: Path) -> Dataset:
    """The 5,000 images and 25,000 captions of MS-COCO's test split ("5K").

    Args:
        root: the folder with `dataset_coco.json` and `val2014/`.

    Raises:
        DatasetError: files are missing, or of another format.
    """
    images = [image for image in _images(root / "dataset_coco.json", _COCO) if image["split"] == "test"]
    return _dataset("MS-COCO, Karpathy's test split of 5,000 images", 5_000, images, root / "val2014", _COCO)


def _images(file: Path, origin: str) -> list[dict[str, Any]]:
    content = read_json(file, origin)
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not images:
        raise DatasetError(f"{file} has no list of images: {origin}")
    for number, image in enumerate(images):
        sentences = image.get("sentences") if isinstance(image, dict) else None
        sound = isinstance(sentences, list) and all(isinstance(one.get("raw"), str) for one in sentences)
        if not sound or not {"filename", "split"} <= image.keys():
            raise DatasetError(f"{file}, image {number}: lacks filename, split, or sentences with raw: {origin}")
    return images


def _dataset(about: str, published: int, ranked: Sequence[dict[str, Any]], folder: Path, origin: str) -> Dataset:
    pictures = tuple(Picture(image["filename"], folder / image["filename"]) for image in ranked)
    check_files([picture.file for picture in pictures], origin)
    queries = tuple(query for image in ranked if image["split"] == "test" for query in _captions(image))
    if not queries:
        raise DatasetError(f"there is no image of the split test: {origin}")
    about = f"{about}; {len(queries):,} captions, at most {CAPTIONS} an image, each right on its own image"
    return Dataset(pictures, QuerySet(about, queries, published))


def _captions(image: dict[str, Any]) -> Iterator[Query]:
    for number, sentence in enumerate(image["sentences"][:CAPTIONS]):
        if text := sentence["raw"].strip():
            yield Query(f"{image['filename']}#{number}", text, {image["filename"]: 1}, "en")
