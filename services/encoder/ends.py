"""Where texts end, and the trial by which it is known whether what stands after the end may be left away.

Every backend cuts texts by this file, and tries its own computation by it, once, when a model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.encoder.ports import Vectors

EXACT = 1e-5
"""How far a cut text's unit vector may be from the padded one's, in any coordinate, for cutting to count as exact."""

Rows = NDArray[np.int64]
"""Token ids of several texts, int64 [n, length]."""


@dataclass(frozen=True, slots=True)
class Ends:
    """How a text tower finds the end of a text.

    Attributes:
        context: positions that the tower has.
        vocabulary: ids that it knows.
        eos: the id that ends a text; None where it is the largest of the text, as in CLIP.
    """

    context: int
    vocabulary: int
    eos: int | None = None

    def __call__(self, rows: Rows) -> Rows:
        """Returns how many positions of each row matter: up to and with end-of-text, int64 [n]."""
        found: NDArray[Any] = rows if self.eos is None else rows == self.eos
        return np.asarray(found.argmax(axis=1) + 1, dtype=np.int64)

    def is_exact(self, whole: Callable[[Rows, Rows], Vectors], cut: Callable[[Rows, Rows], Vectors]) -> bool:
        """Tries texts of several lengths, each with two different endings after its end, cut and whole.

        Args:
            whole: unit vectors of rows with all their positions, and of their ends.
            cut: the same of rows that stop at their ends.
        """
        return all(
            np.abs(whole(rows, ends) - cut(rows[:, : ends[0]], ends)).max() <= EXACT for rows, ends in self._trials()
        )

    def _trials(self) -> Iterator[tuple[Rows, Rows]]:
        """Pairs of rows, int64 [2, context], that are alike up to their end, and their ends."""
        end = self.vocabulary - 1 if self.eos is None else self.eos
        random = np.random.default_rng(0)
        for length in sorted({2, 3, min(9, self.context), self.context // 2, self.context - 1, self.context}):
            rows = random.integers(1, self.vocabulary - 1, (2, self.context))
            rows[1, :length] = rows[0, :length]
            rows[rows == end] = 1 if end > 1 else 2
            rows[:, length - 1] = end
            yield rows, np.full(2, length)
