"""The indexer's command line: `python -m services.indexer build|inspect|publish|rollback|list|prune|drop`.

A build in one process is `build`; in several at once it is `build --part i/n` in each of them. Or it is its stages, one
after the other: `read`, `encode`, `train`, `fill` and `seal`, each in as many processes as you like.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from services.indexer import build as building
from services.indexer.build import Built, World
from services.indexer.collections import app as collections_app
from services.indexer.commands import (
    Collection,
    MinReplicas,
    SearcherNames,
    StoreUrl,
    Timeout,
    Unchecked,
    WaitSeconds,
    say_current,
    searchers_of,
    targets,
    teller,
    told,
)
from services.indexer.describing import describe, print_description
from services.indexer.documents import document
from services.indexer.encoding import Encoders
from services.indexer.once import Note
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
from services.indexer.page import render
from services.indexer.plan import CHUNK, Begun, Plan
from services.indexer.publish import Wait
from services.indexer.publish import publish as publish_generation
from services.indexer.reading import Reader
from services.indexer.removing import work_of
from services.indexer.report import RefusalLog, progress_on
from services.indexer.sources import open_source
from services.indexer.stages.encode import Pace
from services.indexer.stages.shares import Share
from services.indexer.stages.train import train_index
from services.indexer.together import build_together
from services.indexer.work import Work
from services.store import Store
from sightline.errors import FailedPrecondition, InvalidArgument


def _note(_: object, once: str) -> None:
    """After a command that has not failed."""
    if once:
        with told():
            Note(once).write()


app = typer.Typer(
    no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False, result_callback=_note
)


@app.callback()
def main(
    once: Annotated[
        str, typer.Option("--once", help="URL of a note: nothing is done where it is, else it is written at the end.")
    ] = "",
) -> None:
    """See --help of each command."""
    with told():
        if once and Note(once).is_there():
            Console().print(escape(f"done before, says {once}"), highlight=False, soft_wrap=True)
            raise typer.Exit(0)


WorkUrl = Annotated[str, typer.Option("--work", help="Folder or URL for what stages leave; in the store if not said.")]
EncoderNames = Annotated[
    str, typer.Option("--encoder", envvar="SIGHTLINE_ENCODERS", help="host:port,… of the encoders.")
]
Shards = Annotated[int, typer.Option(min=1, max=4096, help="Shards that the images are spread over.")]
Index = Annotated[str, typer.Option(help="FAISS factory string; Flat is exact.")]
Scope = Annotated[str, typer.Option(help="What all pictures are, where the model is for that alone.")]
ChunkRows = Annotated[int, typer.Option("--chunk", min=1, max=65_536, help="Rows that are begun again as one.")]
Restart = Annotated[bool, typer.Option("--restart", help="Throw away what an earlier run has left.")]
KeepWork = Annotated[bool, typer.Option("--keep-work", help="Keep the work folder.")]
ReportFile = Annotated[Path | None, typer.Option("--report", help="File for the report, too.")]
Errors = Annotated[str | None, typer.Option(help="File for all that is left out: JSONL of uri, reason.")]
Workers = Annotated[int, typer.Option(min=1, max=256, help="Threads that read and decode.")]
InFlight = Annotated[int, typer.Option(min=1, max=256, help="Batches with the encoders at a time.")]
Part = Annotated[str, typer.Option("--part", help="i/n: the share of process i of n, counted from 0.")]

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
    part: Part = "0/1",
    wait: WaitSeconds = 86_400.0,
) -> None:
    """Index pictures: make a generation and point NEXT to it. What was ended half way goes on where it was.

    With --part, several processes do it together: all are given the same, and the first seals and publishes.
    """
    console = Console()
    with told():
        asked, share = searchers_of(searchers, unchecked) if publish else None, Share.parse(part)
        _check_report(report)
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
        at = _work(opened, collection, work)
        keep = keep_work or publish  # a publish that fails can be tried again without another build
        with RefusalLog(errors) as refused:
            try:
                with _world(console, opened, at, encoders, workers=workers, pace=pace, refused=refused) as world:
                    if share.of > 1:
                        built = build_together(plan, pictures, world, share, patience=wait, keep=keep)
                    else:
                        built = building.build(plan, pictures, world, restart=restart, keep=keep)
            finally:
                refused.show(console)
        if built is None:
            return
        _say_built(console, built, report)
        if publish:
            generation, served = built.manifest.generation, Wait(min_replicas, timeout)
            moving = publish_generation(
                opened, collection, asked, generation=generation, wait=served, tell=teller(console)
            )
            say_current(console, collection, asyncio.run(moving))
            if not keep_work:
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
        at = _work(opened, collection, work)
        with at.alone(f"read-{share.index}"), _world(console, opened, at, targets(encoder, "--encoder")) as world:
            begun = building.begin(plan, pictures, world, restart=restart)
            building.read_share(begun, pictures, world, share)


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
            _stage(store, collection, work, f"encode-{share.index}") as (opened, at, begun),
            _world(Console(), opened, at, encoders, workers=workers, pace=pace) as world,
        ):
            building.encode_share(begun, world, share)


@app.command()
def train(*, store: StoreUrl, collection: Collection, work: WorkUrl = "") -> None:
    """Settle the types of attributes, and train the index, once for all shards."""
    with (
        told(),
        _stage(store, collection, work, "train") as (opened, at, begun),
        _world(Console(), opened, at) as world,
    ):
        train_index(at, begun, world.progress)


@app.command()
def fill(*, store: StoreUrl, collection: Collection, work: WorkUrl = "", part: Part = "0/1") -> None:
    """Write a share of the shards."""
    with told():
        share = Share.parse(part)
        with (
            _stage(store, collection, work, f"fill-{share.index}") as (opened, at, begun),
            _world(Console(), opened, at) as world,
        ):
            building.fill_share(begun, world, share)


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
    with told(), _stage(store, collection, work, "seal") as (opened, at, begun):
        _check_report(report)
        with RefusalLog(errors) as refused:
            with _world(console, opened, at, refused=refused) as world:
                built = building.finish(begun, world, keep=keep_work)
            refused.show(console)
        _say_built(console, built, report)


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


@contextmanager
def _world(
    console: Console,
    store: Store,
    work: Work,
    encoders: tuple[str, ...] = (),
    *,
    workers: int = 1,
    pace: Pace = building.PACE,
    refused: RefusalLog | None = None,
) -> Iterator[World]:
    """Builds everything that a build works with."""
    executor = ThreadPoolExecutor(workers, thread_name_prefix="reading")
    try:
        with progress_on(console) as progress:
            yield World(
                store=store,
                work=work,
                connect=lambda: Encoders(encoders),
                document=document,
                reader_for=lambda model: Reader(model.preparation, executor),
                render=render,
                refuse=refused.add if refused else lambda _: None,
                warn=lambda text: console.print(
                    f"[bold yellow]warning:[/] {escape(text)}", highlight=False, soft_wrap=True
                ),
                progress=progress,
                pace=pace,
            )
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _stage(store: str, collection: str, work: str, name: str) -> Iterator[tuple[Store, Work, Begun]]:
    """The build that a stage belongs to, while nobody else on this machine is at the same share of it."""
    opened = Store(store)
    at = _work(opened, collection, work)
    begun = at.begun()
    if begun is None:
        raise FailedPrecondition(f"no build has begun in {at.url}: `read` begins one", reason="NOTHING_BEGUN")
    if begun.sealed and name != "seal":
        raise FailedPrecondition(f"generation {begun.generation} is there already", reason="ALREADY_SEALED")
    with at.alone(name):
        yield opened, at, begun


def _work(store: Store, collection: str, url: str) -> Work:
    return Work(url) if url else work_of(store, collection)


def _check_report(report: Path | None) -> None:
    """Finds out before the long work and not after it."""
    if report and report.is_dir():
        raise InvalidArgument(f"{report} is a folder", field="--report")
    if report and not report.absolute().parent.is_dir():
        raise InvalidArgument(f"there is no folder {report.absolute().parent}", field="--report")


def _say_built(console: Console, built: Built, report: Path | None) -> None:
    manifest = built.manifest
    said = [f"generation {manifest.generation} of {manifest.collection}: {manifest.images:,} images"]
    if built.where:
        said.append(f"report: {built.where}")
    for line in said:
        console.print(escape(line), highlight=False, soft_wrap=True)
    if report and built.page is not None:
        try:
            report.write_bytes(built.page)
        except OSError as exc:
            raise InvalidArgument(f"{report} cannot be written: {exc.strerror}", field="--report") from exc


app.registered_commands += collections_app.registered_commands

if __name__ == "__main__":
    app()
