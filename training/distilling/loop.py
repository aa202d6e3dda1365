"""How a student is led: towards the teacher's vectors, and to tell images apart as the teacher does."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from training.finetuning.loop import Trainer


class Distiller(Trainer):
    """Trains a training.distilling.tower.PieceTower on training.distilling.lessons.Lesson. See Trainer.

    Where images are given (as `vectors`), the teacher's shares of them, a softmax over all, are the student's target
    beside the vector itself (Hinton et al. 2015).

    Args:
        scale: of cosines in these shares.
    """

    def __init__(self, *given: Any, scale: float, **options: Any) -> None:
        super().__init__(*given, **options)
        self._scale = scale

    def _loss(self, towers: nn.Module, batch: Any) -> Tensor:
        with self._precise():
            found: Tensor = towers(self._put(batch.tokens), self._put(batch.ends))
        vectors: Tensor = self._put(batch.taught)
        away = (1 - (found * vectors).sum(dim=-1)).mean()
        if self._vectors is None:
            return away
        shares = (self._scale * vectors @ self._vectors.T).softmax(dim=-1)
        return away + cross_entropy(self._scale * found @ self._vectors.T, shares)
