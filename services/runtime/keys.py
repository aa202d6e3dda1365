"""The keys of callers, as a file lists them: who they are, and which services they may use.

    # name     SHA-256 of the key, in hex                                          services; all without any
    web        6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b
    reader     d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35    search, collection

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

REFUSALS = ("NO_KEY", "UNKNOWN_KEY", "KEY_NOT_ALLOWED")
"""Why a call is refused."""

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

    def names(self) -> frozenset[str]:
        """Returns the names of all who have keys."""
        return frozenset(one.name for one in self._file.current())

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
