"""Sources of every kind: killed ten times, the same bytes; what is broken is told with its reason; bounded memory."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import kinds
from benchmarks.emoji import CHECKOUT, encoding
from benchmarks.kinds import Made
from benchmarks.proof import Proof
from services.store import Manifest, Store

ROWS, KILLS = 2_120, 10
FEW, MANY, SLOPE = 20_000, 200_000, 1.5
DIMENSION = 192
COLLECTION = "made"
CHUNK = 128
SEED = 1
ATTEMPTS = 60

Make = Callable[[Path, int], Made]

KINDS: dict[str, Make] = {
    "folder": kinds.folder,
    "csv": kinds.csv_table,
    "jsonl": kinds.jsonl,
    "parquet": kinds.parquet,
    "webdataset": kinds.webdataset,
    "clip-retrieval": partial(kinds.clip_retrieval, dimension=DIMENSION),
    "npy": partial(kinds.npy, dimension=DIMENSION),
}


def bar() -> dict[str, object]:
    """A collection of each kind, built undisturbed and killed ten times; then 20,000 and 200,000 ready-made vectors."""
    proof = Proof()
    with TemporaryDirectory() as name, encoding(Path(name) / "encoder") as encoder:
        for kind in KINDS:
            prove_kind(kind, Path(name), encoder, proof, rows=ROWS, kills=KILLS)
        prove_memory(Path(name), encoder, proof, few=FEW, many=MANY)
    return proof.outcome(
        f"{len(KINDS)} kinds of source, {ROWS:,} rows each, killed {KILLS} times: the bytes of undisturbed builds, and "
        f"each of the 5 % broken ones in the report with its reason; from {FEW:,} to {MANY:,} vectors memory grows by "
        f"{proof.figures.get('slope')} of the largest shard"
    )


def prove_kind(kind: str, folder: Path, encoder: str, proof: Proof, *, rows: int, kills: int) -> None:
    """Builds a source of a kind undisturbed, and killed so often at random moments; compares, and reads the report."""
    made = KINDS[kind](folder / kind, rows)
    whole = folder / f"{kind}-whole"
    began = time.monotonic()
    _, said = _run(_command(made, whole, encoder))
    seconds = time.monotonic() - began
    expected = digests(whole)
    proof.holds(f"{kind}: it is built", f"{made.images:,} images" in said)
    _prove_report(kind, made, whole, proof)
    chance = random.Random(f"{SEED} {kind}")
    killed = completed = attempt = 0
    while killed < kills or completed <= attempt:
        store = folder / f"{kind}-killed-{attempt}"
        # Each run goes on from the last one: a tenth of the whole at a time leaves room for all kills.
        moment = chance.uniform(0.0, seconds * (0.5 if kills < 5 else 0.35)) if killed < kills else None
        if _run(_command(made, store, encoder), kill_after=moment)[0] == 0:
            proof.holds(f"{kind}: killed, the same bytes", digests(store) == expected)
            _prove_report(f"{kind}, killed", made, store, proof)
            completed, attempt = completed + 1, attempt + (killed < kills)
        else:
            killed += 1
        if killed + completed > ATTEMPTS:
            raise RuntimeError(f"{kind}: after {ATTEMPTS} runs there were not {kills} kills and an end")
    proof.figures[f"{kind}: kills, ends, seconds undisturbed"] = [killed, completed, round(seconds, 1)]


def digests(store: Path) -> dict[str, str]:
    """A digest of each file of all generations."""
    home = store / COLLECTION / "generations"
    files = [file for file in sorted(home.rglob("*")) if file.is_file()]
    return {str(file.relative_to(home)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def prove_memory(folder: Path, encoder: str, proof: Proof, *, few: int, many: int) -> None:
    """Builds few and many ready-made vectors; how much more memory many take is a matter of the largest shard alone."""
    small, _ = _peak(folder, few, encoder)
    large, manifest = _peak(folder, many, encoder)
    largest = max(sum(file.size for file in shard.files) for shard in manifest.shards)
    slope = (large - small) / largest
    proof.figures |= {"peak MB": [round(small / 1e6, 1), round(large / 1e6, 1)], "largest shard MB": largest / 1e6}
    proof.figures["slope"] = round(slope, 2)
    proof.holds(f"memory grows by at most {SLOPE} of the largest shard", slope <= SLOPE)


def _peak(folder: Path, count: int, encoder: str) -> tuple[int, Manifest]:
    """Most bytes of memory that building so many vectors took, and what was built."""
    home, store = folder / f"vectors-{count}", folder / f"vectors-{count}-store"
    home.mkdir()
    np.save(home / "vectors.npy", kinds.embeddings(count, DIMENSION))
    made = Made(str(home / "vectors.npy"), count, {})
    # Chunks as they are by default: what is bounded is a matter of what users have.
    process = _start(_command(made, store, encoder, chunk=1024), folder / f"vectors-{count}.log")
    # Not what the system says of it at its end: that counts what this process had when it started that one.
    most = 0
    while process.poll() is None:
        most = max(most, _high_water(process.pid))
        time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"the indexer ended with {process.returncode}")
    return most, Store(str(store)).manifest(COLLECTION, 1)


def _high_water(pid: int) -> int:
    """Most bytes of memory that a process has had at a time so far; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def _prove_report(what: str, made: Made, store: Path, proof: Proof) -> None:
    """Every broken row is in the list with the true reason, nothing else is, and the page tells of each reason."""
    errors = [json.loads(line) for line in (store / "errors.jsonl").read_text(encoding="utf-8").splitlines()]
    page = (store / COLLECTION / "reports" / "00000001.html").read_text(encoding="utf-8")
    missing = [place for place, reason in made.broken.items() if not any(_tells(one, place, reason) for one in errors)]
    proof.expect(f"{what}: broken rows without their true reason", missing, [])
    proof.expect(f"{what}: left out", len(errors), len(made.broken))
    proof.holds(f"{what}: the page counts them", f"<b>{len(made.broken):,}</b>left out" in page)
    untold = [reason for reason in set(made.broken.values()) if reason not in page]
    proof.expect(f"{what}: reasons that the page does not tell", untold, [])


def _tells(error: Mapping[str, Any], place: tuple[str, int], reason: str) -> bool:
    name, line = place
    return name in error["uri"] and (not line or error["line"] == line) and reason in error["reason"]


def _command(made: Made, store: Path, encoder: str, *, chunk: int = CHUNK) -> list[str]:
    store.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "services.indexer", "build", made.address, "--store", str(store)]
    command += ["--collection", COLLECTION, "--encoder", encoder, "--scope", "emoji", "--chunk", str(chunk)]
    return [*command, "--errors", str(store / "errors.jsonl")]


def _start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(command, cwd=CHECKOUT, stdout=out, stderr=subprocess.STDOUT)


def _run(command: list[str], *, kill_after: float | None = None) -> tuple[int, str]:
    """Runs the indexer, at most so many seconds. Raises RuntimeError where it fails by itself."""
    with TemporaryDirectory() as folder:
        process = _start(command, Path(folder) / "log")
        with suppress(subprocess.TimeoutExpired):
            process.wait(kill_after)
        killed = process.poll() is None
        if killed:
            process.kill()
        process.wait()
        said = (Path(folder) / "log").read_text(encoding="utf-8")
    if process.returncode and not killed:
        raise RuntimeError(f"the indexer ended with {process.returncode}:\n{said[-3000:]}")
    return process.returncode, said
