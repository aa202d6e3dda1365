"""What goes on in the pods of a release."""

from __future__ import annotations

from contextlib import suppress

from benchmarks.kube.cluster import KubeError, Object
from benchmarks.kube.release import Release

_METRICS = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:7790/metrics').read().decode())"

# Each takes more than the memory of a pod allows, and none as much as the process that searches: the kernel ends the
# largest.
_EAT = """
import os, time
while True:
    if os.fork() == 0:
        eaten = bytearray(b'x') * (32 << 20)
        time.sleep(60)
    time.sleep(0.02)
"""


def counters(release: Release, component: str, metric: str, **labels: str) -> dict[str, float]:
    """Returns the sum of a metric in each ready pod of a component, by the pod's name."""
    return {
        pod["metadata"]["name"]: counter(release, pod["metadata"]["name"], metric)
        for pod in release.pods(component, **labels)
    }


def counter(release: Release, pod: str, metric: str) -> float:
    """Returns the sum over all labels of a metric in one pod."""
    text = release.kubectl("exec", pod, "--", "python3", "-c", _METRICS)
    lines = (line for line in text.splitlines() if line.partition("{")[0].partition(" ")[0] == metric)
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def exhaust_memory(release: Release, pod: str) -> None:
    """Takes up the memory of a pod until the kernel ends the process in it that has most."""
    # It ends with the container.
    with suppress(KubeError):
        release.kubectl("exec", pod, "--", "python3", "-c", _EAT, timeout=60)


def container(pod: Object) -> Object:
    """Returns what the kubelet says of the only container of a pod."""
    [status] = pod["status"]["containerStatuses"]
    found: Object = status
    return found


def started(pod: Object) -> str:
    """Returns when the container of a pod was started, or nothing where it does not run."""
    return str(container(pod)["state"].get("running", {}).get("startedAt", ""))
