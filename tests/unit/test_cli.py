"""The command line against a real server of the contract."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from PIL import Image as Pictures
from PIL import ImageDraw
from rich.console import Console
from typer.testing import CliRunner, Result

import sightline.cli
from sightline import (
    CacheState,
    Coverage,
    FakeClient,
    Hit,
    Image,
    InternalError,
    InvalidArgument,
    Model,
    SearchResult,
    StageTimes,
    StoredImage,
)
from sightline._channel import check_address
from sightline.cli import tables
from sightline.cli.app import app
from sightline.cli.fonts import Lettering
from sightline.cli.grid import draw_grid
from tests.sdk_server import Servicer, served_apart


def webp(colour: str) -> bytes:
    """A file with a picture of one colour."""
    file = io.BytesIO()
    Pictures.new("RGB", (64, 48), colour).save(file, "WEBP", lossless=True)
    return file.getvalue()


@pytest.fixture(scope="module")
def fake() -> FakeClient:
    images = [
        Image("apple", "file:///a.png", "red apple", {"group": "fruit"}, 640, 480),
        Image("pear", "file:///p.png", "green [bold]pear", {"tags": ("sweet", "soft")}),
        Image("car", "file:///c.png", "red car"),
    ]
    return FakeClient(images, thumbnails={"apple": webp("red"), "pear": webp("green")}, collection="things")


@pytest.fixture(scope="module")
def address(fake: FakeClient) -> Iterator[str]:
    with served_apart(Servicer(fake)) as address:
        yield address


@pytest.fixture
def run(address: str, fake: FakeClient) -> Iterator[Command]:
    yield Command(address)
    fake.recover()


class Command:
    """Runs `sightline` with its address in the environment, on a terminal 160 wide that is none."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __call__(self, *arguments: str) -> Result:
        environment = {"SIGHTLINE_ADDRESS": self.address, "COLUMNS": "160", "TERM": "dumb"}
        return CliRunner().invoke(app, list(arguments), env=environment)


def test_search_shows_a_table_and_how_it_came_about(run: Command) -> None:
    """Rank, id, score, caption and uri of each hit; coverage, cache state, generation and model below."""
    result = run("search", "red apple")
    assert result.exit_code == 0
    heading, first, *_ = result.stdout.splitlines()
    assert heading.split() == ["#", "id", "score", "caption", "uri"]
    assert first.split() == ["1", "apple", "1.000", "red", "apple", "file:///a.png"]
    assert "4 of 4 shards, 3 images · computed · generation 1 · model fake 00000000" in result.stdout
    assert "green [bold]pear" in result.stdout


def test_search_prints_json(run: Command) -> None:
    """--json is the whole answer for programs."""
    answer = json.loads(run("search", "red apple", "--json", "--top-k", "2").stdout)
    assert [hit["id"] for hit in answer["hits"]] == ["apple", "car"]
    assert answer["hits"][0]["image"]["attributes"] == {"group": "fruit"}
    assert answer["coverage"] == {
        "shards_asked": 4,
        "shards_answered": 4,
        "images_searched": 3,
        "images_matched": 3,
        "complete": True,
    }
    assert (answer["cache"], answer["generation"], answer["model"]["name"]) == ("miss", 1, "fake")


def test_words_pictures_and_ids_mix(run: Command, tmp_path: Path) -> None:
    """What is asked together is searched together, and --minus steers away."""
    (tmp_path / "pear.webp").write_bytes(webp("green"))

    def best(*arguments: str) -> str:
        return str(json.loads(run("search", "--json", *arguments).stdout)["hits"][0]["id"])

    assert best("--image", str(tmp_path / "pear.webp")) == "pear"
    assert best("--id", "car") == "car"
    assert best("red", "--minus", "apple") == "car"
    assert best("red", "--minus", "car") == "apple"


def test_no_hits_are_said_plainly(run: Command) -> None:
    """An empty answer is an answer: exit code 0 and a sentence."""
    result = run("search", "zebra", "--min-score", "0.5")
    assert result.exit_code == 0
    assert "No hits" in result.stdout


