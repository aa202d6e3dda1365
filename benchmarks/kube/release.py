"""A release of the chart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.emoji import CHECKOUT
from benchmarks.kube.cluster import Cluster, Object

CHART = CHECKOUT / "deploy" / "helm" / "sightline"
WAIT_SECONDS = 300


@dataclass
class Release:
    """One release, in a namespace of its own.

    Attributes:
        cluster: where.
        namespace: of it.
        name: of it; its objects are called by it.
        values: files, the later ones winning.
        settings: further values, as helm's --set-json takes them, which stay for later upgrades.
    """

    cluster: Cluster
    namespace: str
    name: str = "sightline"
    values: Sequence[Path] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """All of its gateways, as callers in the cluster know them."""
        return f"dns:///{self.name}-gateway-headless.{self.namespace}.svc.cluster.local:7700"

    @property
    def http(self) -> str:
        """URL of its page's Service, as callers in the cluster know it."""
        return f"http://{self.name}-web.{self.namespace}.svc.cluster.local:7780"

    @property
    def service(self) -> str:
        """Its gateways behind one address, as callers know them who cannot look up names."""
        return f"{self.get('service', f'{self.name}-gateway')['spec']['clusterIP']}:7700"

    def install(self, *words: str, timeout: int = WAIT_SECONDS) -> None:
        """Installs, and waits until all is ready. Raises KubeError."""
        self._helm("install", self.name, str(CHART), *self._values(), *_waiting(timeout), *words, timeout=timeout)

    def upgrade(self, *words: str, timeout: int = WAIT_SECONDS, **settings: Any) -> None:
        """Upgrades to further values, and waits until all is ready. Raises KubeError.

        Args:
            words: for helm.
            timeout: seconds that it may take.
            settings: values by their paths, with two underscores for each dot; they stay.
        """
        self.settings |= {path.replace("__", "."): value for path, value in settings.items()}
        self._helm("upgrade", self.name, str(CHART), *self._values(), *_waiting(timeout), *words, timeout=timeout)

    def rollback(self, revision: int, timeout: int = WAIT_SECONDS) -> None:
        """Rolls back to a revision, and waits until all is ready. Raises KubeError."""
        self._helm("rollback", self.name, str(revision), *_waiting(timeout), timeout=timeout)

    def test(self, timeout: int = WAIT_SECONDS) -> str:
        """Runs the chart's own tests; returns what they said. Raises KubeError."""
        return self._helm("test", self.name, "--logs", f"--timeout={timeout}s", timeout=timeout)

    def uninstall(self, timeout: int = WAIT_SECONDS) -> None:
        """Removes all of it. Raises KubeError."""
        self._helm("uninstall", self.name, *_waiting(timeout), timeout=timeout)

    def revisions(self) -> list[Object]:
        """Returns the history, the oldest revision first."""
        listed: list[Object] = json.loads(self._helm("history", self.name, "--output=json"))
        return listed

    def kubectl(self, *words: str, stdin: str | None = None, timeout: float = 120.0) -> str:
        """Runs kubectl in its namespace. Raises KubeError."""
        return self.cluster.kubectl(f"--namespace={self.namespace}", *words, stdin=stdin, timeout=timeout)

    def get(self, *words: str) -> Any:
        """Returns what `kubectl get` finds in its namespace."""
        return self.cluster.get(f"--namespace={self.namespace}", *words)

    def pods(self, component: str = "", **labels: str) -> list[Object]:
        """Returns its pods that are not on their way out, of a component or of all."""
        wanted = {"app.kubernetes.io/instance": self.name} | (
            {"app.kubernetes.io/component": component} if component else {}
        )
        wanted |= {f"sightline.dev/{name}": value for name, value in labels.items()}
        selector = ",".join(f"{name}={value}" for name, value in wanted.items())
        found: list[Object] = self.get("pods", f"--selector={selector}")["items"]
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def deployments(self) -> list[str]:
        """Returns the names of its Deployments."""
        found = self.get("deployments", f"--selector=app.kubernetes.io/instance={self.name}")["items"]
        return [one["metadata"]["name"] for one in found]

    def restart(self, deployment: str) -> None:
        """Replaces all pods of a Deployment, and waits for it. Raises KubeError."""
        self.kubectl("rollout", "restart", f"deployment/{deployment}")
        self.settle(deployment)

    def settle(self, *deployments: str, timeout: int = WAIT_SECONDS) -> None:
        """Waits until Deployments, or all of them, are as they should be. Raises KubeError."""
        for one in deployments or self.deployments():
            self.kubectl("rollout", "status", f"deployment/{one}", f"--timeout={timeout}s", timeout=timeout + 10)

    def _values(self) -> list[str]:
        files = [f"--values={file}" for file in self.values]
        return [*files, *(f"--set-json={path}={json.dumps(value)}" for path, value in self.settings.items())]

    def _helm(self, command: str, *words: str, timeout: float = 60.0) -> str:
        return self.cluster.run("helm", command, f"--namespace={self.namespace}", *words, timeout=timeout + 30)


def _waiting(timeout: int) -> list[str]:
    return ["--wait", f"--timeout={timeout}s"]
