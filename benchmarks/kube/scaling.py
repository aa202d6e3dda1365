"""Autoscalers under load by ghz."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks.kube.cluster import until
from benchmarks.kube.release import Release

CONNECTIONS = 8


@contextmanager
def ghz(release: Release, address: str, rate: int, seconds: int) -> Iterator[subprocess.Popen[str]]:
    """Has ghz ask for words, each time others, until the end of the block or for so many seconds."""
    asked = '{"query": {"text": "an apple {{.RequestNumber}} {{.UUID}}"}, "top_k": 10}'
    command = ["ghz", "--insecure", "--call=sightline.v1.SearchService.Search", f"--data={asked}", "--async"]
    command += [f"--rps={rate}", f"--duration={seconds}s", f"--connections={CONNECTIONS}", "--concurrency=64"]
    command += ["--timeout=20s", "--format=summary", address]
    with release.cluster.running(*command) as running:
        yield running


def replicas(release: Release) -> dict[str, int]:
    """Returns how many replicas of each Deployment are ready."""
    found = release.get("deployments", f"--selector=app.kubernetes.io/instance={release.name}")["items"]
    return {one["metadata"]["name"]: one["status"].get("readyReplicas", 0) for one in found}


def watch_until(release: Release, wanted: Mapping[str, int], *, above: bool, seconds: float) -> dict[str, float]:
    """Waits until every Deployment has so many ready replicas; returns after how many seconds each had.

    Args:
        release: whose.
        wanted: replicas by Deployment.
        above: whether more will do; else fewer will.
        seconds: how long to wait.

    Raises:
        TimeoutError: one has not.
    """
    began, reached, seen = time.monotonic(), dict[str, float](), dict[str, int]()

    def all_have() -> bool:
        seen.update(replicas(release))
        for name, number in wanted.items():
            if name not in reached and (seen[name] >= number if above else seen[name] <= number):
                reached[name] = round(time.monotonic() - began, 1)
        return len(reached) == len(wanted)

    try:
        until(all_have, f"{'at least' if above else 'at most'} {dict(wanted)}", seconds, every=1)
    except TimeoutError as error:
        raise TimeoutError(f"{error}; was {seen}") from error
    return reached


def watch_rest(release: Release, wanted: Mapping[str, int], rest: float, *, seconds: float) -> float:
    """Waits until every Deployment has been asked for so many replicas for some time on end; returns the seconds.

    Args:
        release: whose.
        wanted: replicas by Deployment.
        rest: for how many seconds.
        seconds: how long to wait.

    Raises:
        TimeoutError: the message names those that were asked for others, and how many.
    """
    since, others = time.monotonic(), dict[str, int]()

    def at_rest() -> bool:
        nonlocal since
        found = release.get("deployments", f"--selector=app.kubernetes.io/instance={release.name}")["items"]
        asked = {one["metadata"]["name"]: one["spec"]["replicas"] for one in found}
        if odd := {name: asked[name] for name, number in wanted.items() if asked[name] != number}:
            since = time.monotonic()
            others.update(odd)
        return time.monotonic() - since >= rest

    try:
        return round(until(at_rest, f"{rest:g} s on end with {dict(wanted)}", seconds, every=1), 1)
    except TimeoutError as error:
        raise TimeoutError(f"{error}; were {others}") from error
