"""The stages of training. Each has a budget of minutes, keeps its state on disk, and goes on where it stopped.

1. `learn_prototypes`: the text tower, against one free unit vector a picture. No picture is looked at, so it is fast,
   and the vectors come to hold the meaning: what is said alike lies close together.
2. `learn_pictures`: the picture tower, onto those vectors, now frozen.
3. `follow_pictures`: the text tower, onto the vectors of the real pictures (locked-image tuning, Zhai et al. 2022).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.batches import TextBatch, TextBatches, Variations, as_served
from training.emoji import Picture, on_white
from training.model import EMBED_DIM, build, encode_image, encode_text
from training.texts import Phrase, Withheld
from training.tokenizer import FastTokenizer

PICTURES_IN_BATCH = 96
# Views that are the pictures as they are served, untouched.
CLEAN_IN_BATCH = 12
PICTURE_SCALE = 30.0
_SAVE_EVERY = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How long one stage trains, at which peak rate, and how hard it is made for the text tower."""

    minutes: float
    rate: float
    dropout: float = 0.0
    bpe_dropout: float = 0.0
    max_scale: float = 100.0
    weight_decay: float = 0.05
    warmup: float = 0.03


@dataclass(slots=True)
class Stage:
    """A resumable training loop with a cosine schedule over its budget of wall-clock time."""

    name: str
    work: Path
    plan: Plan
    modules: nn.ModuleDict
    spent: float = 0.0
    steps: int = 0
    log: Callable[[str], None] = field(default=print)

    @property
    def file(self) -> Path:
        """Where its state lies."""
        return self.work / f"{self.name}.pt"

    def run(self, losses: Iterator[Tensor]) -> None:
        """Draws losses, each made with the weights of the moment, and follows them until the budget is spent."""
        parameters = [p for p in self.modules.parameters() if p.requires_grad]
        optimizer = _optimizer(parameters, self.plan)
        self._resume(optimizer)
        recent, saved, last = 0.0, time.monotonic(), time.monotonic()
        while self.spent < self.plan.minutes * 60:
            for group in optimizer.param_groups:
                group["lr"] = self.plan.rate * self._schedule()
            loss = next(losses)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            now = time.monotonic()
            self.spent, self.steps, last = self.spent + now - last, self.steps + 1, now
            recent = loss.item() if not recent else 0.98 * recent + 0.02 * loss.item()
            if now - saved > _SAVE_EVERY:
                self._save(optimizer, recent)
                saved = now
        self._save(optimizer, recent)

    def _schedule(self) -> float:
        progress = self.spent / (self.plan.minutes * 60)
        return min(progress / self.plan.warmup, 1.0) * 0.5 * (1 + math.cos(math.pi * progress)) + 1e-3

    def _save(self, optimizer: torch.optim.Optimizer, recent: float) -> None:
        self.log(f"{self.name}: {self.spent / 60:.1f} of {self.plan.minutes} min, step {self.steps}, loss {recent:.3f}")
        state: dict[str, Any] = {"modules": self.modules.state_dict(), "optimizer": optimizer.state_dict()}
        state |= {"spent": self.spent, "steps": self.steps, "minutes": self.plan.minutes}
        fresh = self.file.with_suffix(".new")
        torch.save(state, fresh)
        fresh.replace(self.file)

    def _resume(self, optimizer: torch.optim.Optimizer) -> None:
        if self.file.exists():
            state = load(self.file)
            self.modules.load_state_dict(state["modules"])
            optimizer.load_state_dict(state["optimizer"])
            self.spent, self.steps = state["spent"], state["steps"]
            self.log(f"{self.name}: going on from {self.spent / 60:.1f} min, step {self.steps}")


@dataclass(frozen=True, slots=True)
class Material:
    """What all stages learn from."""

    pictures: tuple[Picture, ...]
    phrases: tuple[Phrase, ...]
    merges: tuple[tuple[str, str], ...]
    withheld: Withheld

    def batches(self, plan: Plan, seed: int) -> TextBatches:
        """Endless batches of the texts, cut into pieces as the plan says."""
        tokenizer = FastTokenizer(self.merges, dropout=plan.bpe_dropout)
        keys = [picture.key for picture in self.pictures]
        return TextBatches(self.phrases, keys, tokenizer, seed, self.withheld)


def load(file: Path) -> dict[str, Any]:
    """A state that a stage has saved."""
    state: dict[str, Any] = torch.load(file, weights_only=True)
    return state


def learn_prototypes(material: Material, work: Path, plan: Plan) -> None:
    """Stage 1: text tower and one free vector a picture together."""
    torch.manual_seed(1)
    towers = _towers(build())
    towers["prototypes"] = _Prototypes(len(material.pictures))
    stage = Stage("prototypes", work, plan, towers)
    stage.run(_text_losses(towers, towers["prototypes"], iter(material.batches(plan, seed=1)), plan))


def learn_pictures(material: Material, work: Path, plan: Plan) -> None:
    """Stage 2: the picture tower learns to put any view of a picture at its prototype."""
    torch.manual_seed(3)
    prototypes = prototypes_of(work)
    model = build()
    model.visual.to(memory_format=torch.channels_last)
    stage = Stage("pictures", work, plan, nn.ModuleDict({"visual": model.visual}))
    stage.run(_picture_losses(model, material, prototypes))


