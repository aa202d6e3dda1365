"""The page on the SDK: its examples run, and print what they say."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline import FakeClient, Image
from sightline.cli.app import app
from tests.sdk_server import Servicer, served_apart
from tests.unit.test_cli import webp

PAGE = Path(__file__).parents[2] / "docs" / "sdk.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with the images that the page speaks of, and the file that it names in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.jpg").write_bytes(webp("red"))
    images = [
        Image("apple", "file:///photos/apple.jpg", "red apple", {"group": "fruit"}),
        Image("pear", caption="green apple pear"),
        Image("car", caption="red car", attributes={"price": 30.0, "tags": ("v-neck",), "colour": "red"}),
    ]
    with served_apart(Servicer(FakeClient(images, thumbnails={"apple": webp("red")}))) as address:
        yield address


async def test_the_examples_run_and_print_what_the_page_says(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each Python example runs after those above it, and the text below it is what it prints."""
    blocks = [(language, body) for language, body in BLOCK.findall(PAGE.read_text()) if language != "sh"]
    names: dict[str, object] = {}
    for number, (language, body) in enumerate(blocks):
        if language == "python":
            source = body.replace("localhost:7700", address)
            code = compile(source, f"{PAGE.name}, example {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            running = eval(code, names)
            if inspect.isawaitable(running):
                await running
            following = blocks[number + 1] if number + 1 < len(blocks) else ("", "")
            assert capsys.readouterr().out == (following[1] if following[0] == "text" else ""), source


def test_the_commands_run(address: str) -> None:
    """Each command of the page ends with exit code 0."""
    commands = [
        line for language, body in BLOCK.findall(PAGE.read_text()) for line in body.splitlines() if language == "sh"
    ]
    searches = [shlex.split(line)[1:] for line in commands if line.startswith("sightline")]
    assert len(searches) >= 6
    for arguments in searches:
        result = CliRunner().invoke(app, arguments, env={"SIGHTLINE_ADDRESS": address})
        assert result.exit_code == 0, (arguments, result.stderr)
