"""The report of a build: whole by itself, true, and never markup of somebody else's."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import pytest

from services.indexer.build import World, build
from services.indexer.documents import document
from services.indexer.page import render
from services.indexer.plan import Plan
from services.indexer.reading import Reader
from services.indexer.sources import open_source
from services.indexer.statistics import DISTINCT, Values
from services.indexer.work import Work
from services.store import Store
from tests.unit.indexer_fakes import FakeEncoder, picture_bytes, truncated_jpeg

HOSTILE = "<script>alert('1')</script>\"><img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """The tags of a page, and the addresses in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "onerror")]


class Quiet:
    """Progress that nobody watches."""

    def stage(self, name: str, total: int | None) -> None: ...

    def advance(self, images: int) -> None: ...


@pytest.fixture
def page(tmp_path: Path) -> str:
    """The report of a collection with everything in it that a report tells of."""
    lines = []
    for i in range(20):
        (tmp_path / f"{i}.png").write_bytes(picture_bytes(grey=i // 2 * 10))
        lines.append({"id": f"{i}{HOSTILE}", "uri": f"{i}.png", "attributes": {"year": 2000 + i, HOSTILE: HOSTILE}})
    (tmp_path / "cut.jpg").write_bytes(truncated_jpeg())
    lines += [{"uri": "cut.jpg"}, {"uri": f"{HOSTILE}.png"}, {"id": f"3{HOSTILE}", "uri": "3.png"}]
    file = tmp_path / "images.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    store = Store(str(tmp_path / "store"))
    with ThreadPoolExecutor(2) as executor:
        world = World(
            store=store,
            work=Work(str(tmp_path / "work")),
            connect=FakeEncoder,
            document=document,
            reader_for=lambda model: Reader(model.preparation, executor),
            render=render,
            refuse=lambda _: None,
            warn=lambda _: None,
            progress=Quiet(),
        )
        built = build(Plan("birds", source=str(file)), open_source(str(file)), world)
    assert built.page is not None
    kept = Path(store.url) / "birds" / "reports" / "00000001.html"
    assert kept.read_bytes() == built.page
    return built.page.decode()


def test_a_report_tells_everything(page: str) -> None:
    """Counts, reasons, equal pictures, the spread of each attribute, the stages and the shards are all there."""
    for said in ("<b>20</b>images", "<b>3</b>left out", "<b>10</b>equal to another", "broken or truncated"):
        assert said in page
    wanted = (
        "no such file or directory",
        "is taken by line 4",
        "int, 20 images (100 %)",
        "fake, 16 dimensions",
        "2019",
    )
    for said in wanted:
        assert said in page
    assert page.count("<td>encode</td>") == 1
    assert page.count(" images</td>") == 4


def test_a_report_needs_nothing_else_and_obeys_nobody(page: str) -> None:
    """Nothing outside of the page is asked for, and names with markup in them are text. What can be drawn of a broken
    picture is shown."""
    found = Tags(page)
    assert "script" not in found.tags
    assert {address.split(",")[0] for address in found.addresses} == {"data:image/webp;base64"}
    assert found.tags.count("img") == 2
    assert "&lt;script&gt;" in page


def test_spreads_add_up_in_any_order() -> None:
    """However values are divided over shards, the sum is the same, and no larger however many they are."""
    values = [((i * 7919) % 100_003) / 7 for i in range(12_000)]
    whole, odd, even = Values(), Values(), Values()
    for place, value in enumerate(values):
        whole.add(value)
        (odd if place % 2 else even).add(value)
    odd.merge(even)
    assert odd.to_record() | {"numbers": None} == whole.to_record() | {"numbers": None}
    assert odd.numbers == whole.numbers
    assert len(whole.numbers) <= DISTINCT
    assert sum(count for _, count in whole.bins()) == 12_000
    assert Values.of(json.loads(json.dumps(whole.to_record()))) == whole


def test_the_commonest_texts_come_first() -> None:
    """Texts are counted, and what is not among the commonest is counted together."""
    values = Values()
    for text in ("b", "a", "b", *map(str, range(40))):
        values.add(text)
    assert values.bins(most=3) == [("b", 2), ("0", 1), ("1", 1), ("…", 39)]
