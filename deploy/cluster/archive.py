"""Writes the image of one program that needs nothing else, as an archive that containerd imports.

python archive.py NAME:TAG PROGRAM FILE
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

USER = "65532:65532"


def archive(name: str, program: Path, written: Path) -> None:
    """Writes an image whose only file is a static program, which it runs as an unprivileged user."""
    entry = f"/{program.name}"
    layer = _tar({entry.removeprefix("/"): program.read_bytes(), "tmp/": b""})
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [entry], "User": USER},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    listed = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    making = written.with_suffix(".making")
    files = {"manifest.json": _json(listed), "config.json": _json(config), "layer.tar": layer}
    making.write_bytes(_tar(files))
    making.replace(written)


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
    archive(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
