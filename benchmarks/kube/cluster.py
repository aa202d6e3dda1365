"""A Kubernetes cluster, by kubectl and helm: our own, which is closed off, or any that KUBECONFIG names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from benchmarks.emoji import CHECKOUT

SCRIPTS = CHECKOUT / "deploy" / "cluster"
COMMAND_SECONDS = 120.0

Object = Mapping[str, Any]


class KubeError(RuntimeError):
    """A command ended with an error; the message is what it said."""


@dataclass(frozen=True)
class Cluster:
    """Where commands go.

    Attributes:
        name: of a cluster of ours; empty for one that KUBECONFIG names.
    """

    name: str = ""

    @classmethod
    def here(cls) -> Cluster:
        """Returns the one that KUBECONFIG names, else ours."""
        return cls() if os.environ.get("KUBECONFIG") else cls(os.environ.get("CLUSTER", "sightline"))

    @property
    def is_own(self) -> bool:
        """Whether its nodes can be entered and cut off."""
        return bool(self.name)

    def command(self, *words: str, where: str = "control") -> list[str]:
        """Returns a command as it is run for this cluster; `where` is a node of our own, or its control plane."""
        return ["env", f"CLUSTER={self.name}", str(SCRIPTS / "in.sh"), where, *words] if self.is_own else list(words)

    def run(
        self, *words: str, stdin: str | None = None, timeout: float = COMMAND_SECONDS, where: str = "control"
    ) -> str:
        """Runs a command and returns what it said. Raises KubeError."""
        command = self.command(*words, where=where)
        try:
            done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired as error:
            raise KubeError(f"{' '.join(words)[:200]}: no end after {timeout:g} s") from error
        if done.returncode:
            raise KubeError(f"{' '.join(words)[:200]}: {done.stderr.strip()[-2000:] or done.stdout.strip()[-2000:]}")
        return done.stdout

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Runs a command until the end of the block; what it says is there to be read."""
        process = subprocess.Popen(
            self.command(*words),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            # All of its group: what enters namespaces starts the command as a child, and does not pass signals on.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)

    def script(self, name: str, *words: str, **settings: str) -> None:
        """Runs a script of deploy/cluster. Raises KubeError."""
        environment = os.environ | {"CLUSTER": self.name} | settings
        command = [str(SCRIPTS / name), *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise KubeError(f"{name}: {done.stderr.strip()[-2000:] or done.stdout.strip()[-2000:]}")

    def kubectl(self, *words: str, stdin: str | None = None, timeout: float = COMMAND_SECONDS) -> str:
        """Runs kubectl. Raises KubeError."""
        return self.run("kubectl", *words, stdin=stdin, timeout=timeout)

    def get(self, *words: str) -> Any:
        """Returns what `kubectl get` finds, as objects. Raises KubeError."""
        return json.loads(self.kubectl("get", *words, "--output=json"))

    def apply(self, *objects: Object, namespace: str = "") -> None:
        """Creates or changes objects. Raises KubeError."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        place = [f"--namespace={namespace}"] if namespace else []
        self.kubectl("apply", "--server-side", "--force-conflicts", *place, "--filename=-", stdin=json.dumps(listed))

    def nodes(self) -> list[str]:
        """Returns the names of the nodes."""
        return [one["metadata"]["name"] for one in self.get("nodes")["items"]]


def until(holds: Callable[[], bool], what: str, seconds: float = 60.0, every: float = 0.5) -> float:
    """Waits until something holds, which may fail to be asked meanwhile; returns the seconds that it took.

    Raises:
        TimeoutError: it does not come to hold.
    """
    began, last = time.monotonic(), ""
    while True:
        try:
            if holds():
                return time.monotonic() - began
        except KubeError as error:
            last = f" ({error})"
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not after {seconds:g} s: {what}{last}")
        time.sleep(every)


def ready(pod: Object) -> bool:
    """Whether a pod is ready."""
    conditions: Sequence[Object] = pod["status"].get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
