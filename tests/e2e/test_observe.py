"""`make observe` ends with all that it has started."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from services.local.state import FILE

CHECKOUT = Path(__file__).resolve().parents[2]
# The target's program, in a folder of its own.
PROGRAM = """
import sys
from pathlib import Path
from benchmarks import observe
observe.FOLDER, observe.draw = Path(sys.argv[1]), lambda: Path("never read")
observe.PORTS = dict.fromkeys(observe.PORTS, 0)
sys.exit(observe.main())
"""
SECONDS = 180.0


def pids(folder: Path) -> list[int]:
    """The processes of the cluster, as far as they were started."""
    state = folder / "run" / FILE
    written = json.loads(state.read_text(encoding="utf-8"))["processes"] if state.exists() else []
    return [row["pid"] for row in written if row["pid"]]


def is_there(pid: int) -> bool:
    """Whether a process has not ended."""
    return Path(f"/proc/{pid}").exists()


def until(what: Callable[[], bool], running: subprocess.Popen[bytes]) -> None:
    """Waits for something, while the program runs."""
    end = time.monotonic() + SECONDS
    while not what():
        assert running.poll() is None, "it ended by itself"
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_termination_ends_all_that_was_started(tmp_path: Path) -> None:
    """SIGTERM while it starts ends every process of the cluster before the program itself."""
    folder, log = tmp_path / "observe", tmp_path / "log"
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    with log.open("wb") as said, subprocess.Popen(command, cwd=CHECKOUT, stdout=said, stderr=said) as running:
        try:
            until(lambda: len(pids(folder)) > 2, running)
            started = pids(folder)
            running.terminate()
            assert running.wait(SECONDS) == 0, log.read_text()
        finally:
            running.kill()
    assert [pid for pid in started if is_there(pid)] == []
    assert pids(folder) == []
    assert log.read_text().endswith("Stopped.\n")
