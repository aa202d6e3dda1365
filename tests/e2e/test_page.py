"""A short sample of the bar `page`: what the page promises, in a real Chromium over a small collection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import page, page_asking, page_showing
from benchmarks.browser import chromium
from benchmarks.emoji import read
from benchmarks.proof import Proof
from benchmarks.site import Site
from services.local.cluster import LocalCluster


@pytest.fixture(scope="module")
def site(web_cluster: LocalCluster, pictures: Path) -> Iterator[Site]:
    """The page in a browser, which must not outlive this module: it holds an event loop of its own in this thread."""
    with chromium() as browser:
        yield Site(browser, str(web_cluster.web), {one.id: one.file for one in read(pictures)})


@pytest.fixture
def proof() -> Iterator[Proof]:
    """What a check saw; nothing of it may be at fault."""
    seen = Proof()
    yield seen
    assert seen.faults == []


def test_words_are_answered_while_they_are_typed(site: Site, proof: Proof) -> None:
    """Typing finds pictures letter by letter, in any alphabet, and never asks for half-composed words."""
    page_asking.typing(site, proof)


def test_answers_are_never_drawn_out_of_order(site: Site, proof: Proof) -> None:
    """A late answer is dropped; no match, a partial answer and one too late are told apart."""
    page_asking.late(site, proof)


def test_more_like_this(site: Site, proof: Proof) -> None:
    """A picture of the collection is its own best match, and its term can be seen."""
    page_asking.likeness(site, proof)


def test_pictures_can_be_dropped_in(site: Site, proof: Proof) -> None:
    """A dropped picture finds itself; it stays with the browser and out of the address, which says so."""
    page_asking.dropping(site, proof)


def test_terms_are_added_and_subtracted(site: Site, proof: Proof) -> None:
    """Words and pictures are added, subtracted, weighed, turned around and removed."""
    page_asking.signs(site, proof)


def test_the_address_holds_the_state(site: Site, proof: Proof) -> None:
    """Back and forward go through what was asked, and another reader of the address sees the same."""
    page_asking.addresses(site, proof)


def test_filters_come_from_the_schema(site: Site, proof: Proof) -> None:
    """Every attribute has its controls, and every picture found meets what they ask."""
    page_asking.filtering(site, proof)


def test_everything_works_from_the_keyboard(site: Site, proof: Proof) -> None:
    """Slash, arrows, Enter and Esc lead through box, pictures and the large picture."""
    page_showing.keys(site, proof)


def test_captions_and_file_names_are_text(site: Site, proof: Proof) -> None:
    """Markup in captions, ids, attributes and file names is shown as it stands and does nothing."""
    page_showing.hostility(site, proof)


def test_it_fits_a_phone(site: Site, proof: Proof) -> None:
    """Nothing is wider than a phone, and all can be tapped."""
    page_showing.phone(site, proof)


def test_it_is_dark_where_that_is_wanted(site: Site, proof: Proof) -> None:
    """It follows the system until the reader chooses, and remembers the choice."""
    page_showing.darkness(site, proof)


def test_keystrokes_are_timed_in_the_browser(site: Site, proof: Proof, tmp_path: Path) -> None:
    """Each keystroke has its time, and the documentation's pictures are small enough to be kept."""
    assert all(0 < one < 30_000 for one in page.keystrokes(site, 3))
    page.photograph(site, proof, tmp_path)
