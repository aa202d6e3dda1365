"""Writes a model for onnxruntime: both towers, tokenizer, and what it is.

    python -m training.export models/emoji --output models/emoji
    python -m training.export ViT-B-32 --pretrained ./open_clip_model.safetensors --output ./vit-b-32

The folder is a model to the encoder (`SIGHTLINE_MODEL`), with the digest of the one it was made of, so that both serve
the same collections. It runs where torch is not installed. What it computes is compared with torch before it is done.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
from open_clip.tokenizer import get_clean_fn

from services.encoder.ends import Rows
from services.encoder.exported import (
    EXPORT_FILE,
    IMAGE_GRAPH,
    TEXT_GRAPH,
    Clean,
    Cut,
    Export,
    Pictures,
    TokenizerFile,
    digest_of,
)
from services.encoder.model import OpenClipModel, load
from services.encoder.onnx_model import OnnxModel
from services.encoder.ports import Model, Vectors
from services.encoder.sources import CARD_FILE, CONFIG_FILE, LoadError
from services.encoder.tokenizer import load_tokenizer
from training.graphs import OPSET, write_graphs
from training.tokenizer import write_merges

MERGES_FILE, TOKENIZER_FILE = "merges.txt.gz", "tokenizer.json"
FARTHEST, FARTHEST_HALF = 1e-6, 1e-3
"""1 - cos that a vector may be away from torch's, with weights in single and in half precision."""

SAMPLES = (
    "a photo of a big red dog on the grass",
    "The QUICK brown fox's tail, isn't it? I'd say we'll see 1234 of them!",
    "红苹果",
    "manzana roja",
    "火山 の 写真",
    "снеговик в лесу",
    "हिन्दी साइकिल",
    "قطة صغيرة",
    "사과 나무",
    "ăn phở ở Hà Nội",
    "แมวน้ำ",
    "fish &amp;amp; chips &lt;b&gt;",
    "  tabs\tand\nlines  ",
    "👩‍🚒 🇫🇷 ❤️",
    "ﬁne “quotes” – dashes… and café",
    "<start_of_text> in the middle <end_of_text> of it",
    "!!!",
    "x",
    "many words " * 100,
)


class ExportError(Exception):
    """The model cannot be exported; the message says why."""


def export(model: OpenClipModel, folder: Path, *, half: bool = False) -> Export:
    """Writes the folder, and returns what it says of itself.

    Args:
        model: on the CPU.
        folder: made where it is missing. Where it is the model's own, its weights and merges are used as they lie.
        half: whether to keep the weights in half precision, which halves the folder.

    Raises:
        ExportError: what was written does not compute what the model does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Last to come and first to go: a folder that has it is whole.
    (folder / EXPORT_FILE).unlink(missing_ok=True)
    tokenizer = write_tokenizer(model, folder)
    _compare_tokens(model, load_tokenizer(folder, tokenizer))
    weights = write_graphs(model, tokenizer.context, folder, half=half)
    names = [TEXT_GRAPH, IMAGE_GRAPH, weights.name, tokenizer.file]
    names += [name for name in (CONFIG_FILE, CARD_FILE) if (folder / name).is_file()]
    where, card = model.source, model.card
    said = Export(
        opset=OPSET,
        name=card.name,
        digest=card.digest,
        dimension=card.dimension,
        scope=card.scope,
        scope_note=card.scope_note,
        casefold=where.casefold,
        pictures=Pictures(**asdict(card.preparation)),
        tokenizer=tokenizer,
        cut=Cut(**asdict(model.causal.ends)) if model.causal else None,
        files={name: digest_of(folder / name) for name in sorted(names)},
    )
    _compare_vectors(model, OnnxModel(folder, said), FARTHEST_HALF if half else FARTHEST)
    (folder / EXPORT_FILE).write_text(said.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return said


def write_tokenizer(model: OpenClipModel, folder: Path) -> TokenizerFile:
    """Writes a model's tokenizer into a folder, and returns how it is used. Raises ExportError where it has no file."""
    tokenizer = model.tokenizer
    # Its rows, since some are not told their context; and then it knows how it cuts and pads.
    context = int(tokenizer([SAMPLES[0]]).shape[1])
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        special = tuple(tokenizer.decoder[one] for one in tokenizer.all_special_ids)
        file = _provide_merges(tokenizer, model.source.tokenizer.get("bpe_path"), folder)
        return TokenizerFile(kind="clip", file=file, clean=_clean_of(tokenizer), context=context, special=special)
    whole = getattr(getattr(tokenizer, "tokenizer", None), "backend_tokenizer", None)
    if whole is None:
        raise ExportError(f"its tokenizer, {type(tokenizer).__name__}, has no form that could be written")
    whole.save(str(folder / TOKENIZER_FILE))
    erased = tokenizer.tokenizer.sep_token_id if getattr(tokenizer, "strip_sep_token", False) else None
    return TokenizerFile(
        kind="tokenizers", file=TOKENIZER_FILE, clean=_clean_of(tokenizer), context=context, erased=erased
    )


