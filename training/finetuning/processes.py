"""The processes that train together, as torchrun starts them: one a GPU, or several on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

T = TypeVar("T")

_PATIENCE = timedelta(hours=2)
"""The others wait so long while the first one evaluates."""


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among them."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and evaluates."""
        return self.rank == 0

    def said_by_first(self, ask: Callable[[], T]) -> T:
        """What the first process finds out, in all of them: they are to do the same with it, to the last bit."""
        found: list[Any] = [ask() if self.first else None]
        if self.world > 1:
            distributed.broadcast_object_list(found, src=0)
        said: T = found[0]
        return said


@contextmanager
def together(device: str) -> Iterator[tuple[Processes, torch.device]]:
    """Joins the processes that torchrun started, if it did; yields this one, and its device."""
    if not distributed.is_torchelastic_launched():
        yield Processes(), torch.device(device)
        return
    on_gpus = device.startswith("cuda")
    distributed.init_process_group("nccl" if on_gpus else "gloo", timeout=_PATIENCE)
    try:
        rank = distributed.get_rank()
        mine = torch.device("cuda", distributed.get_node_local_rank()) if on_gpus else torch.device(device)
        if on_gpus:
            torch.cuda.set_device(mine)
        yield Processes(rank, distributed.get_world_size()), mine
    finally:
        distributed.destroy_process_group()
