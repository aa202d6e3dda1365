"""How fast a build is beside what the CPU time of its steps allows.

The bound: each step (decode, thumbnail, prepare, encode) is run alone, on as many processes as there are cores, so that
cores which share their units share them here too; its CPU time for an image is the sum over those processes. A machine
that did nothing else would index `cores / (sum of these)` images a second.

The build runs as its users run it: `python -m services.indexer build`, from start to end of that process, with one
encoder of one thread for each core. The ratio is the product of two: how much of all CPU time went into the steps, and
how much of the cores' time was used. On a machine that others use too, only the first means anything.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.emoji import CHECKOUT
from benchmarks.proof import Proof
from benchmarks.scope import RANDOM_WEIGHTS, take
from services.local.cluster import LocalCluster
from services.local.topology import Topology
from services.pictures import Preparation, open_picture, prepare, thumbnail

FLOOR = 0.85
PHOTOGRAPHS, ALONE, ROUNDS = 1024, 192, 3
BATCH = 8
CORES = os.cpu_count() or 1
ARCHITECTURE = "ViT-B-32"
PREPARATION = Preparation(224, 224)


@dataclass(frozen=True, slots=True)
class Round:
    """One round: CPU seconds of each step for an image, and what a build took for all images.

    Attributes:
        steps: by name.
        images: that were built.
        wall: seconds from start to end of the indexer's process.
        indexer, encoders: CPU seconds of their processes meanwhile.
    """

    steps: dict[str, float]
    images: int
    wall: float
    indexer: float
    encoders: float

    @property
    def allowed(self) -> float:
        """Images a second that the steps allow."""
        return CORES / sum(self.steps.values())

    @property
    def ratio(self) -> float:
        """The build's images a second beside those."""
        return self.images / self.wall / self.allowed

    @property
    def share(self) -> float:
        """How much of the CPU time of all processes the steps would have taken by themselves."""
        return self.images * sum(self.steps.values()) / (self.indexer + self.encoders)

    @property
    def used(self) -> float:
        """How much of the cores' time these processes had."""
        return (self.indexer + self.encoders) / (self.wall * CORES)


def bar() -> dict[str, object]:
    """Photograph-like JPEG files of 640 × 480 with a ViT-B-32 of random weights, in rounds of steps and build."""
    proof = Proof()
    with TemporaryDirectory() as name, encoders(Path(name)) as (cluster, weights):
        model = (ARCHITECTURE, weights)
        rounds = measure(Path(name), cluster, model, photographs=PHOTOGRAPHS, alone=ALONE, rounds=ROUNDS)
    report(proof, rounds)
    ratio = statistics.median(one.ratio for one in rounds)
    proof.holds(f"the median ratio is at least {FLOOR}", ratio >= FLOOR)
    return proof.outcome(
        f"{statistics.median(one.images / one.wall for one in rounds):.1f} images/s, {ratio:.2f} of the "
        f"{statistics.median(one.allowed for one in rounds):.1f} that the CPU time of the steps allows"
    )


def report(proof: Proof, rounds: Sequence[Round]) -> None:
    """Notes the figures of the rounds."""
    for number, one in enumerate(rounds):
        proof.figures[f"round {number}"] = {
            "CPU ms an image": {name: round(1000 * spent, 2) for name, spent in one.steps.items()},
            "indexer's CPU ms an image": round(1000 * one.indexer / one.images, 2),
            "encoders' CPU ms an image": round(1000 * one.encoders / one.images, 2),
            "images/s": round(one.images / one.wall, 2),
            "images/s allowed": round(one.allowed, 2),
            "ratio": round(one.ratio, 3),
            "share of the CPU time that is steps": round(one.share, 3),
            "share of the cores' time that was used": round(one.used, 3),
        }


