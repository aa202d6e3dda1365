"""The datasets by the names that the command line has for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from training.datasets.cocotext import coco_text
from training.datasets.crossmodal import crossmodal3600
from training.datasets.dataset import Dataset
from training.datasets.fashioniq import fashioniq
from training.datasets.karpathy import coco, flickr30k

VARIANTS = (
    "flickr30k: test (the usual pool of 1,000) or full; crossmodal3600: first (the usual caption) or all; fashioniq: "
    "dress, shirt or toptee"
)


def _emoji(root: Path, variant: str) -> Dataset:
    # Only here: it needs a font and Unicode's data, which no other dataset does.
    from training.datasets.emoji import emoji  # noqa: PLC0415

    return emoji(root)


DATASETS: Mapping[str, Callable[[Path, str], Dataset]] = {
    "coco": lambda root, variant: coco(root),
    "coco-text": lambda root, variant: coco_text(root),
    "crossmodal3600": lambda root, variant: crossmodal3600(root, variant or "first"),
    "emoji": _emoji,
    "fashioniq": fashioniq,
    "flickr30k": lambda root, variant: flickr30k(root, variant or "test"),
}
"""Readers of a folder and a variant; they raise DatasetError."""
