"""Vocabularies: from a thesaurus to a table, from a table to what a text is also searched by."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from services.gateway.__main__ import vocabulary
from services.gateway.questions import Ensemble, Question, Stored, Text, WeightedTerm, answer_key
from services.gateway.settings import GatewaySettings
from services.gateway.vectors import Vectors
from services.gateway.vocabulary import BadVocabulary, Vocabulary, read_vocabulary
from tests.unit.gateway_fakes import Encoder, Searchers, manifest, question
from training.vocabulary import main

PAGE = (Path(__file__).parents[2] / "docs" / "vocabulary.md").read_text(encoding="utf-8")
SHOP = Vocabulary([("sneaker", "running shoe", 1.0), ("sneaker", "shoe", 0.5), ("Red Wing", "boot", 1.0)], share=0.5)


def blocks(language: str) -> Iterator[str]:
    yield from re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_a_page_is_as_good_as_its_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thesaurus of docs/vocabulary.md makes the table that it shows, and its example prints what it says."""
    monkeypatch.chdir(tmp_path)
    Path("shop.ttl").write_text(next(blocks("turtle")), encoding="utf-8")
    command = shlex.split(next(blocks("sh")))
    assert main(command[3:]) == 0
    assert Path("vocabulary.csv").read_text().startswith(next(blocks("csv")))

    printed = StringIO()
    with redirect_stdout(printed):
        exec(compile(next(blocks("python")), "vocabulary.md", "exec"), {})
    assert printed.getvalue() == next(blocks("text"))


@pytest.mark.parametrize("languages", [["--languages", "en"], ["--to", "en"]])
def test_a_thesaurus_is_read_as_it_is_meant(tmp_path: Path, languages: list[str]) -> None:
    """Labels are synonyms, hidden ones are understood and never said, and broader concepts are broader terms."""
    source, table = tmp_path / "shop.ttl", tmp_path / "shop.tsv"
    source.write_text(next(blocks("turtle")), encoding="utf-8")
    assert main([str(source), "--out", str(table), *languages]) == 0
    rows = {tuple(line.split("\t")) for line in table.read_text(encoding="utf-8").splitlines()}
    assert {("snaeker", "running shoe", "synonym"), ("sneaker", "shoe", "broader")} <= rows
    assert not any(means == "snaeker" for _, means, _ in rows)
    assert (("Laufschuh", "sneaker", "synonym") in rows) is ("--to" in languages)
    assert (("Laufschuh", "Schuh", "broader") in rows) is ("--to" in languages)
    assert len(read_vocabulary(table, 0.5)) >= 4


def test_what_is_no_thesaurus_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be read, or says nothing, ends the command with 2 and a sentence."""
    for name, content in (("a.ttl", "no turtle"), ("b.txt", ""), ("c.nt", "")):
        file = tmp_path / name
        file.write_text(content)
        assert main([str(file), "--out", str(tmp_path / "out.csv")]) == 2
        assert name in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "also"),
    [
        ("SNEAKER", ["running shoe", "shoe"]),
        ("red  wing, used", ["boot, used"]),
        ("sneakers", []),
        ("red, wing", []),
        ("a sneaker and a sneaker", ["a running shoe and a sneaker", "a sneaker and a running shoe"]),
    ],
)
def test_expressions_are_replaced_where_words_begin_and_end(text: str, also: list[str]) -> None:
    """Whole words are replaced, whatever their case, one expression at a time."""
    assert [words for _, words in SHOP.expand(text)][1 : 1 + max(1, len(also))] == also


def test_weights_of_an_expansion_sum_to_one() -> None:
    """The text itself keeps its share however many synonyms it has, and of those at most 15 count."""
    many = Vocabulary([("x", f"word {n}", 1.0 + n) for n in range(40)], share=0.4)
    weights = [weight for weight, _ in many.expand("x")]
    assert len(weights) == 16
    assert weights[0] == pytest.approx(0.6)
    assert sum(weights) == pytest.approx(1.0)


def test_a_question_is_another_with_a_vocabulary() -> None:
    """Texts become ensembles with a key of their own; images, and texts without known words, stay as they are."""
    plain = question("a cat")
    assert SHOP(plain) is plain
    stored = question(terms=(WeightedTerm(1.0, Stored("sneaker"), "query.image_id"),))
    assert SHOP(stored) is stored
    keys = {answer_key(one, "shop", 1, "d") for one in (question("sneaker"), SHOP(question("sneaker")), _heavier())}
    assert len(keys) == 3


def _heavier() -> Question:
    return Vocabulary([("sneaker", "running shoe", 1.0), ("sneaker", "shoe", 0.5)], share=0.6)(question("sneaker"))


async def test_an_ensemble_is_the_unit_vector_of_its_weighted_sum() -> None:
    """Each term keeps its own weight in a mixture, however many texts stand for it."""
    words = Ensemble(((0.5, Text("ab")), (0.5, Text("abcd"))))
    vectors, given = Vectors(Encoder(), Searchers()), WeightedTerm(1.0, words, "query.text")
    wanted = _unit(_unit([2, 1]) / 2 + _unit([4, 1]) / 2)
    alone = await vectors.of(question(terms=(given,)), manifest(), 1e9)
    np.testing.assert_allclose(alone, wanted, atol=1e-6)
    against = WeightedTerm(-0.5, Text("a"), "query.text")
    mixed = await vectors.of(question(terms=(given, against)), manifest(), 1e9)
    np.testing.assert_allclose(mixed, _unit(wanted - _unit([1, 1]) / 2), atol=1e-6)


def _unit(values: object) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    vector = np.asarray(values, dtype=np.float64)
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = vector / np.linalg.norm(vector)
    return found


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("text,meaning\na,b\n", "columns"),
        ("text,means\n", "no row"),
        ("text,means\na\n", ":2: has more or fewer cells"),
        ("text,means\n,b\n", ":2: text"),
        ("text,means,relation\na,b,narrower\n", ":2: relation"),
        ("text,means,weight\na,b,-1\n", ":2: weight"),
    ],
)
def test_a_bad_table_names_the_line_and_the_field(tmp_path: Path, table: str, says: str) -> None:
    """A gateway does not start with a table that is wrong, and says where."""
    file = tmp_path / "words.csv"
    file.write_text(table)
    with pytest.raises(BadVocabulary, match=says):
        read_vocabulary(file, 0.5)
    settings = GatewaySettings(store="s", encoders="e:1", searchers="s:1", vocabulary=file)
    with pytest.raises(SystemExit, match="2"):
        vocabulary(settings)


def test_a_gateway_without_a_table_expands_nothing() -> None:
    """By default there is no vocabulary."""
    assert vocabulary(GatewaySettings(store="s", encoders="e:1", searchers="s:1")) is None