def test_partial_answers_are_pointed_out(run: Command, fake: FakeClient) -> None:
    """What was missing is said above the line of coverage."""
    fake.lose_shards(1)
    result = run("search", "red apple")
    assert "! 1 shards did not answer (SHARDS_MISSING)" in result.stdout
    assert "3 of 4 shards" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["search", "x" * 5000], "query.text: must be at most 4,096 bytes, got 5,000 (TEXT_TOO_LONG)"),
        (["search", "red", "--collection", "other"], "NO_COLLECTION"),
        (["search", "--id", "nobody"], "NO_IMAGE"),
        (["get", "nobody"], "NO_IMAGE"),
        (["status", "--address", "127.0.0.1:1"], "Is a gateway running there, without TLS?"),
    ],
)
def test_what_the_service_refuses_exits_with_1(run: Command, arguments: list[str], reason: str) -> None:
    """The reason is printed to the error stream, without a traceback."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert reason in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["search"],
        ["search", "--minus", "red"],
        ["search", "red", "--top-k", "0"],
        ["search", "--image", "/nowhere/cat.png"],
        ["search", "red", "--save", "grid.txt"],
        ["search", "red", "--save", "/nowhere/at/all/grid.png"],
        ["search", "red", "--address", "localhost"],
        ["get"],
        ["found"],
    ],
)
def test_commands_that_make_no_sense_exit_with_2(run: Command, arguments: list[str]) -> None:
    """Nothing is asked of the service then."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage" in result.stderr


def test_save_draws_the_hits(run: Command, tmp_path: Path) -> None:
    """The grid holds the thumbnails; a hit without one is grey."""
    result = run("search", "red apple", "--top-k", "3", "--save", str(tmp_path / "grid.png"))
    assert result.exit_code == 0, result.stderr
    assert "Saved" in result.stderr
    with Pictures.open(tmp_path / "grid.png") as grid:
        colours = {colour for _, colour in grid.convert("RGB").getcolors(1 << 20) or ()}
    assert {(255, 0, 0), (0, 128, 0)} <= colours


def test_get_shows_an_image_and_saves_its_thumbnail(run: Command, tmp_path: Path) -> None:
    """All that is stored is shown, attributes by their names."""
    result = run("get", "apple", "--save", str(tmp_path / "a.webp"))
    shown = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert shown["caption"].strip() == "red apple"
    assert shown["size"].strip() == "640 × 480"
    assert shown["group"].strip() == "fruit"
    assert (tmp_path / "a.webp").read_bytes() == webp("red")
    assert json.loads(run("get", "pear", "--json").stdout)["image"]["attributes"] == {"tags": ["sweet", "soft"]}


def test_status_shows_what_can_be_searched(run: Command) -> None:
    """The gateway's health, and collections with images, generation and model."""
    result = run("status")
    assert result.exit_code == 0
    assert f"The gateway at {run.address} is ready." in result.stdout
    assert result.stdout.splitlines()[2].split()[:4] == ["things", "3", "4", "1"]
    answer = json.loads(run("status", "--json").stdout)
    assert answer["serving"]
    assert answer["collections"][0]["model"]["dimension"] == 512


def test_status_shows_lost_shards(run: Command, fake: FakeClient) -> None:
    """A collection that does not answer whole is shown with how much of it does, and status fails."""
    fake.lose_shards(1)
    try:
        result, told = run("status"), run("status", "--json")
    finally:
        fake.lose_shards(0)
    assert (result.exit_code, told.exit_code) == (1, 1)
    assert "3 of 4" in result.stdout
    assert "! things: 3 of 4 shards answer" in result.stdout
    assert "SHARDS_MISSING" in result.stdout
    assert json.loads(told.stdout)["collections"][0]["shards_answering"] == 3


@pytest.fixture(scope="module")
def no_gateway() -> Iterator[str]:
    """A server with health and none of our services, as encoders and searchers are to callers."""
    server = grpc.server(ThreadPoolExecutor(2))
    healthy = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.mark.parametrize("command", [["status"], ["search", "red"], ["get", "a"]])
