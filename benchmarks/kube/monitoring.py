"""A Prometheus in the cluster that scrapes the pods of a release, and the API that autoscalers ask it through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import yaml

from benchmarks.kube import images
from benchmarks.kube.cluster import Cluster, Object, ready, until
from benchmarks.kube.namespaces import made
from benchmarks.kube.place import PROGRAMS, RESTRICTED, pod

NAMESPACE = "monitoring"
PORT, TARGETS_PORT = 9090, 9091
SCRAPED_EVERY = "2s"


@dataclass(frozen=True)
class Monitoring:
    """A Prometheus that runs in a cluster."""

    cluster: Cluster

    def serve_custom_metrics(self, config_map: str) -> None:
        """Serves custom metrics by the rules in a ConfigMap, namespace/name, to the autoscalers of our own cluster."""
        self.cluster.script("custom_metrics.sh", self._address(), config_map)

    def end_custom_metrics(self) -> None:
        """Ends that."""
        self.cluster.script("custom_metrics.sh", "off")

    def targets(self, namespace: str) -> dict[str, str]:
        """Returns how each pod of a namespace fares that is scraped: up, down or unknown."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/prometheus:{PORT}/proxy/api/v1/targets?state=active"
        active = json.loads(self.cluster.kubectl("get", "--raw", path))["data"]["activeTargets"]
        found = [(one["labels"], one["health"]) for one in active]
        return {labels["pod"]: health for labels, health in found if labels.get("namespace") == namespace}

    def _address(self) -> str:
        address = self.cluster.get(f"--namespace={NAMESPACE}", "pod", "prometheus")["status"]["podIP"]
        return f"http://{address}:{PORT}"


@contextmanager
def monitored(cluster: Cluster, watched: str, *, node: str = "") -> Iterator[Monitoring]:
    """Starts a Prometheus that scrapes every port called `health` of the namespace `watched`, and removes it.

    Raises:
        KubeError: there is a namespace `monitoring`, which policies let in by its name, or no Prometheus can be had.
    """
    with made(cluster, NAMESPACE):
        monitoring = Monitoring(cluster)
        try:
            cluster.apply(*_objects(watched, node))
            until(lambda: ready(cluster.get(f"--namespace={NAMESPACE}", "pod", "prometheus")), "Prometheus", 90)
            yield monitoring
        finally:
            if cluster.is_own:
                monitoring.end_custom_metrics()
            role = ("clusterrole,clusterrolebinding", "sightline-test-prometheus")
            cluster.kubectl("delete", *role, "--ignore-not-found")


def configuration() -> str:
    """Returns the configuration of a Prometheus that is told of pods by the program beside it."""
    told = {"url": f"http://127.0.0.1:{TARGETS_PORT}", "refresh_interval": SCRAPED_EVERY}
    job = {"job_name": "pods", "http_sd_configs": [told]}
    whole = {"global": {"scrape_interval": SCRAPED_EVERY, "scrape_timeout": SCRAPED_EVERY}, "scrape_configs": [job]}
    return str(yaml.safe_dump(whole))


def _objects(watched: str, node: str) -> list[Object]:
    name = {"name": "sightline-test-prometheus"}
    place = {"name": "prometheus", "namespace": NAMESPACE}
    container = {
        "name": "prometheus",
        "image": images.other("prometheus"),
        "args": [
            "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=/tmp",
            f"--web.listen-address=:{PORT}",
        ],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": PORT}, "periodSeconds": 1},
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "config", "mountPath": "/etc/prometheus"}],
        "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}},
    }
    source = (PROGRAMS / "targets.py").read_text(encoding="utf-8")
    targets = {
        "name": "targets",
        "image": images.of("indexer"),
        "command": ["python3", "-c", source, watched, str(TARGETS_PORT)],
        "securityContext": RESTRICTED,
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
    }
    running = pod("prometheus", container, {"app": "prometheus"}, node, account="prometheus")
    running["metadata"]["namespace"] = NAMESPACE
    running["spec"]["containers"].append(targets)
    running["spec"]["volumes"].append({"name": "config", "configMap": {"name": "prometheus"}})
    rights = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    subject = {"kind": "ServiceAccount", **place}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", **name}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": place},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": name, "rules": [rights]},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": name,
            "roleRef": role,
            "subjects": [subject],
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": place,
            "data": {"prometheus.yml": configuration()},
        },
        running,
    ]
