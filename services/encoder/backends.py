"""Which library computes: torch, or onnxruntime, which needs neither torch nor CUDA and starts within a second."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

from services.encoder.exported import is_export, is_export_alone
from services.encoder.sources import LoadError

Backend = Literal["auto", "torch", "onnx"]

# What the drivers of NVIDIA and AMD put there. Asking torch instead would take seconds, and torch.
_ACCELERATORS = (Path("/dev/nvidiactl"), Path("/dev/dxg"), Path("/dev/kfd"))


def choose(backend: Backend, model: str, device: str) -> Literal["torch", "onnx"]:
    """Returns the backend of a model.

    `auto` is onnx for a folder that holds an export, unless it could run on a GPU: with torch installed, a GPU there or
    asked for, and files that torch can load. Everything else is torch.

    Raises:
        LoadError: the backend cannot run this model here; the message says what to change.
    """
    with_torch, exported = _is_installed("torch", "open_clip"), is_export(model)
    if backend == "auto":
        wants_gpu = device != "cpu" and (device != "auto" or any(path.exists() for path in _ACCELERATORS))
        by_torch = wants_gpu and with_torch and not is_export_alone(model)
        backend = "onnx" if exported and not by_torch else "torch"
        if backend == "torch" and not with_torch:
            raise LoadError(
                f"{model} holds no export for onnxruntime, and torch is not installed: install the extra `encoder` "
                "(tools/set_up.sh demo,encoder), or export the model where torch is (python -m training.export)"
            )
    if backend == "onnx":
        _check_onnx(model, device, exported)
    elif not with_torch:
        raise LoadError("the backend torch needs the extra `encoder`, which is not installed")
    elif is_export_alone(model):
        raise LoadError(f"{model} is an export alone, which torch cannot run: set the backend to onnx or auto")
    return backend


def _check_onnx(model: str, device: str, exported: bool) -> None:
    if not exported:
        raise LoadError(
            f"{model} holds no export for the backend onnx: python -m training.export MODEL --output FOLDER writes one"
        )
    if device.startswith("cuda"):
        raise LoadError("the backend onnx runs on CPUs: set the device to cpu or auto, or the backend to torch")
    if not _is_installed("onnxruntime", "tokenizers", "ftfy"):
        raise LoadError("the backend onnx needs the extra `encoder-onnx`, which is not installed")


def _is_installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in packages)
