"""Namespaces that a proof has for itself: those that were there before are never touched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks.kube.cluster import Cluster, KubeError


@contextmanager
def made(cluster: Cluster, name: str, labels: Mapping[str, str] | None = None) -> Iterator[None]:
    """Makes a namespace, and removes it with all that is in it. Raises KubeError where there is one of that name."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})}}
    cluster.kubectl("create", "--filename=-", stdin=json.dumps(namespace))
    try:
        yield
    finally:
        _remove(cluster, name)


@contextmanager
def removed(cluster: Cluster, name: str) -> Iterator[None]:
    """Removes a namespace that is made within. Raises KubeError where there is one of that name before."""
    if cluster.kubectl("get", "namespace", name, "--ignore-not-found", "--output=name").strip():
        raise KubeError(f'namespaces "{name}" already exists')
    try:
        yield
    finally:
        _remove(cluster, name)


def _remove(cluster: Cluster, name: str) -> None:
    cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=180s", timeout=200)
