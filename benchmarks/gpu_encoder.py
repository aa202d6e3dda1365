"""What half precision gives on a GPU: run this where there is one.

    python -m benchmarks.gpu_encoder [MODEL [PRETRAINED]]

Without a model it measures a ViT-B-32 with random weights. Prints, and writes to benchmarks/results/gpu-encoder.json,
texts and pictures a second at several batch sizes, and how far their vectors are from those of single precision on the
CPU. Exits with 2 where there is no GPU.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.padding import texts_of, vit_b_32
from services.encoder.model import OpenClipModel, load

RESULT = Path(__file__).parent / "results" / "gpu-encoder.json"
BATCHES = (1, 16, 64, 256)
SECONDS = 3.0
COMPARED = 32


def main() -> int:
    """Measures, prints and writes the figures."""
    if not torch.cuda.is_available():
        print("There is no GPU that torch can use, so there is nothing to measure.", file=sys.stderr)
        return 2
    with _model("cpu") as exact:
        expected, name = _vectors(exact), exact.card.name
    with _model("cuda") as model:
        differ = {kind: float(1 - (ours * expected[kind]).sum(axis=1).min()) for kind, ours in _vectors(model).items()}
        figures = {"model": name, "gpu": torch.cuda.get_device_name(), "cuts": model.cuts, "cosine_distance": differ}
        figures |= {kind: _rates(kind, model) for kind in ("texts", "images")}
    RESULT.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))
    return 0


@contextmanager
def _model(device: str) -> Iterator[OpenClipModel]:
    if sys.argv[1:]:
        yield load(*sys.argv[1:3], device=device)
    else:
        with vit_b_32(device) as model:
            yield model


def _vectors(model: OpenClipModel) -> dict[str, Any]:
    texts, images = _inputs(model, COMPARED)
    return {"texts": model.finish(model.run_texts(texts)), "images": model.finish(model.run_images(images))}


def _inputs(model: OpenClipModel, count: int) -> tuple[Sequence[Any], Sequence[Any]]:
    shape = (model.card.preparation.height, model.card.preparation.width, 3)
    source = np.random.default_rng(0)
    images = [source.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]
    return model.prepare_texts(texts_of(count, (6, 10), seed=0)), images


def _rates(kind: str, model: OpenClipModel) -> dict[str, float]:
    """Items a second by batch size, with one batch fetched while the next one runs, as the engine does it."""
    run: Callable[[Sequence[Any]], Any] = model.run_texts if kind == "texts" else model.run_images
    rates = {}
    for size in BATCHES:
        batch = _inputs(model, size)[kind == "images"]
        model.finish(run(batch))
        count, began = 0, time.perf_counter()
        away = run(batch)
        while time.perf_counter() - began < SECONDS:
            following = run(batch)
            model.finish(away)
            away, count = following, count + size
        model.finish(away)
        rates[str(size)] = (count + size) / (time.perf_counter() - began)
    return rates


if __name__ == "__main__":
    sys.exit(main())
