"""Small models of open_clip with random weights, so that tests need no download."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

CONFIG: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


def tiny_config(**text: Any) -> dict[str, Any]:
    """The configuration of a small CLIP with other settings of its text tower, which `custom_text` sets apart."""
    config = deepcopy(CONFIG)
    if text.pop("custom_text", False):
        config["custom_text"] = True
    config["text_cfg"].update(text)
    return config


def tiny_clip(folder: Path, config: dict[str, Any] | None = None, seed: int = 0, **preprocess: Any) -> Path:
    """Writes a folder that open_clip loads: configuration and random weights. Returns it."""
    config = config or CONFIG
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(whole), encoding="utf-8")
    torch.manual_seed(seed)
    module = open_clip.create_model(f"local-dir:{folder}")
    # Random weights attend to everything alike: positions must count, or the vectors of all texts would be alike.
    for name, value in module.named_parameters():
        if "positional_embedding" in name or "in_proj_weight" in name:
            value.data.mul_(20 if "positional" in name else 4)
    weights = {name: value.contiguous() for name, value in module.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return folder
