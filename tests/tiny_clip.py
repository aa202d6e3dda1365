"""Small models of open_clip with random weights, so that tests need no download; and such a one exported."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from services.encoder.model import load
from training.export import SAMPLES, export

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


def tiny_export(folder: Path) -> Path:
    """Writes the small CLIP into a folder of its own and its export into another, which is returned. The export lies
    alone: it has no weights but its own."""
    model = load(str(tiny_clip(folder / "source")), device="cpu")
    export(model, folder / "export")
    return folder / "export"


def whole_tokenizer(folder: Path, context: int = 24, **options: bool) -> HFTokenizer:
    """A small tokenizer of words, in the form that is downloaded for XLM-R, in a folder."""
    words = [word for text in SAMPLES for word in text.split()]
    vocabulary = {word: at for at, word in enumerate(dict.fromkeys(["<s>", "<pad>", "</s>", "<unk>", *words]))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    names = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415 - slow, and for these tokenizers alone

    whole: Any = PreTrainedTokenizerFast
    whole(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    return HFTokenizer(str(folder), context_length=context, **options)
