"""training/export.py and services/encoder/onnx_model.py, against the model of torch that was exported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg
from transformers import XLMRobertaConfig

from services.encoder import onnx_model
from services.encoder.exported import EXPORT_FILE
from services.encoder.model import OpenClipModel, load
from services.encoder.onnx_model import OnnxModel
from services.encoder.ports import Model, Vectors
from services.encoder.sources import LoadError, Source
from services.pictures import Pixels
from tests.tiny_clip import tiny_clip, tiny_config, whole_tokenizer
from training import export as exporting

CHECKOUT = Path(__file__).resolve().parents[2]
TEXTS = [*exporting.SAMPLES, "cat"]
# Without torch in the process, and without a way to get it.
ALONE = """
import sys
sys.modules["torch"] = sys.modules["open_clip"] = None
from services.encoder.__main__ import load_model
from services.encoder.settings import EncoderSettings
model = load_model(EncoderSettings(model=sys.argv[1], backend="onnx"))
print(model.card.name, model.finish(model.run_texts(model.prepare_texts(["red apple"]))).shape)
"""


@pytest.fixture(scope="module")
def ours(exported: Path) -> OnnxModel:
    return onnx_model.load(str(exported), threads=1)


@pytest.fixture(scope="module")
def theirs(exported: Path) -> OpenClipModel:
    return load(str(exported.parent / "source"), device="cpu")


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def texts(model: Model) -> Vectors:
    return model.finish(model.run_texts(model.prepare_texts(TEXTS)))


def pictures(model: Model) -> Vectors:
    shape = model.card.preparation
    drawn: list[Pixels] = list(
        np.random.default_rng(2).integers(0, 256, (3, shape.height, shape.width, 3), dtype=np.uint8)
    )
    return model.finish(model.run_images(drawn))


def distance(one: Vectors, other: Vectors) -> float:
    return float((((one - other).astype(np.float64) ** 2).sum(axis=1) / 2).max())


def test_same_vectors(ours: OnnxModel, theirs: OpenClipModel) -> None:
    """Texts of all lengths and pictures have the same vectors by either backend."""
    assert ours.cuts
    assert distance(texts(ours), texts(theirs)) < 1e-9
    assert distance(pictures(ours), pictures(theirs)) < 1e-9
    assert np.linalg.norm(texts(ours), axis=1) == pytest.approx(1, abs=1e-6)


def test_companions(ours: OnnxModel) -> None:
    """A text's vector does not depend on the texts that it is computed with."""
    together = texts(ours)
    for place, text in enumerate(TEXTS):
        assert np.abs(together[place] - ours.finish(ours.run_texts(ours.prepare_texts([text])))[0]).max() < 1e-6


def test_card(ours: OnnxModel, theirs: OpenClipModel) -> None:
    """An export is the model that it was made of, digest and all, so that either serves the other's collections."""
    assert ours.card == theirs.card


def test_nothing_of_the_machine(exported: Path) -> None:
    """Graphs hold neither weights nor where they were made."""
    for name in ("text.onnx", "image.onnx"):
        graph = (exported / name).read_bytes()
        assert len(graph) < 100_000
        assert b"/site-packages" not in graph
        assert str(CHECKOUT).encode() not in graph


def test_bundled() -> None:
    """The bundled model comes with its export, which uses the weights and merges that lie there."""
    said = json.loads((CHECKOUT / "models" / "emoji" / EXPORT_FILE).read_text())
    assert {"open_clip_model.safetensors", "merges.txt.gz"} < set(said["files"])
    ours, theirs = (loading(str(CHECKOUT / "models" / "emoji")) for loading in (onnx_model.load, load))
    assert ours.card == theirs.card
    assert distance(texts(ours), texts(theirs)) < 1e-9
    assert distance(pictures(ours), pictures(theirs)) < 1e-9


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> tuple[OpenClipModel, Path]:
    """A tower that sees its padding, as SigLIP's does, and its export in half precision."""
    folder = tmp_path_factory.mktemp("padded")
    text = {"no_causal_mask": True, "proj_bias": True, "pool_type": "last", "custom_text": True, "context_length": 16}
    theirs = load(str(tiny_clip(folder / "source", tiny_config(**text))), device="cpu")
    exporting.export(theirs, folder / "export", half=True)
    return theirs, folder / "export"


