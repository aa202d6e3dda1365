"""A real S3 server on this machine, over a folder: for tests and bars of what lies in buckets."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fsspec import filesystem, get_filesystem_class

from services.local.cluster import LocalCluster
from services.local.ports import HOST, free_ports
from services.local.topology import CHECKOUT, Spec

PROGRAM = CHECKOUT / "tools" / "s3-server"
REGION = "us-east-1"


def missing() -> str:
    """Returns why there is no server on this machine; nothing where there is one. Builds it on first use."""
    built = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=False)
    return "" if built.returncode == 0 else f"no S3 server: {built.stderr.strip().splitlines()[-1:]}"


class S3Server:
    """Serves a folder as S3, with an owner made up for it.

    Args:
        folder: empty; its own.

    Attributes:
        address: host:port.
        environment: what leads s3fs, and every process that is started, to the server.
    """

    def __init__(self, folder: Path) -> None:
        self.address = f"{HOST}:{free_ports(1)[0]}"
        self.environment = client_environment(self.address)
        owner = {
            "ROOT_ACCESS_KEY": self.environment["AWS_ACCESS_KEY_ID"],
            "ROOT_SECRET_KEY": self.environment["AWS_SECRET_ACCESS_KEY"],
        }
        for part in ("buckets", "tags", "run"):
            (folder / part).mkdir(parents=True)
        command = [str(PROGRAM), "--quiet", "--port", self.address, "--region", REGION, "--health", "/readyz"]
        command += ["posix", *_tags(folder), str(folder / "buckets")]
        spec = Spec("s3", "s3", tuple(command), self.address, self.address, owner)
        self._processes = LocalCluster.of([spec], folder / "run")

    def __enter__(self) -> Self:
        self._processes.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._processes.close()

    def kill(self) -> None:
        """Kills it: connections are refused."""
        self._processes.kill("s3")

    def stop(self) -> None:
        """Makes it hang: connections stay open and nothing answers."""
        self._processes.stop("s3")

    def restore(self) -> None:
        """Undoes `kill` and `stop`. What was stored is still there."""
        if self._processes.processes["s3"].is_running:
            self._processes.resume("s3")
        else:
            self._processes.restart("s3")
        self._processes.wait_ready("s3")


def _tags(folder: Path) -> list[str]:
    """Tags and checksums of objects lie with them, so that both change at one moment; apart only where they must."""
    try:
        os.setxattr(folder, "user.sightline", b"1")
    except OSError:
        return ["--sidecar", str(folder / "tags")]
    return []


def client_environment(address: str) -> dict[str, str]:
    """Returns the environment of a client of the server at this host:port, with keys that nobody has had before."""
    return {
        "AWS_ENDPOINT_URL": f"http://{address}",
        "AWS_ACCESS_KEY_ID": secrets.token_hex(8),
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
        "AWS_DEFAULT_REGION": REGION,
    }


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Sets variables while it lasts, for this process and those that it starts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    # The environment is read when a file system is made, and one of before leads elsewhere.
    get_filesystem_class("s3").clear_instance_cache()
    try:
        yield
    finally:
        get_filesystem_class("s3").clear_instance_cache()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def bucket(name: str = "") -> str:
    """Makes a bucket on the server that the environment leads to; returns its name, made up where none is given."""
    made = name or f"bucket-{secrets.token_hex(4)}"
    files().mkdir(made)
    return made


def files() -> Any:
    """Returns the file system of the server that the environment leads to."""
    return filesystem("s3", use_listings_cache=False)
