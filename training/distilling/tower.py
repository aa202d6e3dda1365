"""The student's text tower: a bag of pieces."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize


class PieceTower(nn.Module):
    """Vectors of pieces, summed, then widened and narrowed once: a deep averaging network (Iyyer et al. 2015).

    It knows nothing of the order of pieces. Its time hardly grows with the text: that of a handful of small operators.

    Args:
        vocabulary: ids that it knows.
        dimension: of the teacher's vectors.
        width: of the vectors of pieces.
        hidden: of its one wide layer.
        dropout: share of pieces that are left out while it trains.
    """

    def __init__(self, vocabulary: int, dimension: int, width: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.project = nn.Linear(width, dimension, bias=False)
        self._dropout = dropout
        nn.init.normal_(self.table.weight, std=0.1)

    def forward(self, tokens: Tensor, ends: Tensor) -> Tensor:
        """Unit vectors, float [n, d].

        Args:
            tokens: ids, int64 [n, length], padded with anything.
            ends: how many of each row count, int64 [n].
        """
        inside = torch.arange(tokens.shape[1], device=tokens.device) < ends[:, None]
        if self.training and self._dropout:
            inside = inside & (torch.rand(inside.shape, device=tokens.device) >= self._dropout)
        pieces = self.table(tokens)
        bag = self.norm((pieces * inside[:, :, None].to(pieces.dtype)).sum(dim=1))
        return normalize(self.project(bag + self.narrow(gelu(self.widen(bag)))), dim=-1)

    @torch.no_grad()
    def begin_with(self, table: Tensor) -> None:
        """Begins with another tower's vectors of the same pieces, float [vocabulary, any], in their main directions."""
        rows, width = self.table.weight.shape
        centred = table - table.mean(dim=0)
        _, directions = torch.linalg.eigh(centred.T @ centred)
        found = table[:rows] @ directions.flip(1)[:, :width]
        self.table.weight[:, : found.shape[1]] = found * (0.1 / found.std())
