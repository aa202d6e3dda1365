"""Pictures that lie in a bucket, or on a web server, are indexed as those on a disk are; where they cannot be fetched
there is no generation."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks import s3_server
from benchmarks.emoji import COLLECTION, MODEL, Emoji, index, read, wait_visible
from benchmarks.faulty import Fault, FaultyProxy
from benchmarks.proof import Proof
from services.local.cluster import LocalCluster
from services.local.ports import HOST
from services.local.topology import Topology
from services.store import Manifest, Store
from sightline import Client

PLACES = ("disk", "bucket", "web", "folder")


def prove(
    pictures: Path, encoder: str, proxy: FaultyProxy, proof: Proof, folder: Path, *, places: Sequence[str] = PLACES
) -> None:
    """Indexes pictures from a disk, a bucket and a web server, into a bucket, and searches them there.

    Args:
        pictures: a list of them.
        encoder: host:port.
        proxy: on the way to the server that the environment leads to.
        proof: what was seen.
        folder: for what is written on the way.
        places: where to index pictures from; `bucket`, and others of PLACES.
    """
    known = read(pictures)
    bucket = s3_server.bucket()
    url = f"s3://{bucket}/index"
    _upload(known, bucket)
    with _web(known[0].file.parent) as web:
        tables = {
            "disk": str(pictures),
            "bucket": _table(known, f"s3://{bucket}/pictures", f"s3://{bucket}/table.jsonl"),
            "web": _table(known, web, str(folder / "web.jsonl")),
            "folder": f"s3://{bucket}/pictures",
        }
        for name in places:
            index(tables[name], url, encoders=[encoder], collection=name)
    _prove_same({name: Store(url).manifest(name, 1) for name in places}, len(known), proof)
    _prove_outage(tables["bucket"], url, encoder, proxy, proof)
    _prove_search(url, encoder, known, proof, folder)


def _prove_same(manifests: Mapping[str, Manifest], images: int, proof: Proof) -> None:
    """Wherever pictures come from, there are as many, and under the same ids their vectors are the same bytes."""
    for name, manifest in manifests.items():
        proof.expect(f"pictures from the {name}: images", manifest.images, images)
        if "disk" in manifests and name != "folder":
            same = _vectors(manifest) == _vectors(manifests["disk"])
            proof.holds(f"pictures from the {name}: the same vectors as from the disk", same)


def _prove_outage(table: str, url: str, encoder: str, proxy: FaultyProxy, proof: Proof) -> None:
    """Where the bucket stops giving pictures in the middle of a build, the build fails: it does not go on without."""
    with proxy.failing(Fault("error", method="GET", path=r"pictures/[^?]*[02468ace]\.png")):
        try:
            index(table, url, encoders=[encoder], collection="outage")
        except RuntimeError as error:
            proof.holds("a bucket that fails while building: it says so", "the store failed" in str(error))
        else:
            proof.faults.append("a bucket that fails while building: the build succeeded without half of its pictures")
        proof.holds("a bucket that fails while building: requests were met", proxy.harmed.total() > 0)
    proof.expect("a bucket that fails while building: generations", Store(url).generations("outage"), [])


def _prove_search(url: str, encoder: str, known: Sequence[Emoji], proof: Proof, folder: Path) -> None:
    cluster = LocalCluster(
        store=url,
        model=str(MODEL),
        run_dir=folder / "searching",
        topology=Topology(encoders=0, redis=False),
        overrides={"gateway": {"encoders": encoder}},
    )
    with cluster:
        wait_visible(cluster, "bucket")
        found = asyncio.run(_find(cluster.gateway, known))
    proof.expect("pictures in a bucket that find themselves", found["files"], len(known))
    proof.holds("most names find their picture first", found["names"] >= 0.8 * len(known))


async def _find(gateway: str, known: Sequence[Emoji]) -> dict[str, int]:
    """Counts the pictures that come first when they are asked for, by their files and by their names."""
    found = {"files": 0, "names": 0}
    async with Client(gateway, timeout=60) as client:
        for one in known:
            found["files"] += (await client.search(one.file, collection="bucket", top_k=1))[0].id == one.id
            found["names"] += (await client.search(one.caption, collection="bucket", top_k=1))[0].id == one.id
    return found


def _upload(known: Sequence[Emoji], bucket: str) -> None:
    files = s3_server.files()
    for one in known:
        files.pipe_file(f"{bucket}/pictures/{one.file.name}", one.file.read_bytes())


def _table(known: Sequence[Emoji], pictures: str, table: str) -> str:
    """Writes a list of pictures that lie elsewhere; returns its own URL."""
    lines = [
        {
            "id": one.id,
            "uri": f"{pictures}/{one.file.name}",
            "caption": one.caption,
            "attributes": {"scope": COLLECTION},
        }
        for one in known
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    if table.startswith("s3://"):
        s3_server.files().pipe_file(table, text.encode())
    else:
        Path(table).write_text(text, encoding="utf-8")
    return table


def _vectors(manifest: Manifest) -> list[str]:
    """Returns the checksums of the files with the vectors, by shard."""
    return [file.sha256 for shard in manifest.shards for file in shard.files if file.name == "vectors.f32"]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Requests are not news."""


@contextmanager
def _web(folder: Path) -> Iterator[str]:
    """A plain web server of a folder; yields its URL."""
    handler = partial(_Quiet, directory=str(folder))
    server = ThreadingHTTPServer((HOST, 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
