"""What the indexer's commands have in common: their options, and how they speak."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from services.indexer.searchers import SearcherReplicas
from services.runtime.settings import addresses
from services.store import Pointer
from sightline.errors import InvalidArgument, SightlineError

StoreUrl = Annotated[str, typer.Option("--store", envvar="SIGHTLINE_STORE", help="Folder or URL of the store.")]
Collection = Annotated[str, typer.Option(help="1 to 63 lower-case letters, digits and hyphens.")]
SearcherNames = Annotated[
    str,
    typer.Option("--searchers", envvar="SIGHTLINE_SEARCHERS", help="host:port,…; a name is all its addresses."),
]
Unchecked = Annotated[bool, typer.Option("--unchecked", help="Ask no searcher: for an installation yet to start.")]
MinReplicas = Annotated[int, typer.Option(min=0, help="Replicas of each group that must serve; 0: all that answer.")]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds to wait for the searchers.")]
KeepGenerations = Annotated[int, typer.Option("--keep", min=0, help="Generations that stay at least.")]
WaitSeconds = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for what others have yet to do.")]


@contextmanager
def told() -> Iterator[None]:
    """Ends the command with 1 and a sentence where it fails."""
    try:
        yield
    except SightlineError as exc:
        Console(stderr=True).print(f"[bold red]error:[/] {escape(str(exc))}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from exc


def targets(listed: str, option: str) -> tuple[str, ...]:
    """The addresses of a list. Raises InvalidArgument, naming the option."""
    found = addresses(listed)
    for target in found:
        host, _, port = target.rpartition(":")
        if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
            raise InvalidArgument(f"must be host:port with a port of 1 to 65535, not {target!r}", field=option)
    if not found:
        raise InvalidArgument("names nobody", field=option)
    return found


def searchers_of(listed: str, unchecked: bool) -> SearcherReplicas | None:
    """Who must serve a generation before it is CURRENT; None where nobody is asked."""
    if unchecked:
        return None
    if not listed:
        raise InvalidArgument("say who must serve the generation first, or --unchecked", field="--searchers")
    return SearcherReplicas(targets(listed, "--searchers"))


def teller(console: Console) -> Callable[[str], None]:
    """Says lines that are no markup."""
    return lambda text: console.print(escape(text), highlight=False, soft_wrap=True)


def say_current(console: Console, collection: str, now: Pointer) -> None:
    """Says where CURRENT is."""
    before = f", before it {now.previous}" if now.previous else ""
    console.print(f"CURRENT of {collection} is generation {now.generation}{before}", highlight=False, soft_wrap=True)


def say_removed(console: Console, collection: str, generations: list[int]) -> None:
    """Says which generations are no more."""
    said = ", ".join(map(str, generations)) or "nothing"
    console.print(f"removed from {collection}: {said}", highlight=False, soft_wrap=True)
