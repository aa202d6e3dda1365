"""The indexer's command line: `python -m services.indexer build|inspect|publish|rollback|list`."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from services.indexer.build import Plan, World
from services.indexer.build import build as build_generation
from services.indexer.describing import describe, print_description
from services.indexer.documents import document
from services.indexer.encoding import Encoders
from services.indexer.intake import Pace
from services.indexer.listing import describe_store, print_store
from services.indexer.options import (
    Attributes,
    CaptionColumn,
    IdColumn,
    Kind,
    SourceUrl,
    Types,
    UriColumn,
    source_options,
)
from services.indexer.publish import Wait
from services.indexer.publish import publish as publish_generation
from services.indexer.publish import rollback as roll_back
from services.indexer.reading import Reader
from services.indexer.report import RefusalLog, progress_on
from services.indexer.searchers import SearcherReplicas
from services.indexer.sources import Source, open_source
from services.indexer.spool import Spool
from services.runtime.settings import addresses
from services.store import Manifest, Pointer, Store
from sightline.errors import InvalidArgument, SightlineError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)

StoreUrl = Annotated[str, typer.Option("--store", envvar="SIGHTLINE_STORE", help="Folder or URL of the store.")]
Collection = Annotated[str, typer.Option(help="1 to 63 lower-case letters, digits and hyphens.")]
SearcherNames = Annotated[
    str,
    typer.Option("--searchers", envvar="SIGHTLINE_SEARCHERS", help="host:port,…; a name is all its addresses."),
]
Unchecked = Annotated[bool, typer.Option("--unchecked", help="Ask no searcher: for an installation yet to start.")]
MinReplicas = Annotated[int, typer.Option(min=0, help="Replicas of each group that must serve; 0: all that answer.")]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds to wait for the searchers.")]


@app.command()
def build(
    *,
    source: SourceUrl,
    store: StoreUrl,
    collection: Collection,
    encoder: Annotated[str, typer.Option(envvar="SIGHTLINE_ENCODERS", help="host:port,… of the encoders.")],
    shards: Annotated[int, typer.Option(min=1, max=4096, help="Shards that the images are spread over.")] = 4,
    index: Annotated[str, typer.Option(help="FAISS factory string; Flat is exact.")] = "Flat",
    source_kind: Kind = "",
    uri_column: UriColumn = "",
    id_column: IdColumn = "",
    caption_column: CaptionColumn = "",
    attribute: Attributes = None,
    typed: Types = None,
    scope: Annotated[str, typer.Option(help="What all pictures are, where the model is for that alone.")] = "",
    errors: Annotated[str | None, typer.Option(help="File for all that is left out: JSONL of uri, reason.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Threads that read and decode.")] = os.cpu_count() or 1,
    in_flight: Annotated[int, typer.Option(min=1, max=256, help="Batches with the encoders at a time.")] = 4,
    publish: Annotated[bool, typer.Option("--publish", help="Publish what was built.")] = False,
    searchers: SearcherNames = "",
    unchecked: Unchecked = False,
    min_replicas: MinReplicas = 0,
    timeout: Timeout = 60.0,
) -> None:
    """Index pictures: make a generation and point NEXT to it."""
    console = Console()
    with _told():
        asked = _searchers(searchers, unchecked) if publish else None
        plan = Plan(collection, shards, index, scope, Pace(reading=4 * workers, encoding=in_flight))
        encoders, opened = _targets(encoder, "--encoder"), Store(store)
        options = source_options(
            kind=source_kind,
            uri_column=uri_column,
            id_column=id_column,
            caption_column=caption_column,
            attribute=attribute,
            typed=typed,
        )
        pictures = open_source(source, options)
        print_description(console, describe(pictures))
        manifest = _build(console, plan, pictures, store=opened, encoders=encoders, workers=workers, errors=errors)
        console.print(
            f"generation {manifest.generation} of {collection}: {manifest.images:,} images",
            highlight=False,
            soft_wrap=True,
        )
        if publish:
            wait = Wait(min_replicas, timeout)
            work = publish_generation(
                opened, collection, asked, generation=manifest.generation, wait=wait, tell=_teller(console)
            )
            _say_current(console, collection, asyncio.run(work))


@app.command()
def inspect(
    *,
    source: SourceUrl,
    source_kind: Kind = "",
    uri_column: UriColumn = "",
    id_column: IdColumn = "",
    caption_column: CaptionColumn = "",
    attribute: Attributes = None,
    typed: Types = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what a build would make of a source, from its first rows: what kind it is, and the types of attributes."""
    with _told():
        options = source_options(
            kind=source_kind,
            uri_column=uri_column,
            id_column=id_column,
            caption_column=caption_column,
            attribute=attribute,
            typed=typed,
        )
        found = describe(open_source(source, options))
        if as_json:
            print(json.dumps(asdict(found), ensure_ascii=True, indent=1))
        else:
            print_description(Console(), found)


