"""Callers of every language, in the clear and over TLS with keys, and what the SDK does when nobody answers."""

from __future__ import annotations

import asyncio
import hashlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.certificates import Authority, Pair
from benchmarks.emoji import MODEL, draw, index_into, some
from benchmarks.ends import NEWEST, OLDEST, call_with
from benchmarks.languages import GRPCURL_CHAPTER, LANGUAGES, Language, run
from benchmarks.proof import Proof
from services.local.cluster import LocalCluster
from services.local.topology import Topology
from sightline import Client, PermissionDenied, Tls, Unauthenticated, Unavailable
from sightline.errors import SightlineError

KEY, READER, NEXT_KEY = "a-key-of-the-bar", "a-key-for-lists-alone", "the-key-after-that"
SILENT_SECONDS = 6.0
FOLLOWS_SECONDS = 10.0
"""Within which a gateway follows its files: it looks once a second."""


@dataclass
class Guarded:
    """A gateway over TLS that asks for keys, beside the gateways of a cluster."""

    cluster: LocalCluster
    authority: Authority
    certificate: Pair
    keys: Path

    @property
    def address(self) -> str:
        """Its host:port."""
        return self.cluster.gateway

    @property
    def environment(self) -> dict[str, str]:
        """What a caller is told."""
        return {"SIGHTLINE_ADDRESS": self.address, "SIGHTLINE_CA": str(self.authority.ca), "SIGHTLINE_KEY": KEY}

    def client(self, key: str = KEY, ca: Path | None = None, timeout: float = 10.0) -> Client:
        """Returns a client of its own connection."""
        return Client(self.address, tls=Tls(ca or self.authority.ca), key=key, timeout=timeout)


def bar() -> dict[str, object]:
    """A cluster over some emoji, a plain gateway and a guarded one, and every caller at both."""
    proof = Proof()
    with TemporaryDirectory() as name:
        folder = Path(name)
        cluster = LocalCluster(store=str(folder / "store"), model=str(MODEL), run_dir=folder / "run")
        with cluster:
            index_into(cluster, some(draw(), 8, folder))
            with guarded(cluster, folder / "guarded") as gateway:
                for language in LANGUAGES:
                    prove_language(language, cluster.gateway, gateway, proof)
                for end in (OLDEST, NEWEST):
                    prove_end(end, cluster.gateway, gateway, proof, fresh=end == NEWEST)
                prove_command_line(gateway, proof)
                asyncio.run(prove_guard(gateway, proof))
            asyncio.run(prove_silence(cluster, "gateway-0", proof))
    return proof.outcome(
        "grpcurl, Node and Go by the documented steps, the command line, and the SDK at the oldest and newest versions "
        "that it states, each in the clear and over TLS with a key; certificates and keys change without a restart; "
        f"a gateway that hangs is noticed after {proof.figures.get('hung: seconds until noticed')} s"
    )


@contextmanager
def guarded(cluster: LocalCluster, folder: Path) -> Iterator[Guarded]:
    """Starts a gateway over the encoders and searchers of a cluster, with TLS and keys."""
    authority = Authority(folder)
    certificate, keys = authority.issue("gateway"), folder / "keys"
    write_keys(keys, {"bar": (KEY, ""), "reader": (READER, "collection")})
    settings = {
        "encoders": ",".join(cluster.addresses("encoder")),
        "searchers": ",".join(cluster.addresses("searcher")),
        "tls_cert": certificate.cert,
        "tls_key": certificate.key,
        "keys": keys,
    }
    alone = LocalCluster(
        store=cluster.store,
        model="",
        run_dir=folder / "run",
        topology=Topology(groups=0, gateways=1, encoders=0, redis=False),
        overrides={"gateway": settings},
    )
    with alone:
        yield Guarded(alone, authority, certificate, keys)


