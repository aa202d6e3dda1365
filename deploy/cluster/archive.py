"""Writes the image of a few programs and the libraries that they load, as an archive that containerd imports.

    python archive.py NAME:TAG ARCHIVE PROGRAM...

The first program is what the image runs. All are found on PATH there.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

USER = "65532:65532"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
LIBRARIES = "usr/lib/programs"
ACCOUNTS = "root:x:0:0::/:/none\nnonroot:x:65532:65532::/tmp:/none\n"


def archive(name: str, written: Path, programs: Sequence[Path]) -> None:
    """Writes an image that has these programs, and runs the first as an unprivileged user."""
    files = {"tmp/": b"", "etc/passwd": ACCOUNTS.encode()}
    for program in programs:
        files[f"usr/bin/{program.name}"] = program.read_bytes()
        for path in _libraries(program):
            # The loader itself is found by its path alone.
            inside = str(path).lstrip("/") if path.name.startswith("ld-") else f"{LIBRARIES}/{path.name}"
            files[inside] = path.read_bytes()
    layer = _tar(files)
    config = {
        "architecture": MACHINES[platform.machine()],
        "os": "linux",
        "config": {
            "Entrypoint": [f"/usr/bin/{programs[0].name}"],
            "User": USER,
            "Env": ["PATH=/usr/bin", f"LD_LIBRARY_PATH=/{LIBRARIES}"],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    listed = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    making = written.with_suffix(".making")
    making.write_bytes(_tar({"manifest.json": _json(listed), "config.json": _json(config), "layer.tar": layer}))
    making.replace(written)


def _libraries(program: Path) -> Iterator[Path]:
    """Yields what a program loads, where it loads it from; nothing for a static one."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    if missing := re.findall(r"(\S+) => not found", listed):
        raise FileNotFoundError(f"{program} needs {', '.join(missing)}")
    for path in re.findall(r"(?:^\s*|=> )(/\S+)", listed, re.MULTILINE):
        yield Path(path)


def _json(what: object) -> bytes:
    return json.dumps(what).encode()


def _tar(files: dict[str, bytes]) -> bytes:
    """Returns a tar with these files, the same for the same content; names with a slash at their end are folders."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            if name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


if __name__ == "__main__":
    archive(sys.argv[1], Path(sys.argv[2]), [Path(one) for one in sys.argv[3:]])
