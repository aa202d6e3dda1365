"""What the tiers take, measured where it can be measured; where not, it is said what a figure stands on."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from benchmarks.emoji import CHECKOUT, MODEL
from benchmarks.load.scenarios import TEXTS
from benchmarks.scaling.service import Service
from services.encoder.onnx_model import load
from services.encoder.ports import Model

BATCHES = (1, 2, 4, 8, 16, 32, 64)
THREADS = 1
SECONDS = 1.0

STARTS = {"gateway": 10.0, "encoder": 30.0, "searcher": 30.0}
"""Seconds from the wish for a pod until it is ready, its image on the node already: a guess on the careful side."""

CALL = 0.0003
"""Processor seconds that a server spends on a gRPC call of which nothing is asked."""

TOKENISING = 60e-6
"""Processor seconds for a text before it goes to a GPU."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A batch of b takes `fixed + b * each` seconds, and as many of one processor.

    Attributes:
        error: how far the fit is off at the most, as a share of what was measured.
        seconds: what was measured, by the size of the batch.
    """

    fixed: float
    each: float
    error: float
    seconds: dict[int, float]


def bundled() -> Fit:
    """Measures the bundled model by onnxruntime, on one thread, with texts that it has not seen."""
    return _of(load(str(MODEL), threads=THREADS))


def vit_b_32() -> Fit:
    """Measures a ViT-B/32 by torch in the same way; its weights are random, which takes as long as any."""
    from benchmarks import padding  # noqa: PLC0415 - loads torch, for those alone who ask

    with padding.vit_b_32() as model:
        return _of(model)


def _of(model: Model) -> Fit:
    return fit({size: _batch(model, size) for size in BATCHES})


def fit(measured: dict[int, float]) -> Fit:
    """Returns the line that is closest to what was measured, in shares of it."""
    sizes, seconds = np.array([*measured]), np.array([*measured.values()])
    weighted = np.stack([1 / seconds, sizes / seconds], axis=1)
    fixed, each = np.linalg.lstsq(weighted, np.ones(len(sizes)), rcond=None)[0]
    fixed, each = max(float(fixed), 1e-6), max(float(each), 1e-6)
    error = float(np.abs((fixed + each * sizes) / seconds - 1).max())
    return Fit(fixed, each, error, measured)


def services(measured: Fit) -> dict[str, Service]:
    """Returns the tiers of a CPU installation, each replica of which asks for one processor and uses no more."""
    busy = json.loads((CHECKOUT / "benchmarks" / "results" / "batching.json").read_text(encoding="utf-8"))
    query = median(busy["figures"]["busy"]["gateway-0"])
    return {
        "gateway": Service(0.0, query, most=1, cpu_each=query, start=STARTS["gateway"], capacity=1024.0),
        "encoder": Service(
            CALL + measured.fixed,
            measured.each,
            cpu_fixed=CALL + measured.fixed,
            cpu_each=measured.each,
            start=STARTS["encoder"],
        ),
        # 200,000 vectors of 512 dimensions by IVF with 16-bit codes (DESIGN: 424 µs a query on one thread).
        "searcher": Service(
            CALL,
            424e-6,
            cpu_fixed=CALL,
            cpu_each=424e-6,
            start=STARTS["searcher"],
        ),
    }


def on_gpu(cpu: dict[str, Service]) -> dict[str, Service]:
    """Returns the same with encoders on GPUs. Not measured: a large text tower on a small GPU, 15 ms and 0.8 ms for
    each text, of which the processor starts kernels for 8 ms, and cuts texts into tokens."""
    gpu = Service(0.015, 0.0008, cpu_fixed=0.008, cpu_each=TOKENISING, start=90.0)
    return {**cpu, "encoder": gpu}


def figures(measured: Fit) -> dict[str, Any]:
    """Returns what is written down."""
    return {**asdict(measured), "seconds": {str(size): one for size, one in measured.seconds.items()}}


def _batch(model: Model, size: int) -> float:
    """Seconds of a batch of texts that differ each time, tokens and vectors included: the lower quartile, which what
    else the machine does hardly moves."""
    taken: list[float] = []
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until or len(taken) < 3:
        texts = [f"{TEXTS[place % len(TEXTS)]} {len(taken)}" for place in range(size)]
        began = time.perf_counter()
        model.finish(model.run_texts(model.prepare_texts(texts)))
        taken.append(time.perf_counter() - began)
    return float(np.quantile(taken, 0.25))
