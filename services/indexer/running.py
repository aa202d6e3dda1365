"""What the commands that build are made of: the world of a build, the stage asked for, and what is said after."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from services.indexer import build as building
from services.indexer.build import PACE, Built, World
from services.indexer.documents import document
from services.indexer.encoding import Encoders
from services.indexer.page import render
from services.indexer.plan import Begun, Plan
from services.indexer.reading import Reader
from services.indexer.removing import work_of
from services.indexer.report import RefusalLog, progress_on
from services.indexer.sources import Source
from services.indexer.stages.encode import Pace
from services.indexer.stages.shares import Share
from services.indexer.together import build_together
from services.indexer.work import Work
from services.store import Store
from sightline.errors import FailedPrecondition, InvalidArgument


@contextmanager
def world(
    console: Console,
    store: Store,
    work: Work,
    encoders: tuple[str, ...] = (),
    *,
    workers: int = 1,
    pace: Pace = PACE,
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
def stage(store: str, collection: str, work: str, name: str) -> Iterator[tuple[Store, Work, Begun]]:
    """The build that a stage belongs to, while nobody else on this machine is at the same share of it."""
    opened = Store(store)
    at = work_at(opened, collection, work)
    begun = at.begun()
    if begun is None:
        raise FailedPrecondition(f"no build has begun in {at.url}: `read` begins one", reason="NOTHING_BEGUN")
    if begun.sealed and name != "seal":
        raise FailedPrecondition(f"generation {begun.generation} is there already", reason="ALREADY_SEALED")
    with at.alone(name):
        yield opened, at, begun


def work_at(store: Store, collection: str, url: str) -> Work:
    """The work folder that is asked for, or the one in the store."""
    return Work(url) if url else work_of(store, collection)


def check_report(report: Path | None) -> None:
    """Finds out before the long work and not after it."""
    if report and report.is_dir():
        raise InvalidArgument(f"{report} is a folder", field="--report")
    if report and not report.absolute().parent.is_dir():
        raise InvalidArgument(f"there is no folder {report.absolute().parent}", field="--report")


def share_of_build(
    plan: Plan, pictures: Source, world: World, share: Share, *, restart: bool, patience: float, keep: bool
) -> Built | None:
    """All of a build, or one process's share of it: then only the first has something to show."""
    if share.of > 1:
        return build_together(plan, pictures, world, share, patience=patience, keep=keep)
    return building.build(plan, pictures, world, restart=restart, keep=keep)


def say_built(console: Console, built: Built, report: Path | None) -> None:
    """Says what was built and where its report is, and writes that to a file besides."""
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
