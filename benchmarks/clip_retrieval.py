"""The same photographs through clip-retrieval's inference and index, and through ours: images a second, CPU an image.

    python3 -m venv VENV && VENV/bin/pip install clip-retrieval 'setuptools<70'
    python -m benchmarks.clip_retrieval VENV/bin/clip-retrieval

clip-retrieval brings versions of its own, and so it lives in an environment of its own. Both use a ViT-B-32 with the
same random weights from a local file, on the CPU. Ours makes thumbnails besides, checks and publishes. Prints, and
writes to benchmarks/results/clip-retrieval.json.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.emoji import CHECKOUT
from benchmarks.ingest_speed import ARCHITECTURE, BATCH, CORES, encoders
from benchmarks.scope import take

RESULT = Path(__file__).parent / "results" / "clip-retrieval.json"
PHOTOGRAPHS = 2000


def main() -> int:
    """Measures, prints and writes the figures."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        print(__doc__, file=sys.stderr)
        return 2
    with TemporaryDirectory() as name:
        folder = Path(name)
        take(folder / "photographs", PHOTOGRAPHS)
        with encoders(folder) as (cluster, weights):
            names = [one for one, process in cluster.processes.items() if process.spec.role == "encoder"]
            before = sum(map(cluster.cpu_seconds, names))
            ours = _run([_ours(folder, cluster.addresses("encoder"))], folder)
            ours["CPU ms an image"] += 1000 * (sum(map(cluster.cpu_seconds, names)) - before) / PHOTOGRAPHS
        theirs = _run(_theirs(sys.argv[1], folder, weights), folder)
    found = {"photographs": PHOTOGRAPHS, "cores": CORES, "sightline": ours, "clip-retrieval": theirs}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))
    return 0


def _ours(folder: Path, addresses: list[str]) -> list[str]:
    command = [sys.executable, "-m", "services.indexer", "build", str(folder / "photographs"), "--publish"]
    command += ["--unchecked", "--store", str(folder / "store"), "--collection", "photos"]
    return [*command, "--encoder", ",".join(addresses)]


def _theirs(program: str, folder: Path, weights: str) -> list[list[str]]:
    inference = [program, "inference", "--input_dataset", str(folder / "photographs")]
    inference += ["--output_folder", str(folder / "embeddings"), "--clip_model", f"open_clip:{ARCHITECTURE}/{weights}"]
    inference += ["--use_jit", "False", "--enable_text", "False", "--enable_metadata", "False"]
    inference += ["--batch_size", str(4 * BATCH), "--num_prepro_workers", str(CORES), "--enable_wandb", "False"]
    index = [program, "index", "--embeddings_folder", str(folder / "embeddings")]
    return [inference, [*index, "--index_folder", str(folder / "index")]]


def _run(commands: list[list[str]], folder: Path) -> dict[str, Any]:
    """Runs commands one after the other; what they took by the clock and of the CPUs, their children's included."""
    before, began = _children(), time.monotonic()
    for command in commands:
        done = subprocess.run(
            command, cwd=CHECKOUT, env={**os.environ, "HOME": str(folder)}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(
                f"{command[:2]} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
    seconds = time.monotonic() - began
    return {"images/s": PHOTOGRAPHS / seconds, "CPU ms an image": 1000 * (_children() - before) / PHOTOGRAPHS}


def _children() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


if __name__ == "__main__":
    sys.exit(main())
