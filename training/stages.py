"""The stages of training. Each has a number of steps, keeps its state on disk, and goes on where it stopped.

1. `tell_apart`: the picture tower, with one free unit vector a picture, so that any view of a picture is known for
   this picture and for no other. No text is read, so it can run beside the second.
2. `learn_prototypes`: the text tower, against one free unit vector a picture. No picture is looked at, so it is fast,
   and the vectors come to hold the meaning: what is said alike lies close together, though never so close that
   pictures could not be told apart.
3. `learn_pictures`: the picture tower, from where the first stage left it, onto those vectors, now frozen.
4. `follow_prototypes`: the text tower further towards those vectors. No picture is looked at, so it can run beside the
   third.
5. `follow_pictures`: the text tower, from where the fourth left it, onto the vectors of the real pictures (locked-image
   tuning, Zhai et al. 2022).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
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

STAGES = ("views", "prototypes", "pictures", "texts", "aligned")
PICTURES_IN_BATCH = 96
# Views that are the pictures as they are served, untouched.
CLEAN_IN_BATCH = 12
PICTURE_SCALE = 30.0
# The cosine that two prototypes are pushed below, how hard, and how many are looked at in a step.
NEAREST, APART, APART_IN_STEP = 0.75, 20.0, 256
_SAVE_EVERY = 60.0
_SEEDS_APART = 1_000
# Points of the curve that a stage keeps of its loss.
_POINTS = 40


@dataclass(frozen=True, slots=True)
class Plan:
    """How long one stage trains, from which seed, at which peak rate, and how hard it is made for the text tower.

    The rate rises over `warmup` steps, stays, and falls over the last part `fall` of the steps, so that how long a
    stage trains can still be chosen while it does. `share` is how much of the further languages each pass reads.
    """

    steps: int
    rate: float
    seed: int
    share: float = 0.0
    dropout: float = 0.0
    bpe_dropout: float = 0.0
    max_scale: float = 100.0
    fall: float = 0.4
    weight_decay: float = 0.05
    warmup: int = 90


@dataclass(slots=True)
class Stage:
    """A resumable training loop with its schedule of rates (Hu et al. 2024), and the curve of its loss."""

    name: str
    work: Path
    plan: Plan
    modules: nn.ModuleDict
    steps: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)
    log: Callable[[str], None] = field(default=print)

    @property
    def file(self) -> Path:
        """Where its state lies."""
        return self.work / f"{self.name}.pt"

    def run(self, losses: Callable[[int], Iterator[Tensor]]) -> None:
        """Draws losses, each made with the weights of the moment, and follows them until all steps are done.

        Args:
            losses: made of a seed: the plan's, or where the stage goes on after an interruption another, so that what
                was read first is not read first again.
        """
        parameters = [p for p in self.modules.parameters() if p.requires_grad]
        optimizer = _optimizer(parameters, self.plan)
        self._resume(optimizer)
        seed = self.plan.seed + _SEEDS_APART * self.steps
        if self.steps:
            torch.manual_seed(seed)
        drawn = losses(seed)
        recent, saved = self.curve[-1][1] if self.curve else 0.0, time.monotonic()
        every = max(1, self.plan.steps // _POINTS)
        while self.steps < self.plan.steps:
            for group in optimizer.param_groups:
                group["lr"] = self.plan.rate * self._schedule()
            loss = next(drawn)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            self.steps += 1
            recent = loss.item() if not recent else 0.98 * recent + 0.02 * loss.item()
            if self.steps % every == 0:
                self.curve.append((self.steps, round(recent, 4)))
            if time.monotonic() - saved > _SAVE_EVERY:
                self._save(optimizer, recent)
                saved = time.monotonic()
        self._save(optimizer, recent)

    def _schedule(self) -> float:
        left = 1 - self.steps / self.plan.steps
        fallen = left / self.plan.fall if left < self.plan.fall else 1.0
        return min(self.steps / self.plan.warmup, fallen, 1.0) + 1e-3

    def _save(self, optimizer: torch.optim.Optimizer, recent: float) -> None:
        self.log(f"{self.name}: step {self.steps:,} of {self.plan.steps:,}, loss {recent:.3f}")
        state: dict[str, Any] = {"modules": self.modules.state_dict(), "optimizer": optimizer.state_dict()}
        state |= {"steps": self.steps, "curve": self.curve, "plan": asdict(self.plan)}
        fresh = self.file.with_suffix(".new")
        torch.save(state, fresh)
        fresh.replace(self.file)

    def _resume(self, optimizer: torch.optim.Optimizer) -> None:
        if self.file.exists():
            state = load(self.file)
            self.modules.load_state_dict(state["modules"])
            optimizer.load_state_dict(state["optimizer"])
            self.steps, self.curve = state["steps"], state["curve"]
            self.log(f"{self.name}: going on from step {self.steps:,}")


@dataclass(frozen=True, slots=True)
class Material:
    """What all stages learn from."""

    pictures: tuple[Picture, ...]
    phrases: tuple[Phrase, ...]
    further: tuple[Phrase, ...]
    merges: tuple[tuple[str, str], ...]
    withheld: Withheld

    def batches(self, plan: Plan, seed: int) -> TextBatches:
        """Endless batches of the texts, cut into pieces as the plan says."""
        tokenizer = FastTokenizer(self.merges, dropout=plan.bpe_dropout)
        keys = [picture.key for picture in self.pictures]
        return TextBatches(
            self.phrases,
            keys,
            tokenizer,
            seed,
            withheld=self.withheld,
            further=self.further,
            share=plan.share,
        )


def load(file: Path) -> dict[str, Any]:
    """A state that a stage has saved."""
    state: dict[str, Any] = torch.load(file, map_location=torch.get_default_device(), weights_only=True)
    return state


def tell_apart(material: Material, work: Path, plan: Plan) -> None:
    """Stage 1: picture tower and one free vector a picture together."""
    torch.manual_seed(plan.seed)
    model = build()
    model.visual.to(memory_format=torch.channels_last)
    free = _Prototypes(len(material.pictures))
    stage = Stage("views", work, plan, nn.ModuleDict({"visual": model.visual, "prototypes": free}))
    stage.run(lambda seed: _picture_losses(model, material, free, seed))


def learn_prototypes(material: Material, work: Path, plan: Plan) -> None:
    """Stage 2: text tower and one free vector a picture together."""
    torch.manual_seed(plan.seed)
    towers = _towers(build())
    towers["prototypes"] = _Prototypes(len(material.pictures))
    stage = Stage("prototypes", work, plan, towers)

    def losses(seed: int) -> Iterator[Tensor]:
        for loss in _text_losses(towers, towers["prototypes"], iter(material.batches(plan, seed)), plan):
            yield loss + APART * _closeness(towers["prototypes"]())

    stage.run(losses)


def learn_pictures(material: Material, work: Path, plan: Plan) -> None:
    """Stage 3: the picture tower learns to put any view of a picture at its prototype."""
    torch.manual_seed(plan.seed)
    prototypes = prototypes_of(work)
    model = picture_tower(work, "views")
    model.visual.to(memory_format=torch.channels_last)
    stage = Stage("pictures", work, plan, nn.ModuleDict({"visual": model.visual}))
    stage.run(lambda seed: _picture_losses(model, material, lambda: prototypes, seed))


def follow_prototypes(material: Material, work: Path, plan: Plan) -> None:
    """Stage 4: the text tower towards the prototypes, which stay where they are."""
    _follow(material, work, plan, prototypes_of(work), before="prototypes", name="texts")


def follow_pictures(material: Material, work: Path, plan: Plan) -> None:
    """Stage 5: the text tower towards the vectors of the clean pictures, which take the prototypes' place."""
    vectors = picture_vectors(picture_tower(work), material.pictures)
    _follow(material, work, plan, vectors, before="texts", name="aligned")


