"""The bundled model: its pictures, the texts it may read, the judge, and what it answers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import open_clip
import pytest
import torch
from torch import Tensor, nn

from benchmarks.no_leak import Numbers, read
from training import emoji, sources, texts, train
from training.batches import TextBatches, pad
from training.lexical import bm25, character_n_grams, fuse
from training.local_search import LocalSearch, load_tokenizer
from training.model import CONTEXT_LENGTH, MERGES_FILE, build, encode_text
from training.stages import STAGES, Material, Plan, Stage
from training.tokenizer import FastTokenizer, clean, read_merges

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "emoji"
RED_APPLE = "1f34e"


@pytest.fixture(scope="module", autouse=True)
def _sources() -> None:
    try:
        sources.font_file(), sources.emoji_test_file(), sources.cldr_folder()
    except FileNotFoundError:
        subprocess.run([ROOT / "tools" / "unpack_debs.sh", *sources.DEBIAN_PACKAGES], check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("emoji")
    emoji.render(place)
    return place


@pytest.fixture(scope="module")
def search(folder: Path) -> LocalSearch:
    return LocalSearch(MODEL, folder)


@cache
def keys() -> tuple[str, ...]:
    return tuple(picture.key for picture in emoji.pictures())


@cache
def corpus() -> texts.Corpus:
    return texts.corpus(keys())


@cache
def tokenizer() -> open_clip.SimpleTokenizer:
    return load_tokenizer(MODEL)


def test_every_distinct_picture_is_drawn_once(folder: Path) -> None:
    """There are 1,840 pictures, each with an id, a caption and a file of its own, whatever tones its emoji come in."""
    records = [json.loads(line) for line in (folder / "images.jsonl").read_text().splitlines()]
    assert len(records) == len({record["id"] for record in records}) == 1840
    assert len({(folder / record["uri"]).read_bytes() for record in records}) == 1840
    apple = next(record for record in records if record["id"] == RED_APPLE)
    assert apple["caption"] == "red apple"
    assert apple["attributes"]["emoji"] == "🍎"
    assert apple["attributes"]["group"] == "Food & Drink"


def test_skin_tones_are_an_attribute(folder: Path) -> None:
    """A waving hand is one picture that says that it comes in five skin tones."""
    records = {record["id"]: record for record in map(json.loads, (folder / "images.jsonl").open())}
    assert records["1f44b"]["attributes"]["skin_tones"] == 5
    assert "1f44b-1f3fd" not in records


def test_a_finished_folder_is_left_alone(folder: Path) -> None:
    """Drawing into a folder that is complete touches nothing in it, and a missing picture is drawn again."""
    before = (folder / f"{RED_APPLE}.png").stat().st_mtime_ns
    assert emoji.render(folder) == 1840
    assert (folder / f"{RED_APPLE}.png").stat().st_mtime_ns == before
    content = (folder / f"{RED_APPLE}.png").read_bytes()
    (folder / f"{RED_APPLE}.png").unlink()
    emoji.render(folder)
    assert (folder / f"{RED_APPLE}.png").read_bytes() == content


@pytest.mark.parametrize(("keyword", "held_out"), [("fruit", True), ("dog", True), ("apple", False), ("heart", False)])
def test_keywords_are_held_out_by_their_digest_alone(keyword: str, held_out: bool) -> None:
    """A keyword is held out where the MD5 of "kw" and the keyword is a multiple of five."""
    assert texts.keyword_is_held_out(keyword) is held_out


@pytest.mark.parametrize(
    ("picture", "language", "held_out"),
    [("🍎", "fr", True), ("🍎", "en", False), ("😀", "de", True), ("❤", "en", True), ("🚀", "it", False)],
)
def test_names_are_held_out_by_picture_and_language(picture: str, language: str, held_out: bool) -> None:
    """A name is held out where the MD5 of "n", the picture and the language is a multiple of ten."""
    assert texts.name_is_held_out(picture, language) is held_out


def test_heldout_texts_are_never_trained_on() -> None:
    """No held-out query is, letter for letter, among the training texts."""
    read = {phrase.text for phrase in corpus().training}
    assert not read & {query.text for query in corpus().heldout_names}
    assert not read & {query.text for query in corpus().heldout_keywords}


def test_a_heldout_keyword_tells_nothing_away() -> None:
    """For every held-out keyword there is a right picture whose training texts neither hold it nor lie in it."""
    read: dict[str, list[str]] = {}
    for phrase in corpus().training:
        read.setdefault(phrase.picture, []).append(phrase.text)
    for query in corpus().heldout_keywords:
        assert any(not any(query.text in t or t in query.text for t in read[c]) for c in query.right)


def test_the_query_sets_have_the_sizes_that_are_reported() -> None:
    """With Debian 12's CLDR 41 there are 5,126 held-out keywords and 1,327 held-out names in 20 languages."""
    assert len(corpus().heldout_keywords) == 5126
    assert len(corpus().heldout_names) == 1327
    assert {query.language for query in corpus().own_names} == set(texts.LANGUAGES)


