"""What a cluster writes down about itself, so that `status` can find it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.local import probes
from services.local.topology import Spec, as_environment

FILE = "cluster.json"


@dataclass(frozen=True, slots=True)
class Standing:
    """One process as it was written down, and how it is now: ready, not ready, or gone."""

    name: str
    role: str
    address: str
    health: str
    pid: int
    health_now: str


def save_state(run_dir: Path, store: str, processes: Iterable[tuple[Spec, int]]) -> None:
    """Writes down the store, and the processes with their process ids."""
    rows = [
        {"name": spec.name, "role": spec.role, "address": spec.address, "health": spec.health, "pid": pid}
        for spec, pid in processes
    ]
    fresh = run_dir / f".{FILE}"
    fresh.write_text(json.dumps({**_owner(os.getpid()), "store": store, "processes": rows}, indent=2))
    fresh.replace(run_dir / FILE)


def forget_state(run_dir: Path) -> None:
    """Removes what was written down."""
    (run_dir / FILE).unlink(missing_ok=True)


def read_state(run_dir: Path) -> list[Standing]:
    """Returns the processes of the cluster that runs in this folder, each asked for its health."""
    rows = (_read(run_dir) or {}).get("processes", [])
    return [Standing(**row, health_now=_health(row["role"], row["health"], row["pid"])) for row in rows]


def read_whereabouts(run_dir: Path) -> dict[str, str] | None:
    """Returns where the cluster that runs in this folder is, as the variables that the indexer reads, if one runs."""
    if (written := _read(run_dir)) is None:
        return None

    def listed(role: str) -> str:
        return ",".join(row["address"] for row in written["processes"] if row["role"] == role)

    addresses = {"encoders": listed("encoder"), "searchers": listed("searcher")}
    return as_environment({"store": written["store"], **addresses})


def _read(run_dir: Path) -> dict[str, Any] | None:
    try:
        written: dict[str, Any] = json.loads((run_dir / FILE).read_text())
    except FileNotFoundError:
        return None
    pid = written["pid"]
    return written if _is_alive(pid) and written.items() >= _owner(pid).items() else None


def _owner(pid: int) -> dict[str, Any]:
    """A process as nobody else will ever be: its id, and when it began, since ids are used again."""
    try:
        began = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19]
    except OSError:  # a system without /proc
        began = ""
    return {"pid": pid, "began": began}


def _health(role: str, health: str, pid: int) -> str:
    if not _is_alive(pid):
        return "gone"
    probe = probes.is_redis_ready if role == "redis" else probes.is_ready
    return "ready" if probe(health) else "not ready"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0
