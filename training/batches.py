"""What the stages are fed with: batches of token ids with their targets, and pictures varied at random.

Tensors are made on torch's default device.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from training.model import CONTEXT_LENGTH, IMAGE_SIZE
from training.texts import Phrase, Withheld, pair_is_held_out
from training.tokenizer import clean

TEXTS_IN_BATCH = 512
JOINED = 0.2
# Batches are cut out of so many at a time, sorted by length, so that hardly anything is padding.
_SORTED_TOGETHER = 24
# Larger than what the model reads, so that turning and scaling has something to sample from.
_BASE_SIZE = 80


class Tokenizer(Protocol):
    """Cuts texts into ids; `start` and `end` go around them."""

    start: int
    end: int

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, without start and end."""


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Token ids (n, longest) padded with zeros, and each text's share of every picture (n, pictures), rows sum to 1."""

    tokens: Tensor
    targets: Tensor


class TextBatches:
    """Endless shuffled passes over the distinct training texts; a fifth are joined with another of the same picture.

    A text's target is spread evenly over every picture that bears it, a joined one's over those that bear both.

    Args:
        phrases: what may be read, all of it in each pass.
        pictures: their keys, in the order of targets.
        withheld: what is not to come about by joining; nothing where it is None.
        further: texts that are not among `phrases`, of which each pass reads a share.
    """

    def __init__(
        self,
        phrases: Sequence[Phrase],
        pictures: Sequence[str],
        tokenizer: Tokenizer,
        seed: int,
        *,
        withheld: Withheld | None = None,
        further: Sequence[Phrase] = (),
        share: float = 1.0,
    ) -> None:
        self._pictures, self._withheld = pictures, withheld
        self._place = {picture: index for index, picture in enumerate(pictures)}
        self._tokenizer = tokenizer
        self._random = random.Random(seed)
        texts, others = (sorted({phrase.text for phrase in said}) for said in (phrases, further))
        self._always = len(texts)
        self._further = round(share * len(others))
        self.texts = texts = texts + others
        self._clean = clean(texts)
        number = {text: index for index, text in enumerate(texts)}
        self._bearers: list[set[int]] = [set() for _ in texts]
        self._sources: list[list[tuple[int, str]]] = [[] for _ in texts]
        self._said: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
        for phrase in (*phrases, *further):
            text, place = number[phrase.text], self._place[phrase.picture]
            self._bearers[text].add(place)
            self._sources[text].append((place, phrase.language))
            self._said[place, phrase.language].append(text)

    def __len__(self) -> int:
        """Batches in one pass."""
        return math.ceil((self._always + self._further) / TEXTS_IN_BATCH)

    def __iter__(self) -> Iterator[TextBatch]:
        while True:
            yield from self._one_pass()

    def _one_pass(self) -> Iterator[TextBatch]:
        read = [*range(self._always), *self._random.sample(range(self._always, len(self.texts)), self._further)]
        ids = self._tokenizer(self._clean)
        samples = [self._sample(text, ids) for text in read]
        self._random.shuffle(samples)
        span = TEXTS_IN_BATCH * _SORTED_TOGETHER
        for start in range(0, len(samples), span):
            group = sorted(samples[start : start + span], key=lambda sample: len(sample[0]))
            starts = list(range(0, len(group), TEXTS_IN_BATCH))
            self._random.shuffle(starts)
            for first in starts:
                yield self._collate(group[first : first + TEXTS_IN_BATCH])

    def _sample(self, text: int, ids: list[list[int]]) -> tuple[list[int], set[int]]:
        if self._random.random() >= JOINED:
            return ids[text], self._bearers[text]
        other = self._random.choice(self._said[self._random.choice(self._sources[text])])
        first, second = self._random.sample((text, other), 2)
        both = self._bearers[first] & self._bearers[second]
        if not self._may_join(first, second, both):
            return ids[text], self._bearers[text]
        # A space parts words in CLIP's tokenizer too, so the ids of the parts are the ids of the whole.
        return ids[first] + ids[second], both

    def _may_join(self, first: int, second: int, bearers: set[int]) -> bool:
        if pair_is_held_out(self.texts[first], self.texts[second]):
            return False
        joined = f"{self.texts[first]} {self.texts[second]}"
        return self._withheld is None or self._withheld.allows(joined, (self._pictures[place] for place in bearers))

    def _collate(self, samples: Sequence[tuple[list[int], set[int]]]) -> TextBatch:
        targets = np.zeros((len(samples), len(self._place)), np.float32)
        for row, (_, bearers) in enumerate(samples):
            targets[row, list(bearers)] = 1 / len(bearers)
        return TextBatch(pad([tokens for tokens, _ in samples], self._tokenizer), torch.tensor(targets))