@contextmanager
def encoders(folder: Path) -> Iterator[tuple[LocalCluster, str]]:
    """One encoder of one thread for each core, with a ViT-B-32 of random weights; and those weights."""
    weights = folder / f"{ARCHITECTURE}.safetensors"
    subprocess.run([sys.executable, "-c", RANDOM_WEIGHTS, str(weights)], check=True)
    cluster = LocalCluster(
        store="",
        model=ARCHITECTURE,
        run_dir=folder / "run",
        topology=Topology(groups=0, gateways=0, encoders=CORES, redis=False, encoder_threads=1),
        overrides={"encoder": {"pretrained": str(weights)}},
    )
    with cluster:
        yield cluster, str(weights)


def measure(
    folder: Path, cluster: LocalCluster, model: tuple[str, str], *, photographs: int, alone: int, rounds: int
) -> list[Round]:
    """Takes rounds of both measurements, one after the other.

    Args:
        folder: for the pictures and the stores.
        cluster: whose encoders to build with.
        model: what they serve: name or folder, and weights.
        photographs: how many the build indexes.
        alone: of how many each step is measured.
        rounds: how many.
    """
    take(folder / "photographs", photographs)
    files = sorted((folder / "photographs").iterdir())[:alone]
    found = []
    for number in range(rounds):
        steps = _steps(files, model)
        found.append(_build(cluster, folder, number, photographs, steps))
    return found


def _steps(files: Sequence[Path], model: tuple[str, str]) -> dict[str, float]:
    """CPU seconds of each step for an image, all cores at it at the same time."""
    steps: dict[str, Callable[[Sequence[Path]], float]] = {
        "decode": _decode,
        "thumbnail": _thumbnail,
        "prepare": _prepare,
        "encode": partial(_encode, model=model),
    }
    found = {}
    with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
        for name, work in steps.items():
            running = [pool.submit(work, files[core::CORES]) for core in range(CORES)]
            found[name] = sum(one.result() for one in running) / len(files)
    return found


def _decode(files: Sequence[Path]) -> float:
    read = [file.read_bytes() for file in files]
    open_picture(read[0])
    began = time.process_time()
    for data in read:
        open_picture(data)
    return time.process_time() - began


def _thumbnail(files: Sequence[Path]) -> float:
    pictures = [open_picture(file.read_bytes()) for file in files]
    thumbnail(pictures[0])
    began = time.process_time()
    for picture in pictures:
        thumbnail(picture)
    return time.process_time() - began


def _prepare(files: Sequence[Path]) -> float:
    pictures = [open_picture(file.read_bytes()) for file in files]
    prepare(pictures[0], PREPARATION)
    began = time.process_time()
    for picture in pictures:
        prepare(picture, PREPARATION)
    return time.process_time() - began


def _encode(files: Sequence[Path], model: tuple[str, str]) -> float:
    from services.encoder.model import load  # noqa: PLC0415  in the process that needs torch

    loaded = load(*model, device="cpu", threads=1)
    pixels = [prepare(open_picture(file.read_bytes()), loaded.card.preparation) for file in files]
    loaded.finish(loaded.run_images(pixels[:BATCH]))
    began = time.process_time()
    for first in range(0, len(pixels), BATCH):
        loaded.finish(loaded.run_images(pixels[first : first + BATCH]))
    return time.process_time() - began


def _build(cluster: LocalCluster, folder: Path, number: int, images: int, steps: dict[str, float]) -> Round:
    names = [name for name, process in cluster.processes.items() if process.spec.role == "encoder"]
    command = [sys.executable, "-m", "services.indexer", "build", str(folder / "photographs")]
    command += ["--store", str(folder / f"store-{number}"), "--collection", "photos"]
    command += ["--encoder", ",".join(cluster.addresses("encoder"))]
    before, encoding, began = _children(), sum(map(cluster.cpu_seconds, names)), time.monotonic()
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    wall = time.monotonic() - began
    if done.returncode or f"{images:,} images" not in done.stdout:
        raise RuntimeError(f"the indexer ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return Round(steps, images, wall, _children() - before, sum(map(cluster.cpu_seconds, names)) - encoding)


def _children() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