def _follow(material: Material, work: Path, plan: Plan, vectors: Tensor, *, before: str, name: str) -> None:
    torch.manual_seed(plan.seed)
    towers = _towers(build())
    _load_towers(towers, work / f"{before}.pt")
    stage = Stage(name, work, plan, towers)
    stage.run(lambda seed: _text_losses(towers, lambda: vectors, iter(material.batches(plan, seed)), plan))


def prototypes_of(work: Path) -> Tensor:
    """The unit vectors (pictures, 192) that `learn_prototypes` found."""
    vectors: Tensor = load(work / "prototypes.pt")["modules"]["prototypes.vectors"]
    return functional.normalize(vectors, dim=-1)


def picture_tower(work: Path, stage: str = "pictures") -> open_clip.CLIP:
    """A model whose picture tower is that of a stage, ready to judge."""
    model = build()
    states = load(work / f"{stage}.pt")["modules"]
    visual = {name: value for name, value in states.items() if name.startswith("visual.")}
    model.visual.load_state_dict({name.removeprefix("visual."): value for name, value in visual.items()})
    return model.eval()


@torch.no_grad()
def picture_vectors(model: open_clip.CLIP, pictures: tuple[Picture, ...]) -> Tensor:
    """Unit vectors (pictures, 192) of the pictures as they are served."""
    model.eval()
    images = as_served([on_white(picture.image) for picture in pictures])
    return torch.cat([encode_image(model, part) for part in torch.split(images, 128)])