def write_keys(file: Path, keys: Mapping[str, tuple[str, str]]) -> None:
    """Writes a file of keys: names, and for each its key and the services that it is for."""
    lines = (f"{name} {hashlib.sha256(key.encode()).hexdigest()} {may}" for name, (key, may) in keys.items())
    fresh = file.with_suffix(".fresh")
    fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    fresh.replace(file)


def prove_language(language: Language, plain: str, gateway: Guarded, proof: Proof) -> None:
    """A chapter's example works in the clear, and over TLS with a key.

    Raises:
        Lacking: its toolchain is not here.
    """
    for how, environment in (("in the clear", {"SIGHTLINE_ADDRESS": plain}), ("TLS and key", gateway.environment)):
        said = run(language, environment)
        case = f"{language.name}, {how}"
        proof.holds(f"{case}: lists", "emoji" in said)
        proof.holds(f"{case}: reads why it is refused", "TOP_K_OUT_OF_RANGE" in said)
        if language is GRPCURL_CHAPTER:
            proof.expect(f"{case}: hits by words, and by a vector", said.count('"caption"'), 4)
        else:
            proof.expect(f"{case}: hits by words", len(re.findall(r"^\d\.\d{3} \S", said, re.MULTILINE)), 3)
            proof.holds(f"{case}: a hit by a vector", re.search(r"by a vector of \d+: \S", said) is not None)


def prove_end(end: str, plain: str, gateway: Guarded, proof: Proof, *, fresh: bool = False) -> None:
    """The wheel works beside one end of the versions that it states, in the clear and over TLS with a key."""
    for how, environment in (("in the clear", {"SIGHTLINE_ADDRESS": plain}), ("TLS and key", gateway.environment)):
        said = call_with(end, environment, fresh=fresh and how == "in the clear")
        case = f"SDK, {end}, {how}"
        proof.figures[f"{case}: versions"] = said["versions"]
        proof.expect(f"{case}: serving, collection", [said["serving"], said["collection"]], [True, "emoji"])
        proof.expect(f"{case}: hits", len(said["hits"]), 3)
        proof.expect(f"{case}: thumbnails", said["thumbnails"], ["WEBP"] * 3)
        proof.expect(f"{case}: batch", said["batch"], [True] * 3)
        proof.expect(f"{case}: stream", said["stream"], [1, 2, 3])
        proof.holds(f"{case}: by id and by vector", said["get"] == said["vector"] == said["hits"][0])
        proof.expect(f"{case}: refused", said["refused"], "top_k TOP_K_OUT_OF_RANGE")


def prove_command_line(gateway: Guarded, proof: Proof) -> None:
    """The command line takes certificates and keys from its options and from the environment, and shows no key."""
    key_file = gateway.keys.with_name("my-key")
    key_file.write_text(f"{KEY}\n", encoding="utf-8")
    script = Path(sys.executable).with_name("sightline")
    command = [str(script), "search", "red apple", "--address", gateway.address]
    command += ["--ca", str(gateway.authority.ca)]
    for case, given, wanted in (
        ("with a key", ["--key-file", str(key_file)], 0),
        ("without a key", [], 1),
    ):
        done = subprocess.run([*command, *given], capture_output=True, text=True, timeout=120, check=False)
        proof.expect(f"command line, {case}: exit code", done.returncode, wanted)
        proof.holds(f"command line, {case}: shows no key", KEY not in done.stdout + done.stderr)
        proof.holds(f"command line, {case}: says why", wanted == 0 or "NO_KEY" in done.stderr)


