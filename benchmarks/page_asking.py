"""What the page promises to those who ask: typing, likeness, dropped pictures, plus and minus, addresses, filters."""

from __future__ import annotations

import base64
import re

from playwright.sync_api import Page, Route, expect

from benchmarks.browser import Visit
from benchmarks.proof import Proof
from benchmarks.site import Site, undisturbed

DROP = """([type, data]) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], "<b>dropped.png", {type}));
  for (const name of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(name, {dataTransfer: carried, bubbles: true, cancelable: true}));
  }
}"""


def typing(site: Site, proof: Proof) -> None:
    """Words are answered while they are typed; what is half composed is not asked; the line says how it came about."""
    with site.open() as at:
        at.type("red apple")
        _as_answered(at, proof, "typing")
        line = at.page.locator("#status").inner_text()
        for words in (f"of {len(site.emoji):,} pictures", "4 of 4 shards", " ms", "cache ", "generation 1"):
            proof.holds(f"the line says {words!r}", words in line)
        at.painted(1)
        _compose(at, proof)
        at.page.locator("#q").fill("")
        expect(at.page.locator("#blank h1")).to_have_text("What are you looking for?")
        undisturbed(at, proof, "typing")


def _as_answered(at: Visit, proof: Proof, name: str) -> None:
    """Holds that what is drawn is what the service answered last, in its order."""
    reply = [one for one in at.replies if one.url.endswith("/v1/search")][-1].json()
    hits = [hit["id"] for hit in reply["hits"]]
    proof.holds(f"{name}: pictures are drawn as they were answered", bool(hits) and at.ids() == hits)


def _compose(at: Visit, proof: Proof) -> None:
    """Types as an input method does, whose half-made words are nobody's question."""
    at.page.locator("#q").fill("")
    before = len(at.questions)
    keys = at.page.context.new_cdp_session(at.page)
    for half in ("h", "ho", "hon"):
        keys.send("Input.imeSetComposition", {"text": half, "selectionStart": len(half), "selectionEnd": len(half)})
    at.page.wait_for_timeout(200)
    proof.expect("questions while a word is composed", len(at.questions) - before, 0)
    keys.send("Input.insertText", {"text": "红苹果"})
    at.answered("红苹果")
    proof.holds("composed words are asked", at.questions[-1]["query"] == {"text": "红苹果"})


def late(site: Site, proof: Proof) -> None:
    """An answer that comes after a later question's is never drawn; none, partial, and too late are told apart."""
    with site.open() as at:
        at.page.route("**/v1/search", lambda route: _slow(at.page, route))
        box = at.page.locator("#q")
        box.fill("slow volcano")
        at.page.wait_for_timeout(150)
        box.fill("red apple")
        at.answered("red apple")
        at.page.wait_for_timeout(900)
        proof.expect("the answer drawn last", at.page.locator("#grid").get_attribute("data-answers"), "red apple")
        at.page.unroute("**/v1/search")
        for case, told in (("partial", "Partial answer."), ("late", "Too late."), ("none", "No match")):
            _fake(at, case)
            box.fill(f"case {case}")
            where = "#blank h1" if case == "none" else "#notice strong"
            expect(at.page.locator(where)).to_have_text(told)
            proof.expect(f"{case} is told as", at.page.locator(where).inner_text(), told)
            at.page.unroute("**/v1/search")


def _slow(page: Page, route: Route) -> None:
    if "slow" in (route.request.post_data or ""):
        page.wait_for_timeout(500)
    route.continue_()


