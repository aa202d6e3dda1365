"""The commands of the local cluster, and the scripts that set it up."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.local.__main__ import main
from services.local.ports import HOST
from services.local.topology import CHECKOUT

UNPACK = CHECKOUT / "tools" / "unpack_debs.sh"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind((HOST, 0))
        holder.listen()
        yield holder.getsockname()[1]


def unpack(package: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Runs the script on a machine without apt: nothing is on PATH."""
    command = ["/bin/bash", str(UNPACK), package]
    environment = {**os.environ, "PATH": "", "SIGHTLINE_CACHE": str(cache)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_status_without_a_cluster_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no cluster runs, status says so and fails."""
    assert main(["status"]) == 1
    assert "No cluster runs in .run." in capsys.readouterr().out


def test_the_indexer_needs_a_cluster_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no cluster runs, the indexer is not started, and what to start is said."""
    assert main(["indexer", "list"]) == 1
    assert "services.local up" in capsys.readouterr().out


def test_gateway_port_in_use_is_refused(taken_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is in use is named, with the way out."""
    assert main(["up", "--store", "store", "--port", str(taken_port)]) == 1
    assert f"port {taken_port} is in use" in capsys.readouterr().out


def test_process_that_cannot_start_is_shown_with_its_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A setting that makes no sense ends the start, with the words of the process that refused it."""
    monkeypatch.setenv("SIGHTLINE_LOG_LEVEL", "LOUD")
    command = ["up", "--store", "store", "--groups", "1", "--encoders", "0", "--gateways", "0", "--no-redis"]
    assert main([*command, "--port", "0"]) == 1
    shown = capsys.readouterr().out
    assert "searcher-0-0 ended with 2" in shown
    assert "SIGHTLINE_LOG_LEVEL" in shown


def test_without_apt_the_files_to_provide_are_named(tmp_path: Path) -> None:
    """On a machine without apt, the missing file is named with its place; once it is there, nothing is asked for."""
    wanted = tmp_path / "debian" / "usr" / "share" / "doc" / "no-such-package"
    refused = unpack("no-such-package", tmp_path)
    assert refused.returncode == 1
    assert str(wanted) in refused.stderr
    wanted.mkdir(parents=True)
    assert unpack("no-such-package", tmp_path).returncode == 0
