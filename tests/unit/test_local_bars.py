"""How bars are found and run."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as benchmarks

BAR = '''"""A bar."""


def bar() -> dict[str, object]:
    return {"passed": %s, "figure": "1 of 2", "figures": {"answers": 1}}
'''


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    monkeypatch.setattr(benchmarks, "CHECKOUT", tmp_path)
    monkeypatch.setattr(benchmarks, "RESULTS", tmp_path / "benchmarks" / "results")
    monkeypatch.setattr(benchmarks, "STAMPS", tmp_path / ".cache" / "prove")
    return tmp_path


def test_bars_are_modules_with_a_bar(checkout: Path) -> None:
    """A bar is named like its module, with hyphens; other modules are none."""
    (checkout / "benchmarks" / "all_is_well.py").write_text(BAR % True)
    (checkout / "benchmarks" / "oracle.py").write_text("X = 1\n")
    assert benchmarks.bars() == ["all-is-well"]


def test_unknown_bar_is_refused(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is no bar's is refused, with those that are."""
    (checkout / "benchmarks" / "all_is_well.py").write_text(BAR % True)
    monkeypatch.setattr("sys.argv", ["benchmarks", "nothing"])
    assert benchmarks.main() == 2
    assert "all-is-well" in capsys.readouterr().err


def test_results_do_not_change_the_code(checkout: Path) -> None:
    """The digest of the code changes with the code, and not with what a measurement writes."""
    (checkout / "services").mkdir()
    before = benchmarks.digest_of_code()
    (checkout / "benchmarks" / "results" / "x.json").write_text("{}")
    assert benchmarks.digest_of_code() == before
    (checkout / "services" / "new.py").write_text("")
    assert benchmarks.digest_of_code() != before


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of bars that are measured anew; each of these passes."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


@pytest.fixture
def tried(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A bar `tried` that passes."""
    module = types.ModuleType("benchmarks.tried")
    module.__dict__["bar"] = lambda: {"passed": True, "figure": "1 of 1", "figures": {}}
    monkeypatch.setitem(sys.modules, "benchmarks.tried", module)
    return module


def test_bar_that_passed_here_is_not_measured_again(
    checkout: Path, tried: types.ModuleType, measured: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A run over all bars goes on where the last one ended: what passed just like this is told, not measured."""
    assert benchmarks.prove("tried")
    capsys.readouterr()
    assert benchmarks.passes("tried")
    assert "1 of 1" in capsys.readouterr().out
    assert measured == []


def test_fresh_clone_measures_anew(checkout: Path, tried: types.ModuleType, measured: list[list[str]]) -> None:
    """Results that came with the code are a record, and spare nobody the measurement."""
    assert benchmarks.prove("tried")
    shutil.rmtree(checkout / ".cache")
    assert json.loads((checkout / "benchmarks" / "results" / "tried.json").read_text())["passed"]
    assert benchmarks.passes("tried")
    assert len(measured) == 1


@pytest.mark.parametrize("what", ["code", "pins", "python", "machine", "versions"])
def test_bar_is_measured_again_after_a_change(
    checkout: Path, tried: types.ModuleType, measured: list[list[str]], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Other code, pins, versions or another machine: a bar that passed before is measured again."""
    assert benchmarks.prove("tried")
    match what:
        case "code":
            (checkout / "services").mkdir()
            (checkout / "services" / "new.py").write_text("")
        case "pins":
            (checkout / "constraints.txt").write_text("torch==3.0\n")
        case "python":
            monkeypatch.setattr(platform, "python_version", lambda: "3.99.0")
        case "machine":
            monkeypatch.setattr(platform, "node", lambda: "elsewhere")
        case "versions":
            monkeypatch.setattr(importlib.metadata, "version", lambda _: "99")
    assert benchmarks.passes("tried")
    assert len(measured) == 1


def test_bar_that_fails_loses_its_stamp(checkout: Path, tried: types.ModuleType, measured: list[list[str]]) -> None:
    """What passed once and then failed is measured again, though nothing has changed."""
    assert benchmarks.prove("tried")
    tried.__dict__["bar"] = lambda: {"passed": False, "figure": "0 of 1", "figures": {}}
    assert not benchmarks.prove("tried")
    assert benchmarks.passes("tried")
    assert len(measured) == 1
