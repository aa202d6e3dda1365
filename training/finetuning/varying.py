"""Both sides varied: captions in other words, other order and other sentences; pictures cropped, turned and recoloured.

What comes out is decided by the seed, the step and the place in the batch alone, so that a run that was ended goes on
as if it had not been.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from services.encoder.ports import Card
from services.gateway.vocabulary import Vocabulary
from services.pictures import prepare

HELD = "{}"
"""Where a template holds the caption."""


@dataclass(frozen=True, slots=True)
class Words:
    """How often a caption is varied.

    Attributes:
        synonyms: a vocabulary, as gateways are given one.
        replaced: share of captions in which one of its expressions is replaced.
        templates: sentences that hold the caption, such as "a photo of {}".
        told: share of captions that are put into one.
        shuffled: share of captions whose words are put into another order.
    """

    synonyms: Vocabulary | None = None
    replaced: float = 0.3
    templates: Sequence[str] = ()
    told: float = 0.5
    shuffled: float = 0.0

    def __call__(self, caption: str, chance: random.Random) -> str:
        """Returns the caption, or a variation of it."""
        # All chances are drawn whether or not they are used, so that one option does not change what another does.
        replace, shuffle, tell, which = (chance.random() for _ in range(4))
        if self.synonyms and replace < self.replaced:
            _, *others = self.synonyms.expand(caption)
            if others:
                caption = chance.choices([text for _, text in others], [weight for weight, _ in others])[0]
        if shuffle < self.shuffled:
            words = caption.split()
            caption = " ".join(chance.sample(words, len(words)))
        if self.templates and tell < self.told:
            caption = self.templates[int(which * len(self.templates))].replace(HELD, caption)
        return caption


@dataclass(frozen=True, slots=True)
class Views:
    """How far a picture is varied.

    Attributes:
        crop: the smallest part of its area that is kept, of 1.
        rotation: degrees to either side.
        colour: how far brightness, contrast and saturation go, of 1; hue a fifth of that.
    """

    crop: float = 0.6
    rotation: float = 10.0
    colour: float = 0.2

    def of(self, card: Card, preprocess: Mapping[str, Any]) -> Callable[[Image.Image, int], Tensor]:
        """Returns what makes a view of a picture with a seed: float32 [3, height, width], normalised."""
        shape = card.preparation
        steps = v2.Compose(
            [
                v2.RandomRotation([-self.rotation, self.rotation], InterpolationMode.BILINEAR, fill=255),
                v2.RandomResizedCrop((shape.height, shape.width), (self.crop, 1.0), (0.8, 1.25), antialias=True),
                v2.ColorJitter(self.colour, self.colour, self.colour, self.colour / 5),
            ]
        )
        seen = plain(card, preprocess)

        def view(image: Image.Image, seed: int) -> Tensor:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                return seen(steps(image.convert("RGB")))

        return view


def plain(card: Card, preprocess: Mapping[str, Any]) -> Callable[[Image.Image], Tensor]:
    """Returns what prepares a picture as it is served: float32 [3, height, width], normalised."""
    mean, std = (torch.tensor(preprocess[key])[:, None, None] for key in ("mean", "std"))

    def seen(image: Image.Image) -> Tensor:
        pixels = torch.from_numpy(prepare(image, card.preparation)).permute(2, 0, 1)
        return (pixels.float() / 255 - mean) / std

    return seen
