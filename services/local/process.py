"""One process of the cluster, from its start to its end."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from services.local import probes
from services.local.topology import CHECKOUT, Spec


class Process:
    """A process that can be started again on the same ports. Its output goes to a log file."""

    def __init__(self, spec: Spec, log: Path) -> None:
        self.spec = spec
        self.log = log
        self._running: subprocess.Popen[bytes] | None = None
        self._log_begins = 0

    @property
    def name(self) -> str:
        """Its name in the cluster."""
        return self.spec.name

    @property
    def pid(self) -> int:
        """Its process id, also after its end; 0 before its first start."""
        return self._running.pid if self._running else 0

    @property
    def returncode(self) -> int | None:
        """None while it runs, and before its first start; negative where a signal ended it."""
        return self._running.poll() if self._running else None

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended; true of a process that hangs."""
        return self._running is not None and self._running.poll() is None

    def start(self) -> None:
        """Starts it. Its log goes on in the same file."""
        with self.log.open("ab") as log:
            self._log_begins = log.tell()
            self._running = subprocess.Popen(
                self.spec.command,
                cwd=CHECKOUT,
                env={**os.environ, **self.spec.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Away from the terminal's Ctrl-C: the cluster ends its processes in order.
                start_new_session=True,
            )

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal, if it runs."""
        if self.is_running and self._running:
            self._running.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Waits for its end; returns whether it came."""
        if self._running is None:
            return True
        try:
            self._running.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def is_ready(self) -> bool:
        """Whether it runs and says that it is ready."""
        if self.spec.role == "redis":
            return self.is_running and probes.is_redis_ready(self.spec.health)
        return self.is_running and probes.is_ready(self.spec.health, self.spec.ready)

    def tail(self, lines: int = 15) -> str:
        """The last lines that it has written since it was started last."""
        with self.log.open("rb") as log:
            log.seek(self._log_begins)
            return "\n".join(log.read().decode("utf-8", "replace").splitlines()[-lines:])
