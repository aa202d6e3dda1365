"""What the page promises to those who look: keys, text that is only text, phones, dark."""

from __future__ import annotations

import statistics

from playwright.sync_api import Page, expect

from benchmarks.emoji import COLLECTION
from benchmarks.proof import Proof
from benchmarks.site import HOSTILE, MARKUP, Site, undisturbed


def keys(site: Site, proof: Proof) -> None:
    """Everything can be done from the keyboard, and the focus is always somewhere."""
    with site.open("?c=emoji&q=cat") as at:
        at.answered("cat")
        at.page.locator("#theme").focus()
        at.page.keyboard.press("/")
        proof.expect("slash leads to", _focused(at.page), "q")
        at.page.keyboard.press("ArrowDown")
        proof.expect("down leads to rank", _rank(at.page), "0")
        at.page.keyboard.press("ArrowRight")
        proof.expect("right leads to rank", _rank(at.page), "1")
        at.page.keyboard.press("ArrowDown")
        columns = int(str(_rank(at.page))) - 1
        proof.holds("down goes one row down", columns > 1)
        at.page.keyboard.press("ArrowUp")
        at.page.keyboard.press("Enter")
        expect(at.page.locator("#detail")).to_be_visible()
        title = at.page.locator("#detail-title").inner_text()
        proof.expect("Enter opens", title, at.captions()[1])
        at.page.locator("#detail a").wait_for()
        proof.holds("the original is shown", "/original" in str(at.page.locator("#detail img").get_attribute("src")))
        proof.holds("it is in the address", "open=" in at.page.url)
        at.page.keyboard.press("ArrowRight")
        expect(at.page.locator("#detail-title")).not_to_have_text(title)
        at.page.keyboard.press("Escape")
        expect(at.page.locator("#detail")).to_be_hidden()
        at.page.keyboard.press("Escape")
        proof.expect("Esc leads back to", _focused(at.page), "q")
        undisturbed(at, proof, "keys")


def _focused(page: Page) -> object:
    return page.evaluate("document.activeElement.id")


def _rank(page: Page) -> object:
    return page.evaluate("document.activeElement.closest('.card')?.dataset.rank")


def hostility(site: Site, proof: Proof) -> None:
    """Captions, ids, attributes and file names that are markup are shown as the text that they are."""
    with site.open(f"?c={HOSTILE}&q=face") as at:
        at.answered("face")
        proof.expect("hostile captions shown", len(at.captions()), len(MARKUP))
        seen = {words.strip() for words in at.captions()}
        proof.holds("as they are", {words.strip() for words in MARKUP} <= {*seen})
        for card in range(len(MARKUP)):
            at.page.locator("#grid .open").nth(card).click()
            at.page.locator("#detail a").wait_for()
            at.page.keyboard.press("Escape")
            expect(at.page.locator("#detail")).to_be_hidden()
        at.page.locator("#grid .card").first.hover()
        at.page.get_by_role("button", name="Add to the query").first.click()
        expect(at.page.locator(".chip")).to_have_count(1)
        at.page.get_by_role("button", name="Filters").click()
        expect(at.page.locator("#filters fieldset")).to_have_count(len(MARKUP) + 2)
        made = at.page.evaluate(
            "document.querySelectorAll('main img[src=x], main script, b:not([id]), [onerror], [onload]').length"
        )
        proof.expect("elements that captions made", made, 0)
        proof.expect("the title", at.page.title(), "face · Sightline")
        proof.expect(
            "the collections to choose from",
            at.page.locator("#collection option").all_inner_texts(),
            [COLLECTION, HOSTILE],
        )
        wide = at.page.evaluate("document.documentElement.scrollWidth > innerWidth")
        proof.expect("long words make the page wider than its window", wide, False)
        undisturbed(at, proof, "hostility")


def phone(site: Site, proof: Proof) -> None:
    """On a phone everything fits, and can be reached with a thumb."""
    with site.open(phone=True) as at:
        at.type("snow")
        wide = at.page.evaluate("document.documentElement.scrollWidth > innerWidth")
        proof.expect("it is wider than a phone", wide, False)
        proof.expect("columns on a phone", _columns(at.page), 2)
        at.page.locator("#grid .open").first.tap()
        expect(at.page.locator("#detail")).to_be_visible()
        at.page.locator("#detail a").wait_for()
        box = at.page.locator("#detail").bounding_box()
        proof.holds(
            "the large picture fits", bool(box) and box is not None and box["width"] <= 390 and box["height"] <= 844
        )
        at.page.get_by_role("button", name="Close").tap()
        expect(at.page.locator("#detail")).to_be_hidden()
        undisturbed(at, proof, "phone")


def _columns(page: Page) -> int:
    tops = page.locator("#grid .card").evaluate_all("all => all.map((one) => one.offsetTop)")
    return sum(top == tops[0] for top in tops)


def darkness(site: Site, proof: Proof) -> None:
    """Dark where the system is dark or the reader wants it, remembered, and as legible as light."""
    with site.open("?c=emoji&q=moon", dark=True) as at:
        at.answered("moon")
        proof.holds("dark where the system is", _brightness(at.page) < 60)
        for wanted in ("light", "dark"):
            at.page.locator("#theme").click()
            proof.holds(f"{wanted} where it is wanted", (_brightness(at.page) > 200) is (wanted == "light"))
        at.page.emulate_media(color_scheme="light")
        at.page.reload()
        at.answered("moon")
        proof.holds("what was wanted is remembered", _brightness(at.page) < 60)
        undisturbed(at, proof, "dark")


def _brightness(page: Page) -> float:
    page.wait_for_timeout(200)
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return statistics.mean(float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])
