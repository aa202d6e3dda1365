"""Translation by a local model of CTranslate2, and detection of languages by py3langid."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import ctranslate2
from py3langid.langid import MODEL_FILE, LanguageIdentifier
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sentencepiece import SentencePieceProcessor

from services.encoder.exported import digest_of
from services.encoder.ports import Model
from services.encoder.sources import LoadError
from services.encoder.translating import Detect, TranslatedModel
from sightline.errors import InternalError

CARD_FILE = "translation.json"

_LONGEST = 128
"""Pieces of a text and of a translation: queries are short, and a model that repeats itself must come to an end."""


class TranslationCard(BaseModel):
    """What a folder of a translation model says of itself, beside what CTranslate2's converter writes.

    Attributes:
        languages: what it translates from, as ISO 639-1 has it, and the tokens that stand before a text in each: none
            for OPUS-MT, `["deu_Latn"]` for NLLB, `["__de__"]` for M2M-100.
        into: the language that it translates into.
        ending: tokens after a text.
        prefix: tokens that a translation begins with, such as `["eng_Latn"]`.
        pieces: the model of sentencepiece by which texts are cut, in the folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    languages: dict[str, tuple[str, ...]] = Field(min_length=1)
    into: str = "en"
    ending: tuple[str, ...] = ("</s>",)
    prefix: tuple[str, ...] = ()
    pieces: str = "source.spm"


def translated(model: Model, folder: Path, certainty: float, *, threads: int = 0) -> TranslatedModel:
    """Returns a model that reads what the translation model in a folder makes of texts.

    Args:
        model: reads.
        folder: of a model of CTranslate2, with CARD_FILE.
        certainty: see `detector`.
        threads: for one batch; 0 leaves it to CTranslate2.

    Raises:
        LoadError: there is no such translation model, or its languages cannot be told apart.
    """
    translator = LocalTranslator(folder, threads=threads)
    reading = f"{version('py3langid')} {certainty}"
    return TranslatedModel(model, translator, detector(translator.languages, certainty), reading=reading)


class LocalTranslator:
    """A services.encoder.translating.Translator over CTranslate2, on a CPU.

    Args:
        folder: of the model, with CARD_FILE.
        threads: for one batch; 0 leaves it to CTranslate2.

    Raises:
        LoadError: there is no such model, or its files do not fit together.
    """

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        self._said = said = _card(folder)
        try:
            self._pieces = SentencePieceProcessor(model_file=str(folder / said.pieces))
            self._translator = ctranslate2.Translator(str(folder), device="cpu", intra_threads=threads)
        except Exception as error:  # it fails in as many ways as there are files
            raise _wrong(f"CTranslate2 cannot load {folder}: {error}") from error
        self.languages = (*sorted(set(said.languages) - {said.into}), said.into)
        self.digest = _digest(folder)

    def translate(self, texts: Sequence[str], languages: Sequence[str]) -> list[str]:
        """See Translator."""
        said = self._said
        given = [
            [*said.languages[language], *pieces[:_LONGEST], *said.ending]
            for pieces, language in zip(self._pieces.encode(list(texts), out_type=str), languages, strict=True)
        ]
        try:
            found = self._translator.translate_batch(
                given,
                target_prefix=[list(said.prefix)] * len(given) if said.prefix else None,
                beam_size=1,
                max_decoding_length=_LONGEST,
                replace_unknowns=True,
            )
        except (RuntimeError, ValueError) as error:
            raise InternalError(f"the translation failed: {error}", reason="TRANSLATION_FAILED") from error
        return [_joined(one.hypotheses[0][len(said.prefix) :]) for one in found]


def detector(languages: Sequence[str], certainty: float) -> Detect:
    """Returns what tells the language of a text, as one of these.

    Args:
        languages: codes of ISO 639-1.
        certainty: a text whose probability is below it, 0 to 1, is of unknown language.

    Raises:
        LoadError: one of them is not known.
    """
    # An identifier of its own: the library's shared one would be changed for everyone in the process.
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    try:
        identifier.set_languages(list(languages))
    except ValueError as error:
        raise _wrong(f"languages cannot be told apart: {error}") from error

    def detect(text: str) -> str:
        # Capitals are names to it, and queries are written in them at whim.
        language, probability = identifier.classify(text.lower())
        return language if probability >= certainty else ""

    return detect


def _joined(pieces: Sequence[str]) -> str:
    # Not by sentencepiece: a word that the model does not know stands there as it was, and is in no list of pieces.
    return "".join(pieces).replace("▁", " ").strip()


def _wrong(message: str) -> LoadError:
    return LoadError(message, setting="SIGHTLINE_TRANSLATE")


def _card(folder: Path) -> TranslationCard:
    file = folder / CARD_FILE
    try:
        return TranslationCard.model_validate_json(file.read_bytes())
    except OSError as error:
        raise _wrong(f"{folder} is no translation model: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise _wrong(f"{file} does not describe a translation model: {where}: {first['msg']}") from error


def _digest(folder: Path) -> str:
    """Of all files of the folder, by their names: each may decide a translation."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    told = "".join(f"{file.name} {digest_of(file)}\n" for file in files)
    return hashlib.sha256(told.encode()).hexdigest()
