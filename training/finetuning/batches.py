"""Which captions and images come together in which step: decided by the seed and the step, whoever asks."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from training.evaluation.pictures import open_file
from training.finetuning.table import Table
from training.finetuning.varying import Words

NEIGHBOURS = 16
"""Of each image so many are kept that look most like it; hard negatives are drawn from these."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A step's part of one process.

    Attributes:
        tokens: int64 [n, context].
        pixels: float [n, 3, height, width]: an image of each caption; None where vectors are at hand.
        bearers: float [n, columns], rows sum to 1: which columns each caption is right on. Columns are all images of
            the table, or those of the whole step.
        said: float [n, columns], the same of each image and the captions of the whole step; None beside vectors.
    """

    tokens: Tensor
    pixels: Tensor | None
    bearers: Tensor
    said: Tensor | None


@dataclass(frozen=True, slots=True)
class _Sample:
    caption: int
    image: int


class Batches(Dataset[Batch]):
    """The batches of all steps.

    Args:
        table: captions and images.
        parts: places of captions, and their share of each batch, which sum to 1: what is new, and what was known.
        size: captions in a step, of all processes together.
        tokenize: texts to ids with padding, int64 [n, context].
        words: varies captions.
        view: makes pixels of a picture, with a seed; None where the image tower is locked and its vectors are at hand.
        hard: so many images that look alike come with each image that was drawn. Beside vectors nothing: there every
            image of the table is a negative.
        rank, world: which process of how many.
    """

    def __init__(
        self,
        table: Table,
        parts: Sequence[tuple[Sequence[int], float]],
        size: int,
        tokenize: Callable[[list[str]], Tensor],
        *,
        words: Words,
        view: Callable[[Image.Image, int], Tensor] | None = None,
        hard: int = 0,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.table, self.neighbours = table, torch.empty(0, dtype=torch.int64)
        counts = [round(size * share) for _, share in parts[:-1]]
        self._parts = list(zip((places for places, _ in parts), [*counts, size - sum(counts)], strict=True))
        self._size, self._tokenize, self._words, self._view = size, tokenize, words, view
        self._hard, self._seed, self._rank, self._world = hard, seed, rank, world
        self._captions: defaultdict[int, list[int]] = defaultdict(list)
        for caption, images in enumerate(table.bearers):
            for image in images:
                self._captions[image].append(caption)
        self._order = lru_cache(2 * len(parts))(self._shuffled)

    @property
    def mines(self) -> bool:
        """Whether it wants to be told which images look alike."""
        return self._hard > 0 and self._view is not None

    def __getitem__(self, step: int) -> Batch:
        chance = random.Random(f"{self._seed}/{step}")
        samples = self._samples(step, chance)
        texts = [self._words(self.table.captions[one.caption], chance) for one in samples]
        seeds = [chance.getrandbits(48) for _ in samples]
        mine = range(self._rank, len(samples), self._world)
        tokens = self._tokenize([texts[place] for place in mine])
        if self._view is None:
            return Batch(tokens, None, self._over_table([samples[place] for place in mine]), None)
        pixels = torch.stack([self._pixels(samples[place].image, seeds[place]) for place in mine])
        right = self._over_step(samples)
        rows = torch.tensor(list(mine))
        # Vectors are gathered process by process.
        columns = torch.cat([torch.arange(rank, len(samples), self._world) for rank in range(self._world)])
        return Batch(tokens, pixels, _shares(right[rows][:, columns]), _shares(right.T[rows][:, columns]))

    def _samples(self, step: int, chance: random.Random) -> list[_Sample]:
        found: list[_Sample] = []
        for part, (_, count) in enumerate(self._parts):
            # Of a part as many are drawn as leave room for those that look alike.
            alike = min(self._hard, self.neighbours.shape[1]) if self.mines and len(self.neighbours) else 0
            drawn = -(-count // (1 + alike))
            chosen: list[_Sample] = []
            for place in range(step * drawn, (step + 1) * drawn):
                caption = self._at(part, place)
                image = chance.choice(self.table.bearers[caption])
                chosen.append(_Sample(caption, image))
                others = chance.sample(self.neighbours[image].tolist(), alike) if alike else []
                chosen += [_Sample(chance.choice(self._captions[other]), other) for other in others]
            found += chosen[:count]
        return found

    def _at(self, part: int, place: int) -> int:
        epoch, within = divmod(place, len(self._parts[part][0]))
        return self._order(part, epoch)[within]

    def _shuffled(self, part: int, epoch: int) -> list[int]:
        places = list(self._parts[part][0])
        random.Random(f"{self._seed}/{part}/{epoch}").shuffle(places)
        return places

    def _pixels(self, image: int, seed: int) -> Tensor:
        assert self._view is not None
        return self._view(open_file(self.table.images[image]), seed)

    def _over_table(self, samples: Sequence[_Sample]) -> Tensor:
        right = torch.zeros(len(samples), len(self.table.images))
        for row, one in enumerate(samples):
            right[row, list(self.table.bearers[one.caption])] = 1
        return _shares(right)

    def _over_step(self, samples: Sequence[_Sample]) -> Tensor:
        images = [one.image for one in samples]
        bearers = [set(self.table.bearers[one.caption]) for one in samples]
        return torch.tensor([[float(image in of) for image in images] for of in bearers])


def _shares(right: Tensor) -> Tensor:
    return right / right.sum(dim=1, keepdim=True)
