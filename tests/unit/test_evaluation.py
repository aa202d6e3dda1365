"""Relevance, measured: what is asked, what is measured, how sure that is, and what two runs differ in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Drawn
from scipy import stats

from services.encoder.ports import Card, Vectors
from services.pictures import Preparation
from sightline import FakeClient
from sightline import Image as Indexed
from sightline.queries import ImageId, Text
from tests.sdk_server import Servicer, served_apart
from tests.unit.test_cli import webp
from training.evaluate import main
from training.evaluation import BadLine, Cluster, compare, evaluate, read_captions, read_queries, read_report, read_trec
from training.evaluation.evaluating import Plan
from training.evaluation.local import LocalModel
from training.evaluation.measures import measure, measure_names
from training.evaluation.page import comparison_page, report_page
from training.evaluation.queries import Query, QuerySet
from training.evaluation.ranking import Pool
from training.evaluation.report import Report, write_report
from training.evaluation.resampling import estimates, holm, p_values, resampled_means
from training.evaluation.searching import Found, Progress, Run
from training.evaluation.slices import slices

CHECKOUT = Path(__file__).parents[2]
HOSTILE = '</title><script src="https://evil.example/x.js"></script><img onerror=alert(1) src=x> & "\' \u202e'


class Canned:
    """Answers known queries with known images."""

    def __init__(self, answers: dict[str, Sequence[str]], pool: int = 10) -> None:
        self.answers, self.pool = answers, pool

    def run(self, queries: Sequence[Query], depth: int, progress: Progress) -> Run:
        found = []
        for query in queries:
            ids = tuple(self.answers.get(query.id, ()))[:depth]
            found.append(Found(ids, tuple(1 - n / 10 for n in range(len(ids))), ms=2.0))
        model = {"name": "canned", "digest": "0" * 64, "dimension": 2}
        return Run(tuple(found), {"kind": "model", "model": model}, self.pool, 100.0, "not at all")

    def pictures(self, ids: Sequence[str]) -> dict[str, bytes]:
        return {identifier: webp("red") for identifier in ids}


def asked(*queries: Query) -> QuerySet:
    return QuerySet("a set", queries)


def lines(file: Path, *records: object) -> Path:
    file.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records), encoding="utf-8")
    return file


def test_both_recalls_are_told_apart() -> None:
    """One of two right answers among the first five is a hit, and half of the recall."""
    names = measure_names((1, 5))
    [row] = measure([["x", "a"]], [{"a": 1, "b": 1}], (1, 5))
    values = dict(zip(names, row, strict=True))
    assert (values["hit@1"], values["hit@5"], values["recall@5"]) == (0, 1, 0.5)
    assert (values["ap"], values["rr"]) == (0.25, 0.5)


def test_nothing_found_is_worth_nothing() -> None:
    """A query without an answer counts 0 in every measure, beside others that count."""
    nothing, all_of_it = measure([[], ["a\0b", "é"]], [{"a": 1}, {"a\0b": 1, "é": 3}], (1,))
    assert not nothing.any()
    assert all_of_it[:1] == [1]
    assert len(all_of_it) == len(measure_names((1,)))


def test_near_ties_are_broken_by_id() -> None:
    """Scores that are equal to 1e-6 come in the order of their ids, also where the last that is wanted is tied."""
    pool = np.array([[0.5], [0.5000001], [0.4999999], [0.9]], dtype=np.float32)
    [(found, scores)] = Pool(["c", "b", "a", "z"], pool).search(np.ones((1, 1), np.float32), 3)
    assert found == ("z", "a", "b")
    assert scores == pytest.approx((0.9, 0.5, 0.5), abs=1e-6)


def test_intervals_are_those_of_the_bootstrap() -> None:
    """Percentile intervals are as wide as SciPy's, and the same seed draws the same ones."""
    values = np.random.default_rng(1).uniform(size=(300, 2)) ** [1, 4]
    [one, other] = estimates(values.mean(axis=0), resampled_means(values, 4_000))
    theirs = stats.bootstrap((values,), np.mean, axis=0, method="percentile", n_resamples=4_000, rng=2)
    assert [one.low, other.low] == pytest.approx(theirs.confidence_interval.low, abs=0.004)
    assert [one.high, other.high] == pytest.approx(theirs.confidence_interval.high, abs=0.004)
    assert np.array_equal(resampled_means(values, 50), resampled_means(values, 50))


