"""The keys of callers, as a file lists them: who they are, and which services they may use.

    # name       SHA-256 of the key, in hex                                          services; all without any
    web          9b871512327c09ce91dd649b3f96a63b7408ef267c8cc5710114e629730cb61f
    analytics    a2b7ddf3ba73d0c4b1e8f3f6a0a6b2c5bd1e2cc0a6ee65c2e6f8e2f9b6d1c7aa    search, collection

A name may have several keys, so that one can be replaced by another while both work.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from services.runtime.rotating import Rotating
from sightline.errors import PermissionDenied, Unauthenticated

MAX_KEYS = 256
"""Keys in one file. Each call is compared with all of them, and each name has metrics of its own."""

_SCHEME = "bearer "
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class Caller:
    """Whoever holds a key.

    Attributes:
        name: for logs and metrics.
        digest: SHA-256 of the key.
        services: that it may use, in lower case; all where there are none.
    """

    name: str
    digest: bytes
    services: frozenset[str] = frozenset()


class Keys:
    """Knows callers by their keys.

    Args:
        file: lists the keys; may be replaced.
        services: that there are, in lower case: search, image, …
        every: seconds between looks at the file.

    Raises:
        OSError, ValueError: the file is wrong, at first. Later the old one stays in force, and the log says so.
    """

    def __init__(self, file: Path, services: Iterable[str], *, every: float = 1.0) -> None:
        known = frozenset(services)
        self._file = Rotating([file], lambda: read_keys(file, known), every=every)

    def caller(self, authorization: str, service: str) -> Caller:
        """Returns whose key a call to a service bears.

        Args:
            authorization: the call's header, ``Bearer <key>``; empty where it has none.
            service: in lower case.

        Raises:
            Unauthenticated: there is no key, or an unknown one.
            PermissionDenied: it may not use the service.
        """
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            raise Unauthenticated("this service asks for a key: authorization: Bearer <key>", reason="NO_KEY")
        digest = hashlib.sha256(authorization[len(_SCHEME) :].strip().encode()).digest()
        found = None
        for one in self._file.current():  # all of them, so that the time taken tells nothing
            if hmac.compare_digest(one.digest, digest):
                found = one
        if found is None:
            raise Unauthenticated("the key is not known here, or not any more", reason="UNKNOWN_KEY")
        if found.services and service not in found.services:
            allowed = ", ".join(sorted(found.services))
            raise PermissionDenied(f"the key of {found.name} is for {allowed}, not {service}", reason="KEY_NOT_ALLOWED")
        return found

    def check(self, caller: Caller) -> None:
        """Raises Unauthenticated where the caller's key is not listed as it was."""
        if caller not in self._file.current():
            raise Unauthenticated("the key was withdrawn", reason="KEY_WITHDRAWN")


def read_keys(file: Path, services: frozenset[str]) -> tuple[Caller, ...]:
    """Reads a file of keys.

    Raises:
        OSError: it cannot be read.
        ValueError: it is wrong; names the line and never what stands there.
    """
    lines = enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
    callers = [_read_line(f"line {number}", line, services) for number, line in lines if line.partition("#")[0].strip()]
    if not 1 <= len(callers) <= MAX_KEYS:
        raise ValueError(f"a file of keys has 1 to {MAX_KEYS} of them, got {len(callers)}")
    if len({one.digest for one in callers}) != len(callers):
        raise ValueError("a key stands there twice")
    return tuple(callers)


def _read_line(where: str, line: str, services: frozenset[str]) -> Caller:
    name, *rest = line.partition("#")[0].split(maxsplit=2)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{where}: a name is 1 to 63 letters, digits, dots, hyphens and underscores")
    if not rest or not _DIGEST.fullmatch(rest[0]):
        raise ValueError(f"{where}: after the name comes the SHA-256 of the key, 64 hexadecimal digits")
    allowed = frozenset(rest[1].replace(",", " ").lower().split() if len(rest) > 1 else ())
    if unknown := allowed - services:
        raise ValueError(f"{where}: no service {', '.join(sorted(unknown))}; there are {', '.join(sorted(services))}")
    return Caller(name, bytes.fromhex(rest[0]), allowed)
