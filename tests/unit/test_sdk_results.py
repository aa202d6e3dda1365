"""How results show themselves: tables in terminals, pictures in notebooks, and foreign text that stays text."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import pytest

from sightline import Degradation, FakeClient, Image
from sightline._show import WIDEST
from sightline.results import SearchResult

HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J\u202e' \" & </td></figure><script>"


@pytest.fixture
def fake() -> FakeClient:
    images = [
        Image("apple", "file:///a.png", "red apple", {"group": "fruit", "tags": ("sweet", "soft")}, 640, 480),
        Image("猫", caption="schwarze Katze 黒い猫"),
        Image(HOSTILE, f"javascript:{HOSTILE}", HOSTILE, {HOSTILE: HOSTILE}),
    ]
    return FakeClient(images, thumbnails={"apple": b"an apple", HOSTILE: b"a trap"})


class Elements(HTMLParser):
    """The names of a page's elements and attributes, and the addresses in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.sources: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {tag, *(name for name, _ in attrs)}
        self.sources += [str(value) for name, value in attrs if name in ("src", "href")]


async def test_an_answer_prints_as_a_table(fake: FakeClient) -> None:
    """Each hit has a line, columns are aligned whatever the alphabet, and the last line says what it is worth."""
    fake.lose_shards(1)
    lines = str(await fake.search("red apple", top_k=2)).splitlines()
    assert lines[0].split() == ["#", "score", "id", "caption", "uri"]
    assert lines[1].split() == ["1", "1.000", "apple", "red", "apple", "file:///a.png"]
    assert lines[3] == "! 1 shards did not answer (SHARDS_MISSING)"
    assert "2 hits; 3 of 4 shards" in lines[4]
    katze = str(await fake.search("schwarze", top_k=1)).splitlines()
    assert katze[1].index("schwarze") == katze[0].index("caption") - 1  # a wide letter takes two columns


async def test_long_texts_are_cut_and_no_hits_are_said(fake: FakeClient) -> None:
    """A line of a table stays readable, and an answer without hits is one line."""
    fake.images["long"] = Image("long", caption="word " * 500)
    assert all(len(line) < 2 * WIDEST for line in str(await fake.search("word", top_k=1)).splitlines())
    nothing = await fake.search("zebra", min_score=0.9)
    assert str(nothing) == "0 hits; 4 of 4 shards, 4 images, generation 1, miss, 0.0 ms"


async def test_a_notebook_shows_the_pictures(fake: FakeClient) -> None:
    """An answer with thumbnails is its pictures, with nothing to fetch; one without is a table."""
    result = await fake.search("red apple", thumbnails=True)
    assert [hit.thumbnail for hit in result] == [fake.thumbnails.get(hit.id, b"") for hit in result]
    shown = Elements(result._repr_html_())
    assert f"data:image/webp;base64,{base64.b64encode(b'an apple').decode()}" in shown.sources
    assert all(source.startswith("data:image/webp;base64,") for source in shown.sources)
    without = await fake.search("red apple")
    assert Elements(without._repr_html_()).names == {"div", "table", "tr", "td"}
    assert (await fake.with_thumbnails(without)).hits == result.hits


async def test_hostile_texts_stay_texts(fake: FakeClient) -> None:
    """Captions, ids, addresses and attributes are neither markup in a notebook nor orders to a terminal."""
    result = await fake.search(HOSTILE, thumbnails=True)
    result = SearchResult(**{**vars(result), "degraded": (Degradation(HOSTILE, HOSTILE),)})
    stored, collection = await fake.get(HOSTILE, thumbnail=True), await fake.collection()
    for shown in (result, stored, collection):
        page = Elements(shown._repr_html_())
        assert page.names <= {"div", "figure", "figcaption", "table", "tr", "td", "img", "style", "src", "alt", "title"}
        assert all(re.fullmatch(r"data:image/webp;base64,[\w+/=]*", source) for source in page.sources)
        assert not re.search("[\x1b\u202e]", str(shown) + shown._repr_html_())


async def test_images_and_collections_show_their_fields(fake: FakeClient) -> None:
    """A stored image and a collection are tables of what is known of them."""
    stored = str(await fake.get("apple"))
    assert re.search(r"size +640 × 480", stored)
    assert re.search(r"tags +sweet, soft", stored)
    assert re.search(r"images +3 in 4 shards", str(await fake.collection()))
    assert "<img" in (await fake.get("apple", thumbnail=True))._repr_html_()