def follow_pictures(material: Material, work: Path, plan: Plan) -> None:
    """Stage 3: the text tower towards the vectors of the clean pictures, which take the prototypes' place."""
    torch.manual_seed(4)
    vectors = picture_vectors(picture_tower(work), material.pictures)
    towers = _towers(build())
    _load_towers(towers, work / "prototypes.pt")
    stage = Stage("aligned", work, plan, towers)
    stage.run(_text_losses(towers, lambda: vectors, iter(material.batches(plan, seed=4)), plan))


def prototypes_of(work: Path) -> Tensor:
    """The unit vectors (pictures, 192) that stage 1 found."""
    vectors: Tensor = load(work / "prototypes.pt")["modules"]["prototypes.vectors"]
    return functional.normalize(vectors, dim=-1)


def picture_tower(work: Path) -> open_clip.CLIP:
    """A model whose picture tower is stage 2's, ready to judge."""
    model = build()
    states = load(work / "pictures.pt")["modules"]
    model.visual.load_state_dict({name.removeprefix("visual."): value for name, value in states.items()})
    return model.eval()


@torch.no_grad()
def picture_vectors(model: open_clip.CLIP, pictures: tuple[Picture, ...]) -> Tensor:
    """Unit vectors (pictures, 192) of the pictures as they are served."""
    model.eval()
    images = as_served([on_white(picture.image) for picture in pictures])
    return torch.cat([encode_image(model, part) for part in torch.split(images, 128)])


def history(work: Path) -> dict[str, dict[str, float]]:
    """How many minutes and steps each stage has trained, in order."""
    files = {name: work / f"{name}.pt" for name in ("prototypes", "pictures", "aligned")}
    states = {name: load(file) for name, file in files.items() if file.exists()}
    return {n: {"minutes": round(s["spent"] / 60, 1), "steps": s["steps"]} for n, s in states.items()}


def assemble(work: Path) -> open_clip.CLIP:
    """The model from the furthest stages that there are, and fresh weights where there are none."""
    model = picture_tower(work) if (work / "pictures.pt").exists() else build()
    for name in ("aligned", "prototypes"):
        if (work / f"{name}.pt").exists():
            # A ModuleDict shares its modules with the model, so loading the one fills the other.
            _load_towers(_towers(model), work / f"{name}.pt")
            break
    return model.eval()


class _Prototypes(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(count, EMBED_DIM) / math.sqrt(EMBED_DIM))

    def forward(self) -> Tensor:
        return functional.normalize(self.vectors, dim=-1)


class _TextTower(nn.Module):
    """The parts of a CLIP that texts pass through, with nothing of its picture tower."""

    def __init__(self, model: open_clip.CLIP) -> None:
        super().__init__()
        self.token_embedding = model.token_embedding
        self.positional_embedding = model.positional_embedding
        self.transformer = model.transformer
        self.ln_final = model.ln_final
        self.text_projection = model.text_projection
        self.logit_scale = model.logit_scale
        self.register_buffer("attn_mask", model.attn_mask, persistent=False)


def _towers(model: open_clip.CLIP) -> nn.ModuleDict:
    return nn.ModuleDict({"text": _TextTower(model)})


def _load_towers(towers: nn.ModuleDict, file: Path) -> None:
    states = load(file)["modules"]
    towers.load_state_dict({name: value for name, value in states.items() if name.startswith("text.")})


def _text_losses(
    towers: nn.ModuleDict, vectors: Callable[[], Tensor], batches: Iterator[TextBatch], plan: Plan
) -> Iterator[Tensor]:
    """Softmax of each text over all pictures, against its share of each (multi-positive InfoNCE)."""
    tower: Any = towers["text"]
    tower.train()
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16):
            found = encode_text(tower, batch.tokens, plan.dropout)
        scale = tower.logit_scale.exp().clamp(max=plan.max_scale)
        yield functional.cross_entropy(scale * found @ vectors().T, batch.targets)


def _picture_losses(model: open_clip.CLIP, material: Material, prototypes: Tensor) -> Iterator[Tensor]:
    """Softmax of each view over all prototypes, and its distance from its own."""
    model.visual.train()
    views = Variations([picture.image for picture in material.pictures], seed=3)
    served = as_served([on_white(picture.image) for picture in material.pictures])
    while True:
        for chosen in torch.split(torch.randperm(len(served)), PICTURES_IN_BATCH):
            varied, clean = chosen[CLEAN_IN_BATCH:], chosen[:CLEAN_IN_BATCH]
            images = torch.cat([served[clean], views(varied)])
            found = encode_image(model, images.contiguous(memory_format=torch.channels_last))
            softmax = functional.cross_entropy(PICTURE_SCALE * found @ prototypes.T, chosen)
            yield softmax + (1 - (found * prototypes[chosen]).sum(dim=-1)).mean()


def _optimizer(parameters: list[nn.Parameter], plan: Plan) -> torch.optim.Optimizer:
    # Gains, biases and the scale are left out of weight decay, as usual.
    decayed = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=plan.rate, weight_decay=plan.weight_decay, betas=(0.9, 0.98), fused=True)
