"""What can be wrong with the options of a local cluster, said before anything is started."""

from __future__ import annotations

import argparse
from pathlib import Path

from services.store import Store
from sightline.errors import SightlineError

MOST = 64
"""Processes of a kind that one machine is asked to run."""
LEAST = {"groups": 1, "replicas": 1, "gateways": 0, "encoders": 0, "webs": 0, "encoder_threads": 0}
PORTS = ("port", "web_port")
WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".npz", ".onnx"}


class OptionError(Exception):
    """An option makes no sense; the message names it, and what it may be."""


def check(options: argparse.Namespace) -> None:
    """Raises OptionError for the first option that cannot be meant; those that the command does not have are fine."""
    given = vars(options)
    for name in PORTS:
        _check_number(name, given.get(name, 0), 0, 65_535)
    for name, least in LEAST.items():
        _check_number(name, given.get(name, least), least, MOST)
    if "store" in given:
        _check_store(given["store"])
    if given.get("encoders"):
        _check_model(given["model"] or "", given["pretrained"] or "")
    for name in ("run_dir", "data"):
        if (folder := given.get(name)) and folder.exists() and not folder.is_dir():
            raise OptionError(f"{_option(name)}: {folder} is a file, and must be a folder")


def empty(store: str) -> bool:
    """Returns whether nothing can be searched in a store; False where it does not tell."""
    try:
        opened = Store(store)
        return not any(opened.pointers(name).current for name in opened.collections())
    except SightlineError:
        return False


def _check_number(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise OptionError(f"{_option(name)} must be {least} to {most:,}, not {value}")


def _check_store(url: str) -> None:
    folder = Path(url)
    if "://" not in url and folder.exists() and not folder.is_dir():
        raise OptionError(f"--store: {url} is a file; a store is a folder, or a URL such as s3://bucket/folder")
    try:
        Store(url)
    except SightlineError as error:
        extra = "; the extra s3 of this package has it: pip install '.[s3]'" if url.startswith("s3") else ""
        raise OptionError(f"--store: {error.message}{extra}") from error


def _check_model(model: str, pretrained: str) -> None:
    if model and _is_path(model):
        folder = Path(model)
        if not folder.is_dir():
            raise OptionError(f"--model: there is no folder {model}")
        if not (folder / "open_clip_config.json").is_file():
            raise OptionError(f"--model: {model} has no open_clip_config.json, so it is no model's folder")
    if pretrained and (_is_path(pretrained) or Path(pretrained).suffix in WEIGHTS) and not Path(pretrained).exists():
        raise OptionError(f"--pretrained: there is no file {pretrained}")


def _is_path(given: str) -> bool:
    """Whether this is meant as a path: open_clip's names have a slash only behind a scheme, hf-hub:owner/name."""
    return Path(given).exists() or ("/" in given and ":" not in given)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
