"""What the tiers take, measured where it can be measured; where not, it is said what a figure stands on."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from benchmarks.emoji import CHECKOUT, MODEL
from benchmarks.load.scenarios import TEXTS
from benchmarks.scaling.service import Service
from services.encoder.onnx_model import load

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


def encoder() -> Fit:
    """Measures the bundled model by onnxruntime, on one thread, with texts that it has not seen."""
    model = load(str(MODEL), threads=THREADS)
    measured = {size: _batch(model, size) for size in BATCHES}
    return fit(measured)


def fit(measured: dict[int, float]) -> Fit:
    """Returns the line that is closest to what was measured, in shares of it."""
    sizes, seconds = np.array([*measured]), np.array([*measured.values()])
    weighted = np.stack([1 / seconds, sizes / seconds], axis=1)
    fixed, each = np.linalg.lstsq(weighted, np.ones(len(sizes)), rcond=None)[0]
    fixed, each = max(float(fixed), 1e-6), max(float(each), 1e-6)
    error = float(np.abs((fixed + each * sizes) / seconds - 1).max())
    return Fit(fixed, each, error, measured)


def services(measured: Fit, requested: Sequence[float] = (1.0, 1.0, 1.0)) -> dict[str, Service]:
    """Returns the tiers of a CPU installation.

    Args:
        measured: of the encoder.
        requested: processors that gateway, encoder and searcher ask for.
    """
    gateway_cpu, _, searcher_cpu = requested
    busy = json.loads((CHECKOUT / "benchmarks" / "results" / "batching.json").read_text(encoding="utf-8"))
    query = median(busy["figures"]["busy"]["gateway-0"])
    return {
        "gateway": Service(0.0, query, most=1, cpu_each=query / gateway_cpu, start=STARTS["gateway"], capacity=1024.0),
        # Threads as many as processors are asked for: all of them are busy while a batch is.
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
            cpu_fixed=CALL / searcher_cpu,
            cpu_each=424e-6 / searcher_cpu,
            start=STARTS["searcher"],
        ),
    }


def on_gpu(cpu: dict[str, Service], requested: float) -> dict[str, Service]:
    """Returns the same with encoders on GPUs. Not measured: a text tower of 4 ms, as GPUs of today have it, that takes
    50 µs more for each text; the processor starts kernels for three quarters of that, and cuts texts into tokens."""
    gpu = Service(
        0.004,
        50e-6,
        cpu_fixed=0.003 / requested,
        cpu_each=TOKENISING / requested,
        start=90.0,
    )
    return {**cpu, "encoder": gpu}


def figures(measured: Fit) -> dict[str, Any]:
    """Returns what is written down."""
    return {**asdict(measured), "seconds": {str(size): one for size, one in measured.seconds.items()}}


def _batch(model: Any, size: int) -> float:
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
