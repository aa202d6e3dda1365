"""A model says what it is for; and photographs are indexed and found with weights from a local file, by the steps that
docs/indexing.md tells."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from benchmarks.emoji import CHECKOUT, draw, encoding, index, some, wait_visible
from benchmarks.proof import Proof
from services.local import probes
from services.local.cluster import LocalCluster
from services.local.ports import HOST, free_ports
from services.local.topology import Topology
from sightline import Client

PHOTOGRAPHS = 40
COLLECTION = "photos"
START_SECONDS = 300.0

DOCUMENT = CHECKOUT / "docs" / "indexing.md"
# What a reader of the document puts in place of its examples.
WEIGHTS, PICTURES, STORE, ENCODER = "/models/open_clip_model.safetensors", "~/Pictures", "./data", "127.0.0.1:7701"
PYTHON = ".venv/bin/python"

# In a process of its own, which gives its memory back.
RANDOM_WEIGHTS = """
import sys, open_clip, torch
from safetensors.torch import save_file
torch.manual_seed(5)
save_file(open_clip.create_model("ViT-B-32").half().state_dict(), sys.argv[1])
"""


def bar() -> dict[str, object]:
    """Photograph-like files, first with the bundled model, then with a random-weight ViT-B-32."""
    proof = Proof()
    with TemporaryDirectory() as name:
        folder = Path(name)
        take(folder / "photographs", PHOTOGRAPHS)
        with encoding(folder / "bundled") as encoder:
            prove_warning(folder, encoder, proof)
        prove_documented_steps(folder, proof)
    return proof.outcome(
        f"photographs indexed with the bundled model: a warning that names its scope and real weights; {PHOTOGRAPHS} "
        "of them indexed by the documented steps with a ViT-B-32 from a local file, and each finds itself"
    )


def take(folder: Path, count: int) -> None:
    """Writes JPEG files that look like photographs to a program: large, of soft shapes, with noise; no two alike."""
    folder.mkdir()
    for number in range(count):
        drawn = np.random.default_rng(number)
        shapes = Image.fromarray(drawn.integers(0, 256, (6, 8, 3), np.uint8)).resize(
            (640, 480), Image.Resampling.BICUBIC
        )
        grain = drawn.normal(0, 6, (480, 640, 1))
        pixels = np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"IMG_{number:04}.jpg", quality=88)


def prove_warning(folder: Path, encoder: str, proof: Proof) -> None:
    """The bundled model, behind this encoder, takes the folder's photographs under a warning, and emoji without one."""
    photographs, emoji = folder / "photographs", some(draw(), 100, folder)
    store = str(folder / "bundled-store")
    said = index(photographs, store, encoders=[encoder], collection=COLLECTION, scope="")
    of_emoji = index(emoji, store, encoders=[encoder], scope="")
    warning = said[said.find("warning:") : said.find("encoding:")] if "warning:" in said else ""
    proof.figures["the warning"] = " ".join(warning.replace(str(folder), "…").split())
    proof.holds("photographs with the bundled model are warned of", bool(warning))
    proof.holds("the warning names the scope", "emoji" in warning)
    proof.holds("the warning points to real weights", "ViT-B-32" in warning and "laion2b_s34b_b79k" in warning)
    proof.holds("emoji are indexed without a warning", "warning:" not in of_emoji)


def prove_documented_steps(folder: Path, proof: Proof) -> None:
    """Runs the commands of docs/indexing.md for a machine without a network on the folder's photographs, then searches
    what they indexed."""
    photographs, weights, store = folder / "photographs", folder / "ViT-B-32.safetensors", folder / "store"
    subprocess.run([sys.executable, "-c", RANDOM_WEIGHTS, str(weights)], check=True)
    port, health = free_ports(2)
    address = f"{HOST}:{port}"
    starting = documented("services.encoder", WEIGHTS, {WEIGHTS: str(weights), ENCODER: address})
    indexing = documented(
        "services.indexer build", PICTURES, {PICTURES: str(photographs), STORE: str(store), ENCODER: address}
    )
    with _running(starting, f"{HOST}:{health}", folder / "encoder.log"):
        done = subprocess.run(["bash", "-c", indexing], cwd=CHECKOUT, capture_output=True, text=True, check=False)
        proof.expect("the documented steps end with", done.returncode, 0)
        proof.holds("real weights are used without a warning", "warning:" not in done.stdout)
        searching = LocalCluster(
            store=str(store),
            model="",
            run_dir=folder / "run",
            topology=Topology(encoders=0, redis=False),
            overrides={"gateway": {"encoders": address}},
        )
        with searching:
            wait_visible(searching, COLLECTION)
            asyncio.run(_prove_search(searching.gateway, sorted(photographs.iterdir()), proof))


async def _prove_search(gateway: str, files: Sequence[Path], proof: Proof) -> None:
    async with Client(gateway, timeout=60) as client:
        collection = await client.collection(COLLECTION)
        proof.expect("images in the collection", collection.images, len(files))
        proof.holds("the collection names the model", collection.model.name.startswith("ViT-B-32"))
        proof.expect("its dimension", collection.model.dimension, 512)
        best = [(await client.search(file, top_k=1))[0].id for file in files]
        themselves = sum(found == file.name for found, file in zip(best, files, strict=True))
        proof.expect("photographs that find themselves", themselves, len(files))
        by_words = await client.search("a dog on the beach", top_k=len(files))
        proof.expect("hits for words", len(by_words), len(files))


def documented(program: str, example: str, instead: Mapping[str, str]) -> str:
    """Returns the command of the document that runs a program on an example, with a reader's own values in its place.

    Raises:
        LookupError: the document has no such command.
    """
    blocks: list[str] = re.findall(r"```\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        if program in block and all(value in block for value in (example, *instead)):
            command = block.replace(PYTHON, sys.executable)
            for value, own in instead.items():
                command = command.replace(value, own)
            return command
    raise LookupError(f"{DOCUMENT.name} has no command that runs {program} with {example}")


@contextmanager
def _running(command: str, health: str, log: Path) -> Iterator[None]:
    """Runs a command of the shell until the end of the block, once the process is ready."""
    told = {**os.environ, "SIGHTLINE_HEALTH_LISTEN": health, "SIGHTLINE_DRAIN_SECONDS": "0"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=CHECKOUT, env=told, stdout=output, stderr=output, start_new_session=True
        )
    try:
        until = time.monotonic() + START_SECONDS
        while not probes.is_ready(health):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the documented command does not get ready:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        # The shell and what it started: they are a group of their own.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()
