"""A byte-level BPE of our own texts, in the file format of CLIP's tokenizer.

CLIP's own table would alone be larger than the whole model, and takes 27 to 30 tokens for a Hindi or Russian name.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from open_clip.tokenizer import get_clean_fn
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as Steps
from tokenizers.trainers import BpeTrainer

from services.encoder.tokenizer import END_OF_WORD, byte_symbols

VOCABULARY = 12_000
SPECIAL = ("<start_of_text>", "<end_of_text>")
# open_clip's first line is a version note that it skips.
_HEADER = "#version: sightline-emoji"
# The words that open_clip's SimpleTokenizer cuts a text into before merging bytes.
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
# Its alphabet: every byte within a word, and every byte at the end of one.
_ALPHABET = 512


def learn_merges(texts: Iterable[str], vocabulary: int = VOCABULARY) -> list[tuple[str, str]]:
    """Byte-pair merges, most useful first (Sennrich et al. 2016), enough for a vocabulary of the size asked."""
    tokenizer = _untrained(BPE(end_of_word_suffix=END_OF_WORD))
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        end_of_word_suffix=END_OF_WORD,
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    merges = [_pair(merge) for merge in _model_state(tokenizer)["merges"]]
    return merges[: vocabulary - _ALPHABET - len(SPECIAL)]


def write_merges(merges: Sequence[tuple[str, str]], file: Path) -> None:
    """Writes the gzipped list that `SimpleTokenizer(bpe_path=…)` reads; the same merges give the same bytes."""
    # No newline at the end: it would be read as one more, empty merge.
    text = "\n".join([_HEADER, *(" ".join(pair) for pair in merges)])
    file.write_bytes(gzip.compress(text.encode(), mtime=0))


def read_merges(file: Path) -> list[tuple[str, str]]:
    """The merges of a file written by `write_merges`."""
    lines = gzip.decompress(file.read_bytes()).decode().split("\n")[1:]
    return [_pair(line.split(" ")) for line in lines]


def clean(texts: Iterable[str]) -> list[str]:
    """The texts as SimpleTokenizer sees them once it has straightened quotes and lowered the case."""
    straighten = get_clean_fn("lower")
    return [straighten(text) for text in texts]


class FastTokenizer:
    """Token ids equal to those of open_clip's SimpleTokenizer for texts that `clean` has seen, several times as fast.

    With `dropout` each merge is skipped so often at random, which shows the model the parts of words
    (BPE-dropout, Provilkov et al. 2020).
    """

    def __init__(self, merges: Sequence[tuple[str, str]], dropout: float = 0.0) -> None:
        symbols = list(byte_symbols().values())
        tokens = [*symbols, *(symbol + END_OF_WORD for symbol in symbols), *(a + b for a, b in merges), *SPECIAL]
        ids = {token: index for index, token in enumerate(tokens)}
        model = BPE(vocab=ids, merges=list(merges), end_of_word_suffix=END_OF_WORD, dropout=dropout or None)
        self._tokenizer = _untrained(model)
        self.start, self.end = ids[SPECIAL[0]], ids[SPECIAL[1]]
        self.vocabulary = len(tokens)

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, without start and end."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def _untrained(model: BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = Steps(
        [Split(Regex(_WORDS), "removed", invert=True), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    return tokenizer


def _model_state(tokenizer: Tokenizer) -> dict[str, list[list[str]]]:
    state: dict[str, dict[str, list[list[str]]]] = json.loads(tokenizer.to_str())
    return state["model"]


def _pair(merge: Sequence[str]) -> tuple[str, str]:
    first, second = merge
    return first, second
