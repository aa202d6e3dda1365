"""Trains the bundled model, on a processor core or two or on a GPU, and writes its folder.

    python -m training.train --work DIR --out models/emoji

Interrupted, the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from services.encoder.model import load
from training import stages, texts, tokenizer
from training.emoji import pictures
from training.export import export as write_export
from training.model import MERGES_FILE, export
from training.stages import Material, Plan

PLANS = {
    "views": Plan(steps=2078, rate=3e-3, seed=2, fall=0.0),
    "prototypes": Plan(steps=1500, rate=2e-3, seed=1, fall=0.45, share=0.5, dropout=0.05, bpe_dropout=0.05),
    "pictures": Plan(steps=11000, rate=3e-3, seed=3),
    "texts": Plan(steps=6500, rate=1.5e-3, seed=4, share=0.4, dropout=0.1, bpe_dropout=0.05, max_scale=40),
    "aligned": Plan(steps=2400, rate=1e-3, seed=5, share=0.3, fall=0.7, dropout=0.1, bpe_dropout=0.05, max_scale=40),
}
STAGES: dict[str, Callable[[Material, Path, Plan], None]] = {
    "views": stages.tell_apart,
    "prototypes": stages.learn_prototypes,
    "pictures": stages.learn_pictures,
    "texts": stages.follow_prototypes,
    "aligned": stages.follow_pictures,
}


def prepare(work: Path) -> Material:
    """The pictures, the texts that may be trained on, and the merges learnt from them."""
    found = pictures()
    keys = [picture.key for picture in found]
    corpus = texts.corpus(keys)
    phrases = corpus.training
    file = work / MERGES_FILE
    if not file.exists():
        work.mkdir(parents=True, exist_ok=True)
        tokenizer.write_merges(tokenizer.learn_merges(tokenizer.clean(phrase.text for phrase in phrases)), file)
    merges = tuple(tokenizer.read_merges(file))
    return Material(found, phrases, texts.further(keys, corpus), merges, texts.Withheld(corpus))


def hand_over(work: Path, folder: Path) -> None:
    """Writes the model's folder from the furthest stages that there are."""
    export(stages.assemble(work), work / MERGES_FILE, stages.history(work), folder)


def main() -> None:
    """Runs what is left of the stages, writes the folder after each, and in the end its export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="states and merges are kept here")
    parser.add_argument("--out", type=Path, required=True, help="the model's folder")
    parser.add_argument("--device", default="cpu", help="cpu, or where torch finds a GPU: cuda")
    parser.add_argument("--threads", type=int, default=1, help="such small towers hardly gain from more")
    for name, plan in PLANS.items():
        parser.add_argument(f"--{name}-steps", type=int, default=plan.steps, dest=name, help=f"{plan.steps:,}")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    material = prepare(arguments.work)
    for name, stage in STAGES.items():
        with torch.device(arguments.device):
            stage(material, arguments.work, replace(PLANS[name], steps=getattr(arguments, name)))
        hand_over(arguments.work, arguments.out)
    write_export(load(str(arguments.out), device="cpu"), arguments.out)


if __name__ == "__main__":
    main()