def test_texts_are_compared_case_folded_and_single_spaced() -> None:
    """Case, composition and white space never make two texts out of one."""
    assert texts.normalise("  Große  PA\u0308CKCHEN ") == "grosse päckchen"


def test_training_and_serving_see_the_same_tokens() -> None:
    """The fast tokenizer that training uses gives the ids of open_clip's for every training text."""
    sample = sorted({phrase.text for phrase in corpus().training})[::37]
    fast = FastTokenizer(read_merges(MODEL / MERGES_FILE))
    assert fast(clean(sample)) == [tokenizer().encode(text) for text in sample]


def test_cutting_the_padding_changes_nothing() -> None:
    """Vectors of texts cut at the longest are those of open_clip's own forward over all positions."""
    model = build().eval()
    queries = ["red apple", "manzana roja", "红苹果", "a"]
    padded = tokenizer()(queries)
    cut = pad([tokenizer().encode(query) for query in queries], FastTokenizer(read_merges(MODEL / MERGES_FILE)))
    assert padded.shape[1] == CONTEXT_LENGTH > cut.shape[1]
    with torch.no_grad():
        torch.testing.assert_close(encode_text(model, cut), model.encode_text(padded, normalize=True))


def test_an_interrupted_stage_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """A stage that was stopped takes up its weights, its steps and its curve again, and ends with its plan. It does not
    read again from the beginning."""
    seeds: list[int] = []

    def run(steps: int) -> Stage:
        layer = nn.Linear(2, 1)
        stage = Stage(
            "toy", tmp_path, Plan(steps, rate=0.1, seed=1), nn.ModuleDict({"layer": layer}), log=lambda _: None
        )

        def losses(seed: int) -> Iterator[Tensor]:
            seeds.append(seed)
            while True:
                yield layer(torch.ones(2)).square().sum()

        stage.run(losses)
        return stage

    first, second = run(40), run(80)
    assert (first.steps, second.steps) == (40, 80)
    assert second.curve[: len(first.curve)] == first.curve
    assert second.curve[-1][0] == 80
    assert len(set(seeds)) == 2
    again = run(80)
    assert (again.steps, again.curve) == (second.steps, second.curve)
    torch.testing.assert_close(again.modules.state_dict(), second.modules.state_dict())


def test_one_command_trains_all_stages(tmp_path: Path) -> None:
    """Every stage learns from few pictures as from many, and what they hand over is a model that open_clip loads."""
    pictures = emoji.pictures()[:40]
    few = texts.corpus(picture.key for picture in pictures)
    material = Material(pictures, few.training, (), tuple(read_merges(MODEL / MERGES_FILE)), texts.Withheld(few))
    (tmp_path / MERGES_FILE).write_bytes((MODEL / MERGES_FILE).read_bytes())
    for name, stage in train.STAGES.items():
        stage(material, tmp_path, replace(train.PLANS[name], steps=3))
    train.hand_over(tmp_path, tmp_path / "model")

    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'model'}")
    about = json.loads((tmp_path / "model" / "sightline.json").read_text())

    assert tuple(about["training"]) == STAGES == tuple(train.STAGES)
    assert all(stage["steps"] == 3 and stage["curve"][-1][0] == 3 for stage in about["training"].values())
    assert model.encode_text(load_tokenizer(tmp_path / "model")(["red apple"])).isfinite().all()


