"""The indexer in a cluster: the Jobs of a release, and commands that are run like them."""

from __future__ import annotations

from benchmarks.emoji import COLLECTION
from benchmarks.kube.release import Release

JOB_SECONDS = 300


def build(release: Release, source: str) -> None:
    """Has the release build and publish a list of pictures, and waits for its Jobs. Raises KubeError."""
    release.upgrade(indexer__builds={COLLECTION: {"source": source, "options": ["--scope", COLLECTION]}})
    jobs = f"--selector=app.kubernetes.io/instance={release.name},app.kubernetes.io/component=indexer"
    release.kubectl(
        "wait", "job", jobs, "--for=condition=Complete", f"--timeout={JOB_SECONDS}s", timeout=JOB_SECONDS + 20
    )


def command(release: Release, name: str, *arguments: str) -> str:
    """Runs another command of the indexer as a Job of the release; returns what it said. Raises KubeError."""
    release.upgrade(indexer__commands={name: list(arguments)})
    listed = release.get("jobs", f"--selector=app.kubernetes.io/instance={release.name}")["items"]
    [job] = [one["metadata"]["name"] for one in listed if f"-indexer-{name}-" in one["metadata"]["name"]]
    release.kubectl(
        "wait", f"job/{job}", "--for=condition=Complete", f"--timeout={JOB_SECONDS}s", timeout=JOB_SECONDS + 20
    )
    return release.kubectl("logs", f"job/{job}")
