"""What becomes of Deployments, change by change."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from benchmarks.kube.release import Release

_COLUMNS = '{.metadata.name} {.spec.replicas} {.status.readyReplicas}{"\\n"}'


@dataclass(slots=True)
class Watch:
    """The fewest replicas that were asked for, and that were ready, of each Deployment while it was watched."""

    asked: dict[str, int] = field(default_factory=dict)
    ready: dict[str, int] = field(default_factory=dict)
    changes: int = 0

    def note(self, line: str) -> None:
        """Takes in one change."""
        name, asked, *ready = line.split()
        self.changes += 1
        self.asked[name] = min(self.asked.get(name, int(asked)), int(asked))
        seen = int(ready[0]) if ready else 0
        self.ready[name] = min(self.ready.get(name, seen), seen)


@contextmanager
def watched(release: Release) -> Iterator[Watch]:
    """Watches all Deployments of a release."""
    selector = f"--selector=app.kubernetes.io/instance={release.name}"
    command = ["kubectl", f"--namespace={release.namespace}", "get", "deployments", selector, "--watch"]
    watch, first = Watch(), threading.Event()

    def read(lines: IO[str]) -> None:
        for line in lines:
            watch.note(line)
            first.set()

    with release.cluster.running(*command, f"--output=jsonpath={_COLUMNS}") as watching:
        assert watching.stdout
        reading = threading.Thread(target=read, args=(watching.stdout,), daemon=True)
        reading.start()
        if not first.wait(30):
            raise TimeoutError("no Deployment can be watched")
        yield watch
    reading.join(10)
