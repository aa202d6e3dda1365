"""How bars are found and run."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_bar_that_passed_with_this_code_is_not_measured_again(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run over all bars goes on where the last one ended."""
    result = {"passed": True, "figure": "1 of 1", "code": benchmarks.digest_of_code()}
    (checkout / "benchmarks" / "results" / "done-already.json").write_text(json.dumps(result))
    assert benchmarks.passes("done-already")
    assert "1 of 1" in capsys.readouterr().out
