"""What can be asked, and what makes two questions the same."""

from __future__ import annotations

import struct
import unicodedata
from dataclasses import dataclass
from hashlib import blake2b

from sightline._filtering import filter_key
from sightline.filters import Filter

MAX_TOP_K = 1000
MAX_TEXT_BYTES = 4096
MAX_IMAGE_BYTES = 10 * 1024 * 1024
MAX_TERMS = 16

KEY_VERSION = b"2"
"""Part of every key: raised when the form of stored answers changes."""


@dataclass(frozen=True, slots=True)
class Text:
    """Words, normalised."""

    text: str

    def key(self) -> bytes:
        return b"t" + self.text.encode()


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file."""

    data: bytes

    def key(self) -> bytes:
        return b"p" + self.data


@dataclass(frozen=True, slots=True)
class Stored:
    """An image of the collection, by its id."""

    id: str

    def key(self) -> bytes:
        return b"i" + self.id.encode()


@dataclass(frozen=True, slots=True)
class Direction:
    """A vector: little-endian float32."""

    values: bytes

    def key(self) -> bytes:
        return b"v" + self.values


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Several texts that mean one thing, with positive weights: the unit vector of Σ wᵢ · unit(vᵢ)."""

    parts: tuple[tuple[float, Text], ...]

    def key(self) -> bytes:
        # Each part is preceded by its weight and its length, so that no two ensembles run together to the same bytes.
        keys = [(weight, text.key()) for weight, text in self.parts]
        return b"e" + b"".join(struct.pack("<dQ", weight, len(key)) + key for weight, key in keys)


Term = Text | Picture | Stored | Direction | Ensemble


@dataclass(frozen=True, slots=True)
class WeightedTerm:
    """One term; `field` is where the request has it, for errors."""

    weight: float
    term: Term
    field: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question that has been checked. See sightline.v1.SearchRequest for what each part means."""

    collection: str
    terms: tuple[WeightedTerm, ...]
    k: int
    min_score: float | None = None
    fields: tuple[str, ...] = ()
    generation: int = 0
    refuse_partial: bool = False
    condition: Filter | None = None


def normalise(text: str) -> str:
    """Returns the text in NFC with its white space folded: all that may differ between two spellings of one query."""
    return unicodedata.normalize("NFC", " ".join(text.split()))


def answer_key(question: Question, collection: str, generation: int, digest: str, reading: str = "") -> bytes:
    """Returns 32 bytes that agree exactly for questions that have the same answer.

    Args:
        question: checked.
        collection, generation: what answers.
        digest: of the model that its vectors are of.
        reading: what is done to texts before the model reads them, such as a translation; empty where nothing is.

    `refuse_partial` is no part of them: it decides whether an answer will do, not what the answer is.
    """
    hasher = blake2b(digest_size=32)
    score = b"" if question.min_score is None else struct.pack("<d", question.min_score)
    condition = filter_key(question.condition) if question.condition else b""
    place = struct.pack("<QI", generation, question.k)
    head = [KEY_VERSION, collection.encode(), place, (digest + reading).encode(), score, condition]
    fields = [field.encode() for field in question.fields]
    terms = [part for one in question.terms for part in (struct.pack("<d", one.weight), one.term.key())]
    for part in (*head, *fields, b"", *terms):
        # Each part is preceded by its length, so that no two lists of parts run together to the same bytes.
        hasher.update(struct.pack("<Q", len(part)))
        hasher.update(part)
    return hasher.digest()
