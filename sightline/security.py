"""Who the client talks to, and who it says that it is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from sightline.errors import InvalidArgument

_KEY = re.compile(r"[\x21-\x7e]{1,1024}")


@dataclass(frozen=True)
class Tls:
    """TLS to the server; with a certificate of the client's own, mutual TLS. All files are PEM, read when the client
    first connects.

    Args:
        ca: certificates to trust; those that come with gRPC where it is None.
        cert: the client's certificate, and those between it and one that the server trusts.
        key: the private key of `cert`.
        server_name: the name that the server's certificate must have, where it is not that of the address.
    """

    ca: str | Path | None = None
    cert: str | Path | None = None
    key: str | Path | None = field(default=None, repr=False)
    server_name: str = ""

    def credentials(self) -> grpc.ChannelCredentials:
        """Returns what gRPC takes.

        Raises:
            InvalidArgument: a file cannot be read or is no PEM, or only one of `cert` and `key` is given.
        """
        if (self.cert is None) != (self.key is None):
            raise InvalidArgument("cert and key go together", reason="BAD_TLS", field="tls.key")
        ca, key, cert = (_read(getattr(self, name), f"tls.{name}") for name in ("ca", "key", "cert"))
        return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)


def bearer(key: str) -> str:
    """Returns what the `authorization` of a call says.

    Raises:
        InvalidArgument: no header can carry the key. The message does not show it.
    """
    if not _KEY.fullmatch(key):
        raise InvalidArgument("a key is 1 to 1,024 visible ASCII characters", reason="BAD_KEY", field="key")
    return f"Bearer {key}"


def _read(file: str | Path | None, field: str) -> bytes | None:
    if file is None:
        return None
    try:
        found = Path(file).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"{file}: {error.strerror}", reason="BAD_TLS", field=field) from error
    mark, what = (b"PRIVATE KEY-----", "private key") if field == "tls.key" else (b"CERTIFICATE-----", "certificate")
    if mark not in found:
        # gRPC would say no more than that nobody answers.
        raise InvalidArgument(f"{file}: holds no {what} (PEM)", reason="BAD_TLS", field=field)
    return found
