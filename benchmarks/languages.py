"""The quick starts of docs/clients.md, run as they stand."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.emoji import CHECKOUT
from benchmarks.kept import kept

PAGE = CHECKOUT / "docs" / "clients.md"
PROTOS = CHECKOUT / "protos"
GRPCURL = ("github.com/fullstorydev/grpcurl/cmd/grpcurl", "v1.9.3")
SECONDS = 600.0


class Lacking(Exception):
    """What a language needs is not on this machine; the message names it."""


@dataclass(frozen=True)
class Language:
    """A chapter of the page.

    Attributes:
        name: its heading.
        tools: that must be on PATH.
        file: the program's, where it has one.
    """

    name: str
    tools: tuple[str, ...]
    file: str = ""


GRPCURL_CHAPTER = Language("grpcurl", ("go",))
NODE = Language("Node", ("node", "npm"), "search.mjs")
GO = Language("Go", ("go",), "main.go")
LANGUAGES = (GRPCURL_CHAPTER, NODE, GO)


def run(language: Language, environment: Mapping[str, str]) -> str:
    """Runs a chapter's example; returns what it printed. What it needs is set up on first use and kept.

    Args:
        language: whose chapter.
        environment: SIGHTLINE_ADDRESS and so on.

    Raises:
        Lacking: the toolchain is not here.
        RuntimeError: the example, or what sets it up, failed.
    """
    if missing := [tool for tool in language.tools if not shutil.which(tool)]:
        raise Lacking(f"{language.name} needs {', '.join(missing)} on PATH")
    if not language.file:
        # The first time, the lines before the last tell of the build.
        *_, grpcurl = _run([str(CHECKOUT / "tools" / "go_tool.sh"), *GRPCURL], CHECKOUT, {}).splitlines()
        [script] = _blocks(language, "bash")
        return _bash(script, CHECKOUT, {**environment, "PATH": f"{Path(grpcurl).parent}:{os.environ['PATH']}"})
    *_, running = _blocks(language, "sh")
    return _bash(running, _set_up(language), environment)


def _set_up(language: Language) -> Path:
    """Returns a folder in which all of the chapter was done but its last step."""
    set_up, _ = _blocks(language, "sh")
    [program] = _blocks(language, "js" if language is NODE else "go")
    digest = hashlib.sha256("\0".join((set_up, program)).encode())
    for file in sorted(PROTOS.rglob("*.proto")):
        digest.update(file.read_bytes())

    def make(folder: Path) -> None:
        shutil.copytree(PROTOS, folder / "protos")
        (folder / language.file).write_text(program, encoding="utf-8")
        bin_folder = _with_protoc(folder / "bin")
        path = f"{bin_folder}:{os.environ['PATH']}"
        _bash(set_up, folder, {"PATH": path, "GOBIN": str(bin_folder), "CGO_ENABLED": "0"})

    return kept(f"clients/{language.name.lower()}-{digest.hexdigest()[:16]}", make)


def _with_protoc(folder: Path) -> Path:
    """The compiler of grpcio-tools is protoc by another name."""
    folder.mkdir()
    protoc = folder / "protoc"
    protoc.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m grpc_tools.protoc "$@"\n')
    protoc.chmod(0o755)
    return folder


def _blocks(language: Language, tongue: str) -> list[str]:
    """The chapter's blocks in a tongue."""
    chapter = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    [text] = [one for one in chapter if one.partition("\n")[0] == language.name]
    return re.findall(rf"^```{tongue}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _bash(script: str, folder: Path, environment: Mapping[str, str]) -> str:
    return _run(["bash", "-eu", "-c", script], folder, environment)


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[-1][:200]} ended with {done.returncode}:\n{done.stdout[-2000:]}")
    return done.stdout
