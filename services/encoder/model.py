"""A model of open_clip, run by torch: what `run` and `finish` mean on a CPU and on a GPU, and how a model is loaded."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from services.encoder.cutting import CausalText
from services.encoder.ports import Card, Ids, Vectors
from services.encoder.sources import LoadError, Source, source
from services.encoder.tokens import Tokens, runs
from services.pictures import Pixels, Preparation

log = logging.getLogger("sightline.encoder")

# What a pass through the text tower costs beyond its tokens, in tokens: on a CPU reading the weights, on a GPU
# starting the kernels. A ViT-B-32 on one core takes 24 ms for 4 tokens, 92 for 77, 577 for 8 times 77.
CALL_COST = {"cpu": 24, "cuda": 2048}


@dataclass(frozen=True, slots=True)
class _Started:
    vectors: Tensor
    order: Sequence[int]
    done: torch.cuda.Event | None


class OpenClipModel:
    """A services.encoder.ports.Model over open_clip. Half precision on a GPU, single precision on a CPU.

    Args:
        module: as open_clip creates it, on the CPU, in single precision.
        tokenizer: open_clip's for it.
        where: where it came from.
        device: `cpu` or `cuda`, or `cuda:1`.
        remembered_texts: how many texts' tokens to remember.
    """

    def __init__(
        self, module: Any, tokenizer: Any, where: Source, *, device: str = "cpu", remembered_texts: int = 65_536
    ) -> None:
        preprocess = dict(module.visual.preprocess_cfg)
        self.module, self._device = module.eval().requires_grad_(False), torch.device(device)
        self.tokenizer, self.preprocess, self.source = tokenizer, preprocess, where
        digest = _digest(module, tokenizer, preprocess, where)
        self.module.to(self._device)
        causal = CausalText.of(module)
        self.causal = causal if causal and causal.is_exact(module) else None
        self._half = self._device.type == "cuda"
        if self._half:
            self.module.half()
        self._mean, self._std = (torch.tensor(preprocess[key], device=self._device) for key in ("mean", "std"))
        self._tokens = Tokens(
            lambda texts: tokenizer(texts).numpy(),
            self.causal.ends if self.causal else None,
            casefold=where.casefold,
            capacity=remembered_texts,
            words=(getattr(tokenizer, "cache", {}), len(getattr(tokenizer, "all_special_ids", ()))),
        )
        dimension = self._dimension(preprocess)
        self.card = Card(where.name, digest, dimension, _preparation(preprocess), where.scope, where.scope_note)
        self.lanes = 2 if self._half else 1
        log.info("%s on %s, texts %s", where.name, self._device, "cut at their end" if self.causal else "padded")

    @property
    def cuts(self) -> bool:
        """Whether texts are computed without their padding, which was then proven to be exact."""
        return self.causal is not None

    def prepare_texts(self, texts: Sequence[str]) -> list[Ids]:
        """See Model."""
        return self._tokens(texts)

    @torch.inference_mode()
    def run_texts(self, batch: Sequence[Ids]) -> _Started:
        """See Model."""
        # Few shapes suit a GPU: it chooses a kernel for each.
        step = 8 if self.causal and self._half else 1
        context = self.causal.ends.context if self.causal else None
        order, vectors = [], []
        for places, rows, ends in runs(batch, CALL_COST[self._device.type], step=step, context=context):
            order += places
            vectors.append(self._texts(self._to_device(rows), ends))
        return self._started(torch.cat(vectors), order)

    @torch.inference_mode()
    def run_images(self, batch: Sequence[Pixels]) -> _Started:
        """See Model."""
        images = (self._to_device(np.stack(batch)).float() / 255 - self._mean) / self._std
        images = images.permute(0, 3, 1, 2).contiguous()
        return self._started(self.module.encode_image(images.half() if self._half else images), range(len(batch)))

    def finish(self, raw: _Started) -> Vectors:
        """See Model."""
        if raw.done is not None:
            raw.done.synchronize()
        vectors = np.empty(tuple(raw.vectors.shape), dtype=np.float32)
        vectors[list(raw.order)] = raw.vectors.numpy()
        return vectors

    def _texts(self, tokens: Tensor, ends: NDArray[np.int64]) -> Tensor:
        if self.causal is None:
            return self.module.encode_text(tokens)  # type: ignore[no-any-return]
        return self.causal(tokens, self._to_device(ends))

    def _to_device(self, array: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(array)
        # From pinned memory the copy runs beside the computation of the batch before.
        return tensor.pin_memory().to(self._device, non_blocking=True) if self._half else tensor

    def _started(self, vectors: Tensor, order: Sequence[int]) -> _Started:
        units = normalize(vectors.float(), dim=-1)
        if not self._half:
            return _Started(units, order, None)
        host = torch.empty(units.shape, dtype=units.dtype, pin_memory=True)
        host.copy_(units, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()
        return _Started(host, order, done)

    def _dimension(self, preprocess: dict[str, Any]) -> int:
        shape = _preparation(preprocess)
        black = np.zeros((shape.height, shape.width, 3), dtype=np.uint8)
        return int(self.finish(self.run_images([black])).shape[1])


def load(
    model: str, pretrained: str = "", *, device: str = "auto", threads: int = 0, remembered_texts: int = 65_536
) -> OpenClipModel:
    """Loads a model; see `source` for what `model` and `pretrained` may be. Only tags and repositories are downloaded.

    Args:
        device: `auto`, `cpu` or `cuda`; `auto` takes a GPU where there is one.
        threads: CPU threads for one batch; 0 leaves it to the libraries.
        remembered_texts: how many texts' tokens to remember.

    Raises:
        LoadError: there is no such model, or its files do not fit together.
    """
    if threads:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    with source(model, pretrained) as where:
        module, tokenizer = create(where)
        return OpenClipModel(module, tokenizer, where, device=device, remembered_texts=remembered_texts)


def create(where: Source) -> tuple[Any, Any]:
    """Returns open_clip's model, on the CPU in single precision, and its tokenizer. Raises LoadError."""
    try:
        preprocess = _preprocess_of_tags(where) if where.file else {}
        module = open_clip.create_model(
            where.architecture, where.pretrained, require_pretrained=True, force_preprocess_cfg=preprocess
        )
        return module, open_clip.get_tokenizer(where.architecture, **where.tokenizer)
    except Exception as error:  # it fails in as many ways as there are formats
        raise LoadError(f"open_clip cannot load {where.name}: {error}") from error


