"""The page, driven in a real Chromium over a real cluster: whatever it promises, and how fast it answers."""

from __future__ import annotations

import base64
import json
import re
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, Route, expect

from benchmarks.browser import Visit, chromium, visit
from benchmarks.emoji import CHECKOUT, COLLECTION, MODEL, draw, index_into, read
from benchmarks.proof import Proof
from services.local.cluster import LocalCluster
from services.local.topology import Topology

DOCS = CHECKOUT / "docs"
HOSTILE = "hostile"
LIMIT_MS = 150.0
KEYSTROKES = 30
PAUSE_MS = 120
"""Between an answer and the next letter."""
MAX_SHOT = 400_000
# Prefixes that no cache holds: thirty keystrokes are thirty questions.
WORDS = "snowman with a red hat on a green hill"

MARKUP = (
    "<img src=x onerror=\"document.title='broken into'\">",
    "<script>document.title='broken into'</script>",
    "\"><svg onload=document.title='broken&#32;into'>",
    "javascript:document.title='broken into'",
    "مرحبا <b>bold</b> שלום",
    "long " * 300,
)

# In the page: from the key going down to the frame after the answer is in the document.
STOPWATCH = """() => {
  window.drawn = [];
  let began = 0;
  addEventListener("keydown", () => { began = performance.now(); }, true);
  const grid = document.getElementById("grid");
  new MutationObserver(() => {
    if (grid.dataset.answers !== document.getElementById("q").value) return;
    requestAnimationFrame(() => setTimeout(() => window.drawn.push(performance.now() - began)));
  }).observe(grid, {attributeFilter: ["data-answers"]});
}"""

DROP = """([type, data]) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], "<b>dropped.png", {type}));
  for (const name of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(name, {dataTransfer: carried, bubbles: true, cancelable: true}));
  }
}"""


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


def bar() -> dict[str, object]:
    """Everything that the page does, over the demonstration's 1,840 pictures."""
    proof = Proof()
    with TemporaryDirectory() as folder, published(Path(folder), draw()) as home, chromium() as browser:
        site = Site(browser, home, {one.id: one.file for one in read(draw())})
        for check in CHECKS:
            check(site, proof)
        photograph(site, proof)
        drawn = keystrokes(site, KEYSTROKES)
    median = statistics.median(drawn)
    proof.figures["milliseconds from a keystroke to its answer drawn"] = [round(one, 1) for one in drawn]
    proof.figures["median"] = round(median, 1)
    proof.holds(
        f"the median of {len(drawn)} is at most {LIMIT_MS:g} ms", median <= LIMIT_MS and len(drawn) >= KEYSTROKES
    )
    return proof.outcome(
        f"typing, filters, more like this, dropped pictures, plus and minus, addresses, keys, phone and dark: as they "
        f"should be, with no request to anybody else; a keystroke is answered within {median:.0f} ms (median of "
        f"{len(drawn)}, {len(site.emoji):,} pictures)"
    )


@contextmanager
def published(folder: Path, source: Path, encoders: str = "") -> Iterator[str]:
    """A cluster with a page over two collections; yields the page's address.

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
        yield str(cluster.web)


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


def typing(site: Site, proof: Proof) -> None:
    """Words are answered while they are typed; what is half composed is not asked; the line says how it came about."""
    with site.open() as at:
        at.type("red apple")
        proof.holds("typing finds a red apple", "red apple" in at.captions()[:2])
        line = at.page.locator("#status").inner_text()
        for words in (f"of {len(site.emoji):,} pictures", "4 of 4 shards", " ms", "cache ", "generation 1"):
            proof.holds(f"the line says {words!r}", words in line)
        shown = at.page.locator("#grid img").first
        shown.evaluate("image => image.decode()")
        proof.holds("pictures are shown", shown.evaluate("image => image.naturalWidth") > 0)
        _compose(at, proof)
        at.page.locator("#q").fill("")
        expect(at.page.locator("#blank h1")).to_have_text("What are you looking for?")
        _undisturbed(at, proof, "typing")


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
        _undisturbed(at, proof, "more like this")


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
        _undisturbed(at, proof, "dropping")
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
        proof.expect("what it finds", at.captions()[0], "green apple")
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
        _undisturbed(at, proof, "plus and minus")


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
        _undisturbed(at, proof, "addresses")
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
        at.page.locator("#filters").get_by_role("button", name="Clear").click()
        expect(at.page.locator("#filters-count")).to_be_hidden()
        _undisturbed(at, proof, "filters")


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
        _undisturbed(at, proof, "keys")


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
        _undisturbed(at, proof, "hostility")


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
        _undisturbed(at, proof, "phone")


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
        _undisturbed(at, proof, "dark")


def _brightness(page: Page) -> float:
    page.wait_for_timeout(200)
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return statistics.mean(float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])


def _undisturbed(at: Visit, proof: Proof, name: str) -> None:
    proof.expect(f"{name}: requests to anybody else", at.strangers, [])
    proof.expect(f"{name}: complaints on the console", at.complaints, [])


def keystrokes(site: Site, count: int) -> list[float]:
    """Types letter by letter; returns for each the milliseconds, in the browser, until its answer was drawn."""
    with site.open() as at:
        at.page.evaluate(STOPWATCH)
        at.page.locator("#q").focus()
        typed = ""
        for letter in WORDS[:count]:
            typed += letter
            at.page.keyboard.press("Space" if letter == " " else letter)
            at.answered(typed)
            at.page.wait_for_timeout(PAUSE_MS)
        return [float(one) for one in at.page.evaluate("window.drawn")]


def photograph(site: Site, proof: Proof, folder: Path = DOCS) -> None:
    """Takes the pictures of the page that its documentation shows."""
    mixed = "?c=emoji&q=cat&t=1:text:heart&t=-0.5:text:face"
    for name, path, on_phone, dark in (
        ("light", "?c=emoji&q=red+apple", False, False),
        ("dark", mixed, False, True),
        ("phone", "?c=emoji&q=snow&t=-0.5:text:person", True, False),
    ):
        with site.open(path, phone=on_phone, dark=dark) as at:
            at.page.locator("#grid .card").first.wait_for()
            if dark:
                at.page.get_by_role("button", name="Filters").click()
            at.page.locator("#grid img").nth(12).evaluate("image => image.decode()")
            at.page.locator("#grid img").evaluate_all(
                "all => Promise.all(all.slice(0, 18).map((one) => one.decode().catch(() => 0)))"
            )
            file = folder / f"page-{name}.png"
            at.page.screenshot(path=file, scale="css" if not on_phone else "device")
            proof.holds(f"{file.name} is small", file.stat().st_size < MAX_SHOT)


CHECKS: tuple[Callable[[Site, Proof], None], ...] = (
    typing,
    late,
    likeness,
    dropping,
    signs,
    addresses,
    filtering,
    keys,
    hostility,
    phone,
    darkness,
)
