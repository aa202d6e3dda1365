"""The demonstration: the bundled model, the emoji, a cluster of two searcher groups, and six questions."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from services.local.cluster import ClusterError, LocalCluster
from services.local.ports import is_free
from services.local.serving import running, table, watch
from services.local.topology import CHECKOUT, Topology
from services.store import Store
from sightline import Client, SearchResult
from sightline.cli.grid import Row, draw_grid

COLLECTION = "emoji"
MODEL = CHECKOUT / "models" / "emoji"
SHARDS = 4
TOP_K = 6
# The language, the words, and what they mean.
QUERIES = (
    ("English", "red apple", ""),
    ("中文", "红苹果", "red apple"),
    ("Español", "manzana roja", "red apple"),
    ("日本語", "火山", "volcano"),
    ("Русский", "снеговик", "snowman"),
    ("हिन्दी", "साइकिल", "bicycle"),
)
_APPEARS_SECONDS = 30.0


def run(
    *, started: float, port: int, web_port: int, run_dir: Path, data: Path, fonts: Sequence[Path], console: Console
) -> int:
    """Renders, indexes and starts what is not there yet, asks, and serves until Ctrl-C where there is a terminal.

    Args:
        started: when set-up began, in seconds since 1970; 0 where it is not to be told.
        port: the gateway's port; another where it is in use.
        web_port: the page's port; likewise.
        run_dir: folder for logs and state.
        data: folder for pictures and index, kept for the next time.
        fonts: folders with fonts for the grid.
        console: where to tell it.
    """
    set_up = time.time()
    if started:
        console.print(f"Set-up took {set_up - started:.0f} s.")
    _forget_other_model(data)
    with _rendering(data / "pictures") as rendering:
        cluster = LocalCluster(
            store=str(data / "store"),
            model=str(MODEL),
            run_dir=run_dir,
            topology=Topology(webs=1),
            overrides={"web": {"originals": (data / "pictures").resolve()}},
            port=port if is_free(port) else 0,
            web_port=web_port if is_free(web_port) else 0,
        )
        with running(cluster, console):
            if rendering.wait():
                raise ClusterError("the pictures could not be rendered")
            _index(cluster, data)
            answers = asyncio.run(_ask(cluster, data / "grid.png", fonts, set_up, console))
            console.print(answers)
            console.print(table(run_dir))
            stays = sys.stdin.isatty() and sys.stdout.isatty()
            _say_what_next(cluster, data, console, stays=stays)
            if stays:
                watch(cluster, console)
    return 0


def _rendering(pictures: Path) -> subprocess.Popen[bytes]:
    """Draws the pictures, or finds them drawn, while the cluster starts."""
    return subprocess.Popen([sys.executable, "-m", "training.emoji", str(pictures)], cwd=CHECKOUT)


def _index(cluster: LocalCluster, data: Path) -> None:
    """Indexes and publishes the pictures, unless these are published already."""
    marker, mark = data / "published", f"{_digest_of_model()} {_digest([data / 'pictures' / '.stamp'])}"
    marked = marker.exists() and marker.read_text() == mark
    if marked and Store(cluster.store).pointers(COLLECTION).current:  # the store may have been removed on its own
        return
    command = [sys.executable, "-m", "services.local", "indexer", "--run-dir", str(cluster.run_dir)]
    build = ["build", str((data / "pictures" / "images.jsonl").resolve()), "--publish"]
    options = ["--collection", COLLECTION, "--scope", COLLECTION, "--shards", str(SHARDS)]
    if subprocess.run([*command, *build, *options], cwd=CHECKOUT, check=False).returncode:
        raise ClusterError("the pictures could not be indexed")
    marker.write_text(mark)


async def _ask(cluster: LocalCluster, grid: Path, fonts: Sequence[Path], set_up: float, console: Console) -> Table:
    """Asks the queries, saves the grid, and returns the answers in a table."""
    rows: list[Row] = []
    shown = Table("language", "query", "answer", "score", "also", box=None, header_style="bold")
    async with Client(cluster.gateway) as client:
        await _appeared(client, cluster.store)
        async for (language, words, meaning), result in _answers(client):
            if not rows:
                console.print(f"The first answer came {time.time() - set_up:.1f} s after set-up.\n")
            title = f"{words}  ({meaning}, {language})" if meaning else f"{words}  ({language})"
            rows.append((title, [(hit.thumbnail, hit.image.caption, hit.score) for hit in result]))
            best, *others = [f"{hit.image.attributes['emoji']} {hit.image.caption}" for hit in result.hits]
            shown.add_row(language, words, best, f"{result.hits[0].score:.3f}", ", ".join(others[:3]))
    draw_grid(rows, font_folders=fonts).save(grid)
    return shown


async def _answers(client: Client) -> AsyncIterator[tuple[tuple[str, str, str], SearchResult]]:
    for query in QUERIES:
        yield query, await client.search(query[1], collection=COLLECTION, top_k=TOP_K, thumbnails=True)


async def _appeared(client: Client, store: str) -> None:
    """Waits until the gateway has seen what is published: it looks once a second."""
    pointer = Store(store).pointers(COLLECTION).current
    until = time.monotonic() + _APPEARS_SECONDS
    while time.monotonic() < until:
        found = {one.name: one.generation for one in await client.collections()}
        if pointer and found.get(COLLECTION) == pointer.generation:
            return
        await asyncio.sleep(0.05)
    raise ClusterError(f"the gateway does not see the collection after {_APPEARS_SECONDS:.0f} s")


def _say_what_next(cluster: LocalCluster, data: Path, console: Console, *, stays: bool) -> None:
    console.print(f"\nThe pictures found are in {data / 'grid.png'}.")
    if not stays:
        console.print("Without a terminal, it ends here. In one, it serves until Ctrl-C.")
        return
    console.print("Search on, from another terminal:")
    address = f" --address {cluster.gateway}" if not cluster.gateway.endswith(":7700") else ""
    console.print(f'  .venv/bin/sightline search "dancing" --save grid.png{address}')
    console.print(f"\nOr in the browser: [bold]{cluster.web}[/]")


def _forget_other_model(data: Path) -> None:
    """Removes an index that was made with another model: its vectors mean nothing to this one."""
    data.mkdir(parents=True, exist_ok=True)
    marker = data / "published"
    if not marker.exists() or not marker.read_text().startswith(_digest_of_model()):
        shutil.rmtree(data / "store", ignore_errors=True)
        marker.unlink(missing_ok=True)


def _digest_of_model() -> str:
    return _digest(sorted(MODEL.iterdir()))


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
