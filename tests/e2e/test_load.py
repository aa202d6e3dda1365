"""Load on a running cluster, by us and by ghz; and a short sample of the bar `ghz`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from benchmarks import ghz
from benchmarks.emoji import CHECKOUT
from benchmarks.load.checking import check, oracle_at
from benchmarks.load.generator import generate
from benchmarks.load.scenario import ScenarioError, read
from benchmarks.oracle import Oracle
from benchmarks.proof import Proof
from services.local.cluster import LocalCluster

CALLS = {"zipf": 40, "batch": 3, "stream": 3, "errors": 20}


@pytest.fixture(scope="module")
def oracle(cluster: LocalCluster, pictures: Path) -> Oracle:
    """Brute force over what the shared cluster serves."""
    return oracle_at(read(ghz.FOLDER / "miss.json", host=cluster.gateway), pictures)


@pytest.mark.parametrize("name", CALLS)
def test_every_answer_is_checked(name: str, cluster: LocalCluster, oracle: Oracle) -> None:
    """Calls, batches and streams go out as a scenario says; each answer is held against brute force, and is right."""
    scenario = read(ghz.FOLDER / f"{name}.json", host=cluster.gateway, total=CALLS[name], timeout="30s")
    run = generate(scenario)
    checks = check(run, oracle)

    failed = [call.status for call in run.calls if call.error]
    assert len(run.calls) == CALLS[name]
    assert sorted(failed) == ["InvalidArgument"] * 4 + ["NotFound"] * 2 if name == "errors" else not failed
    together = len(scenario.messages) if name == "stream" else 16 if name == "batch" else 1
    assert checks.answers == checks.judged == (CALLS[name] - len(failed)) * together
    assert (checks.wrong, checks.partial, checks.unanswered) == (0, 0, 0), checks.first_wrong


def test_a_wrong_answer_is_found(cluster: LocalCluster, oracle: Oracle) -> None:
    """An answer that brute force does not give is counted as wrong, and shown."""
    run = generate(read(ghz.FOLDER / "hit.json", host=cluster.gateway, total=2, timeout="30s"))
    turned = Oracle(oracle.ids, -oracle._vectors)
    checks = check(run, turned)
    assert (checks.answers, checks.wrong, len(checks.first_wrong)) == (2, 2, 2)


def test_nobody_there_is_said(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host where nobody answers is named before anything is sent."""
    monkeypatch.setattr("benchmarks.load.generator.CONNECT_SECONDS", 0.2)
    host = cluster.gateway.rpartition(":")[0] + ":1"
    with pytest.raises(ScenarioError, match=f"nobody answers at '{host}'"):
        generate(read(ghz.FOLDER / "hit.json", host=host))


def test_the_command_line_runs_and_shows(cluster: LocalCluster, tmp_path: Path) -> None:
    """`run` writes a report and ends with 0, `show` reads it; what makes no sense ends with 2 and is named."""
    made = tmp_path / "hit.json"
    options = ["--host", cluster.gateway, "--total", "20", "--timeout", "30s", "--output", str(made)]
    ran = _command("run", str(ghz.FOLDER / "hit.json"), *options)
    assert ran.returncode == 0, ran.stderr
    assert "20 answers, 0 of them held against brute force" in ran.stdout
    assert json.loads(made.read_text())["count"] == 20
    assert "hit: 20 calls" in _command("show", str(made)).stdout
    wrong = _command("run", str(ghz.FOLDER / "hit.json"), "--duration", "long")
    assert (wrong.returncode, "duration" in wrong.stderr) == (2, True)


def test_reflection_finds_methods(cluster: LocalCluster) -> None:
    """A method's full name is a symbol whose file reflection tells; a method that there is not has none."""
    requests = [
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=f"sightline.v1.SearchService{name}")
        for name in ("", ".Search", ".Seek")
    ]
    with grpc.insecure_channel(cluster.gateway) as channel:
        replies = [*reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(requests), timeout=10)]
    assert [one.HasField("file_descriptor_response") for one in replies] == [True, True, False]


def test_ghz_and_ours_are_compared(
    cluster: LocalCluster, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ghz runs the scenarios as they are, errors among them, and the bar compares what both saw."""
    if not (shutil.which("go") or ghz.kept()):
        pytest.skip("ghz is built with Go, which is not on PATH")
    monkeypatch.setattr(ghz, "CAPACITY_CALLS", {"errors": 40, "batch": 16, "stream": 16})
    seen = ghz.measure(
        cluster.gateway, ghz.program(), pictures, tmp_path, rounds=2, calls={"errors": 20, "batch": 2, "stream": 2}
    )
    proof = Proof()
    for name, sides in seen.items():
        ghz.judge(name, sides, proof)

    assert all(len(sides.ghz) == len(sides.ours) == 2 for sides in seen.values())
    assert {"rate", "p50", "p95"} == set(ghz.ratios(seen["errors"]))
    # How fast they are is for the bar; how many failed, and that none was wrong, is so in a sample too.
    speed = ("times that of ghz", "at half load or less")
    assert [fault for fault in proof.faults if not any(words in fault for words in speed)] == []
    assert dict(seen["errors"].ghz[0].statuses) == {"OK": 14, "InvalidArgument": 4, "NotFound": 2}


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.load", *arguments]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
