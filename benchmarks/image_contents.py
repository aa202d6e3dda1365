"""What is in an image, looked at from outside: packages, files that its user may change, traces of its origin."""

from __future__ import annotations

import importlib.metadata
import stat
import tomllib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.containers import USER
from benchmarks.emoji import CHECKOUT

# Extras by service: its own, that of stores in buckets, and of pictures that telephones take.
EXTRAS = {
    "gateway": ("gateway", "s3"),
    "web": ("web", "s3"),
    "encoder": ("encoder-onnx",),
    "searcher": ("searcher", "s3"),
    "indexer": ("indexer", "heif", "s3"),
}
# Named beside the exact list, for whoever reads the result: what each does without.
_TOOLS = ("pip", "setuptools", "uv", "wheel", "pytest", "torch", "open-clip-torch", "transformers")
ABSENT = {
    "gateway": (*_TOOLS, "faiss-cpu", "onnxruntime", "pyarrow", "pillow", "fastapi"),
    "web": (*_TOOLS, "faiss-cpu", "onnxruntime", "pyarrow", "pillow", "redis"),
    "encoder": (*_TOOLS, "faiss-cpu", "pyarrow", "redis", "fastapi", "s3fs"),
    "searcher": (*_TOOLS, "onnxruntime", "pillow", "redis", "fastapi"),
    "indexer": (*_TOOLS, "onnxruntime", "redis", "fastapi"),
}
_SETTINGS = ("etc/pip.conf", "etc/uv", "etc/hostname", "etc/resolv.conf", "root/.config", "root/.cache", "root/.netrc")


def versions(packages: Path) -> dict[str, str]:
    """Returns the versions of what is installed in a folder, by name."""
    return {canonicalize_name(one.name): one.version for one in _installed(packages)}


def wanted(packages: Path, extras: Sequence[str], environment: Mapping[str, str]) -> set[str]:
    """Returns the names of all that these extras of pyproject.toml need, by what the installed packages say they need.

    Args:
        packages: the folder that they are installed in.
        extras: of Sightline.
        environment: what differs of its interpreter for markers, such as `python_full_version`.
    """
    needs = {canonicalize_name(one.name): one.requires or [] for one in _installed(packages)} | {
        "sightline": _sightline()
    }
    waiting, seen = [f"sightline[{','.join(extras)}]"], set[tuple[str, str]]()
    while waiting:
        asked = Requirement(waiting.pop())
        name = canonicalize_name(asked.name)
        for extra in ("", *asked.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += [
                    str(need) for need in map(Requirement, needs.get(name, ())) if _applies(need, extra, environment)
                ]
    return {name for name, _ in seen} - {"sightline"}


def _sightline() -> list[str]:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    by_extra = project["optional-dependencies"].items()
    return [*project["dependencies"], *(f'{need}; extra == "{extra}"' for extra, needs in by_extra for need in needs)]


def _applies(need: Requirement, extra: str, environment: Mapping[str, str]) -> bool:
    return need.marker is None or need.marker.evaluate({**environment, "extra": extra})


def _installed(packages: Path) -> Iterator[importlib.metadata.Distribution]:
    return iter(importlib.metadata.distributions(path=[str(packages)]))


def pins() -> dict[str, str]:
    """Returns the versions of constraints.txt, by name; where markers choose, all of them with commas."""
    pinned: dict[str, list[str]] = {}
    for line in (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        one = Requirement(line)
        pinned.setdefault(canonicalize_name(one.name), []).append(str(one.specifier).removeprefix("=="))
    return {name: ",".join(found) for name, found in pinned.items()}


def changeable(tree: Path) -> list[str]:
    """Returns files and folders that the image's user could change if the root were not read-only."""
    return sorted(f"/{path.relative_to(tree)}" for path, found in _entries(tree) if _may_change(found))


def _may_change(found: tuple[int, int, int]) -> bool:
    mode, user, group = found
    of_all = bool(mode & stat.S_IWOTH) and not stat.S_ISLNK(mode)
    return of_all or USER in (user, group)


def privileged(tree: Path) -> list[str]:
    """Returns files that run as somebody else than whoever runs them."""
    bits = stat.S_ISUID | stat.S_ISGID
    return sorted(
        f"/{path.relative_to(tree)}" for path, (mode, *_) in _entries(tree) if stat.S_ISREG(mode) and mode & bits
    )


def settings_of_the_machine(tree: Path) -> list[str]:
    """Returns files by which an image would carry on where and behind what it was built.

    Empty ones say nothing: builders leave some where a container's own files of names are mounted later.
    """
    files = [file for name in _SETTINGS for file in ((tree / name), *(tree / name).rglob("*")) if file.is_file()]
    return sorted(f"/{file.relative_to(tree)}" for file in files if file.stat().st_size)


def _entries(tree: Path) -> Iterator[tuple[Path, tuple[int, int, int]]]:
    for path in tree.rglob("*"):
        found = path.lstat()
        yield path, (found.st_mode, found.st_uid, found.st_gid)


def compressed(archive: Path) -> int:
    """Returns about how many bytes a registry keeps of a docker-archive: gzip's."""
    squeeze = zlib.compressobj(6, wbits=31)
    with archive.open("rb") as file:
        total = sum(len(squeeze.compress(chunk)) for chunk in iter(lambda: file.read(1 << 20), b""))
    return total + len(squeeze.flush())