def pad(ids: Sequence[Sequence[int]], tokenizer: Tokenizer) -> Tensor:
    """Ids with start and end of text, cut at the context length, padded with zeros to the longest: (n, longest)."""
    rows = [[tokenizer.start, *tokens[: CONTEXT_LENGTH - 2], tokenizer.end] for tokens in ids]
    tokens = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = row
    return torch.tensor(tokens)


class Variations:
    """Random views of the pictures: turned, scaled, shifted, lit and tinted, on plain grounds of any colour.

    Holds every picture at 80 x 80 as premultiplied RGBA, so that one batched `grid_sample` and one addition do all.
    """

    def __init__(self, images: Sequence[Image.Image], seed: int) -> None:
        self._generator = torch.Generator(torch.get_default_device()).manual_seed(seed)
        size = (_BASE_SIZE, _BASE_SIZE)
        self._base = torch.stack([_premultiplied(image.resize(size, Image.Resampling.BICUBIC)) for image in images])

    def __call__(self, chosen: Tensor) -> Tensor:
        """Views (n, 3, 64, 64), scaled to -1 … 1, of the pictures at the places `chosen` (n,)."""
        views = functional.grid_sample(self._base[chosen].float() / 255, self._grid(len(chosen)), align_corners=False)
        light = self._uniform(len(chosen), 1, low=0.65, high=1.3) * self._uniform(len(chosen), 3, low=0.82, high=1.18)
        colour, alpha = views[:, :3], views[:, 3:]
        # Light can burn a premultiplied colour out only up to its own coverage.
        lit = torch.minimum(colour * light[:, :, None, None], alpha)
        return (lit + (1 - alpha) * self._grounds(len(chosen))).mul(2).sub(1)

    def _grid(self, count: int) -> Tensor:
        angle = self._uniform(count, low=-25.0, high=25.0).deg2rad()
        # The grid says where to read from, so the picture grows as the factor shrinks.
        factor = 1 / self._uniform(count, low=0.6, high=1.15)
        cosine, sine = angle.cos() * factor, angle.sin() * factor
        shift = self._uniform(count, 2, low=-0.2, high=0.2)
        rows = [torch.stack([cosine, -sine, shift[:, 0]], 1), torch.stack([sine, cosine, shift[:, 1]], 1)]
        shape = [count, 4, IMAGE_SIZE, IMAGE_SIZE]
        return functional.affine_grid(torch.stack(rows, 1), shape, align_corners=False)

    def _grounds(self, count: int) -> Tensor:
        colours = self._uniform(count, 3, low=0.0, high=1.0)
        white = self._uniform(count, 1, low=0.0, high=1.0) < 0.4
        return torch.where(white, torch.ones(()), colours)[:, :, None, None]

    def _uniform(self, *shape: int, low: float, high: float) -> Tensor:
        return torch.rand(*shape, generator=self._generator) * (high - low) + low


def as_served(images: Sequence[Image.Image]) -> Tensor:
    """Images (n, 3, 64, 64), scaled to -1 … 1, exactly as open_clip's preprocessing resizes square RGB pictures."""
    size = (IMAGE_SIZE, IMAGE_SIZE)
    small = [np.asarray(image.resize(size, Image.Resampling.BICUBIC)) for image in images]
    return torch.tensor(np.stack(small)).permute(0, 3, 1, 2).float().div(255).sub(0.5).div(0.5)


def _premultiplied(image: Image.Image) -> Tensor:
    pixels = np.asarray(image, dtype=np.float32)
    pixels = np.concatenate([pixels[..., :3] * pixels[..., 3:] / 255, pixels[..., 3:]], axis=-1)
    return torch.tensor(pixels.round().astype(np.uint8)).permute(2, 0, 1).contiguous()
