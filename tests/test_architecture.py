"""What the import contracts cannot say of the code, the protos and the packaging."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.local.topology import Topology, plan
from services.runtime.settings import PREFIX, Settings

CHECKOUT = Path(__file__).resolve().parents[1]
# Those of splice.proto are twins of public messages, where their fields are described.
PROTOS = sorted(file for file in (CHECKOUT / "protos").rglob("*.proto") if file.stem != "splice")
TESTS = sorted((CHECKOUT / "tests").rglob("test_*.py"))
SERVICES = sorted((CHECKOUT / "services").rglob("*.py"))
DECLARATION = re.compile(
    r"^\s*(service \w+|rpc \w+|message \w+|enum \w+|(optional |repeated )?[\w.<>, ]+ \w+ = \d+|[A-Z_0-9]+ = \d+)"
)


def name_of(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


@pytest.mark.parametrize("proto", PROTOS, ids=name_of)
def test_every_declaration_of_the_contract_is_commented(proto: Path) -> None:
    """Each service, rpc, message, field and value of the protos says what it is."""
    lines = proto.read_text(encoding="utf-8").splitlines()
    bare = [
        line.strip()
        for before, line in zip(["", *lines], lines, strict=False)
        if DECLARATION.match(line) and not before.strip().startswith("//")
    ]
    assert bare == []


def test_settings_page_is_up_to_date() -> None:
    """Every setting is documented in docs/settings.md, with its default and its bounds."""
    page = [sys.executable, "tools/settings_page.py", "--check"]
    assert subprocess.run(page, cwd=CHECKOUT, check=False).returncode == 0


def test_wheel_holds_the_sdk_alone() -> None:
    """What callers install has no service in it, and depends on nothing but grpcio, protobuf and numpy."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["sightline"]
    names = {re.split(r"[<>=!~\[ ]", needed)[0] for needed in project["project"]["dependencies"]}
    assert names == {"grpcio", "protobuf", "numpy"}


def test_pins_are_versions_and_nothing_else() -> None:
    """The pinned versions can be installed from any index: no addresses, no local files."""
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9._-]+==[\w.+!]+( ; .+)?", line)] == []


def test_environment_is_read_in_few_places() -> None:
    """Settings come from the environment through settings classes; what starts processes hands it on."""
    may = {"services/local/process.py", "services/local/__main__.py"}
    may.add("services/index/engine.py")  # sets the number of threads, which FAISS reads when it is loaded
    reading = {name_of(path) for path in SERVICES if re.search(r"os\.(environ|getenv)", path.read_text("utf-8"))}
    assert reading - may == set()


def test_mains_are_imported_by_no_service() -> None:
    """Where objects are built, nothing is to be had for others."""
    importers = [
        name_of(path)
        for path in SERVICES
        for module in imports_of(path)
        if module.startswith("services.") and module.endswith("__main__")
    ]
    assert importers == []


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("file", TESTS, ids=name_of)
def test_every_test_says_what_is_true(file: Path) -> None:
    """Each test's docstring is a sentence about the product."""
    tests = [
        node
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    silent = [node.name for node in tests if not (ast.get_docstring(node) or "").rstrip().endswith((".", "!", "?"))]
    assert silent == []


@pytest.mark.parametrize("role", ["encoder", "gateway", "searcher", "web"])
def test_local_cluster_speaks_of_settings_that_exist(role: str, tmp_path: Path) -> None:
    """Whatever the local cluster tells a process is a setting of that process, and a value that it accepts."""
    module = importlib.import_module(f"services.{role}.settings")
    kind = next(one for name, one in vars(module).items() if name.lower() == f"{role}settings")
    assert issubclass(kind, Settings)
    spec = next(s for s in plan(Topology(webs=1), store="/s", model="m", run_dir=tmp_path) if s.role == role)
    told = {name.removeprefix(PREFIX).lower(): value for name, value in spec.environment.items() if PREFIX in name}
    assert set(told) <= set(kind.model_fields)
    kind(**told)
