"""The bar `images`: every service's image is built, holds its own and no more, and serves unprivileged, read-only.

The five containers form a cluster in a network of their own: the indexer's builds and publishes, the page's answers.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import image_contents
from benchmarks.containers import MARK, USER, Container, Image, bundle, unpack
from benchmarks.emoji import CHECKOUT, draw, read, some
from benchmarks.proof import Proof
from deploy.images import STATE

ROUNDS = 3
PACKAGES = "app/packages"
SCRATCH = ("/tmp", "/var/tmp", "/run/lock", "/var/lock")  # where every Linux has them
EVERY = 20
SERVED_SECONDS = 30.0
MEGABYTES = {"gateway": 300, "web": 300, "encoder": 600, "searcher": 600, "indexer": 700}
PORTS = {"encoder": (7701, 7791), "searcher": (7702, 7792), "gateway": (7700, 7790), "web": (7780, 7793)}
ENVIRONMENT = {
    "encoder": {"SIGHTLINE_THREADS": "1"},
    "searcher": {"SIGHTLINE_STORE": "/data/store"},
    "gateway": {
        "SIGHTLINE_STORE": "/data/store",
        "SIGHTLINE_ENCODERS": "127.0.0.1:7701",
        "SIGHTLINE_SEARCHERS": "127.0.0.1:7702",
    },
    "web": {"SIGHTLINE_GATEWAY": "127.0.0.1:7700"},
}
BUILD = ["build", "/data/pictures/images.jsonl", "--store", "/data/store", "--collection", "emoji", "--scope", "emoji"]
BUILD += ["--publish", "--encoder", "127.0.0.1:7701", "--searchers", "127.0.0.1:7702"]
# Tries to make a file in every folder there is, and tells how its process is confined and whom it trusts.
LOOK = """
import json, os, platform, ssl
made = []
for folder, folders, _ in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/data")]
    try:
        os.close(os.open(os.path.join(folder, ".try"), os.O_CREAT | os.O_WRONLY))
        os.unlink(os.path.join(folder, ".try"))
        made.append(folder)
        folders.clear()
    except OSError:
        pass
status = dict(line.split(":", 1) for line in open("/proc/1/status").read().splitlines())
wanted = ("Uid", "Gid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")
process = {name: status[name].split()[0] for name in wanted}
trusted = ssl.create_default_context().cert_store_stats()["x509_ca"] > 0
print(json.dumps({"writable": made, "python": platform.python_version(), "trusted": trusted} | process))
"""


def bar() -> dict[str, object]:
    """Needs root on Linux, and the network for what is not built yet; takes some minutes."""
    proof = Proof()
    before = traces()
    built = build()
    with TemporaryDirectory(prefix=MARK) as name:
        folder = Path(name)
        images = {service: unpack(Path(about["archive"]), folder / service) for service, about in built.items()}
        for service, image in images.items():
            prove_contents(service, image, Path(built[service]["archive"]), proof)
        data = pictures(folder / "data")
        in_a_closed_network()
        rounds = [run(folder / f"round-{number}", images, data, proof) for number in range(ROUNDS)]
    proof.figures["seconds to ready"] = seconds = {
        name: statistics.median(one[name] for one in rounds) for name in rounds[0]
    }
    proof.expect("left on the machine", sorted(traces() - before), [])
    sizes = {service: sum(image.layers) // 1_000_000 for service, image in images.items()}
    told = ", ".join(f"{service} {sizes[service]} MB, {seconds[service]:.1f} s" for service in images)
    return proof.outcome(
        f"{told}; each with its own extra alone, unprivileged, nothing writable but /tmp and its cache"
    )


def build() -> dict[str, dict[str, str]]:
    """Builds what is not there, the encoder's with the bundled model; returns what deploy/images.py says."""
    command = [sys.executable, str(CHECKOUT / "deploy" / "images.py"), "--model", "emoji"]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def pictures(folder: Path) -> Path:
    """Makes what the containers share: some pictures, and a store that is theirs to fill."""
    (folder / "pictures").mkdir(parents=True)
    listed = some(draw(), EVERY, folder / "pictures")
    lines = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        shutil.copy(line["uri"], folder / "pictures")
    named = [json.dumps(line | {"uri": Path(line["uri"]).name}) + "\n" for line in lines]
    listed.write_text("".join(named), encoding="utf-8")
    return folder


def in_a_closed_network() -> None:
    """Leaves the machine's network for an empty one, with a loopback of its own: this process and what it starts."""
    clone_newnet = 0x40000000
    if ctypes.CDLL(None, use_errno=True).unshare(clone_newnet):
        raise OSError(ctypes.get_errno(), "containers need a network namespace, and this process may not make one")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def prove_contents(service: str, image: Image, archive: Path, proof: Proof) -> None:
    """Looks at an image from outside."""
    size = sum(image.layers)
    largest = max(image.layers[1:])
    proof.figures[f"{service}: MB"] = {
        "all": round(size / 1e6, 1),
        "base": round(image.layers[0] / 1e6, 1),
        "packages": round(largest / 1e6, 1),
        "rest": round((size - image.layers[0] - largest) / 1e6, 1),
        "compressed": round(image_contents.compressed(archive) / 1e6, 1),
    }
    proof.holds(f"{service}: under {MEGABYTES[service]} MB", size < MEGABYTES[service] * 1e6)
    installed, pinned = image_contents.versions(image.tree / PACKAGES), image_contents.pins()
    proof.figures[f"{service}: packages"] = len(installed)
    proof.expect(f"{service}: has what it must not", sorted(installed.keys() & set(image_contents.ABSENT[service])), [])
    other = [
        f"{name} {version}" for name, version in installed.items() if version not in pinned.get(name, "").split(",")
    ]
    proof.expect(f"{service}: versions other than the pinned", other, [])
    places = [path for path in image_contents.changeable(image.tree) if path not in SCRATCH]
    proof.expect(f"{service}: its user's", places, ["/data", "/var/cache/sightline"])
    proof.expect(f"{service}: privileged files", image_contents.privileged(image.tree), [])
    proof.expect(f"{service}: settings of the machine", image_contents.settings_of_the_machine(image.tree), [])


