"""The page on measuring relevance: its questions are asked, its commands run, and its example prints what it says."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image as Drawn

from sightline import FakeClient, Image
from tests.sdk_server import Servicer, served_apart
from tests.unit.test_cli import webp
from training.evaluate import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
IMAGES = [
    Image("apple", caption="red apple"),
    Image("pear", caption="green apple pear"),
    Image("car", caption="red car"),
]


def block(language: str) -> str:
    """Returns the page's one block in a language."""
    [found] = [body for tongue, body in BLOCKS if tongue == language]
    return str(found)


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with three images, in a folder with their files and the page's questions."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "queries.jsonl").write_text(block("jsonl"), encoding="utf-8")
    for image, colour in zip(IMAGES, ("red", "green", "blue"), strict=True):
        Drawn.new("RGB", (32, 32), colour).save(f"{image.id}.png")
    rows = [{"id": image.id, "uri": f"{image.id}.png"} for image in IMAGES]
    (tmp_path / "images.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with served_apart(Servicer(FakeClient(IMAGES, thumbnails={"apple": webp("red")}))) as address:
        yield address


def test_the_example_prints_what_the_page_says(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The Python example runs as it stands, and the text below it is what it prints."""
    exec(compile(block("python").replace("localhost:7700", address), "evaluation.md", "exec"), {})
    assert capsys.readouterr().out == block("text")


def test_the_commands_run(address: str) -> None:
    """The commands that evaluate and compare end with 0, and write what they say."""
    commands = [body.replace("\\\n", "") for language, body in BLOCKS if language == "sh" and "flickr" not in body]
    assert len(commands) == 3
    instead = {"localhost:7700": address, "shop": "fake", "models/emoji": str(ROOT / "models" / "emoji")}
    for command in commands:
        words = [instead.get(word, word) for word in shlex.split(command)]
        assert words[:3] == [".venv/bin/python", "-m", "training.evaluate"]
        assert main(words[3:]) == 0, command
    for written in ("report.html", "report.json", "model.json", "diff.html"):
        assert Path(written).stat().st_size > 1_000
