"""Fine-tunes any model of open_clip on a table of images and captions.

    python -m training.finetune models/emoji swahili.csv --replay known.csv --out models/swahili \\
        --queries queries.jsonl --images images.jsonl --report report.html
    torchrun --nproc-per-node 4 -m training.finetune ViT-B-32 shop.csv --pretrained laion2b_s34b_b79k --out ./shop …

Ended early, the same command goes on where it was. What comes out is a folder that the encoder loads.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from services.gateway.vocabulary import read_vocabulary
from training.evaluation.comparison import Comparison, write_comparison
from training.evaluation.measures import measure_names
from training.evaluation.page import comparison_page
from training.evaluation.pictures import thumbnails
from training.finetuning.loop import Plan, Precision
from training.finetuning.running import Done, Judged, Task, finetune
from training.finetuning.table import read_table
from training.finetuning.towers import Side
from training.finetuning.varying import HELD, Views, Words
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

_PLAN, _VIEWS = Plan(), Views()


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line asks; returns the exit code."""
    return obeyed(parser().parse_args(arguments), _finetune)


def _finetune(given: argparse.Namespace) -> None:
    task = _task(given)
    _tell(finetune(task), task, given)


def _task(given: argparse.Namespace) -> Task:
    judged = _judged(given)
    return Task(
        model=given.model,
        pretrained=given.pretrained,
        table=read_table(given.table),
        work=work_of(given),
        out=given.out,
        replay=read_table(given.replay) if given.replay else None,
        replay_share=given.replay_share,
        side=given.train,
        rank=given.rank,
        dropout=given.dropout,
        batch=given.batch,
        hard=given.hard_negatives,
        words=_words(given),
        views=Views(given.crop, given.rotation, given.colour),
        plan=plan_of(
            given,
            precision=given.precision,
            evaluate_every=given.evaluate_every,
            patience=given.patience,
            max_scale=given.max_scale,
        ),
        judged=judged,
        interpolate=given.interpolate,
        device=given.device,
        half=given.half,
    )


def _words(given: argparse.Namespace) -> Words:
    templates = given.templates.read_text(encoding="utf-8").splitlines() if given.templates else []
    kept = tuple(line.strip() for line in templates if line.strip())
    if wrong := [line for line in kept if HELD not in line]:
        raise ValueError(f"{given.templates}: {wrong[0]!r} has no {HELD}, where the caption goes")
    synonyms = read_vocabulary(given.synonyms, 0.5) if given.synonyms else None
    return Words(synonyms, given.replaced, kept, given.told, given.shuffled)


def _judged(given: argparse.Namespace) -> Judged | None:
    judged = judged_by(given, given.measure)
    if judged and given.measure not in (known := measure_names(judged.asked.cutoffs)):
        raise ValueError(f"--measure must be one of {', '.join(known)}, is {given.measure!r}")
    return judged


def _tell(done: Done, task: Task, given: argparse.Namespace) -> None:
    print(f"{task.out}: the weights of step {done.progress.best:,} of {done.progress.step:,}")
    if not done.comparison or not task.judged:
        return
    files = task.judged.files
    if given.json:
        write_comparison(done.comparison, given.json)
    if given.report:
        page = comparison_page(done.comparison, lambda ids: thumbnails(files, ids))
        given.report.write_text(page, encoding="utf-8")
    _tell_difference(done.comparison, given.measure)


def _tell_difference(compared: Comparison, measure: str) -> None:
    rows = {"all queries": compared.differences[measure]}
    rows |= {value: of[measure] for value, of in compared.slices.get("language", {}).items()}
    for name, one in rows.items():
        mark = "*" if one.significant else " "
        print(f"{mark} {name:12} {measure} {one.before:.3f} → {one.after:.3f}   p {one.p_holm:.4f}")


def parser() -> argparse.ArgumentParser:
    """What the command line may say."""
    parser = command_line("training.finetune", __doc__)
    parser.add_argument("model", help="a folder, hf-hub:REPOSITORY, or open_clip's name")
    parser.add_argument("table", type=Path, help="CSV, TSV or JSONL with uri and caption")
    add_folders(parser, "the model's folder")
    parser.add_argument("--half", action="store_true", help="keep the weights in half precision")
    learning = parser.add_argument_group("what learns")
    learning.add_argument("--train", choices=get_args(Side), default="text", help="the tower; the other is locked")
    learning.add_argument("--rank", type=at_least(0), default=0, help="of low-rank matrices; 0: all weights learn")
    learning.add_argument("--dropout", type=share, default=0.0, help="of token embeddings")
    learning.add_argument("--replay", type=Path, help="a table of what the model knows, to be kept")
    learning.add_argument("--replay-share", type=share, default=0.5, help="of each batch")
    learning.add_argument("--hard-negatives", type=at_least(0), default=3, help="images that look alike, for each")
    varied = parser.add_argument_group("how both sides are varied")
    varied.add_argument("--synonyms", type=Path, help="a vocabulary's table: docs/vocabulary.md")
    varied.add_argument("--replaced", type=share, default=0.3, help="share of captions with a synonym")
    varied.add_argument("--templates", type=Path, help="sentences, one a line, with {} for the caption")
    varied.add_argument("--told", type=share, default=0.5, help="share of captions in a sentence")
    varied.add_argument("--shuffled", type=share, default=0.0, help="share of captions in another order of words")
    varied.add_argument("--crop", type=share, default=_VIEWS.crop, help="smallest part of a picture's area")
    varied.add_argument("--rotation", type=float, default=_VIEWS.rotation, help="degrees to either side")
    varied.add_argument("--colour", type=share, default=_VIEWS.colour, help="of brightness, contrast, saturation")
    how = parser.add_argument_group("how long and how fast")
    add_loop(how, _PLAN, 256, least=2)
    how.add_argument("--max-scale", type=float, default=_PLAN.max_scale, help="what the scale of cosines may reach")
    how.add_argument("--precision", choices=get_args(Precision), help="bf16 on a GPU, fp32 on a CPU by default")
    judged = parser.add_argument_group("what it is judged by")
    add_judged(judged, "before and after")
    judged.add_argument("--measure", default="hit@10", help="what early stopping looks at")
    judged.add_argument(
        "--interpolate", action="store_true", help="end with part of what was learnt, if that is better"
    )
    judged.add_argument("--evaluate-every", type=at_least(1), default=_PLAN.evaluate_every, help="steps")
    judged.add_argument("--patience", type=at_least(1), default=_PLAN.patience, help="evaluations that gain nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
