"""The commands of the local cluster, and the scripts that set it up."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.local.__main__ import main
from services.local.ports import HOST
from services.local.topology import CHECKOUT

MODEL = str(CHECKOUT / "models" / "emoji")
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
    assert main(["up", "--store", "store", "--model", MODEL, "--port", str(taken_port)]) == 1
    assert f"port {taken_port} is in use" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--port", "70000", "--port must be 0 to 65,535, not 70000"),
        ("--groups", "0", "--groups must be 1 to 64, not 0"),
        ("--replicas", "-1", "--replicas must be 1 to 64, not -1"),
        ("--gateways", "-2", "--gateways must be 0 to 64, not -2"),
        ("--encoders", "1000", "--encoders must be 0 to 64, not 1000"),
        ("--encoder-threads", "-1", "--encoder-threads must be 0 to 64, not -1"),
        (
            "--store",
            "file.txt",
            "--store: file.txt is a file; a store is a folder, or a URL such as s3://bucket/folder",
        ),
        ("--store", "nowhere://x", "--store: 'nowhere://x' is no store that can be opened"),
        ("--model", "./none", "--model: there is no folder ./none"),
        ("--model", "folder", "--model: folder has no open_clip_config.json"),
        ("--pretrained", "weights.safetensors", "--pretrained: there is no file weights.safetensors"),
        ("--pretrained", "./weights", "--pretrained: there is no file ./weights"),
        ("--run-dir", "file.txt", "--run-dir: file.txt is a file, and must be a folder"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_at_once(
    option: str, value: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence names the option and what it may be, and nothing is started."""
    Path("file.txt").touch()
    Path("folder").mkdir()
    command = ["up", "--store", "store", "--model", MODEL, "--port", "0"]
    assert main([*command, option, value]) == 1
    shown = capsys.readouterr().out
    assert said in " ".join(shown.split())
    assert "Traceback" not in shown
    assert not Path(".run").exists()


def test_a_store_without_its_package_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where s3fs is not installed, an S3 store is refused before anything starts, with what to install."""
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)  # which were opened before
    assert main(["up", "--store", "s3://bucket/index", "--port", "0", "--encoders", "0"]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith("--store: 's3://bucket/index' is no store that can be opened: Install s3fs")
    assert "pip install '.[s3]'" in shown


def test_what_is_waited_for_is_told_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipe or a file, the processes that are waited for are named; a store that is empty is said to be."""

    def no_more(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("services.local.__main__.watch", no_more)
    command = ["up", "--store", "store", "--groups", "1", "--encoders", "0", "--gateways", "0", "--no-redis"]
    command += ["--webs", "0"]
    assert main([*command, "--port", "0"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Waiting for searcher-0-0 to be ready" in shown
    assert "Nothing is published in this store yet" in shown
    assert "python -m services.local indexer build FOLDER --collection NAME --publish" in shown


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
