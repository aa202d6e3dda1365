"""The bar `light-demo`: from nothing, `make demo` downloads little and answers soon, and its answers are torch's."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import backends, fresh_demo
from benchmarks.emoji import MODEL, draw
from benchmarks.padding import vit_b_32
from benchmarks.proof import Proof
from services.encoder import model, onnx_model
from training.export import export
from training.judge import heldout_names, own_names

MEGABYTES = 300.0
SECONDS = 60.0
EXACT = 1e-3
PER_LANGUAGE = 20


def bar() -> dict[str, object]:
    """Needs the network, for the first of its parts; takes some minutes."""
    torch.set_num_threads(1)
    proof = Proof()
    with TemporaryDirectory() as name:
        folder = Path(name)
        prove_vectors(folder, proof)
        asked, wrong = prove_answers(folder / "answers", queries(), proof)
        proof.figures["start-up"] = backends.start_up(MODEL)
        (folder / "nothing").mkdir()
        newcomer = fresh_demo.run(folder / "nothing")
    proof.figures["from nothing"] = asdict(newcomer)
    proof.holds(f"at most {MEGABYTES:.0f} MB are downloaded", newcomer.megabytes <= MEGABYTES)
    proof.holds(f"an answer within {SECONDS:.0f} s beyond the download", newcomer.beyond_download <= SECONDS)
    proof.expect("torch is installed", newcomer.torch, False)
    proof.expect("answers of the demonstration", newcomer.answers, 6)
    return proof.outcome(
        f"{newcomer.megabytes:.0f} MB from nothing, first answer {newcomer.beyond_download:.0f} s beyond the download; "
        f"{wrong} of {asked} answers in 20 languages differ from torch's; CPU per text {_side_by_side(proof)}"
    )


def queries() -> list[str]:
    """Names of pictures, of those that the model has read and of those that it has not, in each language."""
    by_language = defaultdict(list)
    for query in (*own_names(), *heldout_names()):
        by_language[query.language].append(query.text)
    chance = random.Random(8)
    chosen = (chance.sample(texts, min(PER_LANGUAGE, len(texts))) for _, texts in sorted(by_language.items()))
    return list(itertools.chain.from_iterable(chosen))


def prove_vectors(folder: Path, proof: Proof) -> None:
    """Compares the vectors and the CPU time of the bundled model, then of a ViT-B-32 with random weights."""
    compare("bundled", model.load(str(MODEL), device="cpu", threads=1), MODEL, proof)
    with vit_b_32() as large:
        export(large, folder / "ViT-B-32")
        compare("ViT-B-32", large, folder / "ViT-B-32", proof)


def compare(name: str, theirs: model.OpenClipModel, folder: Path, proof: Proof) -> None:
    """Compares a model in torch with its export in a folder."""
    ours = onnx_model.load(str(folder), threads=1)
    found = backends.distances(ours, theirs)
    proof.figures[f"{name}: 1 - cos"] = found
    proof.holds(f"{name}: vectors agree within {EXACT}", max(found.values()) <= EXACT)
    proof.holds(f"{name}: one digest", ours.card == theirs.card)
    proof.holds(f"{name}: both cut texts", ours.cuts and theirs.cuts)
    proof.figures[f"{name}: CPU ms per text"] = {
        f"batch {batch}": backends.text_milliseconds({"onnx": ours, "torch": theirs}, batch) for batch in (1, 16)
    }
    proof.figures[f"{name}: CPU ms per picture"] = {
        f"batch {batch}": backends.picture_milliseconds({"onnx": ours, "torch": theirs}, batch) for batch in (1, 8)
    }


def prove_answers(folder: Path, texts: list[str], proof: Proof, source: Path | None = None) -> tuple[int, int]:
    """Asks both backends, each from pictures to answers; returns how many texts, and how many answers differ."""
    by_onnx, by_torch = backends.answers(source or draw(), texts, folder)
    pairs = list(zip(by_onnx, by_torch, strict=True))
    wrong = [text for text, pair in zip(texts, pairs, strict=True) if backends.differ(*pair)]
    proof.figures["queries"] = len(texts)
    proof.figures["largest difference of a score"] = max(backends.score_error(*pair) for pair in pairs)
    proof.expect("queries that are answered otherwise", wrong, [])
    return len(texts), len(wrong)


def _side_by_side(proof: Proof) -> str:
    """CPU milliseconds per text, onnx against torch, of each model and batch."""
    told = []
    for name in ("bundled", "ViT-B-32"):
        of = proof.figures[f"{name}: CPU ms per text"]
        assert isinstance(of, dict)
        told += [f"{name} {batch} {took['onnx']:.2f} ms (torch {took['torch']:.2f})" for batch, took in of.items()]
    return ", ".join(told)
