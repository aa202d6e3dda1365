"""A site to look at: a page over a collection of emoji, and over one whose every word is markup."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser

from benchmarks.browser import Visit, visit
from benchmarks.emoji import COLLECTION, MODEL, index_into, read
from benchmarks.proof import Proof
from services.local.cluster import LocalCluster
from services.local.topology import Topology

HOSTILE = "hostile"

MARKUP = (
    "<img src=x onerror=\"document.title='broken into'\">",
    "<script>document.title='broken into'</script>",
    "\"><svg onload=document.title='broken&#32;into'>",
    "javascript:document.title='broken into'",
    "مرحبا <b>bold</b> שלום",
    "long " * 300,
)


@dataclass(frozen=True, slots=True)
class Site:
    """A page to look at.

    Attributes:
        browser: with which browser.
        home: the service's address.
        emoji: files of the collection `emoji` by id; a collection `hostile` is there too.
    """

    browser: Browser
    home: str
    emoji: dict[str, Path]

    @contextmanager
    def open(self, path: str = "?c=emoji", *, phone: bool = False, dark: bool = False) -> Iterator[Visit]:
        """Opens it in a browser that has never seen it."""
        with visit(self.browser, self.home, path, phone=phone, scheme="dark" if dark else "light") as opened:
            yield opened


@contextmanager
def published(folder: Path, source: Path, encoders: str = "") -> Iterator[LocalCluster]:
    """A cluster with a page over two collections.

    Args:
        folder: for everything that it writes.
        source: the list of pictures that is indexed as `emoji`.
        encoders: those of another cluster; one of its own where there are none.
    """
    hostile = plant(folder, [one.file for one in read(source)][: len(MARKUP)])
    overrides = {"web": {"originals": f"{source.parent},{read(source)[0].file.parent},{hostile.parent}"}}
    if encoders:
        overrides["gateway"] = {"encoders": encoders}
    cluster = LocalCluster(
        store=str(folder / "store"),
        model=str(MODEL),
        run_dir=folder / "run",
        topology=Topology(groups=2, encoders=0 if encoders else 1, redis=not encoders, webs=1),
        overrides=overrides,
    )
    with cluster:
        for name, pictures in ((COLLECTION, source), (HOSTILE, hostile)):
            index_into(cluster, pictures, collection=name, encoders=encoders.split(",") if encoders else ())
        yield cluster


def plant(folder: Path, files: list[Path]) -> Path:
    """Writes pictures whose captions, ids, attributes and file names are markup; returns the list of them."""
    lines = []
    (folder / "planted").mkdir()
    for number, (words, file) in enumerate(zip(MARKUP, files, strict=True)):
        name = words.replace("/", "∕")[:60] + f"{number}.png"
        (folder / "planted" / name).write_bytes(file.read_bytes())
        lines.append(
            {
                "id": f"a/b?{number}#%2F {words[:40]}",
                "uri": str(folder / "planted" / name),
                "caption": words,
                "attributes": {words[:30]: words[:60], "number": number, "even": number % 2 == 0},
            }
        )
    source = folder / "planted" / "images.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return source


def undisturbed(at: Visit, proof: Proof, name: str) -> None:
    """Holds that nobody else was asked for anything, and that nothing was complained of."""
    proof.expect(f"{name}: requests to anybody else", at.strangers, [])
    proof.expect(f"{name}: complaints on the console", at.complaints, [])
