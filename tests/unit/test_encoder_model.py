"""services/encoder/model.py and cutting.py, against what open_clip itself computes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize
from transformers import XLMRobertaConfig

from services.encoder.model import OpenClipModel, load
from services.encoder.ports import Vectors
from services.encoder.sources import LoadError, Source
from services.pictures import prepare
from tests.tiny_clip import tiny_clip, tiny_config

TEXTS = ["a dog", "a photo of a big red dog on the grass", "cat", "many words " * 60, "ein Hund", "狗"]
SIGLIP = {"no_causal_mask": True, "proj_bias": True, "pool_type": "last", "custom_text": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path) -> OpenClipModel:
    return load(str(folder))


def encode(model: OpenClipModel, texts: Sequence[str]) -> Vectors:
    return model.finish(model.run_texts(model.prepare_texts(texts)))


@torch.inference_mode()
def padded(model: OpenClipModel, texts: Sequence[str]) -> Vectors:
    """What open_clip's own forward says."""
    tokens = open_clip.SimpleTokenizer(context_length=77)(list(texts))
    return np.asarray(normalize(model.module.encode_text(tokens), dim=-1))


class TestTexts:
    def test_cut_equals_padded(self, model: OpenClipModel) -> None:
        """Without its padding a text has the same vector as open_clip gives it, also where it is cut off."""
        assert model.cuts
        assert np.abs(encode(model, TEXTS) - padded(model, TEXTS)).max() < 2e-6
        assert np.linalg.norm(encode(model, TEXTS), axis=1) == pytest.approx(1, abs=1e-6)
        # Vectors that were all alike would be equal for no reason.
        assert (padded(model, TEXTS) @ padded(model, TEXTS).T).min() < 0.9

    def test_short(self, model: OpenClipModel) -> None:
        """A text has as many ids as it has tokens, with start and end; no text has more than the context holds."""
        assert [len(ids) for ids in model.prepare_texts(["dog", "a dog", "many words " * 60])] == [3, 4, 77]

    def test_companions(self, model: OpenClipModel) -> None:
        """A text's vector does not depend on the texts that it is computed with."""
        together = encode(model, TEXTS * 4)
        for place, text in enumerate(TEXTS):
            assert np.abs(together[place] - encode(model, [text])[0]).max() < 1e-6

    @pytest.mark.parametrize(
        "text",
        [
            {"custom_text": True},
            {"custom_text": True, "pool_type": "eos", "eos_id": 49407},
            {"proj_type": "none", "width": 32},
        ],
    )
    def test_other_causal_towers(self, tmp_path: Path, text: dict[str, Any]) -> None:
        """A causal tower is cut however it is kept, finds its end and projects."""
        model = load(str(tiny_clip(tmp_path, tiny_config(**text))))
        assert model.cuts
        assert np.abs(encode(model, TEXTS) - padded(model, TEXTS)).max() < 2e-6

    @pytest.mark.parametrize(
        "text",
        [
            SIGLIP,
            {"no_causal_mask": True},
            {"no_causal_mask": True, "custom_text": True},
            {"pool_type": "last"},
            {"embed_cls": True, "custom_text": True},
        ],
    )
    def test_not_cut(self, tmp_path: Path, text: dict[str, Any]) -> None:
        """A tower that sees its padding, as SigLIP's does, keeps it and answers as open_clip does."""
        model = load(str(tiny_clip(tmp_path, tiny_config(**text))))
        assert not model.cuts
        assert {len(ids) for ids in model.prepare_texts(TEXTS)} == {77}
        assert np.abs(encode(model, TEXTS) - padded(model, TEXTS)).max() < 1e-6

    def test_xlm_roberta(self, tmp_path: Path) -> None:
        """A tower of XLM-R, which masks its padding, keeps it and answers as open_clip does."""
        shape: dict[str, Any] = {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
        }
        XLMRobertaConfig(vocab_size=500, **shape).save_pretrained(tmp_path)
        text = {"hf_model_name": str(tmp_path), "hf_model_pretrained": False, "hf_pooler_type": "mean_pooler"}
        torch.manual_seed(0)
        module = open_clip.CustomTextCLIP(**{**tiny_config(), "text_cfg": text})
        open_clip.model.set_model_preprocess_cfg(module, {**vars(PreprocessCfg()), "size": 32})
        rows = np.full((4, 40), 1, dtype=np.int64)
        for row, length in zip(rows, (3, 9, 40, 20), strict=True):
            row[:length] = np.random.default_rng(length).integers(4, 500, length)
        model = OpenClipModel(module, _Rows(rows), Source("xlm-r", "roberta-ViT-B-32"))
        assert not model.cuts
        with torch.inference_mode():
            whole = normalize(model.module.encode_text(torch.from_numpy(rows)), dim=-1)
        assert np.abs(encode(model, ["a", "b", "c", "d"]) - np.asarray(whole)).max() < 1e-6


