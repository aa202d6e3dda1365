"""Both backends of the encoder side by side: their vectors, their answers, their CPU time and their memory."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.emoji import CHECKOUT, COLLECTION, MODEL, index_into
from benchmarks.padding import texts_of
from services.encoder.ports import Model, Vectors
from services.local.cluster import LocalCluster
from services.local.topology import Topology
from sightline import Client

BACKENDS = ("onnx", "torch")
NEAR = 2e-3
"""Hits whose scores are nearer than this may stand in either order."""
DEPTH = 3
"""How many times as many hits are asked for as are compared, to know what stands beyond the last."""
ROUNDS = 7

Ranked = Sequence[tuple[str, float]]

# In a process of its own: what it takes until a model can be asked, from nothing.
_START = """
import json, sys, time
from services.encoder.__main__ import load_model
from services.encoder.settings import EncoderSettings
load_model(EncoderSettings(model=sys.argv[1], backend=sys.argv[2], device="cpu", threads=1))
# Not ru_maxrss: that begins with what the parent had.
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
print(json.dumps({"cpu_seconds": round(time.process_time(), 2), "megabytes": round(peak / 1024)}))
"""


def distances(one: Model, other: Model) -> dict[str, float]:
    """The largest 1 - cos of texts of all lengths, and of pictures."""
    texts = [text for words in (1, 2, 5, 10, 20, 40, 76, 100) for text in texts_of(2, (words, words), words)]
    shape = one.card.preparation
    noise = np.random.default_rng(0).integers(0, 256, (6, shape.height, shape.width, 3), dtype=np.uint8)
    smooth = [(picture // 8 + 20 * place).astype(np.uint8) for place, picture in enumerate(noise)]
    return {
        "texts": _distance(*(model.finish(model.run_texts(model.prepare_texts(texts))) for model in (one, other))),
        "pictures": _distance(*(model.finish(model.run_images([*noise, *smooth])) for model in (one, other))),
    }


def _distance(one: Vectors, other: Vectors) -> float:
    return float((((one - other).astype(np.float64) ** 2).sum(axis=1) / 2).max())


def start_up(folder: Path) -> dict[str, dict[str, float]]:
    """CPU seconds and megabytes until each backend has loaded the model of a folder."""
    found = {}
    for backend in BACKENDS:
        command = [sys.executable, "-c", _START, str(folder), backend]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
        found[backend] = dict(json.loads(done.stdout.splitlines()[-1]))
    return found


def text_milliseconds(models: Mapping[str, Model], batch: int) -> dict[str, float]:
    """CPU milliseconds of a text of 6 to 10 words, from text to vector; medians of rounds of A B B A, each of texts
    that nobody has tokenised before. Both models compute on one thread."""
    spent: dict[str, list[float]] = {name: [] for name in models}
    for seed in range(ROUNDS + 1):
        for turn, name in enumerate((*models, *reversed(list(models)))):
            took = _milliseconds(models[name], batch, 1000 * batch + 4 * seed + turn)
            if seed:  # the first round warms up
                spent[name].append(took)
    return {name: round(statistics.median(took), 3) for name, took in spent.items()}


def _milliseconds(model: Model, batch: int, seed: int) -> float:
    texts = texts_of(16, (6, 10), seed)
    began = time.process_time()
    for at in range(0, len(texts), batch):
        model.finish(model.run_texts(model.prepare_texts(texts[at : at + batch])))
    return 1000 * (time.process_time() - began) / len(texts)


def answers(source: Path, texts: Sequence[str], folder: Path, *, top_k: int = 10) -> list[list[Ranked]]:
    """Indexes pictures and asks texts, with each backend from end to end; returns the hits of each text by each."""
    found: list[list[Ranked]] = []
    for backend in BACKENDS:
        cluster = LocalCluster(
            store=str(folder / backend / "store"),
            model=str(MODEL),
            run_dir=folder / backend,
            topology=Topology(groups=1, redis=False),
            overrides={"encoder": {"backend": backend, "device": "cpu"}},
        )
        with cluster:
            index_into(cluster, source)
            found.append(asyncio.run(_ask(cluster.gateway, texts, DEPTH * top_k)))
    return found


async def _ask(gateway: str, texts: Sequence[str], top_k: int) -> list[Ranked]:
    async with Client(gateway, timeout=60) as client:
        results = [await client.search(text, collection=COLLECTION, top_k=top_k) for text in texts]
    return [[(hit.id, hit.score) for hit in result.hits] for result in results]


def differ(one: Ranked, other: Ranked, top_k: int = 10) -> bool:
    """Whether two answers to one query differ by more than the order of hits whose scores are near."""
    scores, last = dict(one), one[-1][1] if one else 0.0
    if len(one) != len(other):
        return True
    for (mine, score), (theirs, _) in zip(one[:top_k], other[:top_k], strict=True):
        # What stands beyond all that were asked for has at the most the score of the last.
        if mine != theirs and not abs(scores.get(theirs, last) - score) < NEAR:
            return True
    return False


def score_error(one: Ranked, other: Ranked) -> float:
    """The largest difference of a score of one picture in two answers."""
    scores = dict(other)
    return max((abs(score - scores[name]) for name, score in one if name in scores), default=0.0)
