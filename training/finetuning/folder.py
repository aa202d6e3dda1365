"""A model's folder, as open_clip and the encoder load it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile
from typing import Any

import open_clip
from safetensors.torch import save_file

from services.encoder.sources import CARD_FILE, CONFIG_FILE, Source

WEIGHTS_FILE = "open_clip_model.safetensors"
MERGES_FILE = "merges.txt.gz"

_PREPROCESS = ("size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color")


def write_folder(module: Any, where: Source, folder: Path, about: Mapping[str, Any], *, half: bool = False) -> None:
    """Writes configuration, weights, tokenizer and card.

    Args:
        module: open_clip's model, with plain weights.
        where: where it came from: its configuration and its tokenizer are kept.
        folder: made where it is missing.
        about: goes into the card, beside what the model says of itself.
        half: whether weights are kept in half precision.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = _config(where, folder)
    preprocess = {key: value for key, value in module.visual.preprocess_cfg.items() if key in _PREPROCESS}
    _write(folder / CONFIG_FILE, {"model_cfg": config, "preprocess_cfg": preprocess})
    card = {"name": folder.name, "scope": where.scope, "scope_note": where.scope_note, "casefold": where.casefold}
    _write(folder / CARD_FILE, {**card, **about})
    weights = {
        # A copy: weights that two names share cannot be kept as such.
        name: (value.half() if half and value.is_floating_point() else value).detach().cpu().clone().contiguous()
        for name, value in module.state_dict().items()
    }
    fresh = folder / f"{WEIGHTS_FILE}.new"
    save_file(weights, fresh)
    # safetensors keeps its files to their owner; a served model is read by others.
    fresh.chmod(0o644)
    fresh.replace(folder / WEIGHTS_FILE)


def _config(where: Source, folder: Path) -> dict[str, Any]:
    config = dict(open_clip.get_model_config(where.architecture))
    text, vision = dict(config["text_cfg"]), dict(config["vision_cfg"])
    # The weights are all there: nothing is to be fetched to begin with.
    if "timm_model_pretrained" in vision:
        vision["timm_model_pretrained"] = False
    if "hf_model_name" in text:
        text["hf_model_pretrained"] = False
    if merges := where.tokenizer.get("bpe_path"):
        if Path(merges).resolve() != (folder / MERGES_FILE).resolve():
            copyfile(merges, folder / MERGES_FILE)
        text["tokenizer_kwargs"] = {**text.get("tokenizer_kwargs", {}), "bpe_path": MERGES_FILE}
    return {**config, "text_cfg": text, "vision_cfg": vision}


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
