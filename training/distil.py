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

import torch

from services.encoder.sources import LoadError
from sightline.errors import SightlineError
from training.distilling.running import Done, Task, distil
from training.evaluation.comparison import write_comparison
from training.evaluation.lines import BadLine
from training.evaluation.page import comparison_page
from training.evaluation.pictures import locations, read_rows, thumbnails
from training.evaluation.queries import read_queries
from training.export import ExportError
from training.finetune import FAILED, MISTAKEN, at_least, share
from training.finetuning.loop import Plan
from training.finetuning.running import Judged
from training.finetuning.table import read_captions
from training.graphs import Kept

_TASK = Task("", (), Path(), Path())


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line asks; returns the exit code."""
    given = parser().parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    try:
        task = _task(given)
        done = distil(task)
    except (BadLine, ExportError, LoadError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return MISTAKEN
    except SightlineError as error:
        print(f"{error} ({error.reason})", file=sys.stderr)
        return FAILED
    _tell(done, task, given)
    return 0


def _task(given: argparse.Namespace) -> Task:
    for file in (given.report, given.json):
        if file and not file.parent.is_dir():
            raise ValueError(f"{file} cannot be written: there is no folder {file.parent}")
    if (given.report or given.json) and not given.queries:
        raise ValueError("a report needs --queries and --images")
    if given.queries and not given.images:
        raise ValueError("--queries needs --images: the pictures to rank")
    captions, images = read_captions(given.table)
    plan = Plan(
        steps=given.steps,
        rate=given.rate,
        weight_decay=_TASK.plan.weight_decay,
        precision="bf16" if given.device.startswith("cuda") else "fp32",
        seed=given.seed,
        save_seconds=given.save_seconds,
        workers=given.workers,
    )
    return Task(
        teacher=given.teacher,
        pretrained=given.pretrained,
        captions=captions,
        images=images,
        work=given.work or given.out.with_name(f"{given.out.name}.work"),
        out=given.out,
        vocabulary=given.vocabulary,
        width=given.width,
        hidden=given.hidden,
        dropout=given.dropout,
        batch=given.batch,
        kept=given.weights,
        plan=plan,
        judged=Judged(read_queries(given.queries), locations(read_rows(given.images))) if given.queries else None,
        device=given.device,
    )


def _tell(done: Done, task: Task, given: argparse.Namespace) -> None:
    before, after = done.teacher, done.student
    costs = {
        "megabytes": (f"{before.bytes / 1e6:.2f}", f"{after.bytes / 1e6:.2f}"),
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


def parser() -> argparse.ArgumentParser:
    """What the command line may say."""
    parser = argparse.ArgumentParser(
        prog="python -m training.distil", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("teacher", help="a folder, hf-hub:REPOSITORY, or open_clip's name")
    parser.add_argument("table", type=Path, help="CSV, TSV or JSONL with caption and, where there are images, uri")
    parser.add_argument("--pretrained", default="", help="beside open_clip's name: a tag, or a file of weights")
    parser.add_argument("--out", type=Path, required=True, help="the student's folder")
    parser.add_argument("--work", type=Path, help="states, to go on from; OUT.work by default")
    parser.add_argument("--weights", choices=get_args(Kept), default=_TASK.kept, help="how the folder keeps them")
    shape = parser.add_argument_group("the student")
    shape.add_argument("--vocabulary", type=at_least(0), default=0, help="of its own tokenizer; 0: the teacher's")
    shape.add_argument("--width", type=at_least(1), default=_TASK.width, help="of the vectors of pieces of words")
    shape.add_argument("--hidden", type=at_least(1), default=_TASK.hidden, help="of its wide layer")
    how = parser.add_argument_group("how it learns")
    how.add_argument("--steps", type=at_least(1), default=_TASK.plan.steps)
    how.add_argument("--batch", type=at_least(1), default=_TASK.batch, help="captions in a step")
    how.add_argument("--rate", type=float, default=_TASK.plan.rate, help="the peak of the learning rate")
    how.add_argument("--dropout", type=share, default=_TASK.dropout, help="share of pieces left out")
    how.add_argument("--seed", type=int, default=_TASK.plan.seed)
    how.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    how.add_argument("--threads", type=at_least(0), default=0, help="of the CPU; 0 leaves it to torch")
    how.add_argument("--workers", type=at_least(0), default=0, help="processes that prepare batches")
    how.add_argument("--save-seconds", type=float, default=_TASK.plan.save_seconds, help="between states")
    judged = parser.add_argument_group("what both are judged by")
    judged.add_argument("--queries", type=Path, help="JSONL: docs/evaluation.md")
    judged.add_argument("--images", type=Path, help="the pictures to rank: a folder, or JSONL as the indexer takes it")
    judged.add_argument("--report", type=Path, help="write an HTML page of teacher and student here")
    judged.add_argument("--json", type=Path, help="write JSON of teacher and student here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
