"""The bar `padding`: texts without their padding have the same vectors, in a fraction of the time.

A ViT-B-32 with random weights is loaded from a file, as users load theirs. Random weights attend to everything alike,
so that all texts would look the same and any error would hide: positions and attention are made to count first.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg
from safetensors.torch import save_file
from torch.nn.functional import normalize

from services.encoder.model import OpenClipModel, load
from services.encoder.ports import Ids, Vectors
from services.encoder.sources import Source

BATCH = 16
ROUNDS = 7
TIMES = 4.0
EXACT = 1e-5
TOKENS = (8, 12)

WORDS = """a the red green blue big small old young wet dog cat horse bird tree house boat car child woman man street
beach river field snow night morning photo drawing of on in under near with and running sleeping standing"""
# Of the other towers only the text matters here.
SMALL_VISION = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}


def bar() -> dict[str, Any]:
    """Measures on one thread; takes about half a minute on an idle machine."""
    torch.set_num_threads(1)
    with vit_b_32() as model:
        cut = {"cuts": model.cuts, "cosine_distance": worst_distance(model)}
        rate = speed(model)
    towers = {"siglip": not_cut(_siglip()), "xlm_roberta": not_cut(_xlm_roberta())}
    passed = (
        cut["cuts"]
        and cut["cosine_distance"] <= EXACT
        and rate["times"] >= TIMES
        and all(not tower["cuts"] and tower["cosine_distance"] <= EXACT for tower in towers.values())
    )
    worst = max(tower["cosine_distance"] for tower in towers.values())
    figure = (
        f"{rate['ours']:.0f} texts per CPU-second against open_clip's {rate['open_clip']:.0f}, {rate['times']:.1f} "
        f"times as many (at least {TIMES:.0f}); cut and padded differ by {cut['cosine_distance']:.1e} (at most 1e-5), "
        f"SigLIP and XLM-R, {'not cut' if not any(t['cuts'] for t in towers.values()) else 'CUT'}, by {worst:.1e}"
    )
    return {"passed": passed, "figure": figure, "figures": {"vit_b_32": cut, "speed": rate, **towers}}


@contextmanager
def vit_b_32(device: str = "cpu") -> Iterator[OpenClipModel]:
    """A ViT-B-32 with random weights, loaded from a file of weights."""
    torch.manual_seed(0)
    module = open_clip.create_model("ViT-B-32")
    _sharpen(module)
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "open_clip_model.safetensors"
        save_file({name: value.contiguous() for name, value in module.state_dict().items()}, weights)
        del module
        yield load("ViT-B-32", str(weights), device=device, threads=1)


def texts_of(count: int, words: tuple[int, int], seed: int) -> list[str]:
    """So many different texts of so many words each."""
    source = random.Random(seed)
    return [" ".join(source.choices(WORDS.split(), k=source.randint(*words))) for _ in range(count)]


def _sharpen(module: Any) -> None:
    for name, value in module.named_parameters():
        if "positional_embedding" in name:
            value.data.mul_(10)
        if "in_proj_weight" in name:
            value.data.mul_(2)


@torch.inference_mode()
def _padded(model: OpenClipModel, rows: NDArray[np.int64]) -> Vectors:
    return np.asarray(normalize(model.module.encode_text(torch.from_numpy(rows)), dim=-1))


def _ours(model: OpenClipModel, batch: Sequence[Ids]) -> Vectors:
    return model.finish(model.run_texts(batch))


def _distance(ours: Vectors, theirs: Vectors) -> float:
    """The largest 1 - cos of two lists of vectors, worked out so that rounding does not hide it."""
    exact = ours.astype(np.float64), theirs.astype(np.float64)
    one, other = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in exact)
    return float((((one - other) ** 2).sum(axis=1) / 2).max())


def worst_distance(model: OpenClipModel) -> float:
    """Over texts of all lengths, from one word to more than the context holds, in one mixed batch."""
    texts = [text for words in (1, 2, 5, 10, 20, 40, 74, 75, 76, 100) for text in texts_of(2, (words, words), words)]
    rows = open_clip.get_tokenizer("ViT-B-32")(texts).numpy()
    return _distance(_ours(model, model.prepare_texts(texts)), _padded(model, rows))


def speed(model: OpenClipModel) -> dict[str, Any]:
    """Texts per CPU-second, each side from the text to the unit vector, in rounds of A B B A."""
    tokenizer = open_clip.get_tokenizer("ViT-B-32")

    def ours(texts: list[str]) -> None:
        _ours(model, model.prepare_texts(texts))

    @torch.inference_mode()
    def theirs(texts: list[str]) -> None:
        normalize(model.module.encode_text(tokenizer(texts)), dim=-1).numpy()

    batches = (_texts_of_right_length(tokenizer, seed) for seed in range(10_000))
    ours(next(batches))
    theirs(next(batches))
    rounds = []
    for _ in range(ROUNDS):
        spent = {ours: 0.0, theirs: 0.0}
        for side in (ours, theirs, theirs, ours):
            spent[side] += _cpu(side, next(batches))
        rounds.append((2 * BATCH / spent[ours], 2 * BATCH / spent[theirs]))
    return {
        "ours": statistics.median(one for one, _ in rounds),
        "open_clip": statistics.median(other for _, other in rounds),
        "times": statistics.median(one / other for one, other in rounds),
        "rounds": rounds,
    }


def _texts_of_right_length(tokenizer: Any, seed: int) -> list[str]:
    """Texts that nobody has tokenised before, of 8 to 12 tokens with start and end."""
    texts = texts_of(BATCH, (TOKENS[0] - 2, TOKENS[1] - 2), seed)
    lengths = tokenizer(texts).argmax(dim=-1) + 1
    assert lengths.min() >= TOKENS[0], "each word has a token of its own"
    assert lengths.max() <= TOKENS[1], "no word has two"
    return texts


def _cpu(side: Callable[[list[str]], None], texts: list[str]) -> float:
    began = time.process_time()
    side(texts)
    return time.process_time() - began


def not_cut(model: OpenClipModel) -> dict[str, Any]:
    """How a tower that sees its padding is answered, over ids of all lengths."""
    rows = np.stack(model.prepare_texts([str(place) for place in range(BATCH)]))
    return {"cuts": model.cuts, "cosine_distance": _distance(_ours(model, list(rows)), _padded(model, rows))}


def _siglip() -> OpenClipModel:
    """The text tower of a ViT-B-16-SigLIP, in full."""
    config = deepcopy(open_clip.get_model_config("ViT-B-16-SigLIP"))
    context, vocabulary = config["text_cfg"]["context_length"], config["text_cfg"]["vocab_size"]
    return tower(config, "ViT-B-16-SigLIP", rows_of(context, vocabulary, padding=1))


def _xlm_roberta() -> OpenClipModel:
    """The text tower of an XLM-R of base size, with fewer words."""
    from transformers import XLMRobertaConfig  # noqa: PLC0415 - slow, and for this tower alone

    with TemporaryDirectory() as folder:
        XLMRobertaConfig(vocab_size=5000).save_pretrained(folder)
        text = {"hf_model_name": folder, "hf_model_pretrained": False, "hf_pooler_type": "mean_pooler"}
        config = {"embed_dim": 512, "text_cfg": text}
        return tower(config, "roberta-ViT-B-32", rows_of(77, 5000, padding=1))


def tower(config: dict[str, Any], name: str, rows: NDArray[np.int64]) -> OpenClipModel:
    """A model with this text tower, whose texts have these ids, and with random weights."""
    torch.manual_seed(0)
    parts = {key: value for key, value in config.items() if key not in ("custom_text", "vision_cfg")}
    module = open_clip.CustomTextCLIP(**json.loads(json.dumps(parts)), vision_cfg=SMALL_VISION)
    open_clip.model.set_model_preprocess_cfg(module, {**vars(PreprocessCfg()), "size": SMALL_VISION["image_size"]})
    _sharpen(module)
    return OpenClipModel(module, _Rows(rows), Source(name, name))


def rows_of(context: int, vocabulary: int, *, padding: int) -> NDArray[np.int64]:
    """Random ids of texts of different lengths, padded to the context."""
    source = np.random.default_rng(0)
    rows = source.integers(4, vocabulary, (BATCH, context))
    lengths = np.linspace(2, context, BATCH).astype(int)
    rows[np.arange(context) >= lengths[:, None]] = padding
    return rows


class _Rows:
    """Stands for a tokenizer that would have to be downloaded."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self.encoder = {"<s>": 0}
        self._rows = rows

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.from_numpy(self._rows[np.arange(len(texts)) % len(self._rows)])
