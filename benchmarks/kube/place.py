"""A namespace to install into, with what a user brings along: a bucket with pictures, and its keys."""

from __future__ import annotations

import base64
import io
import json
import secrets
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.emoji import COLLECTION
from benchmarks.kube import images
from benchmarks.kube.cluster import Cluster, Object, ready, until
from benchmarks.kube.namespaces import made
from benchmarks.oracle import Oracle, unit

BUCKET = "sightline"
PICTURES = f"s3://{BUCKET}/pictures"
STORE = f"s3://{BUCKET}/index"
STORE_PORT = 7070
TOOL = "tool"
PROGRAMS = Path(__file__).parent


RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
_WAITS = "import signal; signal.sigwait([signal.SIGTERM])"


@dataclass(frozen=True)
class Place:
    """A namespace under Pod Security "restricted", in which a store serves and a pod waits to run programs."""

    cluster: Cluster
    namespace: str

    def kubectl(self, *words: str, stdin: str | None = None, timeout: float = 120.0) -> str:
        """Runs kubectl in the namespace. Raises KubeError."""
        return self.cluster.kubectl(f"--namespace={self.namespace}", *words, stdin=stdin, timeout=timeout)

    def program(self, name: str, *arguments: str, stdin: str = "", timeout: float = 120.0) -> str:
        """Runs one of the programs beside this file in the tool's pod; returns what it said. Raises KubeError."""
        source = (PROGRAMS / f"{name}.py").read_text(encoding="utf-8")
        return self.kubectl("exec", "-i", TOOL, "--", "python3", "-c", source, *arguments, stdin=stdin, timeout=timeout)

    def python(self, pod: str) -> list[str]:
        """Returns the command that runs Python in a pod."""
        words = ["kubectl", f"--namespace={self.namespace}", "exec", "-i", pod, "--", "python3"]
        return self.cluster.command(*words)

    def upload(self, listed: Path, folder: str = "pictures") -> str:
        """Puts a list of pictures, and these, into the bucket; returns where the list is."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            lines = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()]
            for line in lines:
                file = listed.parent / line["uri"]
                tar.add(file, file.name)
                line["uri"] = file.name
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
            info = tarfile.TarInfo(listed.name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
        target = f"{BUCKET}/{folder}"
        self.program("put", target, stdin=base64.b64encode(packed.getvalue()).decode(), timeout=300)
        return f"s3://{target}/{listed.name}"

    def oracle(self, generation: int = 0, collection: str = COLLECTION, *, store: str = STORE) -> tuple[int, Oracle]:
        """Returns a generation (the current one where none is named) and brute force over what lies in the store."""
        said = json.loads(self.program("dump", store, collection, str(generation)))
        rows = np.frombuffer(base64.b64decode(said["vectors"]), "<f4").reshape(len(said["ids"]), -1)
        return said["generation"], Oracle(said["ids"], unit(rows))

    def start(
        self, name: str, image: str, *, labels: Object | None = None, node: str = "", environment: Sequence[Object] = ()
    ) -> None:
        """Starts a pod in which programs can be run, and waits until it is ready."""
        container = {
            "name": "main",
            "image": image,
            "command": ["python3", "-c", _WAITS],
            "env": list(environment),
            "securityContext": RESTRICTED,
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        }
        self.cluster.apply(pod(name, container, labels or {"app": name}, node), namespace=self.namespace)
        self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=90s")


@contextmanager
def placed(cluster: Cluster, namespace: str, *, node: str = "") -> Iterator[Place]:
    """Makes the namespace, and removes it with all that is in it.

    Args:
        cluster: where.
        namespace: of which there is none.
        node: where the store, the tool and whatever asks are kept; anywhere where it is empty.

    Raises:
        KubeError: there is one of that name, or no store can be had.
    """
    place = Place(cluster, namespace)
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    with made(cluster, namespace, labels):
        until(lambda: bool(place.kubectl("get", "serviceaccount", "default")), "the namespace's account")
        keys = {"AWS_ACCESS_KEY_ID": secrets.token_hex(8), "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16)}
        cluster.apply(*_store(keys, node), namespace=namespace)
        until(lambda: ready(cluster.get(f"--namespace={namespace}", "pod", "store")), "the store", 90)
        env = [_from_secret(name, name) for name in keys]
        env += [{"name": "AWS_ENDPOINT_URL", "value": f"http://store:{STORE_PORT}"}]
        env += [{"name": "AWS_DEFAULT_REGION", "value": "us-east-1"}]
        place.start(TOOL, images.of("indexer"), node=node, environment=env)
        place.program("put", BUCKET)
        yield place


def _store(keys: dict[str, str], node: str) -> list[Object]:
    """An S3-compatible server over a folder of its pod's own."""
    serves = ["--quiet", "--port", f":{STORE_PORT}", "--region", "us-east-1", "--health", "/readyz"]
    container = {
        "name": "store",
        "image": images.other("store"),
        "args": [*serves, "posix", "--sidecar", "/data/tags", "/data/buckets"],
        "env": [
            _from_secret("ROOT_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
            _from_secret("ROOT_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"),
        ],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": STORE_PORT}, "periodSeconds": 1},
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": part, "mountPath": f"/data/{part}"} for part in ("tags", "buckets")],
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store-keys"}, "stringData": keys}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "store"},
        "spec": {"selector": {"app": "store"}, "ports": [{"port": STORE_PORT, "targetPort": STORE_PORT}]},
    }
    return [secret, service, pod("store", container, {"app": "store"}, node, ("tags", "buckets"))]


def pod(
    name: str,
    container: Object,
    labels: Object,
    node: str,
    volumes: Sequence[str] = ("tmp",),
    *,
    account: str = "",
) -> dict[str, Any]:
    """Returns a pod that Pod Security "restricted" lets in.

    Args:
        name: of it.
        container: its only one.
        labels: of it.
        node: where it runs; anywhere where it is empty.
        volumes: names of folders that end with it.
        account: whose rights at the API server it has; none where it is empty.
    """
    security = {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    spec: dict[str, Any] = {
        "containers": [container],
        "volumes": [{"name": one, "emptyDir": {}} for one in volumes],
        "securityContext": security,
        "automountServiceAccountToken": bool(account),
        "terminationGracePeriodSeconds": 2,
    }
    if account:
        spec["serviceAccountName"] = account
    if node:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": dict(labels)}, "spec": spec}


def _from_secret(name: str, key: str) -> Object:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": "store-keys", "key": key}}}
