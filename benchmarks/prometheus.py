"""A real Prometheus over a local cluster, with the chart's rules.

with Prometheus(folder, cluster) as prometheus:
    prometheus.ask("sum(rate(sightline_gateway_questions_total[1m]))")
"""

from __future__ import annotations

import json
import math
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from services.local.cluster import LocalCluster
from services.local.ports import HOST, free_ports
from services.local.topology import CHECKOUT, Spec

CHART = CHECKOUT / "deploy" / "helm" / "sightline"
PROGRAMS = str(CHECKOUT / "tools" / "prometheus")
# Loopback is never reached through a proxy, whatever the environment says.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its labels, and (seconds since 1970, value) in order."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]

    @property
    def has_data(self) -> bool:
        """Whether any of its values is a number."""
        return any(math.isfinite(value) for _, value in self.samples)


class Prometheus:
    """Scrapes every process of a cluster that has metrics.

    Args:
        folder: for its data.
        cluster: what is scraped, labelled with the names of its processes as pods.
        seconds: between scrapes, and between evaluations of rules.
        port: its own; any where it is 0.
    """

    def __init__(self, folder: Path, cluster: LocalCluster, *, seconds: float = 5.0, port: int = 0) -> None:
        self.address = f"{HOST}:{port or free_ports(1)[0]}"
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "prometheus.yaml"
        config.write_text(yaml.safe_dump(configuration(cluster, seconds)), encoding="utf-8")
        options = {
            "config.file": config,
            "storage.tsdb.path": folder / "data",
            "web.listen-address": self.address,
            "storage.tsdb.retention.time": "1d",
        }
        command = (PROGRAMS, "prometheus", *(f"--{name}={value}" for name, value in options.items()))
        spec = Spec("prometheus", "prometheus", command, self.address, self.address, ready="/-/ready")
        self._processes = LocalCluster.of([spec], folder / "run")

    def __enter__(self) -> Self:
        self._processes.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._processes.close()

    def ask(self, expr: str, at: float | None = None) -> list[Series]:
        """Returns what a query says now, or at a time in seconds since 1970. Raises ValueError where it is none."""
        found = self._get("query", query=expr, **({"time": str(at)} if at else {}))
        if found["resultType"] == "scalar":
            return [Series({}, (_sample(found["result"]),))]
        return [Series(one["metric"], (_sample(one["value"]),)) for one in found["result"]]

    def ask_range(self, expr: str, first: float, last: float, step: float) -> list[Series]:
        """Returns what a query said between two times, in seconds since 1970. Raises ValueError where it is none."""
        found = self._get("query_range", query=expr, start=str(first), end=str(last), step=str(step))
        return [Series(one["metric"], tuple(map(_sample, one["values"]))) for one in found["result"]]

    def scraped(self) -> set[str]:
        """Returns the names of all metrics that it has."""
        return set(self._get("label/__name__/values"))

    def healthy(self) -> bool:
        """Whether its last scrape of every process worked."""
        targets = self._get("targets", state="active")["activeTargets"]
        return bool(targets) and all(one["health"] == "up" for one in targets)

    def _get(self, what: str, **parameters: str) -> Any:
        address = f"http://{self.address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with _OPENER.open(address, timeout=30) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from error


def configuration(cluster: LocalCluster, seconds: float) -> dict[str, Any]:
    """Returns a configuration of Prometheus for a cluster."""
    every = f"{int(seconds * 1000)}ms"
    targets = [
        {"targets": [process.spec.health], "labels": {"pod": process.name}}
        for process in cluster.processes.values()
        if process.spec.role not in ("redis", "s3", "prometheus")
    ]
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(CHART / "rules" / "*.yaml")],
        "scrape_configs": [{"job_name": "sightline", "static_configs": targets}],
    }


def promtool(*arguments: str | Path, given: str | None = None) -> tuple[int, str]:
    """Runs promtool; returns its exit code and what it said."""
    command = [PROGRAMS, "promtool", *map(str, arguments)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def complaints(lines: Iterable[str]) -> list[str]:
    """Returns what promtool says of metrics, as `promtool check metrics` reads them."""
    _, said = promtool("check", "metrics", given="\n".join(lines) + "\n")
    return [line for line in said.splitlines() if line.strip()]


def _sample(pair: list[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])
