"""The SDK as callers install it: the wheel, beside the oldest and the newest of what it says it runs with."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.emoji import CHECKOUT
from benchmarks.kept import kept
from benchmarks.languages import Lacking
from training.sources import cache_folder

OLDEST, NEWEST = "lowest-direct", "highest"
"""How uv chooses versions."""

CALLER = CHECKOUT / "benchmarks" / "caller.py"
SECONDS = 600.0


def call_with(end: str, environment: Mapping[str, str], *, fresh: bool = False) -> dict[str, Any]:
    """Returns what benchmarks/caller.py tells when it runs with one end of the versions.

    Args:
        end: OLDEST or NEWEST.
        environment: SIGHTLINE_ADDRESS and so on.
        fresh: look for newer versions than those that are kept.

    Raises:
        Lacking: there is no uv.
        RuntimeError: the versions or the wheel could not be installed, or the program failed.
    """
    python = _versions(end, fresh) / "bin" / "python"
    with TemporaryDirectory() as folder:
        wheel = _wheel(Path(folder))
        installed = f"{folder}/installed"
        _uv("pip", "install", "--no-deps", "--offline", "--target", installed, str(wheel))
        told = _run([str(python), "-P", str(CALLER)], {**environment, "PYTHONPATH": installed})
    outcome: dict[str, Any] = json.loads(told.splitlines()[-1])
    return outcome


def stated() -> list[str]:
    """What the SDK says that it needs."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    return [str(one) for one in project["project"]["dependencies"]]


def _versions(end: str, fresh: bool) -> Path:
    """Returns an environment with what the SDK needs, and without the SDK."""
    words = json.dumps([end, stated(), sys.version_info[:2]])

    def make(folder: Path) -> None:
        _uv("venv", "--quiet", "--relocatable", "--allow-existing", "--python", sys.executable, str(folder))
        _uv("pip", "install", "--quiet", "--upgrade", f"--resolution={end}", "--only-binary=:all:",
            "--python", str(folder / "bin" / "python"), *stated())  # fmt: skip

    return kept(f"clients/python-{end}-{hashlib.sha256(words.encode()).hexdigest()[:16]}", make, fresh=fresh)


def _wheel(folder: Path) -> Path:
    """Builds the wheel of this checkout. Without a network where what builds it is kept."""
    build = ("build", "--quiet", "--wheel", "--out-dir", str(folder), str(CHECKOUT))
    try:
        _uv(*build, "--offline")
    except RuntimeError:
        _uv(*build)
    [wheel] = folder.glob("*.whl")
    return wheel


def _uv(*arguments: str) -> None:
    path = f"{os.environ['PATH']}:{cache_folder() / 'uv' / 'bin'}"
    if (uv := shutil.which("uv", path=path)) is None:
        raise Lacking("environments of other versions need uv on PATH")
    _run([uv, *arguments], {})


def _run(command: list[str], environment: Mapping[str, str]) -> str:
    # Some networks sign with an authority of their own, which only the system knows.
    told = {"UV_SYSTEM_CERTS": "1"} if Path("/etc/ssl/certs/ca-certificates.crt").exists() else {}
    done = subprocess.run(
        command,
        cwd=CHECKOUT.parent,
        env={**os.environ, **told, **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:300]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout
