"""A real Chromium, as a reader has it, and everything that it asks for and complains about."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright

from training.sources import cache_folder

CHROMIUM = Path(__file__).resolve().parents[1] / "tools" / "chromium"
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
ANSWER_MS = 30_000

# Fonts that were unpacked and not installed, so that pictures of the page show every alphabet.
_FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
<include ignore_missing="yes">/etc/fonts/fonts.conf</include><dir>{fonts}</dir><cachedir>{cache}</cachedir>
</fontconfig>
"""

PAINTED = """async (count) => {
  const first = [...document.querySelectorAll("#grid img")].slice(0, count);
  if (first.length < count || first.some((one) => !one.naturalWidth)) return false;
  await Promise.all(first.map((one) => one.decode()));
  return true;
}"""


@dataclass
class Visit:
    """One page, open at an address of one service.

    Attributes:
        page: the page.
        home: the service's address.
        requests: all that the page has asked for.
        replies: all that it was answered.
        complaints: errors on its console, and those that nobody caught.
    """

    page: Page
    home: str
    requests: list[Request] = field(default_factory=list)
    replies: list[Response] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def strangers(self) -> list[str]:
        """What was asked of anybody but the service."""
        host = urlsplit(self.home).netloc
        asked = (urlsplit(request.url) for request in self.requests)
        return [url.geturl() for url in asked if url.scheme not in ("data", "blob") and url.netloc != host]

    @property
    def questions(self) -> list[dict[str, Any]]:
        """The bodies of all searches."""
        return [
            dict(one.post_data_json or {}) for one in self.requests if one.url.endswith("/v1/search") and one.post_data
        ]

    def type(self, words: str) -> None:
        """Types words into the box, letter by letter, and waits until their answer is drawn."""
        self.page.locator("#q").fill("")
        self.page.locator("#q").press_sequentially(words, delay=15)
        self.answered(words)

    def answered(self, words: str) -> None:
        """Waits until the answer to these words in the box is drawn."""
        self.page.locator(f"#grid[data-answers={_quoted(words)}][aria-busy=false]").wait_for(
            state="attached", timeout=ANSWER_MS
        )

    def painted(self, count: int) -> None:
        """Waits until the first pictures found can be seen: their files come after the answer itself."""
        self.page.wait_for_function(PAINTED, arg=count, timeout=ANSWER_MS)

    def captions(self) -> list[str]:
        """The captions of the pictures found, best first."""
        return self.page.locator("#grid .caption").all_inner_texts()

    def ids(self) -> list[str]:
        """Their ids."""
        return [str(card.get_attribute("data-id")) for card in self.page.locator("#grid .card").all()]


def _quoted(words: str) -> str:
    return '"' + words.replace("\\", "\\\\").replace('"', '\\"') + '"'


@contextmanager
def chromium() -> Iterator[Browser]:
    """Starts Chromium without a window. Nothing asynchronous may run in this thread until it ends."""
    fonts = cache_folder() / "debian/usr/share/fonts"
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        config = Path(folder) / "fonts.conf"
        config.write_text(_FONTS.format(fonts=fonts, cache=folder), encoding="utf-8")
        yield playwright.chromium.launch(
            executable_path=CHROMIUM,
            chromium_sandbox=os.geteuid() != 0,  # which root cannot have
            env={**os.environ, "FONTCONFIG_FILE": str(config)},
        )


@contextmanager
def visit(
    browser: Browser,
    home: str,
    path: str = "",
    *,
    phone: bool = False,
    scheme: Literal["light", "dark"] = "light",
) -> Iterator[Visit]:
    """Opens the page in a browser that has never seen it.

    Args:
        browser: which browser.
        home: the service's address, with a slash at the end.
        path: what follows it.
        phone: whether it is held in a hand.
        scheme: the colours that the system has.
    """
    context = browser.new_context(
        viewport=PHONE if phone else DESKTOP,  # type: ignore[arg-type]
        device_scale_factor=2 if phone else 1,
        is_mobile=phone,
        has_touch=phone,
        color_scheme=scheme,
        service_workers="block",
    )
    try:
        page = context.new_page()
        page.set_default_timeout(ANSWER_MS)
        opened = Visit(page, home)
        page.on("request", lambda request: opened.requests.append(request))  # noqa: PLW0108 - it marks its handlers
        page.on("response", lambda reply: opened.replies.append(reply))  # noqa: PLW0108
        page.on("console", lambda message: _note(opened, message))
        page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        page.goto(home + path)
        # Either the welcome or an answer: whatever the address asks for.
        page.locator("#blank:not([hidden]), #grid .card, #notice:not([hidden])").first.wait_for()
        yield opened
    finally:
        context.close()


def _note(opened: Visit, message: ConsoleMessage) -> None:
    if message.type == "error":
        opened.complaints.append(message.text)