def _preprocess_of_tags(where: Source) -> dict[str, Any]:
    """How pictures were prepared for all known weights of the architecture, where that is the same for all.

    open_clip gives every local file CLIP's own mean and deviation, which would be wrong for a SigLIP.
    """
    keys = ("mean", "std", "interpolation", "resize_mode")
    tags = open_clip.list_pretrained_tags_by_model(where.architecture)
    known = [open_clip.get_pretrained_cfg(where.architecture, tag) for tag in tags]
    kinds = [{key: one[key] for key in keys if key in one} for one in known]
    return kinds[0] if kinds and all(kind == kinds[0] for kind in kinds) else {}


def _preparation(preprocess: dict[str, Any]) -> Preparation:
    size = preprocess["size"]
    height, width = (size, size) if isinstance(size, int) else size
    # Where open_clip trains with a random choice, it evaluates with the bicubic one.
    interpolation = "bilinear" if preprocess["interpolation"] == "bilinear" else "bicubic"
    return Preparation(height, width, preprocess["resize_mode"], interpolation, int(preprocess["fill_color"]))


def _digest(module: nn.Module, tokenizer: Any, preprocess: dict[str, Any], where: Source) -> str:
    """Returns the hex sha256 of all that decides a vector, however and wherever the files lie."""
    config = open_clip.get_model_config(where.architecture)
    text = config.get("text_cfg", {})
    # The tokenizer counts by its vocabulary, not by where it lies; what to start training from is no part of a model.
    text = {key: value for key, value in text.items() if key not in ("tokenizer_kwargs", "hf_model_pretrained")}
    vision = {key: value for key, value in config["vision_cfg"].items() if key != "timm_model_pretrained"}
    vocabulary = getattr(tokenizer, "encoder", None) or tokenizer.tokenizer.get_vocab()
    facts = [1, {**config, "text_cfg": text, "vision_cfg": vision}, preprocess, where.casefold, vocabulary]
    total = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, value in sorted(module.state_dict().items()):
        total.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        total.update(value.contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()
