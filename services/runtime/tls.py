"""The certificate that a server shows, and whose certificates it asks for: files that may rotate."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from services.runtime.rotating import Rotating


@dataclass(frozen=True)
class TlsFiles:
    """PEM files.

    Attributes:
        cert: the server's certificate, and those between it and one that callers trust.
        key: its private key.
        client_ca: certificates whose holders' certificates callers must show; they need none where it is None.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Returns credentials that show to each new connection what the files hold by then.

    Raises:
        OSError, ValueError: the files are wrong, at first. Later the old ones stay in force, and the log says so.
    """
    watched = [file for file in (files.cert, files.key, files.client_ca) if file]
    rotating = Rotating(watched, lambda: _read(files))
    served = rotating.current()

    def fetch() -> grpc.ServerCertificateConfiguration | None:  # by gRPC's own threads, once a connection
        nonlocal served
        if (fresh := rotating.current()) is served:
            return None
        served = fresh
        return fresh

    unless_changed: Any = fetch  # the stubs do not know that None keeps what is served
    return grpc.dynamic_ssl_server_credentials(
        served, unless_changed, require_client_authentication=files.client_ca is not None
    )


def _read(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    chain, key = files.cert.read_bytes(), files.key.read_bytes()
    roots = files.client_ca.read_bytes() if files.client_ca else None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(files.cert, files.key, password=_no_password)
        if files.client_ca:
            context.load_verify_locations(files.client_ca)
    except ssl.SSLError as error:
        raise ValueError(f"no certificate, or not the key of the certificate: {error.reason}") from error
    if (chain, key) != (files.cert.read_bytes(), files.key.read_bytes()):
        raise ValueError("they changed while they were read")
    return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=roots)


def _no_password() -> str:
    raise ValueError("the private key is encrypted; it must lie in the clear, readable by this process alone")
