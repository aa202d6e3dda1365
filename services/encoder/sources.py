"""Where a model comes from: a folder, a file of weights, or open_clip's name and tag. Nothing here asks the network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

CONFIG_FILE = "open_clip_config.json"
CARD_FILE = "sightline.json"
HUB = "hf-hub:"


class LoadError(Exception):
    """The model cannot be loaded; the message says what to change, and `setting` which variable named it."""

    def __init__(self, message: str, *, setting: str = "SIGHTLINE_MODEL") -> None:
        super().__init__(message)
        self.setting = setting


@dataclass(frozen=True, slots=True)
class Source:
    """A model, as open_clip is asked for it.

    Attributes:
        name: for people.
        architecture: open_clip's name, or `local-dir:` and a folder, or `hf-hub:` and a repository.
        pretrained: a tag or a file of weights, beside a name; a folder and a repository bring their own.
        tokenizer: options of its tokenizer that differ from the configuration's.
        scope, scope_note: see Card.
        casefold: whether the model has seen case-folded texts only.
    """

    name: str
    architecture: str
    pretrained: str | None = None
    tokenizer: Mapping[str, Any] = field(default_factory=dict)
    scope: str = ""
    scope_note: str = ""
    casefold: bool = False

    @property
    def file(self) -> bool:
        """Whether the weights are a file beside the name of an architecture."""
        return self.pretrained is not None and Path(self.pretrained).is_file()


@contextmanager
def source(model: str, pretrained: str = "") -> Iterator[Source]:
    """Finds a model; valid inside the `with`.

    Args:
        model: a folder with open_clip_config.json and weights, a configuration file, `hf-hub:` and a repository, or
            the name of an architecture.
        pretrained: a tag, or a file of weights. With a folder or a repository, nothing.

    Raises:
        LoadError: there is no such thing.
    """
    path = Path(model)
    if path.is_dir() or model.startswith(HUB):
        if pretrained:
            raise LoadError(f"{model} brings its own weights; leave pretrained empty")
        yield _folder(path) if path.is_dir() else Source(model.removeprefix(HUB), model)
    elif path.suffix == ".json" and path.is_file():
        with TemporaryDirectory(prefix="sightline-model-") as folder:
            yield _from_config(path, _weights(pretrained), Path(folder))
    elif path.suffix or len(path.parts) > 1:
        raise LoadError(f"there is no folder or configuration {model}")
    else:
        yield _named(model, pretrained)


def _folder(folder: Path) -> Source:
    config = _read(folder / CONFIG_FILE)
    card = _read(folder / CARD_FILE) if (folder / CARD_FILE).exists() else {}
    return Source(
        name=str(card.get("name") or folder.resolve().name),
        architecture=f"local-dir:{folder}",
        tokenizer=_tokenizer_files(config, folder),
        scope=str(card.get("scope", "")),
        scope_note=str(card.get("scope_note", "")),
        casefold=bool(card.get("casefold", False)),
    )


def _from_config(config_file: Path, weights: Path, folder: Path) -> Source:
    """Makes the folder that open_clip would have wanted, out of a configuration and a file of weights."""
    config = _read(config_file)
    # A configuration of open_clip's own registry is the model's part alone.
    whole = config if "model_cfg" in config else {"model_cfg": config}
    (folder / CONFIG_FILE).write_text(json.dumps(whole), encoding="utf-8")
    file = "open_clip_model.safetensors" if weights.suffix == ".safetensors" else "open_clip_pytorch_model.bin"
    (folder / file).symlink_to(weights.resolve())
    return Source(
        name=f"{config_file.stem}/{weights.stem}",
        architecture=f"local-dir:{folder}",
        tokenizer=_tokenizer_files(whole, config_file.parent),
    )


def _named(architecture: str, pretrained: str) -> Source:
    if not pretrained:
        raise LoadError(f"{architecture} is an architecture: pretrained must name its weights, a tag or a file")
    if Path(pretrained).suffix or len(Path(pretrained).parts) > 1:
        weights = _weights(pretrained)
        return Source(f"{architecture}/{weights.stem}", architecture, str(weights))
    return Source(f"{architecture}/{pretrained}", architecture, pretrained)


def _weights(pretrained: str) -> Path:
    if not pretrained or not Path(pretrained).is_file():
        raise LoadError(f"pretrained must name a file of weights; there is none at {pretrained or 'an empty name'}")
    return Path(pretrained)


def _tokenizer_files(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The configuration names the tokenizer's merges relative to itself; open_clip wants them from where it runs."""
    given = config["model_cfg"].get("text_cfg", {}).get("tokenizer_kwargs", {}).get("bpe_path")
    return {"bpe_path": str((folder / given).resolve())} if given else {}


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoadError(f"cannot read {file}: {error}") from error
    if not isinstance(content, dict) or (file.name == CONFIG_FILE and "model_cfg" not in content):
        raise LoadError(f"{file} is no configuration of open_clip")
    return content
