"""Fine-tunes any model of open_clip on a table of images and captions.

    python -m training.finetune models/emoji swahili.csv --replay known.csv --out models/swahili \\
        --queries queries.jsonl --images images.jsonl --report report.html
    torchrun --nproc-per-node 4 -m training.finetune ViT-B-32 shop.csv --pretrained laion2b_s34b_b79k --out ./shop …

Ended early, the same command goes on where it was. What comes out is a folder that the encoder loads.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import torch

from services.encoder.sources import LoadError
from services.gateway.vocabulary import BadVocabulary, read_vocabulary
from sightline.errors import SightlineError
from training.evaluation.comparison import Comparison, write_comparison
from training.evaluation.lines import BadLine
from training.evaluation.measures import measure_names
from training.evaluation.page import comparison_page
from training.evaluation.pictures import locations, read_rows, thumbnails
from training.evaluation.queries import read_queries
from training.finetuning.loop import Plan, Precision
from training.finetuning.running import Done, Judged, Task, finetune
from training.finetuning.table import read_table
from training.finetuning.towers import Side
from training.finetuning.varying import HELD, Views, Words

FAILED, MISTAKEN = 1, 2

_PLAN, _VIEWS = Plan(), Views()


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line asks; returns the exit code."""
    given = parser().parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    try:
        task = _task(given)
        done = finetune(task)
    except (BadLine, BadVocabulary, LoadError, OSError, ValueError) as error:
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
    return Task(
        model=given.model,
        pretrained=given.pretrained,
        table=read_table(given.table),
        work=given.work or given.out.with_name(f"{given.out.name}.work"),
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
        plan=Plan(
            steps=given.steps,
            rate=given.rate,
            precision=given.precision or ("bf16" if given.device.startswith("cuda") else "fp32"),
            seed=given.seed,
            evaluate_every=given.evaluate_every,
            patience=given.patience,
            save_seconds=given.save_seconds,
            max_scale=given.max_scale,
            workers=given.workers,
        ),
        judged=_judged(given),
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
    if not given.queries:
        return None
    if not given.images:
        raise ValueError("--queries needs --images: the pictures to rank")
    asked = read_queries(given.queries)
    if given.measure not in measure_names(asked.cutoffs):
        raise ValueError(f"--measure must be one of {', '.join(measure_names(asked.cutoffs))}, is {given.measure!r}")
    return Judged(asked, locations(read_rows(given.images)), given.measure)


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
    parser = argparse.ArgumentParser(
        prog="python -m training.finetune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a folder, hf-hub:REPOSITORY, or open_clip's name")
    parser.add_argument("table", type=Path, help="CSV, TSV or JSONL with uri and caption")
    parser.add_argument("--pretrained", default="", help="beside open_clip's name: a tag, or a file of weights")
    parser.add_argument("--out", type=Path, required=True, help="the model's folder")
    parser.add_argument("--work", type=Path, help="states, to go on from; OUT.work by default")
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
    how.add_argument("--steps", type=at_least(1), default=_PLAN.steps)
    how.add_argument("--batch", type=at_least(2), default=256, help="captions in a step, over all processes")
    how.add_argument("--rate", type=float, default=_PLAN.rate, help="the peak of the learning rate")
    how.add_argument("--max-scale", type=float, default=_PLAN.max_scale, help="what the scale of cosines may reach")
    how.add_argument("--precision", choices=get_args(Precision), help="bf16 on a GPU, fp32 on a CPU by default")
    how.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    how.add_argument("--threads", type=at_least(0), default=0, help="of the CPU; 0 leaves it to torch")
    how.add_argument("--workers", type=at_least(0), default=0, help="processes that prepare batches")
    how.add_argument("--seed", type=int, default=_PLAN.seed)
    how.add_argument("--save-seconds", type=float, default=_PLAN.save_seconds, help="between states")
    judged = parser.add_argument_group("what it is judged by")
    judged.add_argument("--queries", type=Path, help="JSONL: docs/evaluation.md")
    judged.add_argument("--images", type=Path, help="the pictures to rank: a folder, or JSONL as the indexer takes it")
    judged.add_argument("--measure", default="hit@10", help="what early stopping looks at")
    judged.add_argument("--evaluate-every", type=at_least(1), default=_PLAN.evaluate_every, help="steps")
    judged.add_argument("--patience", type=at_least(1), default=_PLAN.patience, help="evaluations that gain nothing")
    judged.add_argument("--report", type=Path, help="write an HTML page of before and after here")
    judged.add_argument("--json", type=Path, help="write JSON of before and after here")
    return parser


def at_least(least: int) -> Callable[[str], int]:
    """Returns what reads a whole number from there up, for a command line."""

    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number, {least} or more, is {text!r}")
        return int(text)

    return whole


def share(text: str) -> float:
    """Reads a number from 0 to 1, for a command line."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to 1, is {text!r}")
    return found


if __name__ == "__main__":
    sys.exit(main())
