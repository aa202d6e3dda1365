"""What a person sees of a build."""

from __future__ import annotations

import io
import json
import os
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


def test_a_name_that_is_no_utf_8_is_written_and_shown(tmp_path: Path) -> None:
    """A file name of any bytes comes back from the file of refusals as it was, and can be shown."""
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), width=160)
    file, uri = tmp_path / "errors.jsonl", os.fsdecode(b"file:///caf\xe9.jpg")
    with RefusalLog(str(file)) as refused:
        refused.add(Refusal(uri, "is no UTF-8"))
    refused.show(console)
    assert json.loads(file.read_text("utf-8"))["uri"] == uri


def test_what_is_shown_is_nothing_that_a_terminal_obeys() -> None:
    """Names with escape sequences in them are shown without."""
    console, out = _console()
    with RefusalLog(None) as refused:
        refused.add(Refusal("\x1b[2J\x9b31m.png", "broken\r\x07"))
    refused.show(console)
    assert not {"\x1b", "\x9b", "\x07", "\r"} & set(out.getvalue())
    assert "[2J" in out.getvalue()


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
