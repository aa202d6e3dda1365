"""services/encoder/tokenizer.py, against open_clip's tokenizers."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import open_clip
import pytest
from open_clip.tokenizer import get_clean_fn

from services.encoder.exported import Clean, TokenizerFile
from services.encoder.tokenizer import clean, load_tokenizer
from tests.tiny_clip import whole_tokenizer
from training.export import SAMPLES
from training.tokenizer import write_merges

BUNDLED = Path(__file__).resolve().parents[2] / "models" / "emoji"
SPECIAL = ("<start_of_text>", "<end_of_text>")
KINDS: tuple[Clean, ...] = ("lower", "whitespace", "canonicalize")

LANGUAGES = [
    "red apple on a tree",
    "红苹果在树上",
    "manzana roja en un árbol",
    "pomme rouge, l'été",
    "roter Apfel, größer als Straßen",
    "木の上の赤いリンゴ",
    "나무 위의 빨간 사과",
    "красное яблоко на дереве",
    "تفاحة حمراء على شجرة",
    "पेड़ पर लाल सेब",
    "maçã vermelha na árvore",
    "mela rossa sull'albero",
    "ağaçta kırmızı elma İSTANBUL ıI",
    "quả táo đỏ trên cây",
    "แอปเปิ้ลแดงบนต้นไม้",
    "apel merah di pohon",
    "czerwone jabłko na drzewie",
    "rode appel aan een boom",
    "rött äpple i ett träd",
    "червоне яблуко на дереві",
]
ODD = [
    "",
    " ",
    "\u3000\u2003",
    "\x00\x01\x7f",
    "\u200b\u200d\ufeff",
    "e\u0301 o\u0308 \u1e9b\u0323 ﷺ ㎏ Ⅷ ½ ⁹",
    "'ſ '\u212a <ſtart_of_text> K ß ẞ ŉ ǰ ΐ ﬆ ﬃ",
    "ΣΑΣ ς σ Ω Ω",
    "<START_OF_TEXT><end_of_text> <end_of_text>s",
    "I'D WE'LL 'S ’s ‘re `ve",
    "&amp;amp;lt;b&amp;gt; &#128512; &#x1F600; &nbsp; &copy &notit; &#0; &#xD800;",
    "â€œmojibakeâ€\x9d cafÃ© l’humanitÃ©",
    "tabs\t\v\f\x1c\x1d\x85\u2028\u2029lines",
    "x" * 500,
    "é" * 300,
    "1234567890 ١٢٣ 一二三 ² Ⅳ",
    "snake_case __init__ a-b_c!?",
    "👩‍🚒👨‍👩‍👧‍👦🇫🇷❤️🏴󠁧󠁢󠁥󠁮󠁧󠁿 #️⃣",
    "\U0001e900\U0001e922 \U00010400 \U0002ebf0 \U000323b0 \U0010fffd \ue000",
    "word " * 200,
]


CHARACTERS = [*range(1, 0xD800), *range(0xE000, 0x3FFFF)]
PIECES = ["'s", " ", "<", "end_of_text>", "the", "ing", "aa", "&", ";", "&lt", "Ab", "9", "'", "ſ"]


@cache
def texts() -> list[str]:
    """Twenty languages, what is odd, and random strings of all Unicode, of its first letters, and of CLIP's words."""
    source = random.Random(0)
    kinds: list[Callable[[], str]] = [
        lambda: chr(source.choice(CHARACTERS)),
        lambda: chr(source.randint(1, 0x2FF)),
        lambda: source.choice(PIECES),
    ]
    made = ["".join(kind() for _ in range(source.randint(1, 24))) for kind in kinds for _ in range(300)]
    return [*LANGUAGES, *ODD, *SAMPLES, *made]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bundled", [True, False], ids=["our own merges", "CLIP's merges"])
def test_ids_of_clip(kind: Clean, bundled: bool, tmp_path: Path) -> None:
    """Whatever the text, its ids are those of open_clip's tokenizer."""
    options = {"bpe_path": str(BUNDLED / "merges.txt.gz")} if bundled else {}
    theirs = open_clip.SimpleTokenizer(context_length=77, clean=kind, **options)
    write_merges(list(theirs.bpe_ranks), tmp_path / "merges.txt.gz")
    ours = load_tokenizer(
        tmp_path, TokenizerFile(kind="clip", file="merges.txt.gz", clean=kind, context=77, special=SPECIAL)
    )
    wanted, found = theirs(texts()).numpy(), ours(texts())
    assert [text for text, *rows in zip(texts(), wanted, found, strict=True) if not np.array_equal(*rows)] == []


@pytest.mark.parametrize("kind", KINDS)
def test_cleaned(kind: Clean) -> None:
    """A text is mended and simplified as open_clip does it."""
    theirs = get_clean_fn(kind)
    assert [text for text in texts() if clean(text, kind) != theirs(text)] == []


@pytest.mark.parametrize("strip", [False, True])
def test_ids_of_a_whole_tokenizer(tmp_path: Path, strip: bool) -> None:
    """A tokenizer of another kind, as XLM-R and SigLIP have, is cut and padded as open_clip does it."""
    theirs = whole_tokenizer(tmp_path / "theirs", strip_sep_token=strip)
    wanted = theirs(texts()).numpy()
    theirs.tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    said = TokenizerFile(
        kind="tokenizers", file="tokenizer.json", clean="whitespace", context=24, erased=2 if strip else None
    )
    assert np.array_equal(load_tokenizer(tmp_path, said)(texts()), wanted)
    assert len({len(row[row != 1]) for row in wanted}) > 5
