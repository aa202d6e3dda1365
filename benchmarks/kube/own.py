"""Our own cluster, brought up where it does not run yet, and taken down again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.kube.cluster import Cluster


def is_up(name: str) -> bool:
    """Whether the cluster of that name runs."""
    command = Cluster(name).command("kubectl", "get", "--raw", "/readyz")
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def running(name: str = "", **settings: str) -> Iterator[Cluster]:
    """Yields the cluster that KUBECONFIG names, else ours, which runs while this lasts.

    Args:
        name: of ours; then KUBECONFIG is not looked at.
        settings: variables of `deploy/cluster/up.sh`.

    Raises:
        KubeError: it does not come up; the message is what was said.
    """
    cluster = Cluster(name) if name else Cluster.here()
    found = not cluster.is_own or is_up(cluster.name)
    try:
        if not found:
            cluster.script("up.sh", **settings)
        yield cluster
    finally:
        if not found:
            cluster.script("down.sh")
