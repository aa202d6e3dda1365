"""CLIP's text tower over the positions that count, in torch.

Which towers allow it is not looked up by name but tried, once, when a model is loaded.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from services.encoder.ends import Ends, Rows
from services.encoder.ports import Vectors


class CausalText:
    """CLIP's text tower without its padding.

    The tower is causal and read at end-of-text: no later position can change the answer, so none is computed. That
    holds for CLIP's own towers, and not for bidirectional ones, which is why `is_exact` is asked before it is used.

    Args:
        tower: where the text tower's parts are: the model itself, or its `text`.
        pooling: `argmax` or `eos`: how the tower finds end-of-text.
    """

    def __init__(self, tower: Any, pooling: str) -> None:
        self._tower = tower
        eos = None if pooling == "argmax" else int(getattr(tower, "text_eos_id", None) or tower.eos_id)
        self.ends = Ends(int(tower.context_length), int(tower.vocab_size), eos)

    @classmethod
    def of(cls, module: nn.Module) -> CausalText | None:
        """Returns the model's text tower where it is built of the parts that we know."""
        tower: Any = getattr(module, "text", module)
        pooling = str(getattr(tower, "text_pool_type", getattr(tower, "pool_type", "")))
        parts = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection", "attn_mask")
        plain = getattr(tower, "cls_emb", None) is None and not getattr(tower, "use_pad_mask", False)
        known = plain and pooling in ("argmax", "eos") and all(hasattr(tower, part) for part in parts)
        return cls(tower, pooling) if known else None

    def __call__(self, tokens: Tensor, ends: Tensor) -> Tensor:
        """Returns vectors [n, d], not normalised.

        Args:
            tokens: int64 [n, length], padded with anything.
            ends: how many positions of each row matter, int64 [n].
        """
        tower, length = self._tower, tokens.shape[1]
        kind = tower.transformer.get_cast_dtype()
        x = tower.token_embedding(tokens).to(kind) + tower.positional_embedding[:length].to(kind)
        mask = tower.attn_mask
        x = tower.transformer(x, attn_mask=None if mask is None else mask[:length, :length])
        # Normalising the one position that is read equals normalising all and reading one.
        x = tower.ln_final(x[torch.arange(tokens.shape[0], device=tokens.device), ends - 1])
        projection = tower.text_projection
        if projection is None:
            return x  # type: ignore[no-any-return]
        return projection(x) if isinstance(projection, nn.Module) else x @ projection  # type: ignore[no-any-return]

    @torch.inference_mode()
    def is_exact(self, module: Any) -> bool:
        """Whether this model answers cut texts as it answers whole ones."""
        device = self._tower.positional_embedding.device

        def cut(rows: Rows, ends: Rows) -> Vectors:
            tokens = torch.from_numpy(rows).to(device)
            return _units(self(tokens, torch.from_numpy(ends).to(device)))

        return self.ends.is_exact(lambda rows, ends: _units(module.encode_text(torch.from_numpy(rows).to(device))), cut)


def _units(vectors: Tensor) -> Vectors:
    return normalize(vectors.float(), dim=-1).cpu().numpy()
