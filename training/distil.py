"""Makes a small student of any model of open_clip, for phones and small machines.

    python -m training.distil models/emoji captions.csv --out ./student \\
        --queries queries.jsonl --images images.jsonl --report report.html
    python -m training.distil ViT-B-32 captions.csv --pretrained laion2b_s34b_b79k --out ./student --vocabulary 16000

The student's text tower learns the teacher's vectors of the captions; its picture tower is the teacher's. What comes
out is an export: the encoder runs it by onnxruntime. Ended early, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from training.distilling.running import Costs, Done, Task, distil
from training.evaluation.comparison import write_comparison
from training.evaluation.page import comparison_page
from training.evaluation.pictures import thumbnails
from training.export import ExportError
from training.finetuning.table import read_captions
from training.graphs import Kept
from training.options import (
    add_folders,
    add_judged,
    add_loop,
    at_least,
    command_line,
    judged_by,
    obeyed,
    plan_of,
    share,
    work_of,
)

_TASK = Task("", (), Path(), Path())


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line asks; returns the exit code."""
    return obeyed(parser().parse_args(arguments), _distil, ExportError)


def _distil(given: argparse.Namespace) -> None:
    task = _task(given)
    _tell(distil(task), task, given)


def _task(given: argparse.Namespace) -> Task:
    judged = judged_by(given)
    captions, images = read_captions(given.table)
    return Task(
        teacher=given.teacher,
        pretrained=given.pretrained,
        captions=captions,
        images=images,
        work=work_of(given),
        out=given.out,
        vocabulary=given.vocabulary,
        width=given.width,
        hidden=given.hidden,
        dropout=given.dropout,
        batch=given.batch,
        kept=given.weights,
        plan=plan_of(given, weight_decay=_TASK.plan.weight_decay),
        judged=judged,
        device=given.device,
    )


def _tell(done: Done, task: Task, given: argparse.Namespace) -> None:
    before, after = done.teacher, done.student
    costs = {
        "run by, on one thread": (before.backend, after.backend),
        "megabytes": (_megabytes(before), _megabytes(after)),
        "CPU ms per text, asked alone": (f"{before.milliseconds:.3f}", f"{after.milliseconds:.3f}"),
    }
    print(f"{task.out}: a student of {task.teacher}")
    for what, (one, other) in costs.items():
        print(f"  {what:30} {one} → {other}")
    if not done.comparison or not task.judged:
        return
    for name, found in done.comparison.differences.items():
        print(f"  {name:30} {found.before:.3f} → {found.after:.3f}")
    files = task.judged.files
    if given.json:
        write_comparison(done.comparison, given.json, costs={"before": asdict(before), "after": asdict(after)})
    if given.report:
        page = comparison_page(done.comparison, lambda ids: thumbnails(files, ids), costs)
        given.report.write_text(page, encoding="utf-8")


def _megabytes(costs: Costs) -> str:
    alone = "" if costs.backend == "onnxruntime" else " (weights alone)"
    return f"{costs.bytes / 1e6:.2f}{alone}"


def parser() -> argparse.ArgumentParser:
    """What the command line may say."""
    parser = command_line("training.distil", __doc__)
    parser.add_argument("teacher", help="a folder, hf-hub:REPOSITORY, or open_clip's name")
    parser.add_argument("table", type=Path, help="CSV, TSV or JSONL with caption and, where there are images, uri")
    add_folders(parser, "the student's folder")
    parser.add_argument("--weights", choices=get_args(Kept), default=_TASK.kept, help="how the folder keeps them")
    shape = parser.add_argument_group("the student")
    shape.add_argument("--vocabulary", type=at_least(0), default=0, help="of its own tokenizer; 0: the teacher's")
    shape.add_argument("--width", type=at_least(1), default=_TASK.width, help="of the vectors of pieces of words")
    shape.add_argument("--hidden", type=at_least(1), default=_TASK.hidden, help="of its wide layer")
    how = parser.add_argument_group("how it learns")
    how.add_argument("--dropout", type=share, default=_TASK.dropout, help="share of pieces left out")
    add_loop(how, _TASK.plan, _TASK.batch)
    add_judged(parser.add_argument_group("what both are judged by"), "teacher and student")
    return parser


if __name__ == "__main__":
    sys.exit(main())
