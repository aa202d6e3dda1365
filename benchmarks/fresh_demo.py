"""`make demo` as a newcomer runs it: a fresh clone, a fresh home, empty caches."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.counting_proxy import counting
from benchmarks.emoji import CHECKOUT

ANSWERED = "The first answer came"
_PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy")


@dataclass(frozen=True, slots=True)
class Run:
    """What a newcomer waited for.

    Attributes:
        megabytes: that were downloaded.
        by_host: how many of them came from each server, most first.
        download_seconds: while bytes were coming.
        answer_seconds: from the command to the first answer.
        cpu_seconds: of everything that ran, until all of it had ended.
        answers: lines with an answer.
        torch: whether torch was installed.
    """

    megabytes: float
    by_host: list[float]
    download_seconds: float
    answer_seconds: float
    cpu_seconds: float
    answers: int
    torch: bool

    @property
    def beyond_download(self) -> float:
        """Seconds to the first answer without those while bytes were coming."""
        return self.answer_seconds - self.download_seconds


def run(folder: Path) -> Run:
    """Clones what is committed into an empty folder and runs the demonstration there.

    Raises:
        RuntimeError: it failed; the message is the end of what it said.
    """
    clone, home = folder / "clone", folder / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(CHECKOUT), str(clone)], check=True)
    with counting() as (proxy, address):
        began, before = time.monotonic(), _cpu_of_children()
        said, answered = _make(clone, _fresh_environment(home, address))
    return Run(
        megabytes=proxy.received / 1e6,
        by_host=sorted((round(size / 1e6, 1) for size in proxy.hosts.values()), reverse=True),
        download_seconds=proxy.busy_seconds,
        answer_seconds=answered - began,
        cpu_seconds=_cpu_of_children() - before,
        answers=len(re.findall(r"^\s*\S+ .*\d\.\d{3} ", said, re.MULTILINE)),
        torch=any(clone.glob(".venv/lib/python*/site-packages/torch")),
    )


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _make(clone: Path, environment: dict[str, str]) -> tuple[str, float]:
    """Returns what it said, and when the first answer was there, in seconds of the monotonic clock."""
    said, answered = [], 0.0
    with subprocess.Popen(
        ["make", "demo"],
        cwd=clone,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as making:
        assert making.stdout
        for line in making.stdout:
            said.append(line)
            if ANSWERED in line:
                answered = time.monotonic()
    if making.returncode or not answered:
        raise RuntimeError("make demo failed:\n" + "".join(said)[-2000:])
    return "".join(said), answered


def _fresh_environment(home: Path, proxy: str) -> dict[str, str]:
    """The environment of this process, without what points to files that a newcomer has not."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("UV_", "SIGHTLINE_", "XDG_", "VIRTUAL_ENV", "PYTHON")) and name != "PIP_FIND_LINKS"
    }
    kept |= dict.fromkeys(_PROXIES, proxy) | {"no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost"}
    return kept | {
        "HOME": str(home),
        "UV_CACHE_DIR": str(home / "uv"),
        "PIP_CACHE_DIR": str(home / "pip"),
        "SIGHTLINE_CACHE": str(home / "sightline"),
        "COLUMNS": "200",
    }
