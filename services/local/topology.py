"""How many processes of each kind, and how each is started."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.local.ports import HOST, free_ports

CHECKOUT = Path(__file__).resolve().parents[2]
Overrides = Mapping[str, Mapping[str, Any]]
# Names do not expire on loopback: there is nobody to wait for.
DRAIN_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Topology:
    """The size of a cluster. Any tier may be left out with 0.

    Attributes:
        groups: searcher groups; group g serves the shards s with s mod groups = g.
        replicas: searchers in each group.
        gateways: gateways.
        encoders: encoders.
        redis: whether the gateways share a Redis.
        encoder_threads: CPU threads of each encoder; 0 divides the machine's cores among the encoders.
        webs: web processes, which serve HTTP and the page.
    """

    groups: int = 2
    replicas: int = 1
    gateways: int = 1
    encoders: int = 1
    redis: bool = True
    encoder_threads: int = 0
    webs: int = 0


@dataclass(frozen=True, slots=True)
class Spec:
    """One process of the cluster.

    Attributes:
        name: `gateway-0`, `encoder-1`, `searcher-0-1` (group 0, replica 1), `web-0`, `redis`.
        role: gateway, encoder, searcher, web or redis.
        command: program and arguments.
        address: host:port that it serves.
        health: host:port of /readyz and /metrics; Redis has none and is asked at its own.
        environment: what it is told beyond the environment of the cluster itself.
        ready: where its health port says whether it is ready.
    """

    name: str
    role: str
    command: tuple[str, ...]
    address: str
    health: str
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: str = "/readyz"


def plan(
    topology: Topology,
    *,
    store: str,
    model: str,
    run_dir: Path,
    overrides: Overrides | None = None,
    variables: Mapping[str, str] | None = None,
    port: int = 0,
    web_port: int = 0,
) -> list[Spec]:
    """Returns the processes of a cluster, each with ports that are free now.

    Args:
        topology: how many of each.
        store: URL of the store.
        model: the encoder's model, a name or a folder.
        run_dir: folder for what processes keep between starts.
        overrides: settings by role or by process name, in lower case: {"gateway": {"max_batch": 1}}.
        variables: of the environment of all of them, beside their settings.
        port: the first gateway's port; any where it is 0.
        web_port: the first web process's port; any where it is 0.
    """
    fixed = {"gateway-0": port, "web-0": web_port}
    ports = (free for free in free_ports(2 * len(_names(topology)) + len(fixed)) if free not in fixed.values())
    addresses = {name: f"{HOST}:{next(ports)}" for name, _ in _names(topology)}
    addresses |= {name: f"{HOST}:{wanted}" for name, wanted in fixed.items() if wanted and name in addresses}
    told = _told(topology, addresses, store, model)
    specs = []
    for name, role in _names(topology):
        if role == "redis":
            specs.append(redis_spec(addresses[name], run_dir))
            continue
        health = f"{HOST}:{next(ports)}"
        settings = {
            "listen": addresses[name],
            "health_listen": health,
            "drain_seconds": DRAIN_SECONDS,
            **told[role],
            **_own(name, run_dir),
            **(overrides or {}).get(role, {}),
            **(overrides or {}).get(name, {}),
        }
        command = (sys.executable, "-m", f"services.{role}")
        environment = {**(variables or {}), **as_environment(settings), **_libraries(role, settings)}
        specs.append(Spec(name, role, command, addresses[name], health, environment))
    return specs


def as_environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """Writes settings as the variables that processes read them from."""
    return {f"SIGHTLINE_{name.upper()}": str(value) for name, value in settings.items()}


def _names(topology: Topology) -> list[tuple[str, str]]:
    """Names and roles, those first that others ask."""
    return [("redis", "redis")] * topology.redis + [
        *((f"encoder-{number}", "encoder") for number in range(topology.encoders)),
        *((f"searcher-{group}-{replica}", "searcher") for group, replica in _places(topology)),
        *((f"gateway-{number}", "gateway") for number in range(topology.gateways)),
        *((f"web-{number}", "web") for number in range(topology.webs)),
    ]


def _places(topology: Topology) -> Iterator[tuple[int, int]]:
    return ((group, replica) for group in range(topology.groups) for replica in range(topology.replicas))


def _told(topology: Topology, addresses: Mapping[str, str], store: str, model: str) -> dict[str, dict[str, Any]]:
    """What all processes of a role are told."""

    def listed(role: str) -> str:
        return ",".join(addresses[name] for name, its_role in _names(topology) if its_role == role)

    gateway = {"store": store, "encoders": listed("encoder"), "searchers": listed("searcher")}
    if topology.redis:
        gateway["redis_url"] = f"redis://{listed('redis')}/0"
    return {
        "encoder": {"model": model, "threads": _encoder_threads(topology)},
        "searcher": {"store": store, "groups": topology.groups},
        "gateway": gateway,
        "web": {"gateway": f"ipv4:{listed('gateway')}"},
    }


def _own(name: str, run_dir: Path) -> dict[str, Any]:
    """What only this process is told."""
    if not name.startswith("searcher-"):
        return {}
    return {"group": int(name.split("-")[1]), "cache_dir": run_dir / "cache" / name}


def _encoder_threads(topology: Topology) -> int:
    """Encoders share the cores."""
    return topology.encoder_threads or max(1, (os.cpu_count() or 1) // max(1, topology.encoders))


def _libraries(role: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """One searching thread a process. Read by OpenMP when it is loaded."""
    return {"OMP_NUM_THREADS": str(settings["threads"] if role == "encoder" else 1)}


def redis_spec(address: str, run_dir: Path) -> Spec:
    """Returns a Redis at this address: a cache without files, of bounded memory, from which the least used goes."""
    host, _, port = address.rpartition(":")
    options = {
        "--bind": host,
        "--port": port,
        "--save": "",
        "--appendonly": "no",
        "--maxmemory": "64mb",
        "--maxmemory-policy": "allkeys-lfu",
        "--dir": str(run_dir),
    }
    command = (str(CHECKOUT / "tools" / "redis-server"), *(word for pair in options.items() for word in pair))
    return Spec("redis", "redis", command, address, address)
