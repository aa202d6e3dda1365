"""The measurement for those who have a GPU."""

from __future__ import annotations

import pytest

from benchmarks import gpu_encoder


def test_without_a_gpu_there_is_nothing_to_measure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where torch finds no GPU it says so in one line, exits with 2, and measures nothing."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu_encoder.main() == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "There is no GPU that torch can use, so there is nothing to measure.\n")
