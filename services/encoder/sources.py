"""Where models come from: open_clip's own names, or files on this machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.errors import InvalidArgument

CONFIG = "open_clip_config.json"
CARD = "sightline.json"


@dataclass(frozen=True, slots=True)
class Card:
    """What a model says of itself, in `sightline.json` beside its weights; for others, nothing but a name.

    Attributes:
        scope: what it is for, where that is not pictures in general; a word.
        scope_note: what to tell those who use it for something else; a sentence.
        casefold: whether it was trained on case-folded texts.
    """

    name: str
    scope: str = ""
    scope_note: str = ""
    casefold: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """What open_clip is told.

    Attributes:
        name: for create_model and get_tokenizer.
        pretrained: for create_model; None for folders, which have their own weights.
        config: a configuration file that open_clip must learn of first.
        tokenizer: further arguments of get_tokenizer.
    """

    name: str
    pretrained: str | None
    card: Card
    config: Path | None
    tokenizer: dict[str, Any]


def find(model: str, pretrained: str) -> Source:
    """Returns the source that the settings `model` and `pretrained` name.

    Raises:
        InvalidArgument: a file is missing, or no weights are named; names the setting.
    """
    path = Path(model)
    if path.is_dir():
        return _folder(path)
    if not pretrained:
        message = f"{model!r} is no folder with weights, so say which weights: a checkpoint file or a tag of open_clip"
        raise InvalidArgument(message, field="pretrained")
    if any(mark in pretrained for mark in ("/", ".pt", ".safetensors", ".bin")) and not Path(pretrained).is_file():
        raise InvalidArgument(f"there is no file {pretrained!r}", field="pretrained")
    if model.endswith(".json"):
        if not path.is_file():
            raise InvalidArgument(f"there is no file {model!r}", field="model")
        return Source(path.stem, pretrained, Card(path.stem), path, {})
    weights = Path(pretrained).name if Path(pretrained).is_file() else pretrained
    return Source(model, pretrained, Card(f"{model}/{weights}"), None, {})


def _folder(path: Path) -> Source:
    if not (path / CONFIG).is_file():
        raise InvalidArgument(f"the folder {str(path)!r} has no {CONFIG}", field="model")
    config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    tokenizer = {}
    # open_clip takes the path of the merges as it stands, so that a folder could not be moved.
    merges = config["model_cfg"]["text_cfg"].get("tokenizer_kwargs", {}).get("bpe_path")
    if merges:
        tokenizer["bpe_path"] = str(path / merges)
    return Source(f"local-dir:{path}", None, _card(path), None, tokenizer)


def _card(path: Path) -> Card:
    if not (path / CARD).is_file():
        return Card(path.name)
    said = json.loads((path / CARD).read_text(encoding="utf-8"))
    return Card(said["name"], said.get("scope", ""), said.get("scope_note", ""), said.get("casefold", False))
