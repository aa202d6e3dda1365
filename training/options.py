"""What the commands that train have in common: their options, what these become, and how they end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from services.encoder.sources import LoadError
from sightline.errors import SightlineError
from training.evaluation.pictures import locations, read_rows
from training.evaluation.queries import read_queries
from training.finetuning.loop import Plan, Precision
from training.finetuning.running import Judged

FAILED, MISTAKEN = 1, 2
"""Exit codes: something could not be read or did not answer; what was asked for makes no sense."""


def command_line(module: str, about: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows the module's own words."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_folders(parser: argparse.ArgumentParser, out: str) -> None:
    """Which weights to begin with, and where to write."""
    parser.add_argument("--pretrained", default="", help="beside open_clip's name: a tag, or a file of weights")
    parser.add_argument("--out", type=Path, required=True, help=out)
    parser.add_argument("--work", type=Path, help="states, to go on from; OUT.work by default")


def add_loop(group: argparse._ArgumentGroup, plan: Plan, batch: int, least: int = 1) -> None:
    """How long, how fast and where."""
    group.add_argument("--steps", type=at_least(1), default=plan.steps)
    group.add_argument("--batch", type=at_least(least), default=batch, help="captions in a step")
    group.add_argument("--rate", type=float, default=plan.rate, help="the peak of the learning rate")
    group.add_argument("--seed", type=int, default=plan.seed)
    group.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    group.add_argument("--threads", type=at_least(0), default=0, help="of the CPU; 0 leaves it to torch")
    group.add_argument("--workers", type=at_least(0), default=0, help="processes that prepare batches")
    group.add_argument("--save-seconds", type=float, default=plan.save_seconds, help="between states")


def add_judged(group: argparse._ArgumentGroup, what: str) -> None:
    """What is asked, and where what came of it is written."""
    group.add_argument("--queries", type=Path, help="JSONL: docs/evaluation.md")
    group.add_argument("--images", type=Path, help="the pictures to rank: a folder, or JSONL as the indexer takes it")
    group.add_argument("--report", type=Path, help=f"write an HTML page of {what} here")
    group.add_argument("--json", type=Path, help=f"write JSON of {what} here")


def work_of(given: argparse.Namespace) -> Path:
    """The folder for states."""
    work: Path = given.work or given.out.with_name(f"{given.out.name}.work")
    return work


def plan_of(given: argparse.Namespace, precision: Precision | None = None, **more: Any) -> Plan:
    """The plan of the loop; `more` is what only one command has."""
    same = {name: getattr(given, name) for name in ("steps", "rate", "seed", "save_seconds", "workers")}
    return Plan(precision=precision or ("bf16" if given.device.startswith("cuda") else "fp32"), **same, **more)


def judged_by(given: argparse.Namespace, measure: str = "hit@10") -> Judged | None:
    """What it is judged by, where that is asked for. Raises ValueError where an option lacks another."""
    for file in (given.report, given.json):
        if file and not file.parent.is_dir():
            raise ValueError(f"{file} cannot be written: there is no folder {file.parent}")
        if file and not given.queries:
            raise ValueError("a report needs --queries and --images")
    if not given.queries:
        return None
    if not given.images:
        raise ValueError("--queries needs --images: the pictures to rank")
    return Judged(read_queries(given.queries), locations(read_rows(given.images)), measure)


def obeyed(given: argparse.Namespace, command: Callable[[argparse.Namespace], None], *mistakes: type[Exception]) -> int:
    """Does what was asked, with so many threads; returns the exit code.

    Args:
        mistakes: further errors that say what is wrong with what was asked.
    """
    mistaken: tuple[type[Exception], ...] = (LoadError, OSError, ValueError, *mistakes)
    if given.threads:
        torch.set_num_threads(given.threads)
    try:
        command(given)
    except mistaken as error:
        print(error, file=sys.stderr)
        return MISTAKEN
    except SightlineError as error:
        print(f"{error} ({error.reason})", file=sys.stderr)
        return FAILED
    return 0


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
