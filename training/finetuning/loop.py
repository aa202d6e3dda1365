"""The loop: steps, evaluations, states that a run goes on from, and when to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from training.finetuning.batches import NEIGHBOURS
from training.finetuning.processes import Processes

Precision = Literal["fp32", "bf16", "fp16"]
Judge = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train.

    Attributes:
        steps: at the most.
        rate: the peak of AdamW's learning rate; a warm-up leads to it, a cosine down from it.
        evaluate_every: steps between evaluations, after which it may stop.
        patience: so many evaluations in a row without a better one end it.
        save_seconds: how often the state is written, at the most; it is after each evaluation.
        max_scale: what the learnt scale of cosines may reach; 100 in CLIP.
        workers: processes that prepare batches; 0 prepares them between steps.
    """

    steps: int = 1_000
    rate: float = 1e-4
    warmup: float = 0.05
    weight_decay: float = 0.05
    precision: Precision = "fp32"
    seed: int = 0
    evaluate_every: int = 100
    patience: int = 5
    save_seconds: float = 60.0
    max_scale: float = 100.0
    workers: int = 0

    def deciding(self) -> dict[str, object]:
        """What of it decides what comes of a run: not who prepares batches, nor how often states are written."""
        return {name: value for name, value in asdict(self).items() if name not in ("workers", "save_seconds")}


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        history: step and value of each evaluation; the first is of the model as it came.
        best: the step with the best value; its weights are what a run ends with.
        neighbours: which images look alike, since the last evaluation.
    """

    step: int = 0
    history: list[tuple[int, float]] = field(default_factory=list)
    neighbours: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    @property
    def best(self) -> int:
        """The first step with the best value."""
        return max(self.history, key=lambda one: (one[1], -one[0]))[0] if self.history else self.step

    def is_over(self, plan: Plan) -> bool:
        """Whether all steps are done, or none of the last evaluations was the best."""
        since = sum(step > self.best for step, _ in self.history)
        return self.step >= plan.steps or (since >= plan.patience and self.step == self.history[-1][0])


class Batches(Protocol):
    """What is learnt from, step by step.

    Attributes:
        mines: whether it wants to be told which images look alike.
        neighbours: which those are, int64 [images, n].
    """

    neighbours: Tensor

    @property
    def mines(self) -> bool:
        """See above."""

    def __getitem__(self, step: int) -> Any:
        """The batch of a step, decided by its number alone."""


class Trainer:
    """Trains towers.

    Args:
        towers: on their device. Called with tokens and pixels, they give unit vectors of both, and a scale.
        batches: what they learn from: training.finetuning.batches.Batch, unless a kind of trainer has its own.
        plan: how.
        work: the folder for states; what is there is gone on from.
        vectors: unit vectors of all images of the table [images, d], where the image tower is locked.
        look: unit vectors of all images as the towers see them now; asked for where batches have hard negatives.
        judge: the value of the towers as they are, more being better; without one the last weights are the best.
        processes: with which it trains together.
    """

    def __init__(
        self,
        towers: nn.Module,
        batches: Batches,
        plan: Plan,
        work: Path,
        *,
        vectors: Tensor | None = None,
        look: Callable[[], Tensor] | None = None,
        judge: Judge | None = None,
        processes: Processes | None = None,
        log: Callable[[str], None] = print,
    ) -> None:
        self._towers, self._batches, self._plan, self._work, self._log = towers, batches, plan, work, log
        self._vectors, self._look, self._judge = vectors, look, judge
        self._processes = processes or Processes()
        self._learning = [one for one in towers.parameters() if one.requires_grad]
        self._optimizer = _optimizer(self._learning, plan)
        self._device = next(towers.parameters()).device
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=plan.precision == "fp16")
        self._saved = time.monotonic()
        self.progress = Progress()

    def run(self) -> Progress:
        """Trains to the end, and leaves the towers with the best weights."""
        resumed = self._resume()
        if resumed:
            # It may have been ended between the state and what it calls the best.
            self._keep_best()
        towers: nn.Module = self._towers
        if self._processes.world > 1:
            towers = DistributedDataParallel(self._towers, find_unused_parameters=True)
        if not resumed:
            self._evaluate()
        while not self.progress.is_over(self._plan):
            self._segment(towers)
            self._evaluate()
        if self.progress.best < self.progress.step and self._judge:
            self._towers.load_state_dict(torch.load(self._work / "best.pt", weights_only=True))
        self._towers.train(False)
        return self.progress

    def _segment(self, towers: nn.Module) -> None:
        plan, start = self._plan, self.progress.step
        if self._batches.mines and not len(self.progress.neighbours):
            self.progress.neighbours = self._processes.said_by_first(self._alike)
        self._batches.neighbours = self.progress.neighbours
        end = min(plan.steps, (start // plan.evaluate_every + 1) * plan.evaluate_every)
        self._towers.train()
        for step, batch in zip(range(start, end), self._loaded(start, end), strict=True):
            loss = self._step(towers, batch, step)
            self.progress.step = step + 1
            if time.monotonic() - self._saved > plan.save_seconds and step + 1 < end:
                self._log(f"step {step + 1:,} of {plan.steps:,}, loss {loss:.3f}")
                self._save()

    def _loaded(self, start: int, end: int) -> Iterator[Any]:
        batches: Any = self._batches  # torch asks for its own class, and uses no more than the protocol has
        workers = self._plan.workers
        return iter(DataLoader(batches, batch_size=None, sampler=range(start, end), num_workers=workers))

    def _step(self, towers: nn.Module, batch: Any, step: int) -> float:
        # All that is drawn in a step comes from its number, so that a run which goes on draws the same.
        torch.manual_seed(self._plan.seed * 1_000_003 + step * self._processes.world + self._processes.rank)
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.rate * _schedule(step, self._plan)
        loss = self._loss(towers, batch)
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self._learning, 1.0)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return float(loss.detach())

    def _loss(self, towers: nn.Module, batch: Any) -> Tensor:
        """Softmax of each text over images, and of each image over texts, against all that are right at once."""
        with self._precise():
            texts, pictures, scale = towers(self._put(batch.tokens), self._put(batch.pixels))
        scale = scale.clamp(max=self._plan.max_scale)
        if pictures is None:
            assert self._vectors is not None
            return cross_entropy(scale * texts @ self._vectors.T, self._put(batch.bearers))
        assert batch.said is not None
        everything = (self._gathered(texts), self._gathered(pictures))
        of_texts = cross_entropy(scale * texts @ everything[1].T, self._put(batch.bearers))
        return (of_texts + cross_entropy(scale * pictures @ everything[0].T, self._put(batch.said))) / 2

    def _gathered(self, vectors: Tensor) -> Tensor:
        if self._processes.world == 1:
            return vectors
        return torch.cat(all_gather(vectors))  # type: ignore[no-untyped-call]

    def _precise(self) -> Any:
        if self._plan.precision == "fp32":
            return nullcontext()
        kind = torch.bfloat16 if self._plan.precision == "bf16" else torch.float16
        return torch.autocast(self._device.type, kind)

    def _put(self, tensor: Tensor | None) -> Any:
        return None if tensor is None else tensor.to(self._device, non_blocking=True)

    def _alike(self) -> Tensor:
        assert self._look is not None
        self._towers.train(False)
        vectors = self._look()
        count = min(NEIGHBOURS, len(vectors) - 1)
        parts = torch.split(vectors, 1024)
        return torch.cat([(part @ vectors.T).topk(count + 1).indices[:, 1:] for part in parts]).cpu()

    def _evaluate(self) -> None:
        self._towers.train(False)
        if self._judge:
            value = self._processes.said_by_first(self._judge)
            self.progress.history.append((self.progress.step, value))
            self._log(f"step {self.progress.step:,} of {self._plan.steps:,}: {value:.4f}")
        self.progress.neighbours = torch.empty(0, dtype=torch.int64)
        self._save()
        self._keep_best()

    def _keep_best(self) -> None:
        if self._judge and self.progress.best == self.progress.step and self._processes.first:
            _write(self._towers.state_dict(), self._work / "best.pt")

    def _save(self) -> None:
        self._saved = time.monotonic()
        if not self._processes.first:
            return
        state: dict[str, Any] = {"towers": self._towers.state_dict(), "optimizer": self._optimizer.state_dict()}
        state |= {"scaler": self._scaler.state_dict(), "step": self.progress.step}
        _write(state | {"history": self.progress.history, "neighbours": self.progress.neighbours}, self._state)

    def _resume(self) -> bool:
        if not self._state.exists():
            return False
        state = torch.load(self._state, weights_only=True, map_location=self._device)
        self._towers.load_state_dict(state["towers"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        history = [(int(step), float(value)) for step, value in state["history"]]
        self.progress = Progress(state["step"], history, state["neighbours"].cpu())
        self._log(f"going on from step {self.progress.step:,}")
        return True

    @property
    def _state(self) -> Path:
        return self._work / "state.pt"


def _schedule(step: int, plan: Plan) -> float:
    warm = max(1, round(plan.warmup * plan.steps))
    return min((step + 1) / warm, 1.0) * 0.5 * (1 + math.cos(math.pi * step / plan.steps))


def _optimizer(learning: list[nn.Parameter], plan: Plan) -> torch.optim.Optimizer:
    # Gains, biases and the scale are left out of weight decay, as usual.
    decayed, others = ([one for one in learning if (one.ndim > 1) is many] for many in (True, False))
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=plan.rate, weight_decay=plan.weight_decay, betas=(0.9, 0.98))


def _write(state: dict[str, Any], file: Path) -> None:
    fresh = file.with_suffix(".new")
    torch.save(state, fresh)
    fresh.replace(file)