@pytest.mark.parametrize(("count", "tolerance"), [(10, 1e-12), (40, 0.02)])
def test_the_paired_test_is_the_randomisation_test(count: int, tolerance: float) -> None:
    """Its p is SciPy's: exact over few queries, drawn over many."""
    differences = np.random.default_rng(count).normal(0.25, 0.6, (count, 3))
    theirs = [
        stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=9_999, rng=3).pvalue
        for d in differences.T
    ]
    assert p_values(differences) == pytest.approx(theirs, abs=tolerance)
    assert list(p_values(np.zeros((count, 2)))) == [1, 1]


def test_several_tests_are_adjusted_together() -> None:
    """The smallest p is multiplied by the number of tests, the next by one less; none falls below the one before."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]


def test_a_query_set_is_read_whole(tmp_path: Path) -> None:
    """The first line may say what the set is; queries have grades, attributes, and may be composed."""
    file = lines(
        tmp_path / "q.jsonl",
        {"about": "shoes", "pool": 7, "cutoffs": [10, 1]},
        {"text": "red", "right": ["a", "b"], "language": "en", "attributes": {"kind": "boot", "tags": ["x"]}},
        "",
        {"id": "c", "terms": [{"image_id": "a"}, {"text": "in red", "weight": 0.5}], "right": {"b": 3, "x": 0}},
    )
    read = read_queries(file)
    first, second = read.queries
    assert (read.about, read.pool, read.cutoffs) == ("shoes", 7, (1, 10))
    assert (first.id, first.right, first.attributes) == ("2", {"a": 1, "b": 1}, {"kind": "boot", "tags": ("x",)})
    assert (second.text, second.right) == ("[a] + 0.5 in red", {"b": 3})
    assert second.terms == ((1.0, ImageId("a")), (0.5, Text("in red")))


@pytest.mark.parametrize(
    ("line", "field", "problem"),
    [
        ('{"text": "a"', "", "not JSON"),
        ("[1]", "", "must be a JSON object"),
        ('{"text": "a"}', "right", "must be a list"),
        ('{"text": "a", "right": []}', "right", "not be empty"),
        ('{"text": "a", "right": {"x": 0}}', "right", "grade of 1 or more"),
        ('{"text": "a", "right": {"x": 1.5}}', "right", "whole number from 0 to 1,000"),
        ('{"text": "a", "right": [7]}', "right", "is a text"),
        ('{"text": "", "right": ["x"]}', "text", "missing or empty"),
        ('{"text": "a", "right": ["x"], "rigth": 1}', "rigth", "unknown"),
        ('{"text": "\\ud800", "right": ["x"]}', "text", "surrogate"),
        ('{"text": "a", "right": ["x"], "id": "q"}', "id", "that of line 1"),
        ('{"terms": [{"text": "a", "weight": 0}], "right": ["x"]}', "terms", "not 0"),
        ('{"terms": [{"text": "a", "image_id": "b"}], "right": ["x"]}', "terms", "a text or an image_id"),
        ('{"text": "' + "a" * 17_000 + '", "right": ["x"]}', "text", "at most 16,384 bytes"),
        ('{"text": "a", "right": ["x"], "attributes": {"n": {}}}', "attributes.n", "must be a text"),
    ],
)
def test_a_bad_line_says_what_is_wrong(tmp_path: Path, line: str, field: str, problem: str) -> None:
    """The error names the file, the line, the field and the limit."""
    file = lines(tmp_path / "q.jsonl", {"id": "q", "text": "good", "right": ["x"]}, line)
    with pytest.raises(BadLine, match=problem) as refused:
        read_queries(file)
    assert (refused.value.line, refused.value.field) == (2, field)
    assert str(refused.value).startswith(f"{file}, line 2: ")


def test_topics_and_qrels_of_trec_are_read(tmp_path: Path) -> None:
    """Topics come by lines or as blocks; those without a right answer are left out, and that is said."""
    qrels = lines(tmp_path / "qrels", "1 0 a 2", "1 0 b 0", "2 0 c -1", "3 0 d 1")
    by_line = lines(tmp_path / "t.tsv", "1\tred shoes", "2\tnobody", "3\tblue")
    blocks = lines(
        tmp_path / "t.xml",
        "<top><num> Number: 1 <title> red shoes </top>",
        "<top><num>2</num><title>nobody</title></top>",
        "<top><num>3</num>\n<title>blue</title></top>",
    )
    read = read_trec(by_line, qrels)
    assert [(q.id, q.text, q.right) for q in read.queries] == [("1", "red shoes", {"a": 2}), ("3", "blue", {"d": 1})]
    assert read.about.endswith("1 topics without right answers left out")
    assert read_trec(blocks, qrels).queries == read.queries


@pytest.mark.parametrize(("line", "problem"), [("1 0 a", "4 fields"), ("1 0 a x", "whole"), ("9 0 a 1", "no topic")])
def test_a_bad_judgment_says_where(tmp_path: Path, line: str, problem: str) -> None:
    """A wrong line of qrels is named by its number."""
    topics, qrels = lines(tmp_path / "t.tsv", "1\tred"), lines(tmp_path / "qrels", "1 0 a 1", line)
    with pytest.raises(BadLine, match=f"line 2.*{problem}"):
        read_trec(topics, qrels)


def test_captions_are_queries(tmp_path: Path) -> None:
    """A caption is right on every image that bears it; columns beside break figures down."""
    table = tmp_path / "captions.csv"
    table.write_text(
        'id,caption,language,kind\na,"red, shoe",en,shoe\nb,"red, shoe",en,shoe\nc,,en,shoe\nd,rot,de,shoe\n'
    )
    first, second = read_captions(table).queries
    assert (first.text, first.right, first.language, first.attributes) == (
        "red, shoe",
        {"a": 1, "b": 1},
        "en",
        {"kind": "shoe"},
    )
    assert (second.text, second.right) == ("rot", {"d": 1})
    with pytest.raises(BadLine, match="line 1: caption: there is no such column"):
        read_captions(lines(tmp_path / "other.csv", "id,text", "a,b"))
    listed = lines(tmp_path / "images.jsonl", {"id": "a", "uri": "a.png", "caption": "one"}, {"uri": "b.png"})
    assert [query.right for query in read_captions(listed).queries] == [{"a": 1}]


def test_figures_are_broken_down() -> None:
    """By language, by length in characters, and by attributes that set something apart."""
    queries = [
        Query("1", "red", {"a": 1}, "en", {"sale": True, "tags": ("x", "y"), "one": 1}),
        Query("2", "a very long question", {"a": 1}, "de", {"sale": False, "tags": ("x",), "one": 1}),
    ]
    assert slices(queries) == {
        "language": {"de": [1], "en": [0]},
        "length": {"1–7": [0], "16–31": [1]},
        "attributes.sale": {"false": [1], "true": [0]},
        "attributes.tags": {"x": [0, 1], "y": [0]},
    }


def test_a_report_is_written_and_read_again(tmp_path: Path) -> None:
    """The JSON file holds everything that was found, and warns of a pool that is not the protocol's."""
    queries = QuerySet("a set", (Query("1", "red", {"a": 1}, "en"), Query("2", "rot", {"b": 1}, "de")), pool=1_000)
    report = evaluate(queries, Canned({"1": ["a"], "2": ["x", "b"]}))
    write_report(report, tmp_path / "r.json")
    again = read_report(tmp_path / "r.json")
    assert again.overall.measures["hit@1"].mean == 0.5
    assert again.mean_over_languages
    assert [judged.rank for judged in again.queries] == [1, 2]
    assert again.latency_ms["p99"] == 2.0
    assert "ranks 1,000 images, here 10" in again.warnings[0]


