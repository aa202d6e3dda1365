"""A cluster in the foreground: started, shown, watched, and drained by one Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

from services.local.cluster import LocalCluster
from services.local.process import Process
from services.local.state import Standing, read_state

_WATCH_SECONDS = 0.5
_STEADY_SECONDS = 60.0
"""A process that has been up for so long is trusted again."""
_LONGEST_PAUSE = 30.0
_COLOURS = {"ready": "green", "not ready": "yellow", "gone": "red"}


@contextmanager
def running(cluster: LocalCluster, console: Console) -> Iterator[LocalCluster]:
    """Starts the cluster, and drains it when the block ends, be it by Ctrl-C or SIGTERM.

    A second Ctrl-C stops waiting for the drain. Raises ClusterError where the cluster does not come up.
    """
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with console.status("Starting the cluster") as status:
            cluster.start(tell=status.update if console.is_terminal else _line_on(console))
        try:
            yield cluster
        except KeyboardInterrupt:
            console.print()
        finally:
            with console.status("Draining: gateways first, then encoders and searchers"):
                cluster.close()
            console.print("Stopped.")
    finally:
        signal.signal(signal.SIGTERM, before)


def _line_on(console: Console) -> Callable[[str], None]:
    """Whoever reads a file or a pipe sees no spinner: there, each wait is a line."""
    return lambda text: console.print(text, markup=False, soft_wrap=True)


def watch(cluster: LocalCluster, console: Console, *, restart: bool = False) -> None:
    """Reports processes that end, until Ctrl-C; starts them again if told to."""
    watcher = Watcher(cluster, console, restart=restart)
    while True:
        watcher.look(time.monotonic())
        time.sleep(_WATCH_SECONDS)


class Watcher:
    """Reports each end of a process once, and starts it again: at once, or ever later where it does not stay up.

    Args:
        cluster: whose processes.
        console: where to tell it.
        restart: whether to start them again.
    """

    def __init__(self, cluster: LocalCluster, console: Console, *, restart: bool) -> None:
        self._cluster, self._console, self._restart = cluster, console, restart
        self._reported: set[int] = set()
        self._pauses: dict[str, float] = {}
        self._due: dict[str, float] = {}

    def look(self, now: float) -> None:
        """Looks at all processes once; `now` is in seconds that only grow."""
        for process in self._cluster.processes.values():
            if process.is_running:
                continue
            if process.pid not in self._reported:
                self._reported.add(process.pid)
                self._due[process.name] = now + self._pause(process.name, now)
                _report(process, self._console, self._due[process.name] - now if self._restart else None)
            if self._restart and now >= self._due[process.name]:
                self._cluster.restart(process.name, wait=False)

    def _pause(self, name: str, now: float) -> float:
        """Returns the seconds until a process that has just ended is started again."""
        stayed_up = now - self._due.get(name, -_STEADY_SECONDS)  # due is when it was started last
        before = self._pauses.get(name, 0.0) if stayed_up < _STEADY_SECONDS else None
        self._pauses[name] = 0.0 if before is None else min(max(2 * before, _WATCH_SECONDS), _LONGEST_PAUSE)
        return self._pauses[name]


def table(run_dir: Path) -> Table | None:
    """Returns the processes of the cluster that runs in this folder with addresses and health; None where none runs."""
    standings = read_state(run_dir)
    if not standings:
        return None
    shown = Table("process", "address", "health port", "pid", "health", box=None, header_style="bold")
    for standing in standings:
        shown.add_row(*_row(standing))
    return shown


def _row(standing: Standing) -> tuple[str, ...]:
    colour = _COLOURS[standing.health_now]
    health = "" if standing.health == standing.address else standing.health
    verdict = f"[{colour}]{standing.health_now}[/]"
    return standing.name, standing.address, health, str(standing.pid), verdict


def _report(process: Process, console: Console, pause: float | None) -> None:
    again = "" if pause is None else f" It is started again{f' in {pause:g} s' if pause else ''}."
    console.print(f"[red]{process.name} ended with {process.returncode}.[/]{again} The end of {process.log}:")
    console.print(process.tail(), markup=False, highlight=False)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
