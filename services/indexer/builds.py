"""The commands that build: all at once, or stage by stage. And `inspect`, which shows what a build would make."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from services.indexer import build as building
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
    targets,
    teller,
    told,
)
from services.indexer.describing import describe, print_description
from services.indexer.options import (
    Attributes,
    CaptionColumn,
    ChunkRows,
    EncoderNames,
    Errors,
    IdColumn,
    Index,
    InFlight,
    KeepWork,
    Kind,
    Part,
    ReportFile,
    Restart,
    Scope,
    Shards,
    SourceUrl,
    Tidy,
    Types,
    UriColumn,
    Workers,
    WorkUrl,
    source_options,
)
from services.indexer.plan import CHUNK, Plan
from services.indexer.publish import Wait
from services.indexer.publish import publish as publish_generation
from services.indexer.removing import prune, sweep
from services.indexer.report import RefusalLog
from services.indexer.running import check_report, say_built, share_of_build, stage, work_at, world
from services.indexer.sources import open_source
from services.indexer.stages.encode import Pace
from services.indexer.stages.shares import Share
from services.indexer.stages.train import train_index
from services.store import Store
from sightline.errors import InvalidArgument

app = typer.Typer()

CORES = os.cpu_count() or 1


@app.command()
def build(
    *,
    source: SourceUrl,
    store: StoreUrl,
    collection: Collection,
    encoder: EncoderNames,
    shards: Shards = 4,
    index: Index = "Flat",
    source_kind: Kind = "",
    uri_column: UriColumn = "",
    id_column: IdColumn = "",
    caption_column: CaptionColumn = "",
    attribute: Attributes = None,
    typed: Types = None,
    scope: Scope = "",
    errors: Errors = None,
    report: ReportFile = None,
    work: WorkUrl = "",
    chunk: ChunkRows = CHUNK,
    restart: Restart = False,
    keep_work: KeepWork = False,
    workers: Workers = CORES,
    in_flight: InFlight = 4,
    publish: Annotated[bool, typer.Option("--publish", help="Publish what was built.")] = False,
    searchers: SearcherNames = "",
    unchecked: Unchecked = False,
    min_replicas: MinReplicas = 0,
    timeout: Timeout = 60.0,
    keep: KeepGenerations = 0,
    tidy: Tidy = False,
    part: Part = "0/1",
    wait: WaitSeconds = 86_400.0,
) -> None:
    """Index pictures: make a generation and point NEXT to it. What was ended half way goes on where it was.

    With --part, several processes do it together: all are given the same, and the first seals and publishes.
    """
    console = Console()
    with told():
        asked, share = searchers_of(searchers, unchecked) if publish else None, Share.parse(part)
        check_report(report)
        if restart and share.of > 1:
            raise InvalidArgument("the parts of a build would throw each other's work away", field="--restart")
        options = source_options(
            kind=source_kind,
            uri_column=uri_column,
            id_column=id_column,
            caption_column=caption_column,
            attribute=attribute,
            typed=typed,
        )
        plan = Plan(collection, shards, index, scope, chunk, source, options)
        encoders, opened = targets(encoder, "--encoder"), Store(store)
        pictures = open_source(source, options)
        print_description(console, describe(pictures))
        pace = Pace(reading=4 * workers, encoding=in_flight)
        at = work_at(opened, collection, work)
        goes_on = publish or tidy  # what fails after the build can be tried again without another build
        kept = keep_work or goes_on
        with RefusalLog(errors) as refused:
            try:
                with world(console, opened, at, encoders, workers=workers, pace=pace, refused=refused) as whole:
                    built = share_of_build(plan, pictures, whole, share, restart=restart, patience=wait, keep=kept)
            finally:
                refused.show(console)
        if built is None:
            return
        say_built(console, built, report)
        generation = built.manifest.generation
        if publish:
            served = Wait(min_replicas, timeout)
            moving = publish_generation(
                opened, collection, asked, generation=generation, wait=served, tell=teller(console)
            )
            say_current(console, collection, asyncio.run(moving))
        if tidy:
            say_removed(console, collection, prune(opened, collection, keep))
            sweep(opened, collection, at, generation)
        if goes_on and not keep_work:
            at.clear()


@app.command()
def read(
    *,
    source: SourceUrl,
    store: StoreUrl,
    collection: Collection,
    encoder: EncoderNames,
    shards: Shards = 4,
    index: Index = "Flat",
    source_kind: Kind = "",
    uri_column: UriColumn = "",
    id_column: IdColumn = "",
    caption_column: CaptionColumn = "",
    attribute: Attributes = None,
    typed: Types = None,
    scope: Scope = "",
    work: WorkUrl = "",
    chunk: ChunkRows = CHUNK,
    restart: Restart = False,
    part: Part = "0/1",
) -> None:
    """Begin a build by stages, and read a share of the source."""
    console = Console()
    with told():
        options = source_options(
            kind=source_kind,
            uri_column=uri_column,
            id_column=id_column,
            caption_column=caption_column,
            attribute=attribute,
            typed=typed,
        )
        plan = Plan(collection, shards, index, scope, chunk, source, options)
        share, opened, pictures = Share.parse(part), Store(store), open_source(source, options)
        at = work_at(opened, collection, work)
        with at.alone(f"read-{share.index}"), world(console, opened, at, targets(encoder, "--encoder")) as whole:
            begun = building.begin(plan, pictures, whole, restart=restart)
            building.read_share(begun, pictures, whole, share)


@app.command()
def encode(
    *,
    store: StoreUrl,
    collection: Collection,
    encoder: EncoderNames,
    work: WorkUrl = "",
    workers: Workers = CORES,
    in_flight: InFlight = 4,
    part: Part = "0/1",
) -> None:
    """Encode a share of what was read."""
    with told():
        share, encoders = Share.parse(part), targets(encoder, "--encoder")
        pace = Pace(reading=4 * workers, encoding=in_flight)
        with (
            stage(store, collection, work, f"encode-{share.index}") as (opened, at, begun),
            world(Console(), opened, at, encoders, workers=workers, pace=pace) as whole,
        ):
            building.encode_share(begun, whole, share)


@app.command()
def train(*, store: StoreUrl, collection: Collection, work: WorkUrl = "") -> None:
    """Settle the types of attributes, and train the index, once for all shards."""
    with (
        told(),
        stage(store, collection, work, "train") as (opened, at, begun),
        world(Console(), opened, at) as whole,
    ):
        train_index(at, begun, whole.progress)


@app.command()
def fill(*, store: StoreUrl, collection: Collection, work: WorkUrl = "", part: Part = "0/1") -> None:
    """Write a share of the shards."""
    with told():
        share = Share.parse(part)
        with (
            stage(store, collection, work, f"fill-{share.index}") as (opened, at, begun),
            world(Console(), opened, at) as whole,
        ):
            building.fill_share(begun, whole, share)


@app.command()
def seal(
    *,
    store: StoreUrl,
    collection: Collection,
    work: WorkUrl = "",
    errors: Errors = None,
    report: ReportFile = None,
    keep_work: KeepWork = False,
) -> None:
    """Make a generation of the shards, point NEXT to it, and write its report."""
    console = Console()
    with told(), stage(store, collection, work, "seal") as (opened, at, begun):
        check_report(report)
        with RefusalLog(errors) as refused:
            with world(console, opened, at, refused=refused) as whole:
                built = building.finish(begun, whole, keep=keep_work)
            refused.show(console)
        say_built(console, built, report)


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
    with told():
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
