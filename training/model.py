"""The bundled model's shape, its forward passes for training, and the folder that it is handed over in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from training.tokenizer import VOCABULARY

EMBED_DIM = 192
IMAGE_SIZE = 64
CONTEXT_LENGTH = 48
MERGES_FILE = "merges.txt.gz"

MODEL_CFG: dict[str, Any] = {
    "embed_dim": EMBED_DIM,
    "vision_cfg": {
        "timm_model_name": "mobilenetv4_conv_small_050",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        # timm's own classifier is the projection: this trunk widens after pooling, which open_clip's does not expect.
        "timm_proj": "",
        "image_size": IMAGE_SIZE,
    },
    "text_cfg": {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": VOCABULARY,
        "width": EMBED_DIM,
        "heads": 3,
        "layers": 2,
        "pool_type": "argmax",
        "tokenizer_kwargs": {"bpe_path": MERGES_FILE},
    },
}

PREPROCESS_CFG: dict[str, Any] = {
    "size": IMAGE_SIZE,
    "mode": "RGB",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}

SCOPE = {
    "name": "sightline-emoji",
    "scope": "emoji",
    "scope_note": "Knows the colour emoji of the Noto font and their names in 20 languages, and nothing else; "
    "for photographs use real weights, for example ViT-B-32 with laion2b_s34b_b79k.",
    "casefold": True,
    "licence": "Apache-2.0",
    "trained_on": "Noto Color Emoji (SIL Open Font License 1.1), Unicode CLDR annotations (Unicode License)",
}


def build() -> open_clip.CLIP:
    """The model with fresh weights."""
    shape = {key: value for key, value in MODEL_CFG["text_cfg"].items() if key != "tokenizer_kwargs"}
    return open_clip.CLIP(EMBED_DIM, MODEL_CFG["vision_cfg"], shape)


def encode_text(model: open_clip.CLIP, tokens: Tensor, dropout: float = 0.0) -> Tensor:
    """Unit vectors (n, 192) of token ids (n, length), padded with zeros to the longest only.

    CLIP's causal tower reads its answer at end-of-text. So positions after it cannot change it, and the last block
    need not be worked out anywhere else: both are exact, and together training is some three times as fast.
    """
    length, ends, rows = tokens.shape[1], tokens.argmax(dim=-1), torch.arange(len(tokens))
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = functional.dropout(x, dropout, training=dropout > 0)
    *earlier, last = model.transformer.resblocks
    # On a handful of positions the plain attention beats the fused one.
    with sdpa_kernel(SDPBackend.MATH):
        for block in earlier:
            x = block(x, attn_mask=model.attn_mask[:length, :length])
        seen, after = last.ln_1(x), torch.arange(length) > ends[:, None]
        read, _ = last.attn(seen[rows, ends][:, None], seen, seen, key_padding_mask=after, need_weights=False)
    ending = x[rows, ends] + read[:, 0]
    ending = ending + last.mlp(last.ln_2(ending))
    return functional.normalize((model.ln_final(ending) @ model.text_projection).float(), dim=-1)


def encode_image(model: open_clip.CLIP, images: Tensor) -> Tensor:
    """Unit vectors (n, 192) of normalised images (n, 3, 64, 64)."""
    return functional.normalize(model.visual(images), dim=-1)


def export(model: open_clip.CLIP, merges: Path, history: Mapping[str, Any], folder: Path) -> None:
    """Writes the folder that open_clip loads: configuration, weights in float16, merges, and what the model is for."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": MODEL_CFG, "preprocess_cfg": PREPROCESS_CFG}
    _write_json(folder / "open_clip_config.json", config)
    _write_json(folder / "sightline.json", {**SCOPE, "training": dict(history)})
    (folder / MERGES_FILE).write_bytes(merges.read_bytes())
    weights = {name: _halve(value) for name, value in model.state_dict().items()}
    file = folder / "open_clip_model.safetensors"
    fresh = file.with_suffix(".new")
    save_file(weights, fresh)
    # safetensors keeps its files to their owner; a served model is read by others.
    fresh.chmod(0o644)
    fresh.replace(file)


def _halve(value: Tensor) -> Tensor:
    return (value.half() if value.is_floating_point() else value).contiguous()


def _write_json(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
