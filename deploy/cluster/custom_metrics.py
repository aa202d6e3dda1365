"""Stands in for prometheus-adapter, which is not to be had as a Go module: serves the custom metrics API.

    python -m deploy.cluster.custom_metrics PKI URL-OF-THE-API-SERVER URL-OF-PROMETHEUS NAMESPACE/CONFIGMAP

Evaluates the adapter's own rules, as they lie in a ConfigMap under `config.yaml`, against a real Prometheus. Covered is
what rules for pods use: seriesQuery, resources.overrides and .template, name, and metricsQuery with Series,
LabelMatchers and GroupBy.
"""

from __future__ import annotations

import json
import math
import re
import ssl
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from deploy.cluster.api import TIMEOUT, Api

GROUP = "custom.metrics.k8s.io/v1beta2"
ROOT = f"/apis/{GROUP}"
PORT = 4444

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the adapter.

    Attributes:
        metric: what autoscalers call it.
        series: name of the metric in Prometheus.
        query: PromQL with the adapter's marks in it.
        labels: of the resources, by their names, such as pod and namespace.
    """

    metric: str
    series: str
    query: str
    labels: Mapping[str, str]

    @classmethod
    def of(cls, rule: Object) -> Rule:
        """Reads one. Raises ValueError where it is of a kind that is not covered."""
        found = re.fullmatch(r"\s*([A-Za-z_:][\w:]*)\s*(?:\{.*\})?\s*", rule["seriesQuery"], re.DOTALL)
        if not found:
            raise ValueError(f"seriesQuery is not covered: {rule['seriesQuery']}")
        series = found[1]
        name = rule.get("name", {})
        metric = re.sub(name.get("matches") or "^.*$", _groups(name.get("as") or r"\g<0>"), series, count=1)
        return cls(metric, series, rule["metricsQuery"], _labels(rule.get("resources", {})))

    def promql(self, namespace: str, pods: Sequence[str]) -> str:
        """Returns what Prometheus is asked for these pods."""
        matchers = [f'{self.labels["namespace"]}="{namespace}"', f'{self.labels["pod"]}=~"{"|".join(pods)}"']
        marks = {"Series": self.series, "LabelMatchers": ",".join(matchers), "GroupBy": self.labels["pod"]}
        return re.sub(r"<<\s*\.(\w+)\s*>>", lambda mark: marks[mark[1]], self.query)


def _groups(template: str) -> str:
    """Turns $1 and ${1} of Go into those of Python."""
    return re.sub(r"\$\{?(\w+)\}?", r"\\g<\1>", template)


def _labels(resources: Object) -> Mapping[str, str]:
    template = resources.get("template", "<<.Resource>>")
    labels = {one: re.sub(r"<<\s*\.Resource\s*>>", one, template) for one in ("namespace", "pod")}
    return labels | {of["resource"]: label for label, of in (resources.get("overrides") or {}).items()}


@dataclass(frozen=True, slots=True)
class Adapter:
    """Answers what autoscalers ask.

    Args:
        api: whose pods they are.
        prometheus: its URL.
        source: namespace/name of the ConfigMap with the rules.
    """

    api: Api
    prometheus: str
    source: str

    def rules(self) -> dict[str, Rule]:
        """Returns the rules as they are now, by metric. Raises OSError, ValueError."""
        namespace, _, name = self.source.partition("/")
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        [found] = self.api.items(path, fieldSelector=f"metadata.name={name}")
        [text] = [text for key, text in found["data"].items() if key.endswith(("yaml", "yml"))]
        listed = yaml.safe_load(text)
        return {one.metric: one for one in map(Rule.of, listed["rules"])}

    def answer(self, path: str, selector: str) -> Object:
        """Returns the body of an answer. Raises KeyError where there is no such metric; OSError, ValueError."""
        if path == ROOT:
            resources = [
                {
                    "name": f"pods/{name}",
                    "singularName": "",
                    "namespaced": True,
                    "kind": "MetricValueList",
                    "verbs": ["get"],
                }
                for name in self.rules()
            ]
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP, "resources": resources}
        # /apis/custom.metrics.k8s.io/v1beta2/namespaces/NAMESPACE/pods/*/METRIC
        namespace, kind, name, metric = path.removeprefix(f"{ROOT}/namespaces/").split("/")
        if kind != "pods":
            raise KeyError(f"metrics of {kind}")
        rule, pods = self.rules()[metric], self._pods(namespace, name, selector)
        items = [_item(namespace, pod, metric, value) for pod, value in self._values(rule, namespace, pods).items()]
        return {"kind": "MetricValueList", "apiVersion": GROUP, "metadata": {}, "items": items}

    def _pods(self, namespace: str, name: str, selector: str) -> list[str]:
        query = {"fieldSelector": "status.phase=Running"} if name == "*" else {"fieldSelector": f"metadata.name={name}"}
        found = self.api.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector, **query)
        return [pod["metadata"]["name"] for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def _values(self, rule: Rule, namespace: str, pods: Sequence[str]) -> dict[str, float]:
        if not pods:
            return {}
        query = urllib.parse.urlencode({"query": rule.promql(namespace, pods)})
        with urllib.request.urlopen(f"{self.prometheus}/api/v1/query?{query}", timeout=TIMEOUT) as reply:
            found = json.load(reply)["data"]["result"]
        values = {one["metric"][rule.labels["pod"]]: float(one["value"][1]) for one in found}
        return {
            pod: value for pod, value in values.items() if not math.isnan(value)
        }  # not a number: nothing to divide by


def _item(namespace: str, pod: str, metric: str, value: float) -> Object:
    return {
        "describedObject": {"kind": "Pod", "apiVersion": "v1", "namespace": namespace, "name": pod},
        "metric": {"name": metric},
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "value": f"{round(value * 1000)}m",
    }


class _Server(ThreadingHTTPServer):
    """Serves the adapter; only the API server's front proxy may ask."""

    daemon_threads = True

    def __init__(self, pki: Path, adapter: Adapter) -> None:
        super().__init__(("127.0.0.1", PORT), _Handler)
        self.adapter = adapter
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(pki / "metrics.crt", pki / "metrics.key")
        self.tls.verify_mode = ssl.CERT_REQUIRED
        self.tls.load_verify_locations(pki / "front-proxy-ca.crt")

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shakes hands in the thread of the request: whoever connects and says nothing must not hold up the rest."""
        with self.tls.wrap_socket(request, server_side=True) as wrapped:
            _Handler(wrapped, client_address, self)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """Answers one question."""
        url = urllib.parse.urlsplit(self.path)
        selector = urllib.parse.parse_qs(url.query).get("labelSelector", [""])[0]
        try:
            status, body = 200, self.server.adapter.answer(urllib.parse.unquote(url.path).rstrip("/"), selector)
        except KeyError as error:
            status, body = 404, _failure(404, f"no metric {error}")
        except (OSError, ValueError) as error:
            status, body = 500, _failure(500, str(error))
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _failure(code: int, message: str) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}


if __name__ == "__main__":
    folder, server, prometheus, source = sys.argv[1:]
    _Server(Path(folder), Adapter(Api(server, Path(folder)), prometheus, source)).serve_forever()
