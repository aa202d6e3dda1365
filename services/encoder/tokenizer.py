"""Texts to token ids without open_clip: the same ids, from the files of an export."""

from __future__ import annotations

import gzip
import html
import string
from collections.abc import Callable, Iterator
from pathlib import Path

import ftfy
import numpy as np
import regex
from tokenizers import Tokenizer
from tokenizers.models import BPE

from services.encoder.ends import Rows
from services.encoder.exported import Clean, TokenizerFile

END_OF_WORD = "</w>"
# CLIP's own file lists more merges than its vocabulary has room for.
_MOST_MERGES = 49_152 - 2 * 256 + 254
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


def load_tokenizer(folder: Path, said: TokenizerFile) -> Callable[[list[str]], Rows]:
    """Returns what turns texts into ids, int64 [n, context], as the exported model's own tokenizer does.

    Raises:
        Exception: as many kinds as there are ways in which a file can be broken.
    """
    return ClipTokenizer(folder, said) if said.kind == "clip" else WholeTokenizer(folder, said)


def clean(text: str, how: Clean) -> str:
    """Mends broken encodings, HTML entities and white space; lowers the case, or removes punctuation too."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    if how == "canonicalize":
        text = text.replace("_", " ").translate(_NO_PUNCTUATION)
    text = " ".join(text.split()) if how != "canonicalize" else " ".join(text.lower().split())
    return text.lower() if how == "lower" else text


_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class ClipTokenizer:
    """CLIP's byte-level BPE (Radford et al. 2021), from the list of its merges.

    Words are found by the expression that open_clip uses, in the same dialect: other libraries know other letters.
    """

    def __init__(self, folder: Path, said: TokenizerFile) -> None:
        self._said = said
        self._bytes = byte_symbols()
        merges = _merges(folder / said.file)
        symbols = list(self._bytes.values())
        tokens = [*symbols, *(one + END_OF_WORD for one in symbols), *map("".join, merges), *said.special]
        ids = dict(zip(tokens, range(len(tokens)), strict=True))
        self._special = {token: ids[token] for token in said.special}
        self._start, self._end = (ids[token] for token in said.special[:2])
        self._model = BPE(vocab=ids, merges=merges, end_of_word_suffix=END_OF_WORD)
        special = "|".join(said.special)
        self._words = regex.compile(f"{special}|{_WORDS}", regex.IGNORECASE)

    def __call__(self, texts: list[str]) -> Rows:
        """See `load_tokenizer`. What does not fit is left out, and end-of-text takes the last place."""
        rows = np.zeros((len(texts), self._said.context), dtype=np.int64)
        for row, text in zip(rows, texts, strict=True):
            ids = [self._start, *self._ids(clean(text, self._said.clean))][: len(row) - 1]
            row[: len(ids) + 1] = [*ids, self._end]
        return rows

    def _ids(self, text: str) -> Iterator[int]:
        for word in self._words.findall(text):
            if word in self._special:
                yield self._special[word]
            else:
                for token in self._model.tokenize("".join(self._bytes[byte] for byte in word.encode())):
                    yield token.id


class WholeTokenizer:
    """A tokenizer.json, which cuts and pads by itself."""

    def __init__(self, folder: Path, said: TokenizerFile) -> None:
        self._said = said
        self._tokenizer = Tokenizer.from_file(str(folder / said.file))

    def __call__(self, texts: list[str]) -> Rows:
        """See `load_tokenizer`."""
        cleaned = [clean(text, self._said.clean) for text in texts]
        rows = np.array([one.ids for one in self._tokenizer.encode_batch(cleaned)], dtype=np.int64)
        if self._said.erased is not None:
            rows[rows == self._said.erased] = 0
        return rows.reshape(len(texts), self._said.context)


def byte_symbols() -> dict[int, str]:
    """The printable stand-in of each byte, in CLIP's order: printable bytes first, then the others from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + at) for at, byte in enumerate(others)}


def _merges(file: Path) -> list[tuple[str, str]]:
    """The pairs of a gzipped list; its first line is a note."""
    lines = gzip.decompress(file.read_bytes()).decode().split("\n")[1 : _MOST_MERGES + 1]
    pairs = [tuple(line.split()) for line in lines]
    return [(first, second) for first, second in pairs]
