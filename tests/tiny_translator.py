"""A translation model that says word for word, made by hand: a transformer whose weights are a dictionary.

Its decoder looks, at each step, at the word that stands at the same place, and says what the dictionary has for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import TransformerSpec
from numpy.typing import NDArray
from sentencepiece import SentencePieceTrainer

UNKNOWN, START, END = "<unk>", "<s>", "</s>"
PLACES = 160
_SURE = 1e3


def tiny_translator(
    folder: Path,
    words: Mapping[str, str],
    languages: Mapping[str, Sequence[str]],
    *,
    into: str = "en",
    prefix: Sequence[str] = (),
) -> Path:
    """Writes the folder of a translation model. Returns it.

    Args:
        folder: made.
        words: what is said for each word.
        languages: what it says that it translates from, and the tokens before a text in each.
        into: what it says that it translates into.
        prefix: tokens that a translation begins with, as many as stand before a text.
    """
    folder.mkdir(parents=True)
    _write_pieces(folder / "source.spm", words)
    fore = sorted({token for before in languages.values() for token in before})
    source = [UNKNOWN, START, END, *fore, *(f"▁{word}" for word in words)]
    target = [UNKNOWN, START, END, *prefix, *dict.fromkeys(f"▁{word}" for word in words.values())]
    means = np.zeros((len(target), len(source)), np.float32)
    said = {UNKNOWN: UNKNOWN, END: END, **{f"▁{one}": f"▁{other}" for one, other in words.items()}}
    for one, other in said.items():
        means[target.index(other), source.index(one)] = 1
    spec = _spec(means)
    spec.register_source_vocabulary(source)
    spec.register_target_vocabulary(target)
    spec.validate()
    spec.save(str(folder))
    card = {"languages": {code: list(before) for code, before in languages.items()}, "into": into}
    (folder / "translation.json").write_text(json.dumps({**card, "prefix": list(prefix)}), encoding="utf-8")
    return folder


def _spec(means: NDArray[np.float32]) -> Any:
    """The transformer: of each vector some numbers are the word that is read, some the word to say, some the place."""
    said, read = means.shape
    size = read + said + PLACES
    words, answers, places = slice(0, read), slice(read, read + said), slice(read + said, size)
    spec = TransformerSpec.from_config((1, 1), 1)
    for side in (spec.encoder, spec.decoder):
        side.scale_embeddings = False
        side.position_encodings.encodings = np.zeros((PLACES, size), np.float32)
        side.position_encodings.encodings[:, places] = np.eye(PLACES)
        _norm(side.layer_norm, size)
        [layer] = side.layer
        _norm(layer.self_attention.layer_norm, size)
        _linear(layer.self_attention.linear[0], np.zeros((3 * size, size)))
        _linear(layer.self_attention.linear[1], np.zeros((size, size)))
        _norm(layer.ffn.layer_norm, size)
        _linear(layer.ffn.linear_0, np.zeros((4, size)))
        _linear(layer.ffn.linear_1, np.zeros((size, 4)))
    spec.encoder.embeddings[0].weight = np.eye(read, size, dtype=np.float32)
    spec.decoder.embeddings.weight = np.zeros((said, size), np.float32)
    asked, known, seen, answered = (np.zeros((size, size)) for _ in range(4))
    asked[places, places] = _SURE * np.eye(PLACES)
    known[places, places] = np.eye(PLACES)
    seen[words, words] = np.eye(read)
    answered[answers, words] = _SURE * means
    attention = spec.decoder.layer[0].attention
    _norm(attention.layer_norm, size)
    _linear(attention.linear[0], asked)
    _linear(attention.linear[1], np.concatenate([known, seen]))
    _linear(attention.linear[2], answered)
    _linear(spec.decoder.projection, np.eye(said, size, k=read))
    return spec


def _linear(spec: Any, weight: NDArray[Any]) -> None:
    spec.weight, spec.bias = weight.astype(np.float32), np.zeros(len(weight), np.float32)


def _norm(spec: Any, size: int) -> None:
    spec.gamma, spec.beta = np.ones(size, np.float32), np.zeros(size, np.float32)


def _write_pieces(file: Path, words: Iterable[str]) -> None:
    with file.open("wb") as opened:
        SentencePieceTrainer.train(
            sentence_iterator=iter([" ".join(words)]),
            model_writer=opened,
            model_type="word",
            vocab_size=1000,
            hard_vocab_limit=False,
            minloglevel=2,
        )
