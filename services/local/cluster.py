"""A cluster on this machine that can be started, hurt and stopped from Python.

    with LocalCluster(store="data/store", model="models/emoji", run_dir=Path(".run")) as cluster:
        ask(cluster.gateway)
        cluster.kill("searcher-0-0")
        cluster.restart("searcher-0-0")

The calls block, some for seconds; from a coroutine, use `async with` and `await asyncio.to_thread(cluster.restart, …)`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from services.local import guard, probes
from services.local.process import Process
from services.local.state import forget_state, save_state
from services.local.topology import Overrides, Spec, Topology, as_environment, plan

READY_SECONDS = 180.0
STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05
_TELL_SECONDS = 10.0
# Callers come last: a gateway is ready by itself, and would find nobody for a second.
_STARTING = (("redis", "s3", "prometheus", "encoder", "searcher"), ("gateway", "web"))
# Callers go first, so that what is in flight finds those who answer it.
_STOPPING = (("web",), ("gateway",), ("encoder", "searcher"), ("redis", "s3", "prometheus"))


class ClusterError(Exception):
    """A process of the cluster ended or did not get ready; the message has the end of its log."""


class LocalCluster:
    """Owns its processes: none outlives it, even where its own process is killed.

    Args:
        store: URL or path of the store.
        model: the encoder's model, a name or a folder.
        run_dir: folder for logs, caches and the state that `status` reads; made where it is missing.
        topology: how many processes of each kind.
        overrides: settings by role or process name, in lower case: {"gateway": {"max_batch": 1}}.
        variables: of the environment of all of them, beside their settings.
        port: the first gateway's port; any where it is 0.
        web_port: the first web process's port; any where it is 0.
    """

    def __init__(
        self,
        *,
        store: str,
        model: str,
        run_dir: Path,
        topology: Topology | None = None,
        overrides: Overrides | None = None,
        variables: Mapping[str, str] | None = None,
        port: int = 0,
        web_port: int = 0,
    ) -> None:
        run_dir = run_dir.resolve()
        store = store if "://" in store else str(Path(store).resolve())
        model = str(Path(model).resolve()) if Path(model).exists() else model
        self.store = store
        self.run_dir = run_dir
        self.topology = topology or Topology()
        specs = plan(
            self.topology,
            store=store,
            model=model,
            run_dir=run_dir,
            overrides=overrides,
            variables=variables,
            port=port,
            web_port=web_port,
        )
        self.processes = _processes(specs, run_dir)
        self._guard: subprocess.Popen[str] | None = None

    @classmethod
    def of(cls, specs: Iterable[Spec], run_dir: Path) -> Self:
        """Returns a cluster of any processes."""
        cluster = cls(store="", model="", run_dir=run_dir, topology=Topology(0, 0, 0, 0, redis=False))
        cluster.processes = _processes(specs, cluster.run_dir)
        return cluster

    @property
    def gateway(self) -> str:
        """The first gateway's host:port."""
        return self.gateways[0]

    @property
    def gateways(self) -> list[str]:
        """Every gateway's host:port."""
        return self.addresses("gateway")

    @property
    def web(self) -> str | None:
        """The first web process's address, for browsers; None where there is none."""
        return next((f"http://{address}/" for address in self.addresses("web")), None)

    def addresses(self, role: str) -> list[str]:
        """The host:port of each process of a role."""
        return [process.spec.address for process in self.processes.values() if process.spec.role == role]

    def start(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """Starts all processes and waits until they are ready; `tell` is told what is waited for.

        Raises ClusterError, with nothing left running.
        """
        self.run_dir.mkdir(parents=True, exist_ok=True)
        try:
            self._guard = _start_guard()
            for roles in _STARTING:
                self._start([process for process in self.processes.values() if process.spec.role in roles], tell)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drains and stops all processes: web processes, gateways, then those that they ask, then Redis."""
        for roles in _STOPPING:
            self._end([process for process in self.processes.values() if process.spec.role in roles])
        if self._guard and self._guard.stdin:
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None
        forget_state(self.run_dir)

    def wait_ready(
        self, *names: str, seconds: float = READY_SECONDS, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        """Waits until these processes, or all, are ready; `tell` is told for which. Raises ClusterError."""
        waiting = [self.processes[name] for name in names or self.processes]
        told, until = 0.0, time.monotonic() + seconds
        while waiting := [process for process in waiting if not process.is_ready()]:
            if time.monotonic() >= told:
                tell(f"Waiting for {', '.join(process.name for process in waiting)} to be ready")
                told = time.monotonic() + _TELL_SECONDS
            for process in waiting:
                if not process.is_running:
                    raise ClusterError(f"{process.name} ended with {process.returncode}:\n{process.tail()}")
            if time.monotonic() > until:
                last = waiting[0]
                raise ClusterError(f"{last.name} is not ready after {seconds:.0f} s:\n{last.tail()}")
            time.sleep(_POLL_SECONDS)

    def kill(self, name: str) -> None:
        """Kills a process at once (SIGKILL)."""
        self._signal(name, signal.SIGKILL)
        self._ended(self.processes[name], STOP_SECONDS)

    def stop(self, name: str) -> None:
        """Makes a process hang (SIGSTOP): its connections stay open and nothing answers."""
        self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Lets a process that hangs go on."""
        self._signal(name, signal.SIGCONT)

    def terminate(self, name: str) -> None:
        """Asks a process to drain and stop (SIGTERM), without waiting for it."""
        self._signal(name, signal.SIGTERM)

    def wait_ended(self, name: str, seconds: float = STOP_SECONDS) -> int:
        """Waits for the end of a process; returns its exit code. Raises ClusterError where it goes on."""
        process = self.processes[name]
        if not self._ended(process, seconds):
            raise ClusterError(f"{name} still runs after {seconds:.0f} s:\n{process.tail()}")
        return process.returncode or 0

    def restart(self, name: str, settings: Mapping[str, Any] | None = None, *, wait: bool = True) -> None:
        """Starts a process again on the same ports, after draining it where it runs.

        Args:
            name: the process.
            settings: settings that it gets from now on, beside those that it had.
            wait: return when it is ready.
        """
        process = self.processes[name]
        self._end([process])
        changed = {**process.spec.environment, **as_environment(settings or {})}
        process.spec = replace(process.spec, environment=changed)
        self._spawn(process)
        if wait:
            self.wait_ready(name)

    def metrics(self, name: str) -> probes.Samples:
        """Scrapes a process. Raises OSError where it does not answer."""
        return probes.metrics(self.processes[name].spec.health)

    def cpu_seconds(self, name: str) -> float:
        """Processor time that a process has used so far, in user and system mode (Linux only)."""
        stat = Path(f"/proc/{self.processes[name].pid}/stat").read_text()
        user, system = stat.rpartition(") ")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def _start(self, processes: list[Process], tell: Callable[[str], None]) -> None:
        for process in processes:
            self._spawn(process)
        if processes:
            self.wait_ready(*(process.name for process in processes), tell=tell)

    def _spawn(self, process: Process) -> None:
        process.start()
        self._tell_guard(f"+{process.pid}")
        save_state(self.run_dir, self.store, [(one.spec, one.pid) for one in self.processes.values()])

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self.processes[name]
        if not process.is_running:
            raise ClusterError(f"{name} does not run")
        process.send(number)

    def _end(self, processes: list[Process]) -> None:
        """Drains these processes side by side; kills those that are still there after STOP_SECONDS."""
        for process in processes:
            process.send(signal.SIGTERM)
            process.send(signal.SIGCONT)
        until = time.monotonic() + STOP_SECONDS
        for process in processes:
            if not self._ended(process, max(0.0, until - time.monotonic())):
                process.send(signal.SIGKILL)
                self._ended(process, STOP_SECONDS)

    def _ended(self, process: Process, seconds: float) -> bool:
        ended = process.wait(seconds)
        if ended and process.pid:
            self._tell_guard(f"-{process.pid}")
        return ended

    def _tell_guard(self, line: str) -> None:
        if self._guard and self._guard.stdin:
            self._guard.stdin.write(line + "\n")
            self._guard.stdin.flush()


def _processes(specs: Iterable[Spec], run_dir: Path) -> dict[str, Process]:
    return {spec.name: Process(spec, run_dir / f"{spec.name}.log") for spec in specs}


def _start_guard() -> subprocess.Popen[str]:
    command = [sys.executable, "-I", "-S", guard.__file__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
