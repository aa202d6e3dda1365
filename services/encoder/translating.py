"""Texts in other languages, translated into the one that a model has read, before it reads them. Off by default.

    text → which language? ─ unknown, or the model's own ──────────┐
                           └ one that is translated → translator ──┴→ the model's tokenizer

All of it happens where a batch of texts is prepared, so that texts are translated together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from services.encoder.ports import Card, Ids, Model, Raw, Vectors
from services.pictures import Pixels


class Translator(Protocol):
    """Says texts in another language. For one thread."""

    @property
    def digest(self) -> str:
        """Hex; equal where the same text is said in the same words."""

    @property
    def languages(self) -> Sequence[str]:
        """What it translates from, and last what it translates into: codes of ISO 639-1."""

    def translate(self, texts: Sequence[str], languages: Sequence[str]) -> list[str]:
        """What each text says, in the language that it translates into; `languages` are those of the texts.

        Raises:
            InternalError: the translation failed.
        """


Detect = Callable[[str], str]
"""The language of a text, as ISO 639-1 has it; empty where that is not known well enough."""


class TranslatedModel:
    """A services.encoder.ports.Model that reads what a translator makes of texts.

    Pictures and vectors are the model's own, and so is the digest; `reading` on the card tells that texts are not.

    Args:
        model: reads.
        translator: translates what is in one of its languages.
        detect: tells languages.
        reading: what else decides how texts are read.
    """

    def __init__(self, model: Model, translator: Translator, detect: Detect, *, reading: str = "") -> None:
        self._model, self._translator, self._detect = model, translator, detect
        *self._foreign, _ = translator.languages
        facts = f"{translator.digest}\n{reading}"
        self._card = replace(model.card, reading=hashlib.sha256(facts.encode()).hexdigest())

    @property
    def card(self) -> Card:
        """See Model."""
        return self._card

    @property
    def lanes(self) -> int:
        """See Model."""
        return self._model.lanes

    def prepare_texts(self, texts: Sequence[str]) -> list[Ids]:
        """See Model. Raises InternalError where the translation failed."""
        return self._model.prepare_texts(self.read(texts))

    def read(self, texts: Sequence[str]) -> list[str]:
        """What the model is asked for each text: its translation, or the text as it is."""
        said, found = list(texts), [self._detect(text) for text in texts]
        places = [place for place, language in enumerate(found) if language in self._foreign]
        if places:
            translated = self._translator.translate(
                [texts[place] for place in places], [found[place] for place in places]
            )
            for place, text in zip(places, translated, strict=True):
                # A translation may come out empty; the text itself is then the better question.
                said[place] = text or texts[place]
        return said

    def run_texts(self, batch: Sequence[Ids]) -> Raw:
        """See Model."""
        return self._model.run_texts(batch)

    def run_images(self, batch: Sequence[Pixels]) -> Raw:
        """See Model."""
        return self._model.run_images(batch)

    def finish(self, raw: Raw) -> Vectors:
        """See Model."""
        return self._model.finish(raw)
