"""What an exported model says of itself: `onnx.json`, beside its graphs and weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.encoder.sources import CONFIG_FILE, LoadError

EXPORT_FILE = "onnx.json"
TEXT_GRAPH, IMAGE_GRAPH = "text.onnx", "image.onnx"

Clean = Literal["lower", "whitespace", "canonicalize"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TokenizerFile(_Part):
    """How texts become ids.

    Attributes:
        kind: `clip` for the merges of a byte-level BPE, in CLIP's format; `tokenizers` for a `tokenizer.json`.
        file: the merges, or the tokenizer.json, in the folder.
        clean: what is done to a text first, by open_clip's names.
        context: ids of a row, padded with zeros; a tokenizer.json says it by itself.
        start, end: of a `clip` tokenizer, the special tokens that enclose a text.
        erased: an id that becomes 0, where there is one.
    """

    kind: Literal["clip", "tokenizers"]
    file: str
    clean: Clean
    context: int = Field(ge=2)
    special: tuple[str, ...] = ()
    erased: int | None = None


class Pictures(_Part):
    """How pictures are prepared: see services.pictures.Preparation."""

    height: int
    width: int
    resize_mode: str
    interpolation: str
    fill: int


class Cut(_Part):
    """How texts may be cut: see services.encoder.ends.Ends."""

    context: int
    vocabulary: int
    eos: int | None = None


class Export(_Part):
    """An export.

    Attributes:
        format: of this file.
        opset: of the graphs.
        name: of the model, for people.
        digest: of the model that was exported, as services.encoder.model works it out.
        dimension: of its vectors.
        scope, scope_note, casefold: see services.encoder.sources.Source.
        pictures: how its pictures are prepared.
        tokenizer: how its texts become ids.
        cut: how texts are cut; None where the tower sees its padding.
        files: sha256, hex, of every file that belongs to the export.
    """

    format: Literal[1] = 1
    opset: int
    name: str
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    dimension: int = Field(ge=1)
    scope: str = ""
    scope_note: str = ""
    casefold: bool = False
    pictures: Pictures
    tokenizer: TokenizerFile
    cut: Cut | None
    files: dict[str, str]


def is_export(model: str) -> bool:
    """Whether a model is a folder that holds an export."""
    return (Path(model) / EXPORT_FILE).is_file()


def is_export_alone(model: str) -> bool:
    """Whether a model is a folder with an export and nothing that open_clip could load, such as a student of
    training.distil."""
    return is_export(model) and not (Path(model) / CONFIG_FILE).is_file()


def read(folder: Path) -> Export:
    """Reads what an export says of itself, and makes sure that its files are those it was written with.

    Raises:
        LoadError: it cannot be read, or a file is missing or another one.
    """
    file = folder / EXPORT_FILE
    try:
        export = Export.model_validate_json(file.read_bytes())
    except OSError as error:
        raise LoadError(f"there is no export in {folder}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise LoadError(f"{file} is no description of an export: {where}: {first['msg']}; {_again(folder)}") from error
    for name, known in export.files.items():
        if not (folder / name).is_file():
            raise LoadError(f"{folder / name} is missing: copy the whole folder, or else {_again(folder)}")
        if digest_of(folder / name) != known:
            raise LoadError(f"{folder / name} is not the file that the export was written with: {_again(folder)}")
    return export


def digest_of(file: Path) -> str:
    """The hex sha256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _again(folder: Path) -> str:
    return f"export the model again (python -m training.export MODEL --output {folder})"
