"""One run of fine-tuning, put together: from what is asked for to a model's folder and a report."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from unicodedata import normalize as compose

import numpy as np
import torch
from torch import Tensor

from services.encoder.model import OpenClipModel, create
from services.encoder.sources import Source, source
from services.pictures import prepare
from training.evaluation.comparison import Comparison, compare
from training.evaluation.evaluating import evaluate
from training.evaluation.local import LocalModel
from training.evaluation.pictures import open_file
from training.evaluation.queries import QuerySet
from training.evaluation.ranking import Pool
from training.evaluation.report import Report, read_report, write_report
from training.finetuning.batches import Batches
from training.finetuning.folder import write_folder
from training.finetuning.loop import Plan, Progress, Trainer
from training.finetuning.processes import Processes, together
from training.finetuning.table import Table
from training.finetuning.towers import Side, Towers
from training.finetuning.varying import Views, Words
from training.finetuning.work import claim

Weights = Mapping[str, Tensor]

BANK = 50_000
"""Up to so many images of a locked tower every one is a negative to every caption."""

SHARES = tuple(tenths / 10 for tenths in range(10, 0, -1))
"""How much of what was learnt is tried, where that is asked for."""

_READ_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class Judged:
    """What a run is judged by, before, on the way and after: queries, the pictures to rank, and the one measure."""

    asked: QuerySet
    files: dict[str, str]
    measure: str = "hit@10"

    def value(self, report: Report) -> float:
        """The measure: its mean over languages where there are several."""
        return (report.mean_over_languages or report.overall).measures[self.measure].mean


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done.

    Attributes:
        model, pretrained: see services.encoder.sources.source.
        table: what is new; `replay` is what the model knew, so that it is not forgotten, `replay_share` of each batch.
        side: the tower that learns; `rank`: of low-rank matrices, or 0; `dropout`: of token embeddings.
        batch: captions in a step.
        hard: images that look alike, for each that is drawn.
        interpolate: whether the weights in the end may lie between those before and those learnt, where what the run
            is judged by is best (WiSE-FT, Wortsman et al. 2022).
    """

    model: str
    table: Table
    work: Path
    out: Path
    pretrained: str = ""
    replay: Table | None = None
    replay_share: float = 0.5
    side: Side = "text"
    rank: int = 0
    dropout: float = 0.0
    batch: int = 256
    hard: int = 3
    words: Words = field(default_factory=Words)
    views: Views = field(default_factory=Views)
    plan: Plan = field(default_factory=Plan)
    judged: Judged | None = None
    interpolate: bool = False
    device: str = "cpu"
    half: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it."""

    progress: Progress
    comparison: Comparison | None


def finetune(task: Task, log: Callable[[str], None] = print) -> Done:
    """Trains, goes on where an earlier run in the same work folder ended, and writes the folder.

    Raises:
        LoadError: the model cannot be loaded.
        ValueError: the work folder is that of another run, or the processes cannot share a batch evenly.
        SightlineError: a picture cannot be read.
    """
    with source(task.model, task.pretrained) as where, together(task.device) as (processes, device):
        if task.batch % processes.world:
            # Each would gather vectors of another number, and weigh in the mean of gradients all the same.
            raise ValueError(f"--batch must be a multiple of {processes.world}, the processes; is {task.batch}")
        return _Run(task, where, processes, device, log)()


class _Run:
    def __init__(
        self, task: Task, where: Source, processes: Processes, device: torch.device, log: Callable[[str], None]
    ) -> None:
        self._task, self._where, self._processes = task, where, processes
        self._log = log if processes.first else lambda _: None
        # Matrices of low rank begin at random.
        torch.manual_seed(task.plan.seed)
        module, self._tokenizer = create(where)
        self._pool: Pool | None = None
        # As it came, to be filled with the weights of the moment, where they are judged and where they are written.
        self._module = copy.deepcopy(module)
        self._before = self._served(None)
        self._towers = Towers(module, task.side, task.rank, task.dropout).to(device)

    def __call__(self) -> Done:
        task = self._task
        if self._processes.first:
            facts = {"model": self._before.card.digest, "processes": self._processes.world}
            claim(task.work, facts | _deciding(task))
        trainer = self._trainer()
        progress = trainer.run()
        if not self._processes.first:
            return Done(progress, None)
        part, weights = self._chosen()
        facts = {"from": self._before.card.digest, "steps": progress.best, "train": task.side, "share": part}
        write_folder(self._plain(weights), self._where, task.out, {"finetuned": facts}, half=task.half)
        return Done(progress, self._compared(weights))

    def _trainer(self) -> Trainer:
        task, processes = self._task, self._processes
        table = task.table + task.replay if task.replay else task.table
        banked = task.side == "text" and len(table.images) <= BANK
        preprocess = self._before.preprocess
        batches = Batches(
            table,
            _parts(task, table),
            task.batch,
            self._tokenize,
            words=task.words,
            view=None if banked else task.views.of(self._before.card, preprocess),
            hard=task.hard,
            seed=task.plan.seed,
            rank=processes.rank,
            world=processes.world,
        )
        device = next(self._towers.parameters()).device
        return Trainer(
            self._towers,
            batches,
            task.plan,
            task.work,
            vectors=vectors_of(self._before, table.images).to(device) if banked else None,
            look=lambda: vectors_of(self._served(self._towers.plain_state()), table.images),
            judge=self._judge if task.judged else None,
            processes=processes,
            log=self._log,
        )

    def _tokenize(self, texts: list[str]) -> Tensor:
        folded = [compose("NFC", text.casefold()) for text in texts] if self._where.casefold else texts
        rows: Tensor = self._tokenizer(folded)
        return rows

    def _judge(self) -> float:
        judged, file = self._task.judged, self._task.work / "before.json"
        assert judged
        report = self._report(self._served(self._towers.plain_state()), judged)
        if not file.exists():
            # The first to be judged is the model as it came.
            write_report(report, file)
        return judged.value(report)

    def _report(self, model: OpenClipModel, judged: Judged) -> Report:
        subject = LocalModel(model, judged.files, pool=self._pool)
        report = evaluate(judged.asked, subject)
        if self._task.side == "text":
            self._pool = subject.pool
        return report

    def _chosen(self) -> tuple[float, Weights]:
        """The weights to end with, and the share of what was learnt that is in them."""
        learnt, judged = self._towers.plain_state(), self._task.judged
        if not judged or not self._task.interpolate:
            return 1.0, learnt
        tried = {share: between(self._module.state_dict(), learnt, share) for share in SHARES}
        values = {share: judged.value(self._report(self._served(tried[share]), judged)) for share in SHARES}
        for share, value in values.items():
            self._log(f"{share:.0%} of what was learnt: {value:.4f}")
        best = max(SHARES, key=lambda share: values[share])
        return best, tried[best]

    def _served(self, weights: Weights | None) -> OpenClipModel:
        """The model with such weights, or as it came, as the encoder would serve it."""
        return OpenClipModel(self._plain(weights), self._tokenizer, self._where, device=self._task.device)

    def _plain(self, weights: Weights | None) -> Any:
        """A copy of the model, on the CPU, with such weights, or as it came."""
        module = copy.deepcopy(self._module)
        if weights:
            module.load_state_dict(weights)
        return module

    def _compared(self, weights: Weights) -> Comparison | None:
        judged = self._task.judged
        if not judged:
            return None
        after = self._report(self._served(weights), judged)
        write_report(after, self._task.work / "after.json")
        # Both as they lie on disk, so that they can be compared again.
        before, after = (read_report(self._task.work / name) for name in ("before.json", "after.json"))
        return compare(before, after)


_TOLD_APART = ("model", "pretrained", "words", "views", "plan", "judged", "device")
_DECIDING_NOTHING = ("work", "out", "half")
"""Where states lie, and how weights are kept in the end."""


def _deciding(task: Task) -> dict[str, object]:
    """What else than the model decides what comes of a run: all options by name, and digests of what is large."""
    words, judged = task.words, task.judged
    large = {
        "table": task.table,
        "replay": task.replay,
        "synonyms": words.synonyms and vars(words.synonyms),
        "templates": words.templates,
        "queries": judged and (judged.asked.queries, judged.asked.cutoffs),
        "images": judged and judged.files,
    }
    # Chances are drawn otherwise on other kinds of devices.
    facts: dict[str, object] = {"device": torch.device(task.device).type, "measure": judged and judged.measure}
    facts |= {name: hashlib.sha256(repr(one).encode()).hexdigest()[:16] if one else None for name, one in large.items()}
    facts |= task.plan.deciding()
    for part in (task, words, task.views):
        named = [one.name for one in fields(part) if one.name not in (*large, *_TOLD_APART, *_DECIDING_NOTHING)]
        facts |= {name: getattr(part, name) for name in named}
    return facts


def _parts(task: Task, table: Table) -> list[tuple[Sequence[int], float]]:
    if not task.replay:
        return [(range(len(table.captions)), 1.0)]
    places = {caption: place for place, caption in enumerate(table.captions)}
    new, known = ([places[caption] for caption in one.captions] for one in (task.table, task.replay))
    return [(new, 1 - task.replay_share), (known, task.replay_share)]


def between(before: Weights, after: Weights, share: float) -> dict[str, Tensor]:
    """Weights that lie so far from those before (0) to those after (1); statistics that are counted are those after."""
    return {
        name: torch.lerp(before[name], new.to(before[name]), share) if new.is_floating_point() else new
        for name, new in after.items()
    }


def vectors_of(model: OpenClipModel, files: Iterable[str]) -> Tensor:
    """Unit vectors, float32 [n, d], of picture files."""
    names, found = list(files), []
    for start in range(0, len(names), _READ_TOGETHER):
        some = names[start : start + _READ_TOGETHER]
        pixels = [prepare(open_file(file), model.card.preparation) for file in some]
        found.append(model.finish(model.run_images(pixels)))
    return torch.from_numpy(np.concatenate(found))