async def prove_guard(gateway: Guarded, proof: Proof) -> None:
    """Who has no key, another's or a withdrawn one is refused; certificates and keys change without a restart."""
    for case, key, error, reason in (
        ("no key", "", Unauthenticated, "NO_KEY"),
        ("unknown key", "guessed", Unauthenticated, "UNKNOWN_KEY"),
        ("key for lists alone", READER, PermissionDenied, "KEY_NOT_ALLOWED"),
    ):
        outcome = await _outcome(gateway.client(key))
        proof.expect(f"guard, {case}", [type(outcome), getattr(outcome, "reason", "")], [error, reason])
        async with gateway.client(key) as client:
            proof.holds(f"guard, {case}: health is open", await client.serving())
    plain = await _outcome(Client(gateway.address, key=KEY, timeout=3))
    proof.expect("guard, in the clear", type(plain), Unavailable)

    pid = gateway.cluster.processes["gateway-0"].pid
    async with gateway.client() as before, before.stream() as stream:
        await stream.search("apple")
        successor = Authority(gateway.authority.folder / "successor")
        successor.issue("gateway", into=gateway.certificate)
        proof.figures["seconds until a new certificate is shown"] = await _until(gateway, KEY, successor.ca, None)
        proof.expect("an open connection goes on", await _outcome(before, close=False), None)
        write_keys(gateway.keys, {"bar": (NEXT_KEY, "")})
        proof.figures["seconds until a new key is known"] = await _until(gateway, NEXT_KEY, successor.ca, None)
        old = await _outcome(gateway.client(KEY, successor.ca))
        proof.expect("a withdrawn key", getattr(old, "reason", ""), "UNKNOWN_KEY")
        try:
            await stream.search("pear")
            ended: Any = None
        except SightlineError as error:
            ended = type(error)
        proof.expect("an open stream of a withdrawn key", ended, Unauthenticated)
    gateway.certificate.cert.write_bytes(b"no certificate")
    gateway.keys.write_bytes(b"no key")
    await asyncio.sleep(1.5)
    proof.expect("broken files leave the old in force", await _outcome(gateway.client(NEXT_KEY, successor.ca)), None)
    proof.holds("the same process", gateway.cluster.processes["gateway-0"].pid == pid)
    metrics = gateway.cluster.metrics("gateway-0")
    proof.holds("calls are counted by caller", metrics.total("sightline_caller_calls_total", caller="bar") > 0)
    log = gateway.cluster.processes["gateway-0"].log.read_text(encoding="utf-8")
    proof.holds("no key in the log", not any(key in log for key in (KEY, READER, NEXT_KEY)))


async def prove_silence(cluster: LocalCluster, name: str, proof: Proof) -> None:
    """A gateway that hangs is noticed long before the deadline, and answers again once it goes on."""
    process = cluster.processes[name]
    async with Client(process.spec.address, timeout=60) as client:
        await client.search("apple")
        process.send(signal.SIGSTOP)
        began = time.monotonic()
        try:
            outcome = await _outcome(client, close=False)
        finally:
            process.send(signal.SIGCONT)
        seconds = time.monotonic() - began
        proof.figures["hung: seconds until noticed"] = round(seconds, 1)
        proof.expect("hung: what is noticed", type(outcome), Unavailable)
        proof.holds(f"hung: within {SILENT_SECONDS:g} s", seconds < SILENT_SECONDS)
        proof.expect("hung, then back: answers", await _outcome(client, close=False), None)


async def _outcome(client: Client, *, close: bool = True) -> SightlineError | None:
    """Returns the error that a search meets; None where it is answered."""
    try:
        await client.search("apple")
    except SightlineError as error:
        return error
    finally:
        if close:
            await client.close()
    return None


async def _until(gateway: Guarded, key: str, ca: Path, wanted: type[SightlineError] | None) -> float:
    """Waits until a new client of this key and authority meets this outcome; returns the seconds."""
    began = time.monotonic()
    while True:
        outcome = await _outcome(gateway.client(key, ca, timeout=3))
        if (outcome and type(outcome)) == wanted:
            return round(time.monotonic() - began, 1)
        if time.monotonic() - began > FOLLOWS_SECONDS:
            raise TimeoutError(f"the gateway does not follow its files: {outcome!r}")
        await asyncio.sleep(0.1)
