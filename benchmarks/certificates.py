"""Certificates for tries over TLS: an authority, and whom it vouches for."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """PEM files: a certificate and its private key."""

    cert: Path
    key: Path


@dataclass
class Authority:
    """Signs certificates for this machine; `ca` is the file to trust.

    Args:
        folder: where the files go.
        name: of the authority.
    """

    folder: Path
    name: str = "authority"
    _key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False
    )

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca = self.folder / f"{self.name}.pem"
        basic = x509.BasicConstraints(ca=True, path_length=0)
        self.ca.write_bytes(_pem(_builder(self.name, self.name, self._key).add_extension(basic, True), self._key))

    def issue(self, name: str, into: Pair | None = None) -> Pair:
        """Writes a certificate for 127.0.0.1 and localhost; over the files of `into`, where it is given."""
        pair = into or Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        own = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST)), x509.DNSName(name)]
        )
        builder = _builder(name, self.name, own).add_extension(names, False)
        _replace(pair.key, _private(own))
        _replace(pair.cert, _pem(builder, self._key))
        return pair


def _replace(file: Path, content: bytes) -> None:
    """As what rotates certificates does: whole files, one after the other."""
    fresh = file.with_suffix(".fresh")
    fresh.write_bytes(content)
    fresh.replace(file)


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 30 * _DAY)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(builder: x509.CertificateBuilder, signer: ec.EllipticCurvePrivateKey) -> bytes:
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
