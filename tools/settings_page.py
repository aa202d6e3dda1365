"""Writes docs/settings.md from the settings classes; `--check` only tells whether it is up to date."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from services.runtime.settings import PREFIX, Settings

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "settings.md"

HEAD = """# Settings

<!-- Written by `make protos` from the settings classes of the services; do not edit. -->

Each process reads its settings from the environment when it starts. Where some are wrong it names them all and exits
with 2. Sizes are in bytes, times in seconds.
"""


def main() -> int:
    """Writes or checks the page; returns the exit code."""
    text = page()
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print("docs/settings.md is out of date: run make protos", file=sys.stderr)
        return 1
    return 0


def page() -> str:
    """Returns the whole page: what all processes share, then each process's own."""
    shared = "\n".join(_section("Every process", Settings, set()))
    own = ("\n".join(_section(name.capitalize(), kind, set(Settings.model_fields))) for name, kind in services())
    return "\n".join([HEAD, shared, *own, ""]).rstrip("\n") + "\n"


def services() -> Iterator[tuple[str, type[Settings]]]:
    """Every service that has settings, with its settings class."""
    for file in sorted((CHECKOUT / "services").glob("*/settings.py")):
        name = file.parent.name
        module = importlib.import_module(f"services.{name}.settings")
        for kind in vars(module).values():
            of_service = isinstance(kind, type) and issubclass(kind, Settings) and kind is not Settings
            if of_service and kind.__module__ == module.__name__:
                yield name, kind


def _section(title: str, kind: type[Settings], known: set[str]) -> Iterator[str]:
    """A heading and a table of the fields that are not known already, or differ from what is known."""
    yield f"## {title}\n"
    yield "| variable | default | what it is |"
    yield "|---|---|---|"
    for name, field in kind.model_fields.items():
        if name not in known or field.default != Settings.model_fields[name].default:
            yield f"| `{PREFIX}{name.upper()}` | {_default(field)} | {_description(field)} |"
    yield ""


def _description(field: FieldInfo) -> str:
    return f"{field.description}{_bounds(field)}".replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None or field.default == "":
        return "none"
    if isinstance(field.default, SecretStr):
        return "hidden"
    return f"`{field.default}`"


def _bounds(field: FieldInfo) -> str:
    """The bounds that a value must keep, in words."""
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    found = [
        f"{word} {getattr(rule, bound)}"
        for rule in field.metadata
        for bound, word in words.items()
        if getattr(rule, bound, None) is not None
    ]
    return f" ({', '.join(found)})" if found else ""


if __name__ == "__main__":
    sys.exit(main())
