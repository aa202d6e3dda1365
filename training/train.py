"""Trains the bundled model on two processor cores and writes its folder.

    python -m training.train --work DIR --out models/emoji

Interrupted, the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import torch

from training import stages, texts, tokenizer
from training.emoji import pictures
from training.model import MERGES_FILE, export
from training.stages import Material, Plan

PLANS = {
    "prototypes": Plan(minutes=10, rate=2e-3, dropout=0.05),
    "texts": Plan(minutes=35, rate=1.5e-3, dropout=0.1, max_scale=50),
    "pictures": Plan(minutes=35, rate=3e-3),
    "aligned": Plan(minutes=20, rate=1.5e-3, dropout=0.1, max_scale=40),
}
STAGES: dict[str, Callable[[Material, Path, Plan], None]] = {
    "prototypes": stages.learn_prototypes,
    "texts": stages.follow_prototypes,
    "pictures": stages.learn_pictures,
    "aligned": stages.follow_pictures,
}
# Two towers learn side by side, a core each: that is faster than one after the other with two threads.
ORDER = (("prototypes",), ("texts", "pictures"), ("aligned",))


def prepare(work: Path) -> Material:
    """The pictures, the texts that may be trained on, and the merges learnt from them."""
    found = pictures()
    phrases = texts.corpus(picture.key for picture in found).training
    file = work / MERGES_FILE
    if not file.exists():
        work.mkdir(parents=True, exist_ok=True)
        tokenizer.write_merges(tokenizer.learn_merges(tokenizer.clean(phrase.text for phrase in phrases)), file)
    return Material(found, phrases, tuple(tokenizer.read_merges(file)))


def run_stage(name: str, work: Path, minutes: float) -> None:
    """Runs one stage on one core, to the end of its budget."""
    torch.set_num_threads(1)
    plan = PLANS[name]
    STAGES[name](prepare(work), work, Plan(minutes, plan.rate, plan.dropout, plan.max_scale))


def run_side_by_side(names: tuple[str, ...], work: Path, minutes: dict[str, float]) -> None:
    """Runs stages at once, each in its own process. Raises RuntimeError where one fails."""
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=run_stage, args=(name, work, minutes[name])) for name in names]
    for process in running:
        process.start()
    for process in running:
        process.join()
    if any(process.exitcode for process in running):
        raise RuntimeError(f"stage {' or '.join(names)} failed; its output says why")


def hand_over(work: Path, folder: Path) -> None:
    """Writes the model's folder from the furthest stages that there are."""
    export(stages.assemble(work), work / MERGES_FILE, stages.history(work), folder)


def main() -> None:
    """Runs what is left of the stages, and writes the folder after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="states and merges are kept here")
    parser.add_argument("--out", type=Path, required=True, help="the model's folder")
    for name, plan in PLANS.items():
        parser.add_argument(f"--{name}-minutes", type=float, default=plan.minutes, dest=name)
    arguments = parser.parse_args()
    minutes = {name: getattr(arguments, name) for name in PLANS}
    os.environ["OMP_NUM_THREADS"] = "1"
    prepare(arguments.work)
    for names in ORDER:
        run_side_by_side(names, arguments.work, minutes)
        hand_over(arguments.work, arguments.out)


if __name__ == "__main__":
    main()
