"""What a student is taught: texts as ids, and the vectors that the teacher has for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from services.encoder.ports import Ids, Model

_TOGETHER = 256
_IN_FILE = 16_384
"""So many texts are taught between two files: what is lost where a run is ended."""

Halves = NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a step teaches.

    Attributes:
        tokens: ids, int64 [n, longest], padded with zeros.
        ends: how many of each row count, int64 [n].
        taught: the teacher's unit vectors, float32 [n, d].
    """

    tokens: Tensor
    ends: Tensor
    taught: Tensor


class Lessons(Dataset[Lesson]):
    """The lessons of all steps: each text once an epoch, in an order that the seed decides.

    Args:
        ids: of each text, int64 [length].
        vectors: of each text, float16 [n, d].
        size: texts in a step.
        seed: of the order.
    """

    mines = False

    def __init__(self, ids: Sequence[Ids], vectors: Halves, size: int, seed: int) -> None:
        self._ids, self._vectors, self._size, self._seed = ids, vectors, min(size, len(ids)), seed
        self._order = lru_cache(2)(self._shuffled)
        self.neighbours = torch.empty(0, dtype=torch.int64)

    def __getitem__(self, step: int) -> Lesson:
        places = [self._at(place) for place in range(step * self._size, (step + 1) * self._size)]
        chosen = [self._ids[place] for place in places]
        ends = np.array([len(ids) for ids in chosen])
        tokens = np.zeros((len(chosen), ends.max()), dtype=np.int64)
        tokens[np.arange(ends.max()) < ends[:, None]] = np.concatenate(chosen)
        taught = torch.from_numpy(self._vectors[places].astype(np.float32))
        return Lesson(torch.from_numpy(tokens), torch.from_numpy(ends), taught)

    def _at(self, place: int) -> int:
        epoch, within = divmod(place, len(self._ids))
        return int(self._order(epoch)[within])

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, epoch]).permutation(len(self._ids))


def taught(teacher: Model, texts: Sequence[str], folder: Path, log: Callable[[str], None]) -> Halves:
    """The teacher's unit vectors of texts, float16 [n, d]; those that an earlier run has written are read.

    Args:
        teacher: as the encoder runs it.
        texts: to be taught, the same at each call for a folder.
        folder: where vectors are kept, some texts a file.
        log: told how far it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for start in range(0, len(texts), _IN_FILE):
        file = folder / f"{start:010}.npy"
        if not file.exists():
            fresh = file.with_suffix(".new.npy")
            np.save(fresh, _vectors(teacher, texts[start : start + _IN_FILE]))
            fresh.replace(file)
            log(f"taught {min(start + _IN_FILE, len(texts)):,} of {len(texts):,} texts")
        parts.append(np.load(file))
    return np.concatenate(parts)


def _vectors(teacher: Model, texts: Sequence[str]) -> Halves:
    ids = teacher.prepare_texts(texts)
    # By length, so that hardly anything is computed for padding.
    order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
    found = np.empty((len(texts), teacher.card.dimension), dtype=np.float16)
    for start in range(0, len(order), _TOGETHER):
        places = order[start : start + _TOGETHER]
        found[places] = teacher.finish(teacher.run_texts([ids[place] for place in places]))
    return found
