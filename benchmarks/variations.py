"""Many image vectors with the text vectors that ask for them, both made by the bundled model; kept under .cache.

Encoding 200,000 pictures takes hours here. So every picture is varied and encoded a few times (turned, rescaled,
recoloured, on coloured grounds: `training.judge.augmented_pictures`), and the rest are made of these: to a vector
that was encoded, the difference between two encoded variations of some other picture is added. Such a difference is
what varying a picture really does to its vector, and has no part in which images as a whole lie apart from texts. So
the gap between the two remains, and texts ask from where they do in service: from outside of all the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from benchmarks.emoji import CHECKOUT, MODEL

VARIATIONS = 6
"""How often each picture is varied and encoded."""

TEXTS = 2_000
DIMENSION = 512
FOLDER = CHECKOUT / ".cache" / "variations"

Vectors = NDArray[np.float32]


def texts_and_images(count: int, *, folder: Path = FOLDER, variations: int = VARIATIONS) -> tuple[Vectors, Vectors]:
    """Returns unit vectors of texts, float32 [2000, 512], and of `count` images, float32 [count, 512]."""
    texts, encoded = _encoded(folder, variations)
    drawn = np.random.default_rng(13).standard_normal((DIMENSION, texts.shape[1]))
    rotation = np.linalg.qr(drawn)[0].T.astype(np.float32)
    return _unit(texts @ rotation), _unit(grown(encoded, count) @ rotation)


def grown(encoded: Vectors, count: int) -> Vectors:
    """Returns the first `count` of the encoded vectors and of what is made of them, float32 [count, d].

    Args:
        encoded: float32 [variations, pictures, d], unit.
    """
    variations, pictures, dimension = encoded.shape
    drawn = np.random.default_rng(11)
    made = max(0, count - variations * pictures)
    first, second = (drawn.integers(variations, size=made) for _ in range(2))
    second = np.where(first == second, (second + 1) % variations, second)
    start, other = drawn.integers(variations, size=made), drawn.integers(pictures, size=made)
    vectors = encoded[start, np.arange(made) % pictures] + encoded[first, other] - encoded[second, other]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.concatenate([encoded.reshape(-1, dimension), vectors])[:count]


def _encoded(folder: Path, variations: int) -> tuple[Vectors, Vectors]:
    kept = folder / f"{variations}.npz"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        texts, images = _encode(variations)
        partial = folder / f"{variations}.partial.npz"
        np.savez(partial, texts=texts, images=images)
        partial.rename(kept)
    with np.load(kept) as arrays:
        return arrays["texts"], arrays["images"]


def _encode(variations: int) -> tuple[Vectors, Vectors]:
    # Only here: with what is kept, no torch is needed.
    from benchmarks.emoji import PICTURES, draw  # noqa: PLC0415
    from training.judge import augmented_pictures, heldout_names, own_names  # noqa: PLC0415
    from training.local_search import LocalSearch  # noqa: PLC0415

    draw()
    model = LocalSearch(MODEL, PICTURES)
    images = []
    for seed in range(variations):
        images.append(_unit(model.encode_pictures([file for file, _ in augmented_pictures(seed)])))
        print(f"encoded {(seed + 1) * len(images[0]):,} varied pictures", flush=True)
    words: Sequence[str] = [query.text for query in (*own_names(), *heldout_names())]
    return _unit(model.encode_texts(Random(3).sample(words, TEXTS))), np.stack(images)


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32)
