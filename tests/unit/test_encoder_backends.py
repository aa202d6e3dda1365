"""services/encoder/backends.py: which library computes."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.encoder import backends
from services.encoder.backends import Backend, choose
from services.encoder.exported import EXPORT_FILE
from services.encoder.sources import CONFIG_FILE, LoadError


@pytest.fixture
def exported(tmp_path: Path) -> str:
    """A folder that both backends can run."""
    for name in (EXPORT_FILE, CONFIG_FILE):
        (tmp_path / name).write_text("{}")
    return str(tmp_path)


@pytest.fixture(params=["a GPU", "no GPU"])
def gpu(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    there = tmp_path if request.param == "a GPU" else tmp_path / "none"
    monkeypatch.setattr(backends, "_ACCELERATORS", (there,))
    return bool(request.param == "a GPU")


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_is_installed", lambda *packages: "torch" not in packages)


def test_auto(exported: str, gpu: bool) -> None:
    """An export runs on onnxruntime, unless torch is there and there is a GPU, or one is asked for."""
    assert choose("auto", exported, "auto") == ("torch" if gpu else "onnx")
    assert choose("auto", exported, "cpu") == "onnx"
    assert choose("auto", exported, "cuda:1") == "torch"
    assert choose("auto", "ViT-B-32", "cpu") == "torch"


@pytest.mark.usefixtures("no_torch")
def test_auto_without_torch(exported: str, gpu: bool) -> None:
    """Where torch is not installed an export runs on onnxruntime, GPU or not."""
    assert choose("auto", exported, "auto") == "onnx"


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_told(exported: str, backend: Backend) -> None:
    """A backend that is told is taken."""
    assert choose(backend, exported, "auto") == backend


def test_an_export_alone(exported: str, gpu: bool) -> None:
    """A folder that torch cannot load runs on onnxruntime, GPU or not, and torch is refused it."""
    (Path(exported) / CONFIG_FILE).unlink()
    assert choose("auto", exported, "auto") == "onnx"
    with pytest.raises(LoadError, match="export alone"):
        choose("torch", exported, "auto")


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_needs_torch(backend: Backend) -> None:
    """A model without an export, where torch is not installed, is refused with what to install."""
    with pytest.raises(LoadError, match="extra `encoder`"):
        choose(backend, "ViT-B-32", "auto")


def test_no_export() -> None:
    """The backend onnx says how an export is made where there is none."""
    with pytest.raises(LoadError, match=r"training\.export"):
        choose("onnx", "ViT-B-32", "auto")


@pytest.mark.parametrize("missing", [None, "onnxruntime"])
def test_onnx_here(exported: str, missing: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend onnx runs on CPUs, and says which extra it needs."""
    monkeypatch.setattr(backends, "_is_installed", lambda *packages: missing not in packages)
    with pytest.raises(LoadError, match="encoder-onnx" if missing else "CPU"):
        choose("onnx", exported, "cpu" if missing else "cuda")
