"""One run of distillation, put together: from what is asked for to a student's folder and what it costs and keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from services.encoder import onnx_model
from services.encoder.ends import Ends
from services.encoder.exported import TokenizerFile, is_export
from services.encoder.model import OpenClipModel, create
from services.encoder.ports import Ids, Model
from services.encoder.sources import Source, source
from services.encoder.tokenizer import load_tokenizer
from services.encoder.tokens import Tokens
from training.distilling.costs import bytes_of, medians, milliseconds
from training.distilling.folder import write_student
from training.distilling.lessons import Lessons, taught
from training.distilling.loop import Distiller
from training.distilling.tower import PieceTower
from training.evaluation.comparison import Comparison, compare
from training.evaluation.evaluating import evaluate
from training.evaluation.local import LocalModel, spread
from training.evaluation.report import read_report, write_report
from training.export import MERGES_FILE, export, write_tokenizer
from training.finetuning.loop import Plan
from training.finetuning.running import BANK, Judged, vectors_of
from training.finetuning.work import claim
from training.graphs import Kept
from training.tokenizer import SPECIAL, clean, learn_merges, write_merges

ASKED = 400
"""So many texts at the most are asked to see what one takes."""

_PLAN = Plan(steps=2_000, rate=3e-3, weight_decay=0.01)


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done.

    Attributes:
        teacher, pretrained: see services.encoder.sources.source.
        captions: what the student is taught, each once.
        images: what it is taught to tell apart; may be none.
        work: for states; what an earlier run of the same task has left there is gone on with.
        out: the student's folder.
        vocabulary: of a tokenizer that is learnt from the captions; 0: the teacher's own.
        width, hidden, dropout: see PieceTower.
        batch: captions in a step.
        kept: how the folder's weights are kept.
        judged: what both are asked in the end.
    """

    teacher: str
    captions: Sequence[str]
    work: Path
    out: Path
    pretrained: str = ""
    images: Sequence[str] = ()
    vocabulary: int = 0
    width: int = 128
    hidden: int = 256
    dropout: float = 0.1
    batch: int = 1024
    kept: Kept = "int8"
    plan: Plan = field(default=_PLAN)
    judged: Judged | None = None
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Costs:
    """What a model costs.

    Attributes:
        backend: what ran it, on one thread: onnxruntime, or torch where a teacher cannot be exported.
        bytes: of all files of its export; of its weights alone where torch ran it.
        milliseconds: CPU time for a text, asked alone.
    """

    backend: str
    bytes: int
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it; `comparison` is of the teacher, before, and the student, after."""

    teacher: Costs
    student: Costs
    comparison: Comparison | None


def distil(task: Task, log: Callable[[str], None] = print) -> Done:
    """Has the teacher teach, trains, goes on where an earlier run in the same work folder ended, writes the folder.

    Raises:
        LoadError: the teacher cannot be loaded.
        ExportError: the student or the teacher's tokenizer cannot be exported.
        ValueError: the work folder is that of another run, or the teacher has no tokenizer for a student.
        SightlineError: a picture cannot be read.
    """
    with source(task.teacher, task.pretrained) as where:
        return _Run(task, where, log)()


class _Run:
    def __init__(self, task: Task, where: Source, log: Callable[[str], None]) -> None:
        self._task, self._where, self._log = task, where, log
        # What is written is written from single precision; and what is timed must not remember texts.
        self._plain = OpenClipModel(*create(where), where, remembered_texts=1)
        on_cpu = torch.device(task.device).type == "cpu"
        self._teacher = self._plain if on_cpu else OpenClipModel(*create(where), where, device=task.device)

    def __call__(self) -> Done:
        task, teacher = self._task, self._teacher
        learnt = hashlib.sha256(repr((task.captions, task.images)).encode()).hexdigest()
        facts = {"teacher": teacher.card.digest, "learnt": learnt, "plan": task.plan.deciding()}
        claim(task.work, facts | {name: getattr(task, name) for name in _DECIDING})
        tokenizer = self._tokenizer()
        tower, ids = self._student(tokenizer)
        lessons = Lessons(
            ids, taught(teacher, task.captions, task.work / "taught", self._log), task.batch, task.plan.seed
        )
        Distiller(
            tower.to(task.device),
            lessons,
            task.plan,
            task.work,
            vectors=self._pictures(),
            scale=float(teacher.module.logit_scale.float().exp().clamp(max=task.plan.max_scale)),
            log=self._log,
        ).run()
        about = {"distilled": {"from": teacher.card.digest, "steps": task.plan.steps, "texts": len(task.captions)}}
        merges = task.work / tokenizer.file
        write_student(tower.cpu(), self._plain, tokenizer, task.out, merges=merges, about=about, kept=task.kept)
        return self._measured()

    def _tokenizer(self) -> TokenizerFile:
        """The student's, whose file lies in the work folder."""
        task, work = self._task, self._task.work
        if not task.vocabulary:
            said = write_tokenizer(self._plain, work)
            if said.kind != "clip":
                raise ValueError(
                    f"{self._where.name} has a tokenizer that students have not: give them one of their own"
                )
            return said
        if not (work / MERGES_FILE).exists():
            write_merges(learn_merges(clean(task.captions), task.vocabulary), work / MERGES_FILE)
        context = int(self._plain.tokenizer([""]).shape[1])
        return TokenizerFile(kind="clip", file=MERGES_FILE, clean="lower", context=context, special=SPECIAL)

    def _student(self, tokenizer: TokenizerFile) -> tuple[PieceTower, Sequence[Ids]]:
        """The student as it begins, and what it reads, int64 [length] each."""
        task, rows = self._task, load_tokenizer(self._task.work, tokenizer)
        vocabulary = int(rows([""]).max()) + 1  # end-of-text is the last id
        ends = Ends(tokenizer.context, vocabulary)
        ids = Tokens(rows, ends, casefold=self._where.casefold, capacity=1)(task.captions)
        torch.manual_seed(task.plan.seed)
        tower = PieceTower(vocabulary, self._plain.card.dimension, task.width, task.hidden, task.dropout)
        if not task.vocabulary:
            module: Any = self._plain.module
            tower.begin_with(getattr(module, "text", module).token_embedding.weight.float())
        return tower, ids

    def _pictures(self) -> Tensor | None:
        images = self._task.images
        if len(images) > BANK:
            raise ValueError(f"at most {BANK:,} images can be told apart, the table has {len(images):,}")
        return vectors_of(self._teacher, images).to(self._task.device) if images else None

    def _measured(self) -> Done:
        task, exported = self._task, self._exported()
        student = onnx_model.load(str(task.out), threads=1, remembered_texts=1)
        teacher: Model = onnx_model.load(str(exported), threads=1, remembered_texts=1) if exported else self._plain
        texts = [query.text for query in task.judged.asked.queries if query.text] if task.judged else task.captions
        with _one_thread():
            took = medians(milliseconds({"teacher": teacher, "student": student}, spread(texts, ASKED)))
        weights = sum(one.numel() * one.element_size() for one in self._plain.module.state_dict().values())
        backend, size = ("onnxruntime", bytes_of(exported)) if exported else ("torch", weights)
        return Done(
            teacher=Costs(backend, size, took["teacher"]),
            student=Costs("onnxruntime", bytes_of(task.out), took["student"]),
            comparison=self._compared(student) if task.judged else None,
        )

    def _exported(self) -> Path | None:
        """The teacher as the student is, so that like is measured with like; None where it cannot be exported."""
        own, ours = Path(self._task.teacher), self._task.work / "teacher"
        found = next((folder for folder in (own, ours) if is_export(str(folder))), None)
        if found:
            return found
        try:
            export(self._plain, ours)
        except Exception as error:  # it fails in as many ways as there are towers, and the student is made by now
            self._log(f"the teacher is measured by torch, since it cannot be exported: {error}"[:500])
            return None
        return ours

    def _compared(self, student: Model) -> Comparison:
        judged, work = self._task.judged, self._task.work
        assert judged
        for name, model in (("before", self._teacher), ("after", student)):
            write_report(evaluate(judged.asked, LocalModel(model, judged.files)), work / f"{name}.json")
        # Both as they lie on disk, so that they can be compared again.
        return compare(read_report(work / "before.json"), read_report(work / "after.json"))


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for torch, as onnxruntime has where costs are measured."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


_DECIDING = ("vocabulary", "width", "hidden", "dropout", "batch")
