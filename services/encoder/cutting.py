"""Padding, cut where that is exact.

Which towers allow it is not looked up by name but tried, once, when a model is loaded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

EXACT = 1e-5
"""How far a cut text's unit vector may be from the padded one's, in any coordinate, for cutting to count as exact."""


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
        self.context = int(tower.context_length)
        self._eos = None if pooling == "argmax" else int(getattr(tower, "text_eos_id", None) or tower.eos_id)

    @classmethod
    def of(cls, module: nn.Module) -> CausalText | None:
        """Returns the model's text tower where it is built of the parts that we know."""
        tower: Any = getattr(module, "text", module)
        pooling = str(getattr(tower, "text_pool_type", getattr(tower, "pool_type", "")))
        parts = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection", "attn_mask")
        plain = getattr(tower, "cls_emb", None) is None and not getattr(tower, "use_pad_mask", False)
        known = plain and pooling in ("argmax", "eos") and all(hasattr(tower, part) for part in parts)
        return cls(tower, pooling) if known else None

    def ends(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns how many positions of each row matter: up to and with end-of-text, int64 [n]."""
        found: NDArray[Any] = rows if self._eos is None else rows == self._eos
        return np.asarray(found.argmax(axis=1) + 1, dtype=np.int64)

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
        x = tower.ln_final(x[torch.arange(len(tokens), device=tokens.device), ends - 1])
        projection = tower.text_projection
        if projection is None:
            return x  # type: ignore[no-any-return]
        return projection(x) if isinstance(projection, nn.Module) else x @ projection  # type: ignore[no-any-return]

    @torch.inference_mode()
    def is_exact(self, module: Any) -> bool:
        """Tries texts of several lengths, each with two different endings after its end, cut and whole."""
        context, vocabulary = self.context, int(self._tower.vocab_size)
        end = vocabulary - 1 if self._eos is None else self._eos
        device = self._tower.positional_embedding.device
        random = torch.Generator().manual_seed(0)
        for length in sorted({2, 3, min(9, context), context // 2, context - 1, context}):
            tokens = torch.randint(1, vocabulary - 1, (2, context), generator=random)
            tokens[1, :length] = tokens[0, :length]
            tokens[tokens == end] = 1 if end > 1 else 2
            tokens[:, length - 1] = end
            ends = torch.full((2,), length, device=device)
            whole = normalize(module.encode_text(tokens.to(device)).float(), dim=-1)
            cut = normalize(self(tokens[:, :length].to(device), ends).float(), dim=-1)
            if not (whole - cut).abs().max() <= EXACT:
                return False
        return True
