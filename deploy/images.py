"""Builds the services' images with buildah: no daemon, no registry, and no trace on the machine outside its folders.

    python3 deploy/images.py [--services gateway,web] [--tag TAG] [--model emoji] [--runtime torch] [--out FOLDER]

Each image becomes a docker-archive `sightline-SERVICE-KEY.tar`, for `ctr images import` or `docker load`, where KEY
says what it was made of: what is there is not made again. OUT/images.json lists them, and so does standard output. The
base is made of Debian packages on the spot, or named with --base and --builder. Needs root on Linux, and apt; buildah
and mmdebstrap are unpacked into the cache where the machine has none. State is kept in $SIGHTLINE_CACHE/images.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("SIGHTLINE_CACHE") or Path.home() / ".cache" / "sightline")
STATE = CACHE / "images"
SERVICES = ("gateway", "web", "encoder", "searcher", "indexer")
SUITE = "bookworm"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
CONTEXT = (
    ".dockerignore",
    "LICENSE",
    "NOTICE",
    "constraints.txt",
    "pyproject.toml",
    "deploy/Dockerfile",
    "sightline",
    "services",
    "models/emoji",
)
# Where packages come from is the business of whoever builds; none of it is in an image.
PASSED_ON = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

_SLIM = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "doc", "locale", "info", "lintian")]
_NAMELESS = 'rm -f "$1/etc/hostname" "$1/etc/resolv.conf"'  # they are this machine's
# What installs: a whole small Debian. What runs: Python and its libraries, unpacked; no shell and no package is set up
# there, so that what their set-up would have written is written by hand: authorities, where names are looked up, users.
TREES = {
    "builder": [
        "--variant=minbase",
        "--include=python3,python3-venv,ca-certificates",
        *_SLIM,
        f"--customize-hook={_NAMELESS}",
    ],
    "base": [
        "--variant=extract",
        "--skip=output/dev",
        "--include=base-files,netbase,tzdata,ca-certificates,libstdc++6,python3,python-is-python3",
        *_SLIM,
        f"--extract-hook={_NAMELESS}",
        f'--extract-hook=cat "$1"/usr/share/ca-certificates/mozilla/*.crt >"$1{AUTHORITIES}"',
        '--extract-hook=printf "passwd: files\\ngroup: files\\nhosts: files dns\\n" >"$1/etc/nsswitch.conf"',
        '--extract-hook=printf "root:x:0:0::/root:\\nnonroot:x:65532:65532::/tmp:\\n" >"$1/etc/passwd"',
        '--extract-hook=printf "root:x:0:\\nnonroot:x:65532:\\n" >"$1/etc/group"',
    ],
}


def digest_of(parts: Iterable[str], folder: Path = CHECKOUT, names: Iterable[str] = ()) -> str:
    """Returns 12 hex digits that stand for these words and for the names and bytes of these files and folders."""
    digest = hashlib.sha256("\0".join(parts).encode())
    for path in sorted(file for name in names for file in _files(folder / name)):
        digest.update(f"\0{path.relative_to(folder)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    else:
        yield path


@contextmanager
def _alone(what: str) -> Iterator[None]:
    """Keeps others from making the same thing at the same time; buildah itself takes care of its store."""
    locks = STATE / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / what).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _environment() -> dict[str, str]:
    """Returns the environment with buildah and mmdebstrap on PATH, from the cache where the machine has none."""
    environment = os.environ | {"TMPDIR": str(STATE / "tmp"), "CONTAINERS_CONF": str(STATE / "containers.conf")}
    (STATE / "tmp").mkdir(parents=True, exist_ok=True)
    # Otherwise buildah makes /etc/cni.
    (STATE / "containers.conf").write_text(f'[network]\nnetwork_config_dir = "{STATE}/net"\n')
    missing = [tool for tool in ("buildah", "mmdebstrap") if not shutil.which(tool)]
    if missing:
        subprocess.run([CHECKOUT / "tools" / "unpack_debs.sh", *missing], check=True, stdout=sys.stderr)
        unpacked = CACHE / "debian"
        environment["PATH"] = f"{unpacked}/usr/bin:{environment['PATH']}:/usr/sbin:/sbin"
        # Buildah starts itself with an empty environment: it finds libraries by the linker's cache, not by a variable.
        folders = sorted({str(found.parent) for found in unpacked.glob("**/*.so*")})
        (STATE / "ld.so.conf").write_text("include /etc/ld.so.conf\n" + "\n".join(folders) + "\n")
        cached: list[str | Path] = ["ldconfig", "-X", "-f", STATE / "ld.so.conf", "-C", STATE / "ld.so.cache"]
        subprocess.run(cached, check=True, env=environment, stderr=subprocess.DEVNULL)  # it tells of other files
    return environment


class Builder:
    """Buildah with a store of its own."""

    def __init__(self) -> None:
        with _alone("set-up"):
            self._environment = _environment()

    def _run(self, command: list[str | Path], log: str) -> None:
        path = STATE / f"{log}.log"
        with path.open("w") as out:
            done = subprocess.run(
                command, check=False, env=self._environment, cwd=CHECKOUT, stdout=out, stderr=subprocess.STDOUT
            )
        if done.returncode:
            print("".join(path.read_text().splitlines(keepends=True)[-30:]), file=sys.stderr)
            sys.exit(f"{command[0]} failed with {done.returncode}; all that it said is in {path}")

    def _buildah(self, *arguments: str | Path, log: str) -> None:
        # In a mount namespace of its own: no mount is left, and what it would put under /var/lib is gone.
        mounts = "mount -t tmpfs tmpfs /var/lib"
        if (STATE / "ld.so.cache").exists():
            mounts += f" && mount --bind '{STATE}/ld.so.cache' /etc/ld.so.cache"
        hidden = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]
        where: list[str | Path] = ["--root", STATE / "store", "--runroot", STATE / "run", "--storage-driver", "overlay"]
        self._run([*hidden, "buildah", *where, *arguments], log)

    def build(self, image: str, file: str, context: Path, arguments: dict[str, str]) -> None:
        """Builds an image. Its steps run in this machine's network and trust the authorities that it trusts."""
        given = arguments | {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        secrets = {"authorities": AUTHORITIES, "pip": "/etc/pip.conf"}
        there = [f"id={name},src={path}" for name, path in secrets.items() if Path(path).exists()]
        self._buildah(
            *("bud", "--layers", "--isolation", "chroot", "--network", "host"),
            *("--signature-policy", CHECKOUT / "deploy" / "base" / "policy.json"),
            *(word for secret in there for word in ("--secret", secret)),
            *(word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")),
            *("--file", CHECKOUT / file, "--tag", image, context),
            log=_log_of(image),
        )

    def export(self, image: str, archive: Path) -> None:
        """Writes an image as a docker-archive."""
        partial = archive.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        policy = CHECKOUT / "deploy" / "base" / "policy.json"
        self._buildah(
            "push",
            "--quiet",
            "--signature-policy",
            policy,
            image,
            f"docker-archive:{partial}:{image}",
            log=f"{_log_of(image)}-export",
        )
        partial.rename(archive)

    def tree(self, name: str) -> str:
        """Returns the image of one of TREES, made of Debian packages unless it is there."""
        key = digest_of([SUITE, *TREES[name]], names=["deploy/base/Dockerfile"])
        image = f"localhost/sightline-{name}:{key}"
        tree = STATE / "trees" / f"{name}-{key}.tar"
        with _alone(tree.name):
            if not tree.exists():
                tree.parent.mkdir(exist_ok=True)
                partial = tree.with_suffix(".partial.tar")
                self._run(["mmdebstrap", *TREES[name], SUITE, partial], f"tree-{name}")
                partial.rename(tree)
            self.build(image, "deploy/base/Dockerfile", tree.parent, {"TREE": tree.name})
        return image


def _log_of(image: str) -> str:
    return image.rpartition("/")[2].replace(":", "-")


def arguments_of(service: str, wanted: argparse.Namespace) -> dict[str, str]:
    """Returns the build arguments of a service."""
    of_the_encoder = {"RUNTIME": wanted.runtime, "MODEL": wanted.model} if service == "encoder" else {}
    return {"SERVICE": service, "STORE": wanted.store, "EXTRAS": wanted.extras} | of_the_encoder


def build(wanted: argparse.Namespace) -> dict[str, dict[str, object]]:
    """Builds and exports what is wanted, and returns by service: image, archive, key, bytes, seconds."""
    builder = Builder()
    base = wanted.base or builder.tree("base")
    foundation = {"BASE": base, "BUILDER": wanted.builder or wanted.base or builder.tree("builder")}
    tag = wanted.tag or digest_of(foundation.values(), names=CONTEXT)
    arguments = {service: foundation | arguments_of(service, wanted) for service in wanted.services.split(",")}
    return {service: build_one(builder, service, tag, given, wanted.out) for service, given in arguments.items()}


def build_one(builder: Builder, service: str, tag: str, arguments: dict[str, str], out: Path) -> dict[str, object]:
    """Builds and exports one image unless its archive is there."""
    words = [tag, *sorted(map("=".join, arguments.items()))]
    key = digest_of(words, names=CONTEXT)
    image, archive = f"localhost/sightline-{service}:{tag}", out / f"sightline-{service}-{key}.tar"
    began = time.monotonic()
    with _alone(archive.name):
        if not archive.exists():
            builder.build(image, "deploy/Dockerfile", CHECKOUT, arguments)
            if key != digest_of(words, names=CONTEXT):
                sys.exit(f"files were changed while {image} was built: it may be neither the old nor the new")
            builder.export(image, archive)
    size, seconds = archive.stat().st_size, round(time.monotonic() - began, 1)
    print(f"{image}  {size / 1e6:.0f} MB  {seconds} s", file=sys.stderr)
    return {"image": image, "archive": str(archive), "key": key, "bytes": size, "seconds": seconds}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--services", default=",".join(SERVICES), help="which, with commas between; all by default")
    parser.add_argument("--tag", default="", help="the images' tag; by default what they are made of")
    parser.add_argument("--runtime", default="onnx", choices=("onnx", "torch", "hf"), help="of the encoder")
    parser.add_argument("--model", default="", choices=("", "emoji"), help="baked into the encoder; none by default")
    parser.add_argument("--store", default="s3", choices=("", "s3"), help="the extra for stores that are no disks")
    parser.add_argument("--extras", default="", help="more extras of pyproject.toml, with spaces between")
    parser.add_argument("--base", default="", help="an image to run on; by default one of Debian packages is made")
    parser.add_argument("--builder", default="", help="an image to install with; --base by default")
    parser.add_argument("--out", type=Path, default=CACHE / "cluster" / "images", help="where the archives go")
    return parser.parse_args()


def main() -> None:
    """Builds what the command line wants."""
    wanted = _arguments()
    wanted.out.mkdir(parents=True, exist_ok=True)
    report = json.dumps(build(wanted), indent=2)
    (wanted.out / "images.json").write_text(report + "\n")
    print(report)


if __name__ == "__main__":
    main()