def history(work: Path) -> dict[str, dict[str, Any]]:
    """The plan of each stage, the steps that it has done of it, and the curve of its loss, in order."""
    files = {name: work / f"{name}.pt" for name in STAGES}
    states = {name: load(file) for name, file in files.items() if file.exists()}
    return {n: {**s["plan"], "steps": s["steps"], "curve": s["curve"]} for n, s in states.items()}


def assemble(work: Path) -> open_clip.CLIP:
    """The model from the furthest stages that there are, and fresh weights where there are none."""
    model = picture_tower(work) if (work / "pictures.pt").exists() else build()
    for name in ("aligned", "texts", "prototypes"):
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
        with torch.autocast(batch.tokens.device.type, torch.bfloat16):
            found = encode_text(tower, batch.tokens, plan.dropout)
        scale = tower.logit_scale.exp().clamp(max=plan.max_scale)
        yield functional.cross_entropy(scale * found @ vectors().T, batch.targets)


def _closeness(vectors: Tensor) -> Tensor:
    """How far other vectors come within `NEAREST` of some of them: squared excess of the cosine, summed for each."""
    chosen = torch.randperm(len(vectors))[:APART_IN_STEP]
    excess = functional.relu(vectors[chosen] @ vectors.T - NEAREST).square()
    return (excess.sum(dim=-1) - excess[torch.arange(len(chosen)), chosen]).mean()


def _picture_losses(
    model: open_clip.CLIP, material: Material, vectors: Callable[[], Tensor], seed: int
) -> Iterator[Tensor]:
    """Softmax of each view over the vectors of all pictures, and its distance from its own."""
    model.visual.train()
    views = Variations([picture.image for picture in material.pictures], seed)
    served = as_served([on_white(picture.image) for picture in material.pictures])
    while True:
        for chosen in torch.split(torch.randperm(len(served)), PICTURES_IN_BATCH):
            varied, clean = chosen[CLEAN_IN_BATCH:], chosen[:CLEAN_IN_BATCH]
            images = torch.cat([served[clean], views(varied)])
            found, prototypes = encode_image(model, images.contiguous(memory_format=torch.channels_last)), vectors()
            softmax = functional.cross_entropy(PICTURE_SCALE * found @ prototypes.T, chosen)
            yield softmax + (1 - (found * prototypes[chosen]).sum(dim=-1)).mean()


def _optimizer(parameters: list[nn.Parameter], plan: Plan) -> torch.optim.Optimizer:
    # Gains, biases and the scale are left out of weight decay, as usual.
    decayed = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=plan.rate, weight_decay=plan.weight_decay, betas=(0.9, 0.98), fused=True)
