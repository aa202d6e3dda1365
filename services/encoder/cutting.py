"""Padding, cut where that is exact.

CLIP's text tower is causal and reads its answer at the end-of-text token, so what comes after that token cannot change
it: a text of ten tokens need not cost seventy-seven. open_clip's own forward always runs the whole context, so the
forward is ours. Other towers see the padding (SigLIP, XLM-R); they are left alone. Which is which is not looked up by
name but proven, at load, by running both ways.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

TOLERANCE = 1e-5
HALF_TOLERANCE = 2e-3
"""In half precision the two ways round differently."""

_PROBES = 8


class TextTower:
    """A causal text tower, run no further than the longest end-of-text of a batch.

    Args:
        tower: what holds the weights: the model itself, or its text part.
    """

    def __init__(self, tower: Any) -> None:
        self._tower = tower

    def __call__(self, tokens: Tensor) -> Tensor:
        """Returns features [n, d] of token ids, int64 [n, length], whose end-of-text has the highest id of each row."""
        tower, length = self._tower, tokens.shape[1]
        positions = tower.positional_embedding[:length]
        x = tower.token_embedding(tokens).to(positions.dtype) + positions
        x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])
        ends = x[torch.arange(len(tokens), device=tokens.device), tokens.argmax(dim=-1)]
        # The norm works on each position by itself, so that one position is enough.
        pooled: Tensor = tower.ln_final(ends)
        projection = tower.text_projection
        if projection is None:
            return pooled
        projected: Tensor = projection(pooled) if callable(projection) else pooled @ projection
        return projected


def text_tower(clip: Any) -> TextTower | None:
    """Returns the model's text tower where it has the parts that cutting needs; else None."""
    tower = getattr(clip, "text", clip)
    parts = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection", "attn_mask")
    if any(not hasattr(tower, part) for part in parts) or tower.attn_mask is None:
        return None
    if getattr(tower, "cls_emb", None) is not None:
        return None
    pool = getattr(tower, "text_pool_type", getattr(tower, "pool_type", ""))
    return TextTower(tower) if pool == "argmax" else None


@torch.inference_mode()
def cut_is_exact(clip: Any, tower: TextTower, device: torch.device) -> bool:
    """Returns whether cutting changes nothing, by running texts of all lengths both ways.

    What follows the end-of-text is noise here, not zeros: nothing at all may depend on it.
    """
    owner = getattr(clip, "text", clip)
    context, vocabulary = owner.positional_embedding.shape[0], owner.token_embedding.weight.shape[0]
    lengths = torch.linspace(2, context, _PROBES).long()
    tokens = torch.randint(1, vocabulary - 2, (_PROBES, context), generator=torch.Generator().manual_seed(0))
    tokens[:, 0] = vocabulary - 2
    tokens[torch.arange(_PROBES), lengths - 1] = vocabulary - 1
    whole = functional.normalize(clip.encode_text(tokens.to(device)).float(), dim=-1)
    tolerance = HALF_TOLERANCE if device.type == "cuda" else TOLERANCE
    for row, length in enumerate(lengths.tolist()):
        cut = functional.normalize(tower(tokens[row : row + 1, :length].to(device)).float(), dim=-1)
        if not torch.allclose(cut[0], whole[row], rtol=0, atol=tolerance):
            return False
    return True
