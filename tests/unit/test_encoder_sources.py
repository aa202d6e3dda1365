"""services/encoder/sources.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.encoder.sources import LoadError, source

MODEL = {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {"tokenizer_kwargs": {"bpe_path": "merges.txt.gz"}}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": MODEL}))
    (tmp_path / "weights.pt").write_bytes(b"")
    return tmp_path


def test_folder(folder: Path) -> None:
    """A folder brings its own weights, and its merges are found wherever the process runs."""
    with source(str(folder)) as found:
        assert (found.name, found.architecture, found.pretrained) == (folder.name, f"local-dir:{folder}", None)
        assert found.tokenizer == {"bpe_path": str(folder / "merges.txt.gz")}
        assert not found.casefold


def test_card(folder: Path) -> None:
    """What sightline.json says of a model is taken over."""
    card = {"name": "ours", "scope": "emoji", "scope_note": "Emoji only.", "casefold": True, "licence": "Apache-2.0"}
    (folder / "sightline.json").write_text(json.dumps(card))
    with source(str(folder)) as found:
        assert (found.name, found.scope, found.scope_note, found.casefold) == ("ours", "emoji", "Emoji only.", True)


def test_name_and_tag() -> None:
    """A name and a tag are open_clip's own affair."""
    with source("ViT-B-32", "laion2b_s34b_b79k") as found:
        assert (found.name, found.architecture) == ("ViT-B-32/laion2b_s34b_b79k", "ViT-B-32")
        assert not found.file


def test_name_and_file(folder: Path) -> None:
    """A name may have its weights in a file."""
    with source("ViT-B-32", str(folder / "weights.pt")) as found:
        assert (found.name, found.pretrained) == ("ViT-B-32/weights", str(folder / "weights.pt"))
        assert found.file


@pytest.mark.parametrize("whole", [True, False])
def test_configuration_and_file(folder: Path, whole: bool) -> None:
    """A configuration, of a model alone or with its preprocessing, may have its weights in a file elsewhere."""
    config = folder / "ours.json"
    config.write_text(json.dumps({"model_cfg": MODEL, "preprocess_cfg": {"size": 8}} if whole else MODEL))
    with source(str(config), str(folder / "weights.pt")) as found:
        made = Path(found.architecture.removeprefix("local-dir:"))
        written = json.loads((made / "open_clip_config.json").read_text())
        assert written["model_cfg"] == MODEL
        assert (made / "open_clip_pytorch_model.bin").resolve() == (folder / "weights.pt").resolve()
        assert found.tokenizer == {"bpe_path": str(folder / "merges.txt.gz")}
    assert not made.exists()


def test_repository() -> None:
    """A repository of the hub is taken only where it is named as one."""
    with source("hf-hub:org/model") as found:
        assert (found.name, found.architecture) == ("org/model", "hf-hub:org/model")


@pytest.mark.parametrize(
    ("model", "pretrained", "says"),
    [
        ("ViT-B-32", "", "pretrained must name its weights"),
        ("ViT-B-32", "gone.safetensors", "there is none at gone.safetensors"),
        ("gone/model", "", "no folder or configuration gone/model"),
        ("gone.json", "", "no folder or configuration gone.json"),
        ("{folder}", "openai", "brings its own weights"),
        ("{folder}/open_clip_config.json", "", "must name a file of weights"),
        ("{folder}/broken.json", "{folder}/weights.pt", "cannot read"),
        ("{folder}/empty", "", "cannot read"),
        ("{folder}/foreign", "", "no configuration of open_clip"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, model: str, pretrained: str, says: str) -> None:
    """Whatever cannot be found or read is said in a sentence."""
    (folder / "broken.json").write_text("{")
    (folder / "empty").mkdir()
    (folder / "foreign").mkdir()
    (folder / "foreign" / "open_clip_config.json").write_text("{}")
    wanted = source(model.format(folder=folder), pretrained.format(folder=folder))
    with pytest.raises(LoadError, match=says), wanted:
        pass
