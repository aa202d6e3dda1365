"""Texts that are translated before the model reads them: which ones, together, and what tells caches apart."""

from __future__ import annotations

import asyncio
import builtins
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.encoder.__main__ import load_model
from services.encoder.ctranslate import LocalTranslator, detector, translated
from services.encoder.engine import Engine, Limits
from services.encoder.settings import EncoderSettings
from services.encoder.sources import LoadError
from services.encoder.translating import TranslatedModel
from sightline.errors import InternalError
from tests.fakes_encoder import CARD, FakeModel, vector_of
from tests.tiny_clip import tiny_export
from tests.tiny_translator import tiny_translator

WORDS = {
    **{"der": "the", "rote": "red", "hund": "dog", "schläft": "sleeps", "hier": "here"},
    **{"el": "the", "perro": "dog", "rojo": "red", "duerme": "sleeps", "aquí": "here"},
}
GERMAN, SPANISH, ENGLISH = "der rote hund schläft hier", "el perro rojo duerme aquí", "the red dog sleeps here"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_translator(tmp_path_factory.mktemp("words") / "model", WORDS, {"de": [], "es": []})


@dataclass
class Shouting:
    """A translator that only speaks louder, and fails at one word."""

    digest: str = "d"
    languages: Sequence[str] = ("de", "en")
    asked: list[Sequence[str]] = field(default_factory=list)

    def translate(self, texts: Sequence[str], languages: Sequence[str]) -> list[str]:
        self.asked.append(texts)
        if any("kaputt" in text for text in texts):
            raise InternalError("the translation failed", reason="TRANSLATION_FAILED")
        return ["" if text == "leer" else text.upper() for text in texts]


def german(text: str) -> str:
    return "de" if text.islower() else ""