def test_the_same_seed_gives_the_same_report() -> None:
    """But for the time that it was made at, a report depends on questions and answers alone."""
    queries = asked(*(Query(str(n), "x" * (n + 1), {"a": 1}) for n in range(20)))
    subject = Canned({str(n): ["a"] for n in range(0, 20, 3)})
    one, two = evaluate(queries, subject), evaluate(queries, subject)
    assert (one.overall, one.slices, one.queries) == (two.overall, two.slices, two.queries)


def two_runs(tmp_path: Path) -> tuple[Report, Report]:
    queries = asked(*(Query(str(n), f"query {n} {HOSTILE}", {"a": 1}, "en" if n % 2 else HOSTILE) for n in range(30)))
    worse = Canned({str(n): ["x"] if n < 12 else ["a"] for n in range(30)})
    better = Canned({str(n): ["x", HOSTILE] if n < 2 else ["a"] for n in range(30)})
    for name, subject in (("worse", worse), ("better", better)):
        write_report(evaluate(queries, subject), tmp_path / f"{name}.json")
    return read_report(tmp_path / "worse.json"), read_report(tmp_path / "better.json")


def test_two_runs_are_compared(tmp_path: Path) -> None:
    """A difference that chance does not make is significant, and the queries that changed are named."""
    compared = compare(*two_runs(tmp_path))
    hit = compared.differences["hit@1"]
    assert (hit.better, hit.worse, hit.significant) == (10, 0, True)
    assert hit.change.mean == pytest.approx(1 / 3)
    assert hit.change.low > 0
    assert {changed.before.id for changed in compared.gained} == {str(n) for n in range(2, 12)}
    assert compared.lost == ()
    same = compare(compared.before, compared.before)
    assert all(one.p == 1 and not one.significant for one in same.differences.values())


