"""The indexer in a cluster: the Jobs of a release, and commands that are run like them."""

from __future__ import annotations

import json

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
    """Runs another command of the indexer as the Job that publishes runs; returns what it said. Raises KubeError."""
    listed = release.get("jobs", f"--selector=app.kubernetes.io/instance={release.name}")["items"]
    [model] = [one for one in listed if "-publish-" in one["metadata"]["name"]]
    template = model["spec"]["template"]
    template["spec"]["containers"][0]["args"] = list(arguments)
    labels = template["metadata"]["labels"]
    template["metadata"]["labels"] = {
        key: value for key, value in labels.items() if key.startswith(("app.", "sightline"))
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template},
    }
    release.kubectl("create", "--filename=-", stdin=json.dumps(job))
    try:
        release.kubectl("wait", f"job/{name}", "--for=condition=Complete", "--timeout=120s", timeout=140)
        return release.kubectl("logs", f"job/{name}")
    finally:
        release.kubectl("delete", "job", name)
