"""A cluster in the foreground: started, shown, watched, and drained by one Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

from services.local.cluster import LocalCluster
from services.local.process import Process
from services.local.state import Standing, read_state

_WATCH_SECONDS = 0.5
_COLOURS = {"ready": "green", "not ready": "yellow", "gone": "red"}


@contextmanager
def running(cluster: LocalCluster, console: Console) -> Iterator[LocalCluster]:
    """Starts the cluster, and drains it when the block ends, be it by Ctrl-C or SIGTERM.

    A second Ctrl-C stops waiting for the drain. Raises ClusterError where the cluster does not come up.
    """
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with console.status("Starting the cluster"):
            cluster.start()
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


def watch(cluster: LocalCluster, console: Console, *, restart: bool = False) -> None:
    """Reports processes that end, until Ctrl-C; starts them again if told to."""
    reported: set[int] = set()
    while True:
        for process in cluster.processes.values():
            if not process.is_running and process.pid not in reported:
                reported.add(process.pid)
                _report(process, console)
                if restart:
                    cluster.restart(process.name, wait=False)
        time.sleep(_WATCH_SECONDS)


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


def _report(process: Process, console: Console) -> None:
    console.print(f"[red]{process.name} ended with {process.returncode}.[/] The end of {process.log}:")
    console.print(process.tail(), markup=False, highlight=False)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