def test_a_server_that_is_no_gateway_is_said_to_be_none(command: list[str], no_gateway: str) -> None:
    """Whoever asks an encoder's or a searcher's port is told what is wrong with the address."""
    result = CliRunner().invoke(app, [*command, "--address", no_gateway])
    assert result.exit_code == 1
    assert f"{no_gateway} is no gateway" in result.stderr


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("localhost", "host:port"),
        ("http://127.0.0.1:7700", "without http://; try 127.0.0.1:7700"),
        ("127.0.0.1:77000", "from 1 to 65535"),
        ("127.0.0.1:gateway", "host:port"),
        (":7700", "host:port"),
        ("::1", "brackets"),
    ],
)
def test_an_address_that_is_none_is_refused_at_once(address: str, said: str) -> None:
    """Neither command line nor client tries to reach what cannot be an address; both say what one looks like."""
    result = CliRunner().invoke(app, ["status", "--address", address], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    with pytest.raises(InvalidArgument, match="host:port") as refused:
        check_address(address)
    assert (refused.value.reason, refused.value.field) == ("BAD_ADDRESS", "address")


def test_addresses_of_all_kinds_are_taken() -> None:
    """Names, IPv4 and IPv6 addresses with a port, and gRPC's own targets."""
    for address in ("localhost:1", "10.0.0.1:7700", "[::1]:7700"):
        assert check_address(address) == f"dns:///{address}"
    for target in ("dns:///gateway:7700", "unix:///run/sightline", "ipv4:10.0.0.1:7700,10.0.0.2:7700"):
        assert check_address(target) == target


def test_faults_of_the_service_are_no_tracebacks(run: Command, fake: FakeClient) -> None:
    """Also an internal error is a sentence and exit code 1."""
    fake.fail(InternalError("an internal error"), times=1)
    result = run("search", "red")
    assert (result.exit_code, result.stderr) == (1, "an internal error (INTERNAL)\n")


def test_pictures_are_drawn_in_terminals_only(run: Command) -> None:
    """On a terminal the thumbnails appear in colour, unless they are declined; elsewhere they never do."""
    assert "\x1b[48;2" not in run("search", "red apple").stdout
    drawn = on_a_terminal(run.address, "search", "red apple")
    assert "\x1b[" in drawn
    assert "255;0;0" in drawn
    assert "255;0;0" not in on_a_terminal(run.address, "search", "red apple", "--no-pictures")
    assert "255;0;0" not in on_a_terminal(run.address, "search", "red apple", columns=0)


def on_a_terminal(address: str, *arguments: str, columns: int = 100) -> str:
    """Returns what the command writes to a terminal of true colour and half blocks."""
    mine, its = pty.openpty()
    termios.tcsetwinsize(its, (40 if columns else 0, columns))
    program = [sys.executable, "-c", "from sightline.cli import main; main()", *arguments, "--address", address]
    environment = {**os.environ, "COLORTERM": "truecolor", "TERM": "xterm-256color"}
    with subprocess.Popen(program, stdin=its, stdout=its, stderr=its, env=environment) as process:
        os.close(its)
        written = b""
        try:
            while chunk := os.read(mine, 65536):
                written += chunk
        except OSError:  # how Linux says that the other end is gone
            pass
        os.close(mine)
    assert process.returncode == 0, written
    return written.decode()


def test_conditions_choose_among_the_images(address: str) -> None:
    """`--where` leaves the images that meet it; one that makes no sense ends with 2 and says why."""
    found = CliRunner().invoke(
        app, ["search", "red", "--where", "group=fruit", "--json", "--address", address], catch_exceptions=False
    )
    assert [hit["id"] for hit in json.loads(found.stdout)["hits"]] == ["apple"]
    shown = CliRunner().invoke(app, ["search", "red", "--where", "group=fruit", "--address", address])
    assert "4 of 4 shards, 1 match of 3 images" in shown.output.replace("\n", " ")
    wrong = CliRunner().invoke(app, ["search", "red", "--where", "colour=red", "--address", address])
    assert wrong.exit_code == 2
    assert "there are: group, tags" in wrong.output


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK alone has no command line, and says how to get it rather than how it failed."""
    for name in [name for name in sys.modules if name.startswith("sightline.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "typer", None)
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with pytest.raises(SystemExit) as exit:
        sightline.cli.main()
    assert exit.value.code == 2
    assert "pip install '.[cli]'" in written.getvalue()


def test_what_is_printed_is_nothing_that_a_terminal_obeys() -> None:
    """Captions, uris and attributes with escape sequences in them are printed without; letters stay as they are."""
    image = Image("a", "file:///\x1b]0;title\x07", "\x1b[31mкот 雪だるま 👩‍🚀\u202e\x9b2J", {"\x1bn": "x\ny"})
    result = SearchResult(
        (Hit("a", 1.0, image),), Coverage(1, 1, 1), (), Model("m", "d", 2), 1, CacheState.MISS, "r", StageTimes()
    )
    shown = io.StringIO()
    console = Console(file=shown, width=200)
    console.print(tables.answer(result))
    console.print(tables.image(StoredImage(image, b"", 1)))
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown.getvalue())
    assert "кот 雪だるま 👩‍🚀" in shown.getvalue()
    assert "x y" in shown.getvalue()


def test_stage_times_are_a_bar_of_shares() -> None:
    """Each stage that took place has a share of the bar and its milliseconds; the rest is named too."""
    bar = tables.stages(StageTimes(total_us=10_000, encode_us=5_000, search_us=3_000)).plain
    assert bar == "━" * 40 + " 10.0 ms  encode 5.0  search 3.0  other 2.0"


def test_a_grid_has_a_row_for_each_query() -> None:
    """It grows with rows and hits, and takes titles of any language and files that are no pictures."""
    one = draw_grid([("red apple", [(webp("red"), "apple", 0.5)])])
    six = draw_grid([(title, [(b"no picture", "苹果", 0.5)] * 5) for title in ("红苹果", "تفاحة", "सेब", "", "a", "b")])
    assert six.height > 5 * one.height > 0
    assert six.width > one.width
    assert draw_grid([]).mode == "RGB"


def test_captions_are_broken_into_lines_that_fit() -> None:
    """Lines end between words where there are any, none is wider than asked, and what is left out is marked."""
    lettering = Lettering(14)
    lines = lettering.wrap("green pear with a rather long caption that goes on and on", 160, 2)
    assert lines[0] == "green pear with a"
    assert lines[1].endswith("…")
    unbroken = lettering.wrap("я" * 100, 160, 3)
    assert len(unbroken) == 3
    assert all(lettering.width(line) <= 160 for line in [*lines, *unbroken])
    assert lettering.wrap("short", 160, 2) == ["short"]
    assert lettering.wrap("", 160, 2) == []


def test_letters_are_drawn_by_a_font_that_has_them() -> None:
    """Latin and Cyrillic look different from the box that stands for a letter that no font has."""
    lettering = Lettering(20)
    assert picture_of(lettering, "ж") != picture_of(lettering, "\U0010fffd")
    assert lettering.width("apple яблоко") > lettering.width("apple")


def picture_of(lettering: Lettering, text: str) -> bytes:
    """Draws a text and returns its pixels."""
    paper = Pictures.new("L", (100, 40))
    lettering.draw(ImageDraw.Draw(paper), (5, 30), text, "white")
    return paper.tobytes()


def test_what_the_command_line_is_told_of_keys(run: Command, tmp_path: Path) -> None:
    """A key comes from a file or a variable and is never shown; files that are not there or hold no text are named."""
    (tmp_path / "key").write_text("s3cret\n")
    assert run("status", "--key-file", str(tmp_path / "key")).exit_code == 0
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    for file, says in ((tmp_path / "key", "holds no text"), (tmp_path / "nothing", "No such file")):
        refused = run("status", "--key-file", str(file))
        assert refused.exit_code == 2
        assert says in " ".join(refused.stderr.split())
    wrong = run("status", "--key", "s3 cret")
    assert wrong.exit_code == 1
    assert "BAD_KEY" in wrong.stderr
    assert "cret" not in wrong.stderr
    assert run("status", "--ca", str(tmp_path / "nothing")).exit_code == 1