def test_siglip(padded: tuple[OpenClipModel, Path]) -> None:
    """A tower that sees its padding keeps it."""
    theirs, folder = padded
    ours = onnx_model.load(str(folder))
    assert not ours.cuts
    assert {len(ids) for ids in ours.prepare_texts(TEXTS)} == {16}
    assert distance(texts(ours), texts(theirs)) < 1e-3


def test_half(padded: tuple[OpenClipModel, Path]) -> None:
    """Weights may be kept in half precision: half the size, and still the model that they were made of."""
    theirs, folder = padded
    assert onnx_model.load(str(folder)).card == theirs.card
    [source] = folder.parent.glob("source/*.safetensors")
    assert (folder / "weights.safetensors").stat().st_size < 0.51 * source.stat().st_size


def test_xlm_roberta(tmp_path: Path) -> None:
    """A tower of XLM-R, with a tokenizer and a mask of its own, answers as in torch."""
    shape: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    XLMRobertaConfig(vocab_size=500, intermediate_size=64, **shape).save_pretrained(tmp_path / "config")
    text = {
        "hf_model_name": str(tmp_path / "config"),
        "hf_model_pretrained": False,
        "hf_pooler_type": "mean_pooler",
    }
    torch.manual_seed(0)
    module = open_clip.CustomTextCLIP(**{**tiny_config(), "text_cfg": text})
    open_clip.model.set_model_preprocess_cfg(module, {**vars(PreprocessCfg()), "size": 32})
    theirs = OpenClipModel(module, whole_tokenizer(tmp_path / "words"), Source("xlm-r", "roberta-ViT-B-32"))
    exporting.export(theirs, tmp_path / "export")
    ours = onnx_model.load(str(tmp_path / "export"))
    assert not ours.cuts
    assert distance(texts(ours), texts(theirs)) < 1e-9


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda folder: (folder / EXPORT_FILE).unlink(), "no export"),
        (lambda folder: (folder / EXPORT_FILE).write_text('{"format": 2}'), "export the model again"),
        (lambda folder: (folder / "text.onnx").unlink(), "text.onnx is missing"),
        (lambda folder: (folder / "weights.safetensors").write_bytes(b"other"), "not the file that the export was"),
        (lambda folder: (folder / "merges.txt.gz").write_bytes(b""), "merges.txt.gz is not the file"),
    ],
    ids=["none", "format", "missing", "weights", "merges"],
)
def test_harmed(copy: Path, harm: Callable[[Path], Any], says: str) -> None:
    """An export that is not whole is refused by a sentence that names the file and what to do."""
    harm(copy)
    with pytest.raises(LoadError, match=says):
        onnx_model.load(str(copy))


def test_links(exported: Path, tmp_path: Path) -> None:
    """The files of an export may be links, as caches of downloads and mounted volumes keep them."""
    for place, file in enumerate(exported.iterdir()):
        (tmp_path / "kept").mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / "kept" / str(place))
        (tmp_path / file.name).symlink_to(Path("kept") / str(place))
    assert onnx_model.load(str(tmp_path)).cuts


def test_brings_its_weights(exported: Path) -> None:
    """An export takes no other weights."""
    with pytest.raises(LoadError, match="leave pretrained empty"):
        onnx_model.load(str(exported), "laion2b_s34b_b79k")


def test_other_tokenizer(theirs: OpenClipModel, tmp_path: Path) -> None:
    """A model whose tokenizer cannot be written is not exported, and no folder looks as if it were."""
    shuffling = open_clip.SimpleTokenizer(reduction_mask="shuffle")
    model = OpenClipModel(theirs.module, shuffling, theirs.source)
    with pytest.raises(exporting.ExportError, match="other ids"):
        exporting.export(model, tmp_path)
    assert not (tmp_path / EXPORT_FILE).exists()


def test_without_torch(copy: Path) -> None:
    """An encoder runs an export where torch is not installed."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(copy)], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0].endswith("(1, 32)")