class Loaded(HTMLParser):
    """Everything that a page would run or fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_pages_stand_alone_and_trust_no_text(tmp_path: Path) -> None:
    """Pages fetch nothing, run nothing, and show hostile texts as the texts that they are."""
    before, after = two_runs(tmp_path)
    subject = Canned({})
    for page in (report_page(before, subject.pictures), comparison_page(compare(before, after), subject.pictures)):
        seen = Loaded()
        seen.feed(page)
        assert not seen.tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
        assert seen.addresses
        assert all(address.startswith("data:image/webp;base64,") for address in seen.addresses)
        assert seen.handlers == []
        assert "prefers-color-scheme: dark" in page
        assert "&lt;/title&gt;&lt;script" in page


IMAGES = [
    Indexed("apple", caption="red apple"),
    Indexed("pear", caption="green pear"),
    Indexed("car", caption="red car"),
]


def test_a_cluster_is_evaluated_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands ask a server, write page and JSON, show its thumbnails, and end with 0."""
    queries = lines(
        tmp_path / "q.jsonl",
        {"id": "1", "text": "red apple", "right": ["apple"]},
        {"id": "2", "text": "green car", "right": ["car"]},
        {"id": "3", "terms": [{"text": "red"}, {"image_id": "pear", "weight": -0.5}], "right": {"car": 1, "apple": 2}},
    )
    report, page, diff = (tmp_path / name for name in ("r.json", "r.html", "d.html"))
    with served_apart(Servicer(FakeClient(IMAGES, thumbnails={"apple": webp("red")}))) as address:
        told = ["--address", address, "--collection", "fake"]
        assert main([str(queries), *told, "--callers", "2", "--json", str(report), "--report", str(page)]) == 0
        assert main(["compare", str(report), str(report), *told, "--report", str(diff)]) == 0
    found = read_report(report)
    assert found.overall.measures["hit@5"].mean == 1
    assert found.subject["collection"] == "fake"
    assert found.latency_ms["p50"] > 0
    assert "data:image/webp" in page.read_text()
    assert "hit@1" in capsys.readouterr().out


def test_neither_clusters_nor_exports_need_torch(tmp_path: Path) -> None:
    """Where torch is not installed a cluster is judged, and so is a folder that holds an export."""
    queries = lines(tmp_path / "q.jsonl", {"text": "red apple", "right": ["apple"]})
    Drawn.new("RGB", (32, 32), "red").save(tmp_path / "apple.png")
    images = lines(tmp_path / "images.jsonl", {"id": "apple", "uri": "apple.png"})
    without = "import sys; sys.modules |= {'torch': None, 'open_clip': None}; from training.evaluate import main; "
    command = [sys.executable, "-c", f"{without} sys.exit(main(sys.argv[1:]))", str(queries)]
    with served_apart(Servicer(FakeClient(IMAGES))) as address:
        for told in (["--address", address], ["--model", "models/emoji", "--images", str(images)]):
            assert subprocess.run([*command, *told], cwd=CHECKOUT, check=False).returncode == 0


