"""Certificates: what a server shows, whom it asks for one, and what happens when the files change."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.certificates import Authority, Pair
from services.gateway.settings import GatewaySettings
from services.runtime.rotating import Rotating
from services.runtime.settings import load
from services.runtime.tls import TlsFiles, server_credentials
from sightline import Client, FakeClient, Image, InvalidArgument, Tls, Unavailable
from tests.sdk_server import Servicer, served


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.issue("server")


@pytest.fixture
def servicer() -> Servicer:
    return Servicer(FakeClient([Image("apple", caption="red apple")]))


@pytest.fixture
async def address(servicer: Servicer, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A server over TLS that looks at its files for each connection."""
    monkeypatch.setattr(Rotating.__init__, "__kwdefaults__", {"every": 0.0})
    async with served(servicer, credentials=server_credentials(TlsFiles(pair.cert, pair.key))) as address:
        yield address


async def finds(address: str, tls: Tls | None, timeout: float = 5) -> bool:
    """Whether a client of its own connection is answered."""
    async with Client(address, tls=tls, timeout=timeout) as client:
        return len(await client.search("apple")) == 1


async def test_a_client_that_trusts_the_server_is_answered(address: str, authority: Authority) -> None:
    """Over TLS the server must show a certificate of an authority that the client trusts, for the name it wants."""
    assert await finds(address, Tls(authority.ca))
    assert await finds(address, Tls(authority.ca, server_name="server"))
    stranger = Authority(authority.folder / "other")
    for tls in (Tls(stranger.ca), Tls(authority.ca, server_name="elsewhere"), None):
        with pytest.raises(Unavailable):
            await finds(address, tls)


async def test_a_new_certificate_is_shown_without_a_restart(
    address: str, authority: Authority, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """New connections get the certificate that the files hold by then, also of another authority; those that are open
    go on."""
    async with Client(address, tls=Tls(authority.ca)) as before:
        assert len(await before.search("apple")) == 1
        successor = Authority(authority.folder / "successor")
        successor.issue("server", into=pair)
        assert await finds(address, Tls(successor.ca))
        with pytest.raises(Unavailable):
            await finds(address, Tls(authority.ca))
        assert len(await before.search("apple")) == 1


@pytest.mark.parametrize("broken", ["key of another", "cut", "empty", "gone"])
async def test_a_broken_certificate_leaves_the_old_one(
    address: str, authority: Authority, pair: Pair, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that is not the certificate's, and a file that is cut, empty or gone, leave the old certificate in force,
    and the log says so."""
    harm(authority, pair, broken)
    assert await finds(address, Tls(authority.ca))
    assert await finds(address, Tls(authority.ca))
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1
    assert "the old stays in force" in told[0]


def harm(authority: Authority, pair: Pair, how: str) -> None:
    match how:
        case "key of another":
            pair.key.write_bytes(authority.issue("another").key.read_bytes())
        case "cut":
            pair.cert.write_bytes(pair.cert.read_bytes()[:200])
        case "empty":
            pair.key.write_bytes(b"")
        case "gone":
            pair.cert.unlink()


async def test_callers_show_certificates_where_they_must(servicer: Servicer, authority: Authority, pair: Pair) -> None:
    """Under mutual TLS only who has a certificate of the named authority is answered."""
    own, foreign = authority.issue("caller"), Authority(authority.folder / "other").issue("caller")
    credentials = server_credentials(TlsFiles(pair.cert, pair.key, authority.ca))
    async with served(servicer, credentials=credentials) as address:
        assert await finds(address, Tls(authority.ca, own.cert, own.key))
        for tls in (Tls(authority.ca), Tls(authority.ca, foreign.cert, foreign.key)):
            with pytest.raises(Unavailable):
                await finds(address, tls)


def test_wrong_files_are_refused_at_first(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    """A server does not start with a key of another certificate, an encrypted key, or a file that is not there."""
    another = authority.issue("another")
    (tmp_path / "encrypted.key").write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----"
    )
    for key in (another.key, tmp_path / "encrypted.key"):
        with pytest.raises(ValueError, match="key"):
            server_credentials(TlsFiles(pair.cert, key))
    with pytest.raises(FileNotFoundError):
        server_credentials(TlsFiles(tmp_path / "nothing.pem", pair.key))
    with pytest.raises(ValueError, match="no certificate"):
        server_credentials(TlsFiles(pair.cert, pair.key, pair.key))


async def test_a_client_names_the_file_that_it_cannot_read(tmp_path: Path) -> None:
    """Files that are not there, or no PEM, and a certificate without its key, are mistakes that name their field."""
    (tmp_path / "words.pem").write_text("no certificate")
    wrong = (
        (Tls(tmp_path / "no.pem"), "tls.ca"),
        (Tls(cert=tmp_path / "no.pem"), "tls.key"),
        (Tls(tmp_path / "words.pem"), "tls.ca"),
        (Tls(cert=tmp_path / "words.pem", key=tmp_path / "words.pem"), "tls.key"),
    )
    for tls, field in wrong:
        with pytest.raises(InvalidArgument) as caught:
            await Client("localhost:1", tls=tls).search("apple")
        assert caught.value.field == field


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"TLS_CERT": "a.pem"}, "SIGHTLINE_TLS_KEY: Value error, a certificate and its key are given together"),
        ({"TLS_KEY": "a.key"}, "SIGHTLINE_TLS_KEY: Value error, a certificate and its key are given together"),
        ({"TLS_CLIENT_CA": "ca.pem"}, "SIGHTLINE_TLS_CLIENT_CA: Value error, callers can show certificates over TLS"),
    ],
)
def test_settings_that_do_not_go_together_are_named(
    given: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A certificate without its key, and client certificates without TLS, are refused when a gateway starts."""
    for name, value in {"STORE": "/s", "ENCODERS": "", "SEARCHERS": "", **given}.items():
        monkeypatch.setenv(f"SIGHTLINE_{name}", value)
    with pytest.raises(SystemExit):
        load(GatewaySettings)
    assert says in capsys.readouterr().err