def _fake(at: Visit, case: str) -> None:
    """Answers the next searches as a service in trouble does, of which a healthy cluster has none."""
    if case == "late":
        error = {"code": "DEADLINE_EXCEEDED", "reason": "DEADLINE_EXCEEDED", "message": "too late", "field": ""}
        at.page.route("**/v1/search", lambda route: route.fulfill(status=504, json={**error, "request_id": "r"}))
        return
    answered = 3 if case == "partial" else 4
    body = {
        "hits": [],
        "coverage": {
            "shards_asked": 4,
            "shards_answered": answered,
            "images_searched": 9,
            "complete": answered == 4,
        },
        "degraded": [{"reason": "SHARDS_MISSING", "message": "1 shard did not answer"}] if answered == 3 else [],
        "generation": 1,
        "cache": "miss",
        "request_id": "r",
        "times": {"total_us": 1000},
    }
    at.page.route("**/v1/search", lambda route: route.fulfill(json=body))


def likeness(site: Site, proof: Proof) -> None:
    """More like this asks for a picture of the collection, which is the best answer to itself."""
    with site.open("?c=emoji&q=red+apple") as at:
        at.answered("red apple")
        first = at.page.locator("#grid .card").first
        wanted = first.get_attribute("data-id")
        first.hover()
        first.get_by_role("button", name="More like this").click()
        at.answered("")
        proof.expect("the question of more like this", at.questions[-1]["query"], {"image_id": wanted})
        proof.expect("what is most like it", at.ids()[0], wanted)
        proof.holds("it is a term that can be seen", at.page.locator(".chip.plus img").count() == 1)
        undisturbed(at, proof, "more like this")


def dropping(site: Site, proof: Proof) -> None:
    """A picture that is dropped in finds itself; the address says that there was one, and no more."""
    wanted, file = next(iter(site.emoji.items()))
    with site.open() as at:
        at.page.evaluate(DROP, ["image/png", base64.b64encode(file.read_bytes()).decode()])
        at.answered("")
        proof.expect("a dropped picture finds", at.ids()[0], wanted)
        proof.holds("it is shown", at.page.locator(".chip img").count() == 1)
        proof.holds("the address has a place for it", "t=1%3Aimage%3A" in at.page.url and len(at.page.url) < 200)
        at.page.locator("#term").fill("red")
        at.page.locator("#add button[value='1']").click()
        at.page.locator(".chip").nth(1).wait_for()
        at.page.go_back()
        expect(at.page.locator(".chip")).to_have_count(1)
        at.answered("")
        proof.expect("it is still there on the way back", at.ids()[0], wanted)
        address = at.page.url
        at.page.evaluate(DROP, ["text/plain", "aGVsbG8="])
        expect(at.page.locator("#notice strong")).to_have_text("No picture.")
        undisturbed(at, proof, "dropping")
    with site.open(address.removeprefix(site.home)) as fresh:
        told = fresh.page.locator("#blank").inner_text()
        proof.holds("whoever gets the address is told", "not part of the link" in told)


def signs(site: Site, proof: Proof) -> None:
    """Terms are added and subtracted, by words and by pictures, with weights."""
    with site.open() as at:
        at.type("apple")
        at.page.locator("#term").fill("green")
        at.page.locator("#add button[value='1']").click()
        at.page.locator("#term").fill("red")
        at.page.locator("#add button[value='-1']").click()
        expect(at.page.locator(".chip")).to_have_count(2)
        at.page.locator(".chip.minus input[type=range]").fill("0.5")
        expect(at.page).to_have_url(re.compile("-0\\.5%3Atext%3Ared"))
        at.answered("apple")
        terms = at.questions[-1]["query"]["weighted"]
        wanted = [{"weight": 1, "text": "apple"}, {"weight": 1, "text": "green"}, {"weight": -0.5, "text": "red"}]
        proof.expect("the question of three terms", terms, wanted)
        _as_answered(at, proof, "plus and minus")
        second = at.page.locator("#grid .card").nth(1)
        picture = second.get_attribute("data-id")
        second.hover()
        second.get_by_role("button", name="Subtract from the query").click()
        expect(at.page.locator(".chip")).to_have_count(3)
        proof.expect("a picture is subtracted", _last_term(at), {"weight": -1, "image_id": picture})
        at.page.locator(".chip").nth(2).get_by_role("button", name="Press to turn it around").click()
        expect(at.page.locator(".chip.minus")).to_have_count(1)
        proof.expect("and turned around", _last_term(at), {"weight": 1, "image_id": picture})
        at.page.locator(".chip").nth(2).get_by_role("button", name="Remove").click()
        expect(at.page.locator(".chip")).to_have_count(2)
        undisturbed(at, proof, "plus and minus")