class Lettered:
    """A model whose vector of a text is its length, and which keeps what it is asked."""

    card = Card("lettered", "0" * 64, 2, Preparation(1, 1, "squash", "bicubic", 0))

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def prepare_texts(self, texts: Sequence[str]) -> Sequence[str]:
        self.asked.append(tuple(texts))
        return texts

    def run_texts(self, texts: Sequence[str]) -> Sequence[str]:
        return texts

    def finish(self, texts: Sequence[str]) -> Vectors:
        return np.array([[1, len(text)] for text in texts], dtype=np.float32)


def ranked_by(model: Lettered, pictures: int) -> LocalModel:
    """The model as a subject, with so many pictures that are alike."""
    pool = Pool([f"{number:05}" for number in range(pictures)], np.eye(2, dtype=np.float32)[[0] * pictures])
    return LocalModel(model, {}, pool=pool)  # type: ignore[arg-type]


def test_latencies_are_of_texts_that_were_not_read_before() -> None:
    """The sample comes from all over the set, and each of it is asked alone before the batches."""
    model = Lettered()
    report = evaluate(asked(*(Query(str(n), f"query {n}", {"00000": 1}) for n in range(1_000))), ranked_by(model, 3))
    alone = [texts[0] for texts in model.asked if len(texts) == 1 and texts[0].startswith("query")]
    assert alone == [f"query {n}" for n in range(0, 1_000, 5)]
    assert [len(texts) for texts in model.asked] == [1] * (20 + 200) + [64] * 15 + [40]
    assert [judged.ms is not None for judged in report.queries[:6]] == [True, False, False, False, False, True]


def test_depth_reaches_as_far_as_the_pool() -> None:
    """A query that is right on more images than are looked at is warned of; a model can look at all."""
    queries = asked(Query("1", "word", {f"{number:05}": 1 for number in range(1_500)}))
    shallow, deep = (evaluate(queries, ranked_by(Lettered(), 1_500), Plan(depth=depth)) for depth in (1_000, 1_500))
    assert shallow.overall.measures["ap"].mean == pytest.approx(2 / 3)
    assert "1 queries have more right answers than the 1,000 images" in shallow.warnings[0]
    assert deep.overall.measures["ap"].mean == 1
    assert deep.warnings == ()


def test_a_query_that_fails_counts_as_nothing_found() -> None:
    """It is listed with its error, warned of, and does not end the run."""
    queries = asked(Query("1", "red apple", {"apple": 1}), Query("2", "", {"x": 1}, terms=((1.0, ImageId("nobody")),)))
    with served_apart(Servicer(FakeClient(IMAGES))) as address:
        report = evaluate(queries, Cluster(address))
    assert report.counts["errors"] == 1
    assert "nobody" in report.queries[1].error
    assert report.overall.measures["hit@1"].mean == 0.5
    assert "1 of 2 queries failed" in report.warnings[0]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{q}", "--address", "127.0.0.1:9", "--timeout", "0.3"], 1, "DEADLINE_EXCEEDED|UNAVAILABLE"),
        (["{q}", "--model", "models/emoji"], 2, "--model needs --images"),
        (["{missing}", "--address", "x"], 2, "No such file"),
        (["{q}", "--address", "x", "--json", "{missing}/r.json"], 2, "there is no folder"),
        (["{q}", "--address", "x", "--depth", "1001"], 2, "largest top_k of a cluster, 1,000"),
        (["compare", "{q}", "{q}"], 2, "is no report"),
        (["dataset", "coco", "{missing}", "--out", "{missing}"], 2, "dataset_coco.json"),
    ],
)
def test_a_mistaken_command_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    """It ends with 1 where nobody answers, with 2 where it makes no sense, and says why in a sentence."""
    queries = lines(tmp_path / "q.jsonl", {"text": "red", "right": ["a"]})
    places = {"q": str(queries), "missing": str(tmp_path / "missing")}
    assert main([word.format(**places) for word in arguments]) == code
    assert re.search(said, capsys.readouterr().err)