def run(folder: Path, images: Mapping[str, Image], data: Path, proof: Proof) -> dict[str, float]:
    """Starts the servers one after another, indexes, asks; returns the seconds until each was ready."""
    folder.mkdir()
    shutil.rmtree(data / "store", ignore_errors=True)
    (data / "store").mkdir()
    for path in (data, *data.rglob("*")):
        os.chown(path, USER, USER)
    took = {}
    with ExitStack() as ends:
        servers = []
        for service, (port, health) in PORTS.items():
            there = {"SIGHTLINE_LISTEN": f"127.0.0.1:{port}", "SIGHTLINE_HEALTH_LISTEN": f"127.0.0.1:{health}"}
            there |= {"SIGHTLINE_DRAIN_SECONDS": "0"} | ENVIRONMENT[service]
            seen = data if "SIGHTLINE_STORE" in there else None
            told = bundle(images[service], images[service].settings["Entrypoint"], there, seen)
            server = Container(service, folder, told)
            ends.callback(server.remove)
            took[service] = server.ready_after(health)
            prove_confined(service, images[service], server.run_inside(LOOK), proof)
            servers.append(server)
        took["indexer"] = prove_indexed(folder, images["indexer"], data, proof)
        prove_answers(data, proof)
        proof.expect("statuses after SIGTERM", [server.stop() for server in reversed(servers)], [0] * len(servers))
    return took


def prove_confined(service: str, image: Image, looked: str, proof: Proof) -> None:
    """Judges what a container saw of itself."""
    seen = json.loads(looked)
    proof.expect(f"{service}: writable", seen.pop("writable"), ["/tmp", "/var/cache/sightline"])
    proof.expect(f"{service}: knows the authorities of the web", seen.pop("trusted"), True)
    version = seen.pop("python")
    nothing = "0" * 16
    confined = {
        "Uid": str(USER),
        "Gid": str(USER),
        "CapEff": nothing,
        "CapBnd": nothing,
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }
    proof.expect(f"{service}: its process", seen, confined)
    interpreter = {"python_full_version": version, "python_version": version.rpartition(".")[0]}
    packages = image.tree / PACKAGES
    wanted = image_contents.wanted(packages, image_contents.EXTRAS[service], interpreter)
    differs = sorted(wanted ^ image_contents.versions(packages).keys())
    proof.expect(f"{service}: packages missing or beyond its extra", differs, [])


def prove_indexed(folder: Path, image: Image, data: Path, proof: Proof) -> float:
    """Builds and publishes a collection; returns the seconds that the indexer takes to say what it can do."""
    program = image.settings["Entrypoint"]
    said, _ = to_the_end(Container("look", folder, bundle(image, ["python3", "-c", LOOK], {}, data)))
    prove_confined("indexer", image, said, proof)
    _, took = to_the_end(Container("help", folder, bundle(image, [*program, "--help"], {}, None)))
    to_the_end(Container("build", folder, bundle(image, [*program, *BUILD], {}, data)))
    return took


def to_the_end(container: Container) -> tuple[str, float]:
    """Waits for a command; returns what it said, and its seconds. Raises RuntimeError where it failed."""
    try:
        status, seconds = container.wait_for_end()
        if status:
            raise RuntimeError(f"{container.name} ended with {status}:\n{container.said()}")
        return container.said(), seconds
    finally:
        container.remove()


def prove_answers(data: Path, proof: Proof) -> None:
    """Asks the page's process for each picture by its name."""
    asked = read(data / "pictures" / "images.jsonl")
    wait_until_served(asked[0].caption)
    found = [emoji.id in answer(emoji.caption) for emoji in asked]
    proof.figures["pictures"] = len(asked)
    proof.figures["pictures found by their names"] = sum(found)
    proof.holds("nine of ten pictures are found by their names", sum(found) >= 0.9 * len(asked))


def wait_until_served(text: str) -> None:
    """Waits until the gateway has seen that the collection is published. Raises HTTPError where it does not."""
    until = time.monotonic() + SERVED_SECONDS
    while True:
        try:
            answer(text)
            return
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND or time.monotonic() > until:
                raise
        time.sleep(0.1)


def answer(text: str) -> list[str]:
    """Returns the ids of the best three, best first."""
    query = urllib.parse.urlencode({"q": text, "collection": "emoji", "top_k": 3, "refuse_partial": "true"})
    with urllib.request.urlopen(f"http://127.0.0.1:{PORTS['web'][0]}/v1/search?{query}", timeout=30) as got:
        return [hit["image"]["id"] for hit in json.load(got)["hits"]]


def traces() -> set[str]:
    """What building and running could leave on the machine: folders of engines, mounts, control groups."""
    folders = ("/etc/cni", "/etc/containers", "/var/lib/containers", "/var/lib/cni", "/run/containers", "/run/runc")
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{MARK}*")]
    ours = [path for path in mounts if MARK in path or str(STATE) in path]
    return {folder for folder in folders if Path(folder).exists()} | {*ours, *groups}
