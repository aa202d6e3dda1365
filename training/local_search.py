"""Exact search over a folder of pictures with a model in the same process: the reference that a cluster is held to."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from training.emoji import on_white
from training.evaluation.ranking import Pool
from training.model import encode_image, encode_text
from training.texts import normalise

_BATCH = 256


class LocalSearch:
    """Ranks the pictures of one folder by cosine, in float32 and without an index, ties in the product's order."""

    def __init__(self, model: Path, pictures: Path, depth: int = 10) -> None:
        self._depth = depth
        self._model, _, self._preprocess = open_clip.create_model_and_transforms(f"local-dir:{model}")
        self._model.eval()
        self._tokenizer = load_tokenizer(model)
        lines = (pictures / "images.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        vectors = self.encode_pictures([(pictures / record["uri"]).read_bytes() for record in records])
        self._pool = Pool([record["id"] for record in records], vectors)

    def by_texts(self, queries: Sequence[str]) -> list[tuple[str, ...]]:
        """Ids of the nearest pictures of each text, best first."""
        return [ids for ids, _ in self._pool.search(self.encode_texts(queries), self._depth)]

    def by_pictures(self, files: Sequence[bytes]) -> list[tuple[str, ...]]:
        """Ids of the nearest pictures of each picture file, best first."""
        return [ids for ids, _ in self._pool.search(self.encode_pictures(files), self._depth)]

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of texts, float32 [n, d]."""
        vectors: NDArray[np.float32] = self._encode_texts([normalise(text) for text in texts]).numpy()
        return vectors

    def encode_pictures(self, files: Sequence[bytes]) -> NDArray[np.float32]:
        """The vectors of picture files, float32 [n, d]."""
        vectors: NDArray[np.float32] = self._encode_pictures(files).numpy()
        return vectors

    @torch.inference_mode()
    def _encode_texts(self, queries: Sequence[str]) -> Tensor:
        tokens = self._tokenizer(list(queries))
        lengths = tokens.argmax(dim=-1) + 1
        order = lengths.argsort()
        vectors = torch.empty(len(tokens), self._model.visual.trunk.num_classes)
        for part in order.split(_BATCH):
            vectors[part] = encode_text(self._model, tokens[part, : int(lengths[part].max())])
        return vectors

    @torch.inference_mode()
    def _encode_pictures(self, files: Sequence[bytes]) -> Tensor:
        parts = [files[start : start + _BATCH] for start in range(0, len(files), _BATCH)]
        return torch.cat([encode_image(self._model, torch.stack([self._prepare(f) for f in part])) for part in parts])

    def _prepare(self, file: bytes) -> Tensor:
        image = Image.open(io.BytesIO(file))
        prepared: Tensor = self._preprocess(on_white(image.convert("RGBA")))
        return prepared


def load_tokenizer(model: Path) -> open_clip.SimpleTokenizer:
    """The tokenizer of a model's folder; open_clip itself would look for the merges in the working directory."""
    config = json.loads((model / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]
    merges = model / config["tokenizer_kwargs"]["bpe_path"]
    return open_clip.SimpleTokenizer(bpe_path=str(merges), context_length=config["context_length"])
