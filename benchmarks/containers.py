"""Containers under what Pod Security calls restricted, started with runc: no engine, no daemon, no registry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.emoji import CHECKOUT
from deploy.images import CACHE

USER = 65532
MARK = "sightline-images"
READY_SECONDS = 120.0
_UNPACKED = CACHE / "debian"
_RUNC = _UNPACKED / "usr" / "bin" / "runc"
_PROFILE = _UNPACKED / "usr" / "share" / "containers" / "seccomp.json"
_HIDDEN = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug"]
_FIXED = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


@dataclass(frozen=True, slots=True)
class Image:
    """An image, unpacked.

    Attributes:
        tree: its root folder.
        settings: what it says of itself: User, Env, Entrypoint and so on.
        layers: bytes of each layer, lowest first.
    """

    tree: Path
    settings: Mapping[str, Any]
    layers: Sequence[int]


def unpack(archive: Path, folder: Path) -> Image:
    """Unpacks a docker-archive into a folder, with the owners and modes that it has. Needs root."""
    with tarfile.open(archive) as outer:
        manifest = json.load(_member(outer, "manifest.json"))[0]
        settings = json.load(_member(outer, manifest["Config"]))["config"]
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=_member(outer, layer)) as files:
                removed = [name for name in files.getnames() if Path(name).name.startswith(".wh.")]
                if removed:
                    raise ValueError(
                        f"{archive.name} removes files of lower layers, so they cost and hide: {removed[:3]}"
                    )
                files.extractall(folder, filter="fully_trusted")
        return Image(folder, settings, [outer.getmember(layer).size for layer in manifest["Layers"]])


def _member(archive: tarfile.TarFile, name: str) -> Any:
    found = archive.extractfile(archive.getmember(name))
    assert found is not None, name
    return found


def runc() -> str:
    """Returns runc's command, of the machine or unpacked into the cache; the latter is made sure of."""
    subprocess.run([CHECKOUT / "tools" / "unpack_debs.sh", "runc", "buildah"], check=True)
    return shutil.which("runc") or str(_RUNC)


def seccomp() -> dict[str, Any]:
    """The default profile of containers, for a process without any capability on x86-64."""
    profile = json.loads(_PROFILE.read_text(encoding="utf-8"))
    rules = [rule for rule in profile["syscalls"] if _holds(rule["includes"], rule["excludes"])]
    names = ("names", "action", "args", "errnoRet")
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{name: rule[name] for name in names if rule.get(name)} for rule in rules],
    }


def _holds(includes: Mapping[str, Sequence[str]], excludes: Mapping[str, Sequence[str]]) -> bool:
    return (
        not includes.get("caps")
        and "amd64" in includes.get("arches", ["amd64"])
        and "amd64" not in excludes.get("arches", [])
    )


def bundle(image: Image, command: Sequence[str], environment: Mapping[str, str], data: Path | None) -> dict[str, Any]:
    """What runc is told: the image's user; all is read-only but /tmp, the cache, and /data where it is given."""
    environment = dict(entry.split("=", 1) for entry in image.settings["Env"]) | dict(environment)
    user, group = map(int, image.settings["User"].split(":"))
    scratch = ["nosuid", "nodev", "size=256m"]
    mounts: list[dict[str, Any]] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": [*scratch, "mode=1777"]},
        {
            "destination": "/var/cache/sightline",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": [*scratch, "mode=755", f"uid={user}", f"gid={group}"],
        },
    ]
    if data:
        mounts.append(
            {"destination": "/data", "type": "bind", "source": str(data), "options": ["rbind", "nosuid", "nodev"]}
        )
    return {
        "ociVersion": "1.0.2",
        "hostname": "container",
        "root": {"path": str(image.tree), "readonly": True},
        "process": {
            "user": {"uid": user, "gid": group},
            "args": list(command),
            "env": [f"{name}={value}" for name, value in environment.items()],
            "cwd": image.settings["WorkingDir"],
            "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")},
            "noNewPrivileges": True,
        },
        "mounts": mounts,
        "linux": {
            # The network is that of whoever starts it: a namespace that the bar has closed off.
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")],
            "seccomp": seccomp(),
            "maskedPaths": _HIDDEN,
            "readonlyPaths": _FIXED,
        },
    }


class Container:
    """A running container. What it says goes to a file in its folder."""

    def __init__(self, name: str, folder: Path, configuration: Mapping[str, Any]) -> None:
        self.name = f"{MARK}-{os.getpid()}-{name}"
        self._runc = [runc(), "--root", str(folder / "runc")]
        self._log = folder / f"{name}.log"
        place = folder / f"{name}.bundle"
        place.mkdir()
        (place / "config.json").write_text(json.dumps(configuration), encoding="utf-8")
        self._began = time.monotonic()
        with self._log.open("w") as log:
            command = [*self._runc, "run", "--bundle", str(place), self.name]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def ready_after(self, port: int) -> float:
        """Waits until /readyz answers with 200; returns the seconds since the container was begun.

        Raises:
            RuntimeError: it ended; the message is what it said.
            TimeoutError: it did not get ready.
        """
        while time.monotonic() - self._began < READY_SECONDS:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                    return time.monotonic() - self._began
            except (urllib.error.URLError, OSError):
                if self._process.poll() is not None:
                    raise RuntimeError(f"{self.name} ended with {self._process.returncode}:\n{self.said()}") from None
            time.sleep(0.02)
        raise TimeoutError(f"{self.name} is not ready:\n{self.said()}")

    def said(self) -> str:
        """What it wrote to standard output and standard error."""
        return self._log.read_text(encoding="utf-8")

    def run_inside(self, program: str) -> str:
        """Runs a program of Python in the container, as its user, under its restrictions; returns what it prints."""
        command = [*self._runc, "exec", self.name, "python3", "-c", program]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

    def stop(self) -> int:
        """Sends SIGTERM and waits for the end; returns the exit status."""
        subprocess.run([*self._runc, "kill", self.name, "TERM"], check=False, capture_output=True)
        return self.wait_for_end()[0]

    def wait_for_end(self) -> tuple[int, float]:
        """Waits for the end; returns the exit status, and the seconds since the container was begun."""
        return self._process.wait(READY_SECONDS), time.monotonic() - self._began

    def remove(self) -> None:
        """Ends it in any case, and takes away what runc keeps of it."""
        subprocess.run([*self._runc, "delete", "--force", self.name], check=False, capture_output=True)
        self._process.wait(10)