def vector_of_text(text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    [ids] = FakeModel().prepare_texts([text])
    return vector_of(b"text" + ids.tobytes())


def test_a_text_is_read_in_the_models_language(folder: Path) -> None:
    """What is in a language that is translated is read as its translation, whatever stands beside it."""
    model = translated(FakeModel(), folder, 0.8)
    assert model.read([GERMAN, ENGLISH, SPANISH]) == [ENGLISH, ENGLISH, "the dog red sleeps here"]
    assert [ids.tolist() for ids in model.prepare_texts([GERMAN])] == [list(ENGLISH.encode())]


@pytest.mark.parametrize("text", [ENGLISH, "hotel", "12 🍎", "Ω", "x"])
def test_a_text_that_needs_no_translation_or_is_unknown_is_read_as_it_is(folder: Path, text: str) -> None:
    """A text in the model's language, or in one that cannot be told, goes to the model unchanged."""
    assert translated(FakeModel(), folder, 0.8).read([text]) == [text]


def test_how_sure_one_must_be_is_a_setting(folder: Path) -> None:
    """At a certainty that a text does not reach, it is read as it is; at a lower one it is translated."""
    assert translated(FakeModel(), folder, 0.999).read([GERMAN]) == [GERMAN]
    assert translated(FakeModel(), folder, 0.5).read([GERMAN]) == [ENGLISH]


def test_a_word_that_is_not_known_stays(folder: Path) -> None:
    """What the translation model does not know, a name perhaps, stands in the translation as it was."""
    assert LocalTranslator(folder).translate(["der hund bello"], ["de"]) == ["the dog bello"]


def test_models_that_are_told_languages_by_tokens(tmp_path: Path) -> None:
    """A model that expects a token of its language before a text, and begins with another, is given both."""
    languages = {"de": ["deu_Latn"], "es": ["spa_Latn"]}
    many = tiny_translator(tmp_path / "many", WORDS, languages, prefix=["eng_Latn"])
    assert LocalTranslator(many).translate([GERMAN, "el perro"], ["de", "es"]) == [ENGLISH, "the dog"]


def test_long_texts_come_to_an_end(folder: Path) -> None:
    """Of a text that is too long its beginning is translated."""
    [said] = LocalTranslator(folder).translate(["hund " * 800], ["de"])
    assert said.split() == ["dog"] * len(said.split())
    assert 100 < len(said.split()) <= 128


async def test_texts_of_a_batch_are_translated_together() -> None:
    """Texts that are asked at the same time are translated in one call, and each has the vector of its translation."""
    translator, model = Shouting(), FakeModel()
    engine = Engine(TranslatedModel(model, translator, german), Limits())
    texts = [f"hund {number}" for number in range(20)]
    first, *others = await asyncio.gather(*(engine.text(text) for text in texts))
    await engine.close()
    np.testing.assert_array_equal(first, vector_of_text("HUND 0"))
    np.testing.assert_array_equal(others[-1], vector_of_text("HUND 19"))
    assert len(translator.asked) < 5


async def test_a_translation_that_fails_fails_its_own_text_alone() -> None:
    """Where the translator fails, that text has a named error, and those that were asked with it have their vectors."""
    engine = Engine(TranslatedModel(FakeModel(), Shouting(), german), Limits())
    outcomes = await asyncio.gather(
        *(engine.text(text) for text in ("hund", "kaputt", "Plain")), return_exceptions=True
    )
    await engine.close()
    np.testing.assert_array_equal(outcomes[0], vector_of_text("HUND"))
    np.testing.assert_array_equal(outcomes[2], vector_of_text("Plain"))
    assert isinstance(outcomes[1], InternalError)
    assert outcomes[1].reason == "TRANSLATION_FAILED"


def test_an_empty_translation_is_none() -> None:
    """A text whose translation is empty is read as it is."""
    assert TranslatedModel(FakeModel(), Shouting(), german).read(["leer", "hund"]) == ["leer", "HUND"]


def test_what_decides_a_translation_is_told_from_the_model(folder: Path, tmp_path: Path) -> None:
    """The reading differs with the files and the certainty, and is the same for a copy; the model's digest stays."""
    cards = [translated(FakeModel(), folder, certainty).card for certainty in (0.8, 0.7)]
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    cards.append(translated(FakeModel(), copy, 0.8).card)
    said = json.loads((copy / "translation.json").read_text())
    (copy / "translation.json").write_text(json.dumps(said | {"ending": []}))
    cards.append(translated(FakeModel(), copy, 0.8).card)
    assert {card.digest for card in cards} == {CARD.digest}
    assert cards[0].reading == cards[2].reading
    assert len({card.reading for card in cards} | {CARD.reading}) == 4


def test_an_encoder_translates_where_it_is_told_to(folder: Path, tmp_path: Path) -> None:
    """With the setting, a real model has one vector for a text and its translation; without it, it has two."""
    export = str(tiny_export(tmp_path))
    plain, told = (load_model(EncoderSettings(model=export, threads=1, translate=where)) for where in (None, folder))

    def vectors(model: Any) -> Any:
        return model.finish(model.run_texts(model.prepare_texts([GERMAN, ENGLISH])))

    one, other = vectors(told)
    np.testing.assert_allclose(one, other, atol=1e-6)
    one, other = vectors(plain)
    assert np.abs(one - other).max() > 1e-3
    assert (plain.card.reading, told.card.digest) == ("", plain.card.digest)
    assert told.card.reading


@pytest.mark.parametrize(
    ("card", "says"),
    [
        (None, "is no translation model"),
        ({"languages": {}}, "languages"),
        ({"languages": {"de": []}, "from": "de"}, "from"),
        ({"languages": {"de": []}, "pieces": "gone.spm"}, "CTranslate2 cannot load"),
        ({"languages": {"tlh": []}}, "cannot be told apart"),
    ],
)
def test_a_wrong_folder_is_refused_by_name(folder: Path, tmp_path: Path, card: object, says: str) -> None:
    """A folder that is no translation model is refused with what is wrong, under the name of its own setting."""
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "translation.json").unlink()
    if card:
        (copy / "translation.json").write_text(json.dumps(card))
    with pytest.raises(LoadError, match=says) as caught:
        translated(FakeModel(), copy, 0.8)
    assert caught.value.setting == "SIGHTLINE_TRANSLATE"


def test_without_its_packages_a_translation_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the extra is not installed, an encoder that is to translate says which one it needs."""
    export, real = str(tiny_export(tmp_path)), builtins.__import__

    def without(name: str, *given: Any, **options: Any) -> Any:
        if name == "services.encoder" and "ctranslate" in (given[2] or ()):
            raise ImportError("No module named 'ctranslate2'")
        return real(name, *given, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(LoadError, match="encoder-translate"):
        load_model(EncoderSettings(model=export, translate=folder))


def test_languages_are_told_among_those_that_matter() -> None:
    """The language of a text is one of those asked for, whatever the case of its letters, or none."""
    detect = detector(("de", "es", "en"), 0.8)
    assert [detect(text) for text in (GERMAN, GERMAN.upper(), SPANISH, ENGLISH)] == ["de", "de", "es", "en"]
    assert detect("🍎") == ""