class _Rows:
    """Stands for a tokenizer: gives the rows that it was given."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self.encoder = {"<s>": 0}
        self._rows = rows

    def __call__(self, texts: list[str]) -> torch.Tensor:
        return torch.from_numpy(self._rows[: len(texts)])


class TestImages:
    @pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
    def test_equal_open_clip(self, tmp_path: Path, mode: str) -> None:
        """A picture has the vector that open_clip gives it by its own transform."""
        preprocess: dict[str, Any] = {
            "resize_mode": mode,
            "mean": [0.4, 0.5, 0.6],
            "std": [0.2, 0.3, 0.4],
            "fill_color": 9,
        }
        model = load(str(tiny_clip(tmp_path, **preprocess)))
        noise = np.random.default_rng(1).integers(0, 256, (50, 90, 3), dtype=np.uint8)
        pictures = [Image.fromarray(noise), Image.fromarray(noise.transpose(1, 0, 2)), Image.new("RGB", (9, 9), "red")]
        ours = model.finish(model.run_images([prepare(picture, model.card.preparation) for picture in pictures]))
        transform = image_transform_v2(PreprocessCfg(**model.module.visual.preprocess_cfg), is_train=False)
        with torch.inference_mode():
            theirs = normalize(model.module.encode_image(torch.stack([transform(one) for one in pictures])), dim=-1)
        assert np.abs(ours - np.asarray(theirs)).max() < 1e-6


class TestLoad:
    def test_ways(self, folder: Path, model: OpenClipModel, tmp_path: Path) -> None:
        """The same weights have the same digest, in whichever form and wherever they lie."""
        weights = folder / "open_clip_model.safetensors"
        torch.save(load_file(weights), tmp_path / "weights.pt")
        config = tmp_path / "tiny.json"
        config.write_text(json.dumps(json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]))
        for file in (str(weights), str(tmp_path / "weights.pt")):
            assert load(str(config), file).card.digest == model.card.digest
        assert (model.card.name, model.card.dimension, model.lanes) == ("tiny", 32, 1)

    @pytest.mark.parametrize(
        "change",
        [
            lambda config, card, weights: weights["ln_final.bias"].add_(1e-6),
            lambda config, card, weights: config["preprocess_cfg"].update(mean=[0.1, 0.2, 0.3]),
            lambda config, card, weights: config["model_cfg"].update(quick_gelu=True),
            lambda config, card, weights: card.update(casefold=True),
        ],
        ids=["weights", "preprocessing", "configuration", "tokens"],
    )
    def test_digest(self, folder: Path, model: OpenClipModel, tmp_path: Path, change: Callable[..., Any]) -> None:
        """Whatever changes a vector changes the digest."""
        config = json.loads((folder / "open_clip_config.json").read_text())
        card: dict[str, Any] = {}
        weights = load_file(folder / "open_clip_model.safetensors")
        change(config, card, weights)
        (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
        (tmp_path / "sightline.json").write_text(json.dumps(card))
        save_file(weights, tmp_path / "open_clip_model.safetensors")
        assert load(str(tmp_path)).card.digest != model.card.digest

    def test_card(self, folder: Path, tmp_path: Path) -> None:
        """A model's scope is known to those who ask for it."""
        for file in folder.iterdir():
            (tmp_path / file.name).symlink_to(file)
        (tmp_path / "sightline.json").write_text(json.dumps({"name": "ours", "scope": "emoji", "scope_note": "Emoji."}))
        card = load(str(tmp_path)).card
        assert (card.name, card.scope, card.scope_note) == ("ours", "emoji", "Emoji.")

    def test_preprocessing_of_local_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Weights of a SigLIP in a local file get a SigLIP's preprocessing, not CLIP's."""
        asked: dict[str, Any] = {}

        def create(*_: Any, **options: Any) -> None:
            asked.update(options)
            raise RuntimeError("enough")

        monkeypatch.setattr(open_clip, "create_model", create)
        (tmp_path / "weights.pt").touch()
        with pytest.raises(LoadError, match="enough"):
            load("ViT-B-16-SigLIP", str(tmp_path / "weights.pt"))
        preprocess = asked["force_preprocess_cfg"]
        assert (preprocess["mean"], preprocess["resize_mode"]) == ((0.5, 0.5, 0.5), "squash")

    def test_weights_of_another(self, folder: Path, tmp_path: Path) -> None:
        """Weights that do not fit the configuration are refused by a sentence."""
        config = tmp_path / "other.json"
        config.write_text(json.dumps(tiny_config(layers=3)))
        with pytest.raises(LoadError, match="cannot load other"):
            load(str(config), str(folder / "open_clip_model.safetensors"))

    def test_no_weights(self, tmp_path: Path) -> None:
        """A folder without weights is refused: random ones would answer anything."""
        (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": tiny_config()}))
        with pytest.raises(LoadError, match="cannot load"):
            load(str(tmp_path))
