"""What a person sees of a build: a bar that moves, what was left out and why, and what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Any, Self

import fsspec
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from services.indexer.rows import Refusal
from sightline.errors import InvalidArgument
from sightline.printable import printable

SHOWN = 10
PLAIN_EVERY = 5.0


class RefusalLog:
    """Counts what was left out, keeps the first few, and writes all of it to a file: JSONL of uri, reason, line.

    Entering it raises InvalidArgument where the file cannot be written.
    """

    def __init__(self, file: str | None) -> None:
        self.file = file
        self.count = 0
        self.first: list[Refusal] = []
        self._opened: Any = None
        self._out: IO[str] | None = None

    def __enter__(self) -> Self:
        if self.file is not None:
            # A file's name may be no UTF-8. What stands for its bytes is written as JSON's own escapes.
            try:
                self._opened = fsspec.open(self.file, "w", encoding="utf-8", errors="backslashreplace")
                self._out = self._opened.__enter__()
            except Exception as exc:  # each file system has errors of its own
                message = f"{self.file} cannot be written: {getattr(exc, 'strerror', None) or exc}"
                raise InvalidArgument(message, field="--errors") from exc
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        if self._opened is not None:
            self._opened.__exit__(kind, exc, at)

    def add(self, refusal: Refusal) -> None:
        """Notes one."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(refusal)
        if self._out is not None:
            record = {"uri": refusal.uri, "reason": refusal.reason, "line": refusal.line or None}
            self._out.write(json.dumps(record, ensure_ascii=False) + "\n")

    def show(self, console: Console) -> None:
        """Prints the first few as a table, and where the others are."""
        if not self.count:
            return
        table = Table("line", title=f"{self.count:,} left out", title_justify="left")
        table.add_column("picture", overflow="fold")
        table.add_column("reason", overflow="fold")
        for refusal in self.first:
            table.add_row(str(refusal.line or ""), _told(_tail(refusal.uri)), _told(refusal.reason))
        console.print(table)
        if self.file is not None:
            console.print(f"All of them with their reasons: {escape(self.file)}")
        elif self.count > len(self.first):
            console.print(f"… and {self.count - len(self.first):,} more; --errors FILE writes them all to a file.")


class PlainProgress:
    """Progress as lines, for where there is no terminal: one as each stage begins and ends, and one every 5 seconds."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._name, self._total, self._done = "", 0, 0
        self._began = self._told = 0.0

    def stage(self, name: str, total: int | None) -> None:
        """Begins a stage."""
        self.finish()
        self._name, self._total, self._done = name, total or 0, 0
        self._began = self._told = self._clock()

    def advance(self, images: int) -> None:
        """So many more are done, in whichever way."""
        self._done += images
        if self._clock() - self._told >= PLAIN_EVERY:
            self._tell()

    def finish(self) -> None:
        """Ends the last stage."""
        if self._name:
            self._tell()
        self._name = ""

    def _tell(self) -> None:
        self._told = self._clock()
        of = f" of {self._total:,}" if self._total else ""
        rate = self._done / max(self._told - self._began, 1e-9)
        self._console.print(f"{self._name}: {self._done:,}{of} images, {rate:,.0f} images/s", highlight=False)


class BarProgress:
    """Progress as a bar that moves."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._done = 0

    def stage(self, name: str, total: int | None) -> None:
        """Begins a stage."""
        self.finish()
        self._task, self._done = self._bars.add_task(name, total=total), 0

    def advance(self, images: int) -> None:
        """So many more are done, in whichever way."""
        self._done += images
        if self._task is not None:
            self._bars.update(self._task, completed=self._done)

    def finish(self) -> None:
        """Ends the last stage: a bar whose total was not known is full now."""
        if self._task is not None:
            self._bars.update(self._task, total=self._done)
        self._task = None


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f} images/s")


@contextmanager
def progress_on(console: Console) -> Iterator[PlainProgress | BarProgress]:
    """A bar where the console is a terminal, lines where it is not."""
    if not console.is_terminal:
        plain = PlainProgress(console)
        yield plain
        plain.finish()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _RateColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        bar = BarProgress(bars)
        yield bar
        bar.finish()


def _told(text: str) -> str:
    """Text of the source's, which is neither markup nor orders to the terminal."""
    return escape(printable(text))


def _tail(uri: str, length: int = 60) -> str:
    return uri if len(uri) <= length else "…" + uri[1 - length :]
