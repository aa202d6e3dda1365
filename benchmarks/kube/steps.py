"""What a bar does on a cluster, step by step, each with its time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.proof import Proof


@dataclass(slots=True)
class Steps:
    """The steps of a proof. One that fails is a fault of the proof, and the next is gone on with.

    Attributes:
        proof: what was seen.
        seconds: how long each step took.
    """

    proof: Proof
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times what is done within, and notes how it fails."""
        print(f"{time.strftime('%T')}  {name}", flush=True)
        began = time.monotonic()
        try:
            yield
        except Exception as error:
            self.proof.faults.append(f"{name}: {type(error).__name__}: {str(error)[:1000]}")
            print(f"          FAILED: {error}", flush=True)
        finally:
            self.seconds[name] = round(time.monotonic() - began, 1)
            self.proof.figures["seconds"] = dict(self.seconds)