def _clean_of(tokenizer: Any) -> Clean:
    kinds: tuple[Clean, ...] = ("lower", "whitespace", "canonicalize")
    # SigLIP's own class has no choice.
    own = getattr(tokenizer, "clean_fn", get_clean_fn("canonicalize"))
    return next(kind for kind in kinds if get_clean_fn(kind) is own)


def _provide_merges(tokenizer: Any, own: str | None, folder: Path) -> str:
    if own and Path(own).parent == folder.resolve():
        return Path(own).name
    write_merges(list(tokenizer.bpe_ranks), folder / MERGES_FILE)
    return MERGES_FILE


def _compare_tokens(model: OpenClipModel, ours: Callable[[list[str]], Rows]) -> None:
    texts = list(SAMPLES)
    for text, wanted, found in zip(texts, model.tokenizer(texts).numpy(), ours(texts), strict=True):
        if not np.array_equal(wanted, found):
            raise ExportError(f"its tokenizer cannot be exported: it makes other ids of {text!r}")


def _compare_vectors(model: Model, ours: Model, farthest: float) -> None:
    distance = max(
        distance_of(_texts(model), _texts(ours)), distance_of(vectors_of_noise(model), vectors_of_noise(ours))
    )
    if not distance <= farthest:
        raise ExportError(f"onnxruntime computes other vectors than torch: 1 - cos is {distance:.1e}")


def _texts(model: Model) -> Vectors:
    return model.finish(model.run_texts(model.prepare_texts(SAMPLES)))


def vectors_of_noise(model: Model) -> Vectors:
    """Unit vectors of a few pictures, by which two forms of a model are compared, float32 [4, d]."""
    shape = model.card.preparation
    noise = np.random.default_rng(0).integers(0, 256, (3, shape.height, shape.width, 3), dtype=np.uint8)
    return model.finish(model.run_images([*noise, noise[0] // 4]))


def distance_of(one: Vectors, other: Vectors) -> float:
    """The largest 1 - cos of two sets of unit vectors, float32 [n, d] each."""
    return float((((one - other).astype(np.float64) ** 2).sum(axis=1) / 2).max())


def main(arguments: Sequence[str] | None = None) -> int:
    """Exports what the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="a folder, a configuration file, or open_clip's name")
    parser.add_argument("--pretrained", default="", help="weights beside a name: a file, or a tag of open_clip")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where to write it")
    parser.add_argument("--half", action="store_true", help="keep the weights in half precision")
    options = parser.parse_args(arguments)
    try:
        said = export(load(options.model, options.pretrained, device="cpu"), options.output, half=options.half)
    except (LoadError, ExportError, OSError) as error:
        print(f"training.export: {options.model}: {error}", file=sys.stderr)
        return 1
    size = sum((options.output / name).stat().st_size for name in said.files)
    texts = "cut at their end" if said.cut else "padded"
    print(f"{said.name} is in {options.output}: {size / 1e6:.1f} MB, texts {texts}, compared with torch")
    return 0


if __name__ == "__main__":
    sys.exit(main())
