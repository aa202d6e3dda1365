"""What a person sees of a build."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from services.indexer.report import PlainProgress, RefusalLog, progress_on
from services.indexer.rows import Refusal


def _console() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=160), out


def test_everything_left_out_is_in_the_file_and_the_first_on_the_screen(tmp_path: Path) -> None:
    """The screen shows the first ones and says where all are."""
    console, out = _console()
    file = tmp_path / "errors.jsonl"
    with RefusalLog(str(file)) as refused:
        for i in range(25):
            refused.add(Refusal(f"{i}.png", "[broken]", line=i))
    refused.show(console)
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(records) == 25
    assert records[3] == {"uri": "3.png", "reason": "[broken]", "line": 3}
    assert records[0]["line"] is None
    shown = out.getvalue()
    assert "25 left out" in shown
    assert shown.count("[broken]") == 10
    assert str(file) in shown


def test_without_a_file_the_rest_is_counted() -> None:
    """Without --errors the screen says how many it does not show, and how to have them."""
    console, out = _console()
    with RefusalLog(None) as refused:
        for i in range(12):
            refused.add(Refusal(f"{i}.png", "broken"))
    refused.show(console)
    assert "and 2 more; --errors FILE" in out.getvalue()


def test_without_a_terminal_progress_is_lines() -> None:
    """Where there is no terminal, progress is a line now and then, with the rate, and one at the end."""
    console, out = _console()
    times = iter([0.0, 1.0, 6.0, 6.0, 8.0])
    progress = PlainProgress(console, clock=lambda: next(times))
    progress.stage("encoding", 100)
    progress.advance(10)
    progress.advance(20)
    progress.finish()
    assert out.getvalue().splitlines() == [
        "encoding: 30 of 100 images, 5 images/s",
        "encoding: 30 of 100 images, 4 images/s",
    ]


def test_on_a_terminal_progress_is_a_bar() -> None:
    """On a terminal there is a bar for each stage, with count and rate."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    with progress_on(console) as progress:
        progress.stage("encoding", None)
        progress.advance(3)
        progress.stage("writing", 3)
        progress.advance(3)
    assert "encoding" in out.getvalue()
    assert "3/3" in out.getvalue()
    assert "images/s" in out.getvalue()