def _last_term(at: Visit) -> object:
    at.answered("apple")
    return at.questions[-1]["query"]["weighted"][-1]


def addresses(site: Site, proof: Proof) -> None:
    """All that is on the page is in its address; back and forward go through it."""
    with site.open() as at:
        at.type("snow")
        at.page.wait_for_timeout(1700)  # words that stood so long are a step of the history
        at.type("volcano")
        at.page.locator("#term").fill("mountain")
        at.page.keyboard.press("Enter")
        expect(at.page.locator(".chip")).to_have_count(1)
        at.answered("volcano")
        address, found = at.page.url, at.captions()
        at.page.go_back()
        expect(at.page.locator(".chip")).to_have_count(0)
        at.page.go_back()
        at.answered("snow")
        proof.expect("the box after two steps back", at.page.locator("#q").input_value(), "snow")
        at.page.go_forward()
        at.page.go_forward()
        expect(at.page.locator(".chip")).to_have_count(1)
        at.answered("volcano")
        proof.expect("the pictures after two steps forward", at.captions(), found)
        undisturbed(at, proof, "addresses")
    with site.open(address.removeprefix(site.home)) as fresh:
        fresh.answered("volcano")
        proof.expect("the pictures that another reader sees", fresh.captions(), found)
    with site.open("?c=emoji&q=x&t=nonsense&t=9:text:y&f=%25E0:in:a&f=__proto__:in:a&n=-3&open=nobody") as odd:
        odd.answered("x")
        proof.expect("chips of an address that makes no sense", odd.page.locator(".chip").count(), 0)


def filtering(site: Site, proof: Proof) -> None:
    """Filters come from the schema: what they ask, and that every picture meets them."""
    with site.open("?c=emoji&q=apple") as at:
        at.answered("apple")
        at.page.get_by_role("button", name="Filters").click()
        shown = at.page.locator("#filters fieldset").evaluate_all("all => all.map((one) => one.dataset.attribute)")
        proof.expect("attributes", shown, ["emoji", "emoji_version", "group", "skin_tones", "subgroup"])
        group = at.page.locator("fieldset[data-attribute=group] input")
        group.fill("Food & Drink")
        group.press("Enter")
        version = at.page.locator("fieldset[data-attribute=emoji_version] input").nth(1)
        version.fill("5")
        version.press("Enter")
        expect(at.page.locator("#filters-count")).to_have_text("2")
        wanted = {
            "all": [
                {"attribute": "group", "equals": "Food & Drink"},
                {"attribute": "emoji_version", "range": {"less_than": 5}},
            ]
        }
        at.page.locator("#grid[aria-busy=false]").wait_for(state="attached")
        proof.expect("the filter asked", at.questions[-1].get("filter"), wanted)
        proof.holds("it is in the address", "Food" in at.page.url)
        reply = [one for one in at.replies if one.url.endswith("/v1/search")][-1]
        proof.expect("filters are answered with", reply.status, 200)
        if reply.status != 200:
            return
        hits = reply.json()["hits"]
        met = [hit["image"]["attributes"]["group"] == "Food & Drink" for hit in hits]
        proof.holds("every picture meets them", bool(met) and all(met))
        matched = f" of {reply.json()['coverage']['images_matched']:,} pictures · {len(site.emoji):,} without filters"
        expect(at.page.locator("#status")).to_contain_text(matched)
        at.page.locator("#filters").get_by_role("button", name="Clear").click()
        expect(at.page.locator("#filters-count")).to_be_hidden()
        undisturbed(at, proof, "filters")
