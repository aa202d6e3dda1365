"""The page, driven in a real Chromium over a real cluster: whatever it promises, and how fast it answers."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from benchmarks import page_asking, page_showing
from benchmarks.browser import chromium
from benchmarks.emoji import CHECKOUT, draw, read
from benchmarks.proof import Proof
from benchmarks.site import Site, published

DOCS = CHECKOUT / "docs"
LIMIT_MS = 150.0
KEYSTROKES = 30
PAUSE_MS = 120
"""Between an answer and the next letter."""
MAX_SHOT = 400_000
# Prefixes that no cache holds: thirty keystrokes are thirty questions.
WORDS = "snowman with a red hat on a green hill"
SHOWN = 18  # pictures of a screenshot
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


def bar() -> dict[str, object]:
    """Everything that the page does, over the demonstration's 1,840 pictures."""
    proof = Proof()
    with TemporaryDirectory() as folder, published(Path(folder), draw()) as cluster, chromium() as browser:
        site = Site(browser, str(cluster.web), {one.id: one.file for one in read(draw())})
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
            at.painted(SHOWN if not on_phone else 6)
            file = folder / f"page-{name}.png"
            at.page.screenshot(path=file, scale="css" if not on_phone else "device")
            Image.open(file).convert("RGB").quantize(256).save(file, optimize=True)
            proof.holds(f"{file.name} is small", file.stat().st_size < MAX_SHOT)


CHECKS: tuple[Callable[[Site, Proof], None], ...] = (
    page_asking.typing,
    page_asking.late,
    page_asking.likeness,
    page_asking.dropping,
    page_asking.signs,
    page_asking.addresses,
    page_asking.filtering,
    page_showing.keys,
    page_showing.hostility,
    page_showing.phone,
    page_showing.darkness,
)
