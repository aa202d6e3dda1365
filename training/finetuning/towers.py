"""A model's two towers in training: which of them learn, in full or by matrices of low rank, and their forward pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

from services.encoder.cutting import CausalText

Side = Literal["text", "image", "both"]

_TOGETHER, _PARTS = 32, 6


class LowRank(nn.Module):
    """A weight as it was, plus a product of two thin matrices that learns (LoRA, Hu et al. 2021).

    Args:
        weight: float [out, in].
        rank: of the product; it begins as zero.
        alpha: the product is scaled by alpha / rank.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        out, into = weight.shape
        self.down = nn.Parameter(torch.randn(rank, into) / math.sqrt(into))
        self.up = nn.Parameter(torch.zeros(out, rank))
        self._scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """See above."""
        return weight + self._scale * self.up @ self.down


class Towers(nn.Module):
    """What trains. Texts are computed without their padding where that is exact.

    Args:
        module: open_clip's model.
        side: the tower that learns; the other is locked (LiT, Zhai et al. 2022).
        rank: of low-rank matrices in the learning tower's linear weights; 0 lets all its weights learn.
        dropout: of token embeddings, while training.
    """

    def __init__(self, module: Any, side: Side, rank: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.module, self.side = module.eval(), side
        causal = CausalText.of(module)
        self._causal = causal if causal and causal.is_exact(module) else None
        embedding = getattr(getattr(module, "text", module), "token_embedding", None)
        if dropout and isinstance(embedding, nn.Module):
            embedding.register_forward_hook(lambda _, __, out: nn.functional.dropout(out, dropout, self.training))
        module.requires_grad_(False)
        for part in self.learning():
            _learn(part, rank)
        module.logit_scale.requires_grad_(True)
        if not rank and side != "image" and not hasattr(module, "text"):
            # CLIP's own text tower lies in the model itself.
            for name in ("positional_embedding", "text_projection"):
                if isinstance(parameter := getattr(module, name), nn.Parameter):
                    parameter.requires_grad_(True)

    @property
    def context(self) -> int:
        """How many positions a text has with its padding."""
        return int(self.module.context_length)

    def learning(self) -> Iterator[nn.Module]:
        """The modules of the towers that learn."""
        if self.side != "text":
            yield self.module.visual
        if self.side != "image":
            tower = getattr(self.module, "text", None)
            names = ("token_embedding", "transformer", "ln_final", "text_projection")
            parts = [tower] if tower else [getattr(self.module, name) for name in names]
            yield from (part for part in parts if isinstance(part, nn.Module))

    def train(self, mode: bool = True) -> Towers:
        """Only what learns is in training; statistics of batch norms stay, as batches are small."""
        super().train(False)
        self.training = mode
        for part in self.learning():
            part.train(mode)
        for one in self.module.modules():
            if isinstance(one, nn.modules.batchnorm._BatchNorm):
                one.eval()
        return self

    def forward(self, tokens: Tensor, pixels: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor]:
        """Unit vectors of texts [n, d] and pictures [m, d], and the scale.

        Args:
            tokens: ids with padding, int64 [n, context].
            pixels: float [m, 3, height, width], or None where the caller has vectors.
        """
        texts = self._texts(tokens)
        pictures = None if pixels is None else normalize(self.module.encode_image(pixels).float(), dim=-1)
        return texts, pictures, self.module.logit_scale.exp()

    def _texts(self, tokens: Tensor) -> Tensor:
        if self._causal is None:
            return normalize(self.module.encode_text(tokens).float(), dim=-1)
        ends = torch.from_numpy(self._causal.ends(tokens.cpu().numpy())).to(tokens.device)
        # Sorted and in a few parts, so that one long text does not make all the others long.
        order = ends.argsort()
        chosen = torch.split(order, max(_TOGETHER, len(order) // _PARTS))
        parts = [self._cut(tokens[rows], ends[rows]) for rows in chosen]
        return normalize(torch.cat(parts)[order.argsort()].float(), dim=-1)

    def _cut(self, tokens: Tensor, ends: Tensor) -> Tensor:
        assert self._causal
        # On a processor plain attention beats the fused one where there is only a handful of positions.
        with sdpa_kernel(SDPBackend.MATH) if tokens.device.type == "cpu" else nullcontext():
            return self._causal(tokens[:, : int(ends.max())], ends)

    def plain_state(self) -> dict[str, Tensor]:
        """The weights by the model's own names, low-rank changes added in: what open_clip loads."""
        # Removing the parametrizations of a copy would take them from the original too: both share a class.
        state = self.module.state_dict()
        plain = {name: value for name, value in state.items() if "parametrizations" not in name.split(".")}
        for path, one in self.module.named_modules():
            if parametrize.is_parametrized(one):
                plain |= {f"{path}.{name}": getattr(one, name).detach() for name in one.parametrizations}
        return plain


def _learn(part: nn.Module, rank: int) -> None:
    if not rank:
        part.requires_grad_(True)
        return
    linear = [one for one in part.modules() if isinstance(one, nn.Linear | nn.MultiheadAttention)]
    for one in linear:
        name = "weight" if isinstance(one, nn.Linear) else "in_proj_weight"
        weight = getattr(one, name)
        if weight is not None and not parametrize.is_parametrized(one, name):
            parametrize.register_parametrization(one, name, LowRank(weight, rank, alpha=rank))
