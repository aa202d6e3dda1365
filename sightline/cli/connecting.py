"""How every command reaches the service: options that all of them take, and what is made of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline._channel import check_address
from sightline.client import Client
from sightline.errors import InvalidArgument
from sightline.security import Tls

DEFAULT_ADDRESS = "127.0.0.1:7700"


@dataclass(frozen=True)
class Service:
    """A service to ask, and how: what the options `--address`, `--timeout`, `--tls` and so on said."""

    address: str
    timeout: float
    tls: Tls | None
    key: str

    def __repr__(self) -> str:
        return f"<Service: {self.address}>"

    def client(self) -> Client:
        """Returns a client for it."""
        return Client(self.address, tls=self.tls, key=self.key, timeout=self.timeout)


def _address(given: str) -> str:
    try:
        check_address(given)
    except InvalidArgument as error:
        raise typer.BadParameter(error.message) from None
    return given


def _options(
    *,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for the answer.")] = 10.0,
    address: Annotated[
        str, typer.Option(envvar="SIGHTLINE_ADDRESS", callback=_address, help="Where the gateway listens: host:port.")
    ] = DEFAULT_ADDRESS,
    tls: Annotated[bool, typer.Option(envvar="SIGHTLINE_TLS", help="Speak TLS; the next three imply it.")] = False,
    ca: Annotated[
        Path | None, typer.Option(envvar="SIGHTLINE_CA", help="Certificates to trust (PEM); gRPC's own without it.")
    ] = None,
    cert: Annotated[
        Path | None, typer.Option(envvar="SIGHTLINE_CERT", help="A certificate of your own, for mutual TLS (PEM).")
    ] = None,
    cert_key: Annotated[Path | None, typer.Option(envvar="SIGHTLINE_CERT_KEY", help="Its private key (PEM).")] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(envvar="SIGHTLINE_KEY_FILE", help="A file with your key; or set SIGHTLINE_KEY to the key itself."),
    ] = None,
    key: Annotated[str, typer.Option(envvar="SIGHTLINE_KEY", hidden=True)] = "",
) -> Service:
    secure = Tls(ca, cert, cert_key) if tls or ca or cert or cert_key else None
    try:
        key = key_file.read_text(encoding="utf-8").strip() if key_file else key
    except OSError as error:
        raise typer.BadParameter(f"{key_file}: {error.strerror}", param_hint="--key-file") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{key_file} holds no text", param_hint="--key-file") from None
    return Service(address, timeout, secure, key)


def connecting(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options of how to reach the service, in the place of its parameter `service`."""
    signature = inspect.signature(command, eval_str=True)
    own = [one for name, one in signature.parameters.items() if name != "service"]
    shared = inspect.signature(_options, eval_str=True).parameters

    @functools.wraps(command)
    def connected(**given: Any) -> Any:
        service = _options(**{name: given.pop(name) for name in shared})
        return command(**given, service=service)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *shared.values())]
    connected.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    connected.__annotations__ = {one.name: one.annotation for one in parameters}
    return connected
