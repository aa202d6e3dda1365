"""The page for platform engineers, followed word for word."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.emoji import CHECKOUT, draw
from benchmarks.kube import images
from benchmarks.kube.cluster import Cluster
from benchmarks.kube.namespaces import removed
from benchmarks.kube.place import STORE_PORT, placed
from benchmarks.kube.release import CHART
from benchmarks.proof import Proof

PAGE = CHECKOUT / "docs" / "kubernetes.md"
NAMESPACE = "search"
"""Where the page installs."""

STORE_NAMESPACE = "sightline-page"
EVERY = 16
FOUND = "red apple"
"""What the page asks for."""

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[str]:
    """Returns what stands in the page's blocks of commands, in their order."""
    return _BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def follow(cluster: Cluster, proof: Proof, *, node: str) -> None:
    """Runs block after block as a reader would, and holds that the page's question is answered with the right picture.

    Args:
        cluster: where there is no namespace that is called as the page's: that is made by the page's own commands.
        proof: what was seen.
        node: where the store is kept; anywhere where it is empty.

    Raises:
        KubeError: there is such a namespace, or a command of a block failed; the message is what it said.
    """
    with placed(cluster, STORE_NAMESPACE, node=node) as place, TemporaryDirectory() as made:
        folder = Path(made)
        kept = cluster.get(f"--namespace={STORE_NAMESPACE}", "secret", "store-keys")["data"]
        keys = {name: base64.b64decode(one).decode() for name, one in kept.items()}
        here = {
            '"$KEY"': keys["AWS_ACCESS_KEY_ID"],
            '"$SECRET"': keys["AWS_SECRET_ACCESS_KEY"],
            "s3://bucket/photos.jsonl": place.upload(_few(folder)),
            "s3://bucket/": "s3://sightline/",
            str(CHART.relative_to(CHECKOUT)): str(CHART),
            "--values search.yaml": f"--values search.yaml --values {_of_this_cluster(folder)}",
        }
        with removed(cluster, NAMESPACE):
            said = dict(_run(cluster, folder, here))
        answers = [json.loads(one) for block, one in said.items() if "curl" in block]
        captions = [answer["hits"][0]["image"]["caption"] for answer in answers]
        proof.figures["blocks of docs/kubernetes.md that were run"] = len(said)
        proof.expect("docs/kubernetes.md: the first picture found", captions, [FOUND])


def _run(cluster: Cluster, folder: Path, here: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for block in blocks():
        script = block
        for on_the_page, ours in here.items():
            script = script.replace(on_the_page, ours)
        yield block, cluster.run("bash", "-euo", "pipefail", "-c", f"cd {folder}\n{script}", timeout=600)


def _few(folder: Path) -> Path:
    """Lists some pictures, and the one that the page asks for."""
    listed = draw()
    lines = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()]
    chosen = [one for number, one in enumerate(lines) if number % EVERY == 0 or one["caption"] == FOUND]
    written = folder / "images.jsonl"
    whole = [json.dumps(one | {"uri": str(listed.parent / one["uri"])}) + "\n" for one in chosen]
    written.write_text("".join(whole), encoding="utf-8")
    return written


def _of_this_cluster(folder: Path) -> Path:
    """Writes what a reader has otherwise: images, an endpoint of the bucket, and room for it all on two small nodes."""
    small = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
    store = {"podSelector": {}, "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": STORE_NAMESPACE}}}
    env = {"AWS_ENDPOINT_URL": f"http://store.{STORE_NAMESPACE}:{STORE_PORT}", "AWS_DEFAULT_REGION": "us-east-1"}
    repository, _, tag = images.other("redis").rpartition(":")
    values = {
        "image": {"registry": images.registry(), "tag": images.tag()},
        "store": {"env": env},
        "encoder": {"settings": {"threads": 1}, "resources": small},
        "redis": {"image": {"registry": "", "repository": repository, "tag": tag}, "resources": small},
        "networkPolicy": {"egress": [{"ports": [{"port": STORE_PORT, "protocol": "TCP"}], "to": [store]}]},
        **{tier: {"resources": small} for tier in ("gateway", "web", "searcher", "indexer")},
    }
    file = folder / "here.yaml"
    file.write_text(json.dumps(values), encoding="utf-8")
    return file