def test_further_locales_tell_no_query_away() -> None:
    """What is read beside the 20 languages is said by none of them, is no query, and overlaps with none of its
    picture; a variant holds out the names that its language does."""
    found = texts.further(keys(), corpus())
    told = {phrase.text for phrase in corpus().training}
    told |= {query.text for query in corpus().heldout_names + corpus().heldout_keywords}
    keywords: dict[str, list[str]] = {}
    for query in corpus().heldout_keywords:
        for picture in query.right:
            keywords.setdefault(picture, []).append(query.text)
    assert {phrase.language for phrase in found} > {"pt_PT", "yue", "fa", "mr"}
    for phrase in found:
        assert phrase.text not in told
        assert not any(one in phrase.text or phrase.text in one for one in keywords.get(phrase.picture, ()))
    names = {(phrase.picture, phrase.language) for phrase in found if phrase.kind == "name"}
    assert not any(texts.name_is_held_out(picture, "pt") for picture, language in names if language == "pt_PT")


def test_unseen_pairs_are_never_joined() -> None:
    """Texts are joined, but never two whose pair is held out, in either order."""
    phrases = [phrase for phrase in corpus().training if phrase.language == "en"]
    batches = TextBatches(phrases, keys(), Numbers(), seed=1)
    joined = {text for text, _ in read(batches, keys(), 4 * len(batches)) if text not in batches.texts}
    asked = {query.text for query in corpus().unseen_pairs if query.language == "en"}
    assert len(joined) > 1000
    assert len(asked) > 100
    assert not joined & asked


def test_unseen_pairs_are_said_by_nobody() -> None:
    """A pair that some language says as one text, "fire truck", is not asked, since that text may be read."""
    asked = {query.text for query in corpus().unseen_pairs}
    assert not asked & {phrase.text for phrase in (*corpus().training, *texts.further(keys(), corpus()))}
    assert "fire truck" not in asked


def test_strict_keywords_are_told_by_no_picture() -> None:
    """Of the held-out keywords, 4,376 neither contain nor lie inside a text of any picture that bears them."""
    read: dict[str, set[str]] = {}
    for phrase in corpus().training:
        read.setdefault(phrase.picture, set()).add(phrase.text)
    assert len(corpus().strict_keywords) == 4376
    assert set(corpus().strict_keywords) < set(corpus().heldout_keywords)
    for query in corpus().strict_keywords:
        assert not any(query.text in text or text in query.text for one in query.right for text in read[one])


def test_letters_alone_find_what_shares_them() -> None:
    """BM25 finds by whole words, character n-grams by parts of them, and fused the better places of both count."""
    said = {"dog": ["dog", "dog face"], "cat": ["cat", "cat face"], "cats": ["many cats"]}
    assert bm25(said, 2)(["cat"]) == [["cat"]]
    assert set(character_n_grams(said, 2)(["cat"])[0]) == {"cat", "cats"}
    assert fuse([["a", "b"]], [["b", "c"]]) == [["b", "a"]]


def test_the_bundled_model_is_small_and_says_what_it_is_for() -> None:
    """The whole folder is at most 16 MB and names its scope and the weights to use instead."""
    assert sum(file.stat().st_size for file in MODEL.iterdir()) <= 16_000_000
    about = json.loads((MODEL / "sightline.json").read_text())
    assert about["scope"] == "emoji"
    assert "ViT-B-32" in about["scope_note"]


@pytest.mark.parametrize("query", ["red apple", "Red Apple", "manzana roja", "红苹果"])
def test_any_language_finds_the_red_apple(search: LocalSearch, query: str) -> None:
    """The bundled model puts the red apple first, whatever the language and case it is asked in."""
    assert search.by_texts([query])[0][0] == RED_APPLE


def test_two_words_that_were_never_said_together_find_a_picture_of_both(search: LocalSearch) -> None:
    """Words of one picture work together: "smile cat" brings a smiling cat among the first three."""
    cats = {"1f63a", "1f638", "1f63c", "1f639", "1f63b"}
    assert cats & set(search.by_texts(["smile cat"])[0][:3])


def test_a_picture_finds_itself(search: LocalSearch, folder: Path) -> None:
    """A picture that is searched with as it is comes first."""
    ids = [RED_APPLE, "1f436", "1f680"]
    ranked = search.by_pictures([(folder / f"{picture}.png").read_bytes() for picture in ids])
    assert [found[0] for found in ranked] == ids
