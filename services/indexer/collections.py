"""The commands on what is in the store: publish, rollback, list, prune, drop."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console

from services.indexer.commands import (
    Collection,
    KeepGenerations,
    MinReplicas,
    SearcherNames,
    StoreUrl,
    Timeout,
    Unchecked,
    WaitSeconds,
    say_current,
    say_removed,
    searchers_of,
    teller,
    told,
)
from services.indexer.listing import describe_store, print_store
from services.indexer.publish import Wait
from services.indexer.publish import publish as publish_generation
from services.indexer.publish import rollback as roll_back
from services.indexer.removing import drop as drop_collection
from services.indexer.removing import prune as prune_generations
from services.indexer.together import await_sealed
from services.indexer.work import Work
from services.store import Store
from sightline.errors import InvalidArgument

app = typer.Typer()


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
    work: Annotated[str, typer.Option("--work", help="Work folder: publish what is built there, and tidy it up.")] = "",
    wait: WaitSeconds = 0.0,
) -> None:
    """Move CURRENT to a generation, once every group of searchers serves it."""
    console = Console()
    with told():
        asked = searchers_of(searchers, unchecked)
        if work and generation is not None:
            raise InvalidArgument("the work folder says which generation it is", field="--generation")
        at = Work(work) if work else None
        moving = publish_generation(
            Store(store),
            collection,
            asked,
            generation=await_sealed(at, wait).generation if at else generation,
            wait=Wait(min_replicas, timeout),
            tell=teller(console),
        )
        say_current(console, collection, asyncio.run(moving))
        if at:
            at.clear()


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
    with told():
        asked = searchers_of(searchers, unchecked=not searchers)
        work = roll_back(Store(store), collection, asked, wait=Wait(min_replicas, timeout), tell=teller(console))
        say_current(console, collection, asyncio.run(work))


@app.command(name="list")
def list_generations(
    *,
    store: StoreUrl,
    collection: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List collections, their generations, and the attributes and the model of what is served."""
    with told():
        found = describe_store(Store(store), collection)
        if as_json:
            print(json.dumps(found, ensure_ascii=True, indent=1))
        else:
            print_store(Console(), found)


@app.command()
def prune(*, store: StoreUrl, collection: Collection, keep: KeepGenerations = 0) -> None:
    """Remove the generations that neither CURRENT nor NEXT names, the one before CURRENT excepted."""
    console = Console()
    with told():
        removed = prune_generations(Store(store), collection, keep)
        say_removed(console, collection, removed)


@app.command()
def drop(
    *,
    store: StoreUrl,
    collection: Collection,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even where a build of it has begun and not ended.")] = False,
) -> None:
    """Drop a collection: gateways no longer know it, searchers let go of it, its files are removed."""
    console = Console()
    with told():
        opened = Store(store)
        count = len(opened.generations(collection))
        if count and not yes:
            typer.confirm(f"Drop {collection} with {count} generation{'' if count == 1 else 's'} for good?", abort=True)
        drop_collection(opened, collection, force=force)
        console.print(f"{collection} is dropped", highlight=False, soft_wrap=True)
