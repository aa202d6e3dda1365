"""Our own cluster, brought up where it does not run yet, and taken down again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.kube.cluster import SCRIPTS, Cluster, KubeError


def is_up(name: str) -> bool:
    """Whether the cluster of that name runs."""
    command = [str(SCRIPTS / "in.sh"), "control", "kubectl", "get", "--raw", "/readyz"]
    environment = os.environ | {"CLUSTER": name}
    return subprocess.run(command, capture_output=True, env=environment, check=False).returncode == 0


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
            _script("up.sh", cluster, settings)
        yield cluster
    finally:
        if not found:
            _script("down.sh", cluster, {})


def _script(name: str, cluster: Cluster, settings: dict[str, str]) -> None:
    environment = cluster.environment | settings
    done = subprocess.run([SCRIPTS / name], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KubeError(f"{name}: {done.stderr.strip() or done.stdout.strip()}")
