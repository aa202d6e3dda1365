"""The model: open_clip's towers, run our own way. The only importer of torch and open_clip among the services.

Three verbs, so that their work can overlap: `tokenise` prepares texts on any thread, `encode_tokens` and
`encode_pixels` run on the device's thread and finish with unit vectors.
"""

from __future__ import annotations

import hashlib
import json
import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from services.encoder.cutting import TextTower, cut_is_exact, text_tower
from services.encoder.sources import Card, Source
from services.pictures import Preparation

log = logging.getLogger("sightline.model")

Vectors = NDArray[np.float32]
Tokens = NDArray[np.int64]

BUCKETS = (16, 32)
"""Texts up to each of these lengths are cut at their own longest, so that one long text does not slow short ones."""

TOKENISER_CACHE = 65536
"""Words that open_clip's tokeniser may remember; its own memory grows without bound."""


@dataclass(frozen=True, slots=True)
class Description:
    """What there is to know of a model. `digest` is of its weights and preprocessing, and the same on every device."""

    name: str
    digest: str
    dimension: int
    preparation: Preparation
    scope: str
    scope_note: str


class Model:
    """A loaded model.

    Attributes:
        description: what there is to know of it.
        cuts: whether padding is cut, because that was proven exact.
    """

    def __init__(self, clip: Any, tokenizer: Any, card: Card, device: torch.device) -> None:
        settings = clip.visual.preprocess_cfg
        self._mean, self._std = (torch.tensor(settings[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
        self._tokenizer, self._card, self._device = tokenizer, card, device
        self._dtype = torch.float16 if device.type == "cuda" else torch.float32
        digest = _digest(clip, settings, card)
        self._clip = clip.to(device=device, dtype=self._dtype).eval()
        tower = text_tower(self._clip)
        self.cuts = tower is not None and cut_is_exact(self._clip, tower, device)
        self._tower: TextTower | None = tower if self.cuts else None
        preparation = _preparation(settings)
        self.description = Description(card.name, digest, 0, preparation, card.scope, card.scope_note)
        blank = np.zeros((1, preparation.height, preparation.width, 3), dtype=np.uint8)
        dimension = self.encode_pixels(blank).shape[1]
        self.description = Description(card.name, digest, dimension, preparation, card.scope, card.scope_note)
        log.info(
            "%s (%s): %d dimensions, padding %s", card.name, digest[:12], dimension, "cut" if self.cuts else "kept"
        )

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Returns the token ids of each text: int64 [context], or int64 [length] where padding is cut."""
        if self._card.casefold:
            texts = [unicodedata.normalize("NFC", text.casefold()) for text in texts]
        rows = self._tokenizer(list(texts)).numpy()
        cache = getattr(self._tokenizer, "cache", None)
        if cache is not None and len(cache) > TOKENISER_CACHE:
            special = getattr(self._tokenizer, "all_special_ids", [])
            for word in list(cache)[len(special) :]:
                del cache[word]
        return [row[: int(row.argmax()) + 1] if self.cuts else row for row in rows]

    @torch.inference_mode()
    def encode_tokens(self, tokens: Sequence[Tokens]) -> Vectors:
        """Returns unit vectors, float32 [n, d], of token ids as `tokenise` returns them."""
        if self._tower is None:
            return _finish(self._clip.encode_text(self._to_device(torch.from_numpy(np.stack(tokens)))))
        lengths = np.array([len(row) for row in tokens])
        vectors: Vectors | None = None
        for places in _bucketed(lengths):
            batch = np.zeros((len(places), lengths[places].max()), dtype=np.int64)
            for row, place in enumerate(places):
                batch[row, : lengths[place]] = tokens[place]
            part = _finish(self._tower(self._to_device(torch.from_numpy(batch))))
            vectors = np.empty((len(tokens), part.shape[1]), dtype=np.float32) if vectors is None else vectors
            vectors[places] = part
        assert vectors is not None, "there are tokens"
        return vectors

    @torch.inference_mode()
    def encode_pixels(self, pixels: NDArray[np.uint8]) -> Vectors:
        """Returns unit vectors, float32 [n, d], of prepared pictures, uint8 [n, height, width, 3]."""
        images = self._to_device(torch.from_numpy(pixels)).permute(0, 3, 1, 2).to(torch.float32) / 255
        normal = (images - self._mean.to(self._device)) / self._std.to(self._device)
        return _finish(self._clip.encode_image(normal.to(self._dtype)))

    def warm(self) -> None:
        """Runs the shapes that queries have, so that the first of them finds everything compiled and allocated."""
        words = self.tokenise(["warm", "a few words more than that, of the usual length"])
        for count in (1, 2, 8):
            for row in words:
                self.encode_tokens([row] * count)
            size = self.description.preparation
            self.encode_pixels(np.zeros((count, size.height, size.width, 3), dtype=np.uint8))

    def _to_device(self, tensor: Tensor) -> Tensor:
        if self._device.type == "cpu":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)


def load(source: Source, *, device: str = "auto", threads: int = 0) -> Model:
    """Loads a model.

    Args:
        source: see services.encoder.sources.find.
        device: `auto` takes a GPU where there is one.
        threads: to compute with on a CPU; 0 leaves that to torch.

    Raises:
        RuntimeError: open_clip cannot load it; says why.
    """
    if threads:
        torch.set_num_threads(threads)
    on = torch.device("cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu"))
    if source.config:
        open_clip.add_model_config(source.config)
    # Loaded in float32 wherever it will run, so that the digest is the same on every device.
    clip = open_clip.create_model(source.name, pretrained=source.pretrained, require_pretrained=True)
    tokenizer = open_clip.get_tokenizer(source.name, **source.tokenizer)
    return Model(clip, tokenizer, source.card, on)


def _preparation(settings: dict[str, Any]) -> Preparation:
    size = settings["size"]
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    return Preparation(
        height=height,
        width=width,
        resize_mode=settings["resize_mode"],
        interpolation="bilinear" if settings["interpolation"] == "bilinear" else "bicubic",
        fill=int(settings["fill_color"]),
    )


def _bucketed(lengths: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Returns the places of the texts that are run together, by length."""
    of = np.searchsorted(BUCKETS, lengths)
    return [np.flatnonzero(of == bucket) for bucket in np.unique(of)]


def _finish(features: Tensor) -> Vectors:
    vectors: Vectors = functional.normalize(features.float(), dim=-1).cpu().numpy()
    return vectors


def _digest(clip: Any, settings: dict[str, Any], card: Card) -> str:
    hasher = hashlib.sha256()
    hasher.update(json.dumps([settings, card.casefold], sort_keys=True, default=list).encode())
    for name, tensor in sorted(clip.state_dict().items()):
        hasher.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        hasher.update(tensor.contiguous().view(-1).numpy())
    return hasher.hexdigest()
