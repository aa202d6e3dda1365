"""Models of many languages: towers of the kinds that docs/languages.md names, small and with random weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg
from torch.nn.functional import normalize
from transformers import M2M100Config, MT5Config, XLMRobertaConfig

from services.encoder.model import OpenClipModel, load
from services.encoder.ports import Vectors
from services.encoder.sources import Source
from tests.tiny_clip import tiny_clip, tiny_config, whole_tokenizer

PAGE = Path(__file__).parents[2] / "docs" / "languages.md"
TEXTS = ["x", "a photo of a big red dog on the grass", "红苹果", "manzana roja", "снеговик в лесу", "many words " * 40]

M2M: dict[str, Any] = {"d_model": 64, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
HEADS: dict[str, Any] = {"decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "pad_token_id": 1}
TOWERS: dict[str, tuple[Any, str]] = {
    "XLM-R": (
        XLMRobertaConfig(
            vocab_size=500, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
        ),
        "mean_pooler",
    ),
    "NLLB": (M2M100Config(vocab_size=500, **M2M, **HEADS), "cls_pooler"),
    "mT5": (
        MT5Config(vocab_size=500, d_model=64, d_kv=32, d_ff=64, num_layers=2, num_heads=2, pad_token_id=1),
        "mean_pooler",
    ),
}


def encode(model: OpenClipModel, texts: list[str]) -> Vectors:
    return model.finish(model.run_texts(model.prepare_texts(texts)))


@pytest.mark.parametrize("kind", TOWERS)
def test_a_tower_of_transformers_is_answered_as_open_clip_answers(kind: str, tmp_path: Path) -> None:
    """Texts of any length and alphabet have open_clip's vectors, with their padding, whatever stands beside them."""
    config, pooler = TOWERS[kind]
    config.save_pretrained(tmp_path / "config")
    text = {"hf_model_name": str(tmp_path / "config"), "hf_model_pretrained": False, "hf_pooler_type": pooler}
    torch.manual_seed(0)
    # A projection, which these take where widths differ.
    module = open_clip.CustomTextCLIP(**{**tiny_config(), "text_cfg": {**text, "hf_proj_type": "linear"}})
    open_clip.model.set_model_preprocess_cfg(module, {**vars(PreprocessCfg()), "size": 32})
    model = OpenClipModel(module, whole_tokenizer(tmp_path / "words"), Source(kind, "roberta-ViT-B-32"))
    assert not model.cuts
    with torch.inference_mode():
        wanted = normalize(module.encode_text(model.tokenizer(TEXTS)), dim=-1).numpy()
    assert np.abs(encode(model, TEXTS) - wanted).max() < 1e-5
    alone = np.concatenate([encode(model, [text]) for text in TEXTS])
    assert np.abs(alone - wanted).max() < 1e-5


def test_a_tower_of_siglip_2_is_answered_as_open_clip_answers(tmp_path: Path) -> None:
    """SigLIP 2's tower, which reads the last position of its padding, keeps all of it."""
    whole = open_clip.get_model_config("ViT-B-16-SigLIP2")["text_cfg"]
    kept = ("context_length", "no_causal_mask", "proj_bias", "pool_type", "norm_kwargs", "act_kwargs")
    model = load(str(tiny_clip(tmp_path, tiny_config(custom_text=True, **{key: whole[key] for key in kept}))))
    assert not model.cuts
    assert {len(ids) for ids in model.prepare_texts(TEXTS)} == {64}
    with torch.inference_mode():
        wanted = normalize(model.module.encode_text(model.tokenizer(TEXTS)), dim=-1).numpy()
    assert np.abs(encode(model, TEXTS) - wanted).max() < 1e-5


def test_every_model_that_the_page_names_is_one_of_open_clips() -> None:
    """Architectures and tags of docs/languages.md are known to open_clip, and their contexts are as it says."""
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| (\d+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) >= 6
    known = set(open_clip.list_pretrained())
    assert [(name, tag) for name, tag, _ in rows if (name, tag) not in known] == []
    for name, _, context in rows:
        text = open_clip.get_model_config(name)["text_cfg"]
        assert int(context) == text.get("context_length", 77), name