@app.command()
def publish(
    *,
    store: StoreUrl,
    collection: Collection,
    generation: Annotated[int | None, typer.Option(min=1, help="Which; what NEXT points to if not said.")] = None,
    searchers: SearcherNames = "",
    unchecked: Unchecked = False,
    min_replicas: MinReplicas = 0,
    timeout: Timeout = 60.0,
) -> None:
    """Move CURRENT to a generation, once every group of searchers serves it."""
    console = Console()
    with _told():
        work = publish_generation(
            Store(store),
            collection,
            _searchers(searchers, unchecked),
            generation=generation,
            wait=Wait(min_replicas, timeout),
            tell=_teller(console),
        )
        _say_current(console, collection, asyncio.run(work))


@app.command()
def rollback(
    *,
    store: StoreUrl,
    collection: Collection,
    searchers: SearcherNames = "",
    min_replicas: MinReplicas = 0,
    timeout: Timeout = 60.0,
) -> None:
    """Move CURRENT back to the generation before; with --searchers, only where every group still serves it."""
    console = Console()
    with _told():
        asked = _searchers(searchers, unchecked=not searchers)
        work = roll_back(Store(store), collection, asked, wait=Wait(min_replicas, timeout), tell=_teller(console))
        _say_current(console, collection, asyncio.run(work))


@app.command(name="list")
def list_generations(
    *,
    store: StoreUrl,
    collection: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List collections and their generations."""
    console = Console()
    with _told():
        found = describe_store(Store(store), collection)
        if as_json:
            print(json.dumps(found, ensure_ascii=False, indent=1))
        else:
            print_store(console, found)


def _build(
    console: Console,
    plan: Plan,
    source: Source,
    *,
    store: Store,
    encoders: tuple[str, ...],
    workers: int,
    errors: str | None,
) -> Manifest:
    """Builds everything that a build works with, and builds."""
    with (
        tempfile.TemporaryDirectory(prefix="sightline-build-") as folder,
        closing(Spool(Path(folder) / "spool.sqlite")) as spool,
        ThreadPoolExecutor(workers, thread_name_prefix="reading") as executor,
        RefusalLog(errors) as refused,
    ):
        try:
            with progress_on(console) as progress:
                world = World(
                    store=store,
                    connect=lambda: Encoders(encoders),
                    spool=spool,
                    document=document,
                    reader_for=lambda model: Reader(model.preparation, executor),
                    refuse=refused.add,
                    warn=lambda text: console.print(
                        f"[bold yellow]warning:[/] {escape(text)}", highlight=False, soft_wrap=True
                    ),
                    progress=progress,
                )
                return build_generation(plan, source, world)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
            refused.show(console)


@contextmanager
def _told() -> Iterator[None]:
    """Ends the command with 1 and a sentence where it fails."""
    try:
        yield
    except SightlineError as exc:
        Console(stderr=True).print(f"[bold red]error:[/] {escape(str(exc))}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from exc


def _targets(listed: str, option: str) -> tuple[str, ...]:
    targets = addresses(listed)
    for target in targets:
        host, _, port = target.rpartition(":")
        if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
            raise InvalidArgument(f"must be host:port with a port of 1 to 65535, not {target!r}", field=option)
    if not targets:
        raise InvalidArgument("names nobody", field=option)
    return targets


def _searchers(listed: str, unchecked: bool) -> SearcherReplicas | None:
    if unchecked:
        return None
    if not listed:
        raise InvalidArgument("say who must serve the generation first, or --unchecked", field="--searchers")
    return SearcherReplicas(_targets(listed, "--searchers"))


def _teller(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(escape(text), highlight=False, soft_wrap=True)


def _say_current(console: Console, collection: str, now: Pointer) -> None:
    before = f", before it {now.previous}" if now.previous else ""
    console.print(f"CURRENT of {collection} is generation {now.generation}{before}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    app()
