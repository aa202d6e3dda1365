"""Between the commands and the client: builds the query, makes the call, and turns errors into exit codes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import typer

from sightline.cli.connecting import Service
from sightline.cli.where import parse_where
from sightline.errors import SightlineError, Unauthenticated, Unavailable, Unimplemented
from sightline.filters import Filter
from sightline.queries import ImageId, Query, Weighted, image, text
from sightline.surface import SearchClient

REFUSED = 1
"""Exit code: the service refused or could not be reached."""

SENSELESS = 2
"""Exit code: the command makes no sense."""

NO_SUCH_METHOD = "UNIMPLEMENTED"
"""What a server that does not have the service at all says; ours name a reason of their own."""

_T = TypeVar("_T")


def ask(service: Service, question: Callable[[SearchClient], Coroutine[Any, Any, _T]]) -> _T:
    """Returns what the service answers.

    Raises:
        typer.Exit: it refused, or could not be reached; the reason has been printed.
    """

    async def asking() -> _T:
        async with service.client() as client:
            return await question(client)

    try:
        return asyncio.run(asking())
    except SightlineError as error:
        typer.echo(f"{error} ({error.reason})", err=True)
        if isinstance(error, Unavailable):
            spoken = "with TLS, and a certificate that --ca trusts" if service.tls else "without TLS"
            typer.echo(
                f"Is a gateway running there, {spoken}? --address or SIGHTLINE_ADDRESS chooses another.", err=True
            )
        if isinstance(error, Unimplemented) and error.reason == NO_SUCH_METHOD:
            typer.echo(
                f"{service.address} is no gateway, but another server that speaks gRPC: an encoder or a searcher?",
                err=True,
            )
        if isinstance(error, Unauthenticated):
            typer.echo("--key-file or SIGHTLINE_KEY says who you are.", err=True)
        raise typer.Exit(SENSELESS if error.field == "--where" else REFUSED) from None


def build_query(words: str | None, files: Sequence[Path], ids: Sequence[str], minus: Sequence[str]) -> Query:
    """Returns what to look for: all of it together, steering away from `minus`.

    Raises:
        typer.BadParameter: there is nothing to look for, or a file cannot be read.
    """
    try:
        wanted: list[Query] = [text(words)] if words is not None else []
        wanted += [image(file) for file in files]
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}", param_hint="--image") from None
    wanted += [ImageId(one) for one in ids]
    if not wanted:
        raise typer.BadParameter(
            'say what to look for: words, --image FILE or --id ID, such as: sightline search "cat"'
        )
    if len(wanted) == 1 and not minus:
        return wanted[0]
    return Weighted([*((1.0, one) for one in wanted), *((-1.0, text(one)) for one in minus)])


async def filter_of(client: SearchClient, conditions: Sequence[str], collection: str) -> Filter | None:
    """Returns the filter that the conditions make together, of the types that the collection's attributes have.

    Raises:
        InvalidArgument: one of them makes no sense, or not with this collection.
    """
    return parse_where(conditions, (await client.collection(collection)).attributes) if conditions else None
