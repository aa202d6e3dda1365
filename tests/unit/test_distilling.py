"""Distillation, with a tiny teacher: what a student learns and costs, and that a run goes on where it was ended."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from services.encoder import onnx_model
from services.encoder.__main__ import load_model
from services.encoder.backends import choose
from services.encoder.exported import read
from services.encoder.model import OpenClipModel, load
from services.encoder.ports import Model, Vectors
from services.encoder.settings import EncoderSettings
from services.encoder.sources import LoadError
from training.distil import main, parser
from training.distilling.costs import bytes_of, milliseconds
from training.distilling.lessons import Lessons, taught
from training.distilling.running import Task, distil
from training.distilling.tower import PieceTower
from training.evaluation.lines import BadLine
from training.export import SAMPLES, ExportError
from training.finetuning.loop import Plan
from training.finetuning.table import read_captions

ROOT = Path(__file__).parents[2]
CAPTIONS = ("a ruby square", "crimson", "an emerald", "grass", "sapphire", "a clear sky", "a ruby in the grass")
COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def teacher(exported: Path) -> Path:
    return exported.parent / "source"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("images")
    for colour in COLOURS:
        Image.new("RGB", (40, 40), colour).save(folder / f"{colour}.png")
    return [str(folder / f"{colour}.png") for colour in COLOURS]


def task(teacher: Path, folder: Path, **changes: object) -> Task:
    plan = Plan(steps=8, rate=1e-3, save_seconds=0)
    whole = Task(str(teacher), CAPTIONS, folder / "work", folder / "student", width=16, hidden=16, batch=3, plan=plan)
    return replace(whole, **changes)  # type: ignore[arg-type]


def quiet(said: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def whole(teacher: Path, images: list[str], tmp_path_factory: pytest.TempPathFactory) -> Task:
    """A task that has been done."""
    done = task(teacher, tmp_path_factory.mktemp("whole"), images=images)
    distil(done, quiet)
    return done


@pytest.fixture(scope="module")
def own_words(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Task:
    """One whose student has a tokenizer of its own."""
    done = task(teacher, tmp_path_factory.mktemp("own"), vocabulary=540)
    distil(done, quiet)
    return done


def vectors(model: Model, texts: tuple[str, ...] = CAPTIONS) -> Vectors:
    return model.finish(model.run_texts(model.prepare_texts(texts)))


def test_a_run_goes_on_where_it_was_ended(whole: Task, tmp_path: Path) -> None:
    """A run that is ended between two states and started again writes what one that was not has written, also where
    states are written less often and another process prepares batches."""
    ended = replace(whole, work=tmp_path / "work", out=tmp_path / "called-otherwise")

    def end(said: str) -> None:
        if said.startswith("step 6"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distil(ended, end)
    assert not ended.out.exists()
    said: list[str] = []
    distil(replace(ended, plan=replace(ended.plan, save_seconds=1e9, workers=1)), said.append)
    assert said[0] == "going on from step 5"
    one, other = read(whole.out), read(ended.out)
    assert one.name != other.name
    assert one.digest == other.digest != load(whole.teacher, device="cpu").card.digest


def test_another_run_keeps_its_work(whole: Task) -> None:
    """A work folder is gone on with by the run that began it and by no other."""
    with pytest.raises(ValueError, match="another run: width was 16"):
        distil(replace(whole, width=8), quiet)


def test_a_student_comes_to_answer_as_its_teacher(teacher: Path, images: list[str], tmp_path: Path) -> None:
    """A student's vectors of what it was taught come near the teacher's, as the encoder runs it."""
    plan = Plan(steps=150, rate=1e-2, weight_decay=0.0)
    distil(task(teacher, tmp_path, images=images, plan=plan, batch=7, width=32, dropout=0.0), quiet)
    student = load_model(EncoderSettings(model=str(tmp_path / "student"), threads=1))
    assert isinstance(student, onnx_model.OnnxModel)
    known = load(str(teacher), device="cpu")
    assert (vectors(known) * vectors(student)).sum(axis=1).min() > 0.95
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    both: tuple[Model, ...] = (known, student)
    seen = [model.finish(model.run_images([noise])) for model in both]
    assert float((seen[0] * seen[1]).sum()) > 0.99
    assert student.card.preparation == known.card.preparation


def test_a_vector_does_not_depend_on_its_companions(whole: Task) -> None:
    """A student's vector of a text is the same alone and beside longer ones, since padding does not count."""
    student = onnx_model.load(str(whole.out))
    assert student.cuts
    together = vectors(student)
    alone = np.concatenate([vectors(student, (caption,)) for caption in CAPTIONS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-6)


def test_how_weights_are_kept_changes_size_and_hardly_vectors(whole: Task, tmp_path: Path) -> None:
    """The same weights as bytes are fewer than in half precision; vectors differ little, and digests differ."""
    half = replace(whole, out=tmp_path / "half", kept="half")
    distil(half, quiet)
    assert bytes_of(whole.out) < 0.8 * bytes_of(half.out)
    assert read(whole.out).digest != read(half.out).digest
    in_bytes, in_halves = (vectors(onnx_model.load(str(one.out))) for one in (whole, half))
    assert (in_bytes * in_halves).sum(axis=1).min() > 0.995


def test_a_student_may_have_a_tokenizer_of_its_own(own_words: Task) -> None:
    """With a vocabulary, merges are learnt from the captions, and any text in any alphabet has ids."""
    student, said = onnx_model.load(str(own_words.out)), read(own_words.out)
    assert said.cut
    assert said.cut.vocabulary <= 540
    assert all(ids.max() == said.cut.vocabulary - 1 for ids in student.prepare_texts(["красный", "grass", "红苹果 🍎"]))


def test_what_was_taught_is_not_taught_again(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is ended while the teacher teaches goes on with the next part of the texts."""
    monkeypatch.setattr("training.distilling.lessons._IN_FILE", 3)
    known = load(str(teacher), device="cpu")

    def end(said: str) -> None:
        if said.startswith("taught 6"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taught(known, CAPTIONS, tmp_path, end)
    said: list[str] = []
    found = taught(known, CAPTIONS, tmp_path, said.append)
    assert said == ["taught 7 of 7 texts"]
    np.testing.assert_allclose(found, vectors(known), atol=1e-3)


def test_each_text_comes_once_an_epoch() -> None:
    """Lessons go through all texts before one comes again, and the same seed gives the same lessons."""
    ids = [np.array([1, 10 + place, 2]) for place in range(6)]
    lessons, again = (Lessons(ids, np.eye(6, dtype=np.float16), 2, seed=3) for _ in range(2))
    drawn = [lessons[step] for step in range(6)]
    for epoch in (drawn[:3], drawn[3:]):
        places = [int(row) - 10 for one in epoch for row in one.tokens[:, 1]]
        assert sorted(places) == list(range(6))
        assert [int(row) for one in epoch for row in one.taught.argmax(dim=1)] == places
    assert torch.equal(again[4].tokens, drawn[4].tokens)


def test_a_student_begins_with_the_main_directions_of_known_pieces() -> None:
    """Pieces that the teacher holds alike are alike to the student before it has learnt anything."""
    torch.manual_seed(0)
    known = torch.randn(50, 3) @ torch.randn(3, 24)
    tower = PieceTower(50, 24, width=8, hidden=8)
    tower.begin_with(known)
    begun = tower.table.weight.detach()
    wanted = torch.nn.functional.normalize(known) @ torch.nn.functional.normalize(known).T
    found = torch.nn.functional.normalize(begun) @ torch.nn.functional.normalize(begun).T
    assert torch.allclose(wanted, found, atol=1e-3)


def test_time_is_taken_in_turns() -> None:
    """Each round asks every model the same texts, none of which another round asks, and begins with another model."""
    asked: list[tuple[str, str]] = []

    class Told:
        def __init__(self, name: str) -> None:
            self._name = name

        def prepare_texts(self, texts: list[str]) -> list[str]:
            asked.extend((self._name, text) for text in texts)
            return texts

        def run_texts(self, texts: list[str]) -> list[str]:
            return texts

        def finish(self, texts: list[str]) -> list[str]:
            return texts

    models = {name: Told(name) for name in "ab"}
    spent = milliseconds(models, list("123456"), rounds=2)  # type: ignore[arg-type]
    assert [name for name, _ in asked] == list("bbaaaabbbbaa")
    assert [text for _, text in asked] == list("121234345656")
    assert {name: len(rounds) for name, rounds in spent.items()} == {"a": 2, "b": 2}


def test_an_export_alone_is_run_by_onnx(whole: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A student runs on onnxruntime even where a GPU could be used, and torch is refused by name."""
    student = str(whole.out)
    monkeypatch.setattr("services.encoder.backends._ACCELERATORS", (tmp_path,))
    assert choose("auto", student, "auto") == "onnx"
    with pytest.raises(LoadError, match="export alone"):
        choose("torch", student, "cpu")


def test_the_command_reports_what_is_kept_and_what_it_costs(
    teacher: Path, images: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command tells size, time and relevance of teacher and student, on a page and as JSON too."""
    rows = [f"{images[place % 3]},{caption}" for place, caption in enumerate(CAPTIONS)]
    (tmp_path / "captions.csv").write_text("\n".join(["uri,caption", *rows]) + "\n")
    queries = [{"id": c, "text": c, "right": ["red"], "language": "en"} for c in CAPTIONS]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, [{"cutoffs": [1]}, *queries])) + "\n")
    pool = [{"id": Path(file).stem, "uri": file} for file in images]
    (tmp_path / "images.jsonl").write_text("\n".join(map(json.dumps, pool)) + "\n")
    options = ["--queries", str(tmp_path / "queries.jsonl"), "--images", str(tmp_path / "images.jsonl")]
    options += ["--report", str(tmp_path / "page.html"), "--json", str(tmp_path / "page.json"), "--width", "8"]
    options += ["--steps", "2", "--batch", "3", "--device", "cpu", "--out", str(tmp_path / "student")]
    assert main([str(teacher), str(tmp_path / "captions.csv"), *options]) == 0
    told, page = capsys.readouterr().out, (tmp_path / "page.html").read_text()
    found = json.loads((tmp_path / "page.json").read_text())
    before, after = found["costs"]["before"], found["costs"]["after"]
    assert after["bytes"] == bytes_of(tmp_path / "student") < before["bytes"]
    assert before["bytes"] == bytes_of(tmp_path / "student.work" / "teacher")
    assert before["backend"] == after["backend"] == "onnxruntime"
    assert "CPU ms per text" in told
    assert "CPU ms per text" in page
    assert "hit@1" in told
    assert found["before"]["subject"]["model"]["digest"] != found["after"]["subject"]["model"]["digest"]


def test_a_teacher_that_cannot_be_exported_is_run_by_torch(
    whole: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its costs say so, and torch has one thread while they are measured, as many as before afterwards."""
    threads: dict[str, int] = {}

    def refuse(*_: object) -> None:
        raise ExportError("not this one")

    def told(models: dict[str, Model], *_: object) -> dict[str, list[float]]:
        threads["measured"] = torch.get_num_threads()
        assert isinstance(models["teacher"], OpenClipModel)
        return {name: [1.0] for name in models}

    monkeypatch.setattr("training.distilling.running.export", refuse)
    monkeypatch.setattr("training.distilling.running.milliseconds", told)
    before, said = torch.get_num_threads(), list[str]()
    torch.set_num_threads(2)
    try:
        done = distil(replace(whole, work=tmp_path / "work", out=tmp_path / "out"), said.append)
        threads["afterwards"] = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    assert (done.teacher.backend, done.student.backend) == ("torch", "onnxruntime")
    assert threads == {"measured": 1, "afterwards": 2}
    assert "not this one" in said[-1]


@pytest.mark.parametrize("done", ["whole", "own_words"])
def test_the_example_of_the_page_encodes_as_the_encoder_does(done: str, request: pytest.FixtureRequest) -> None:
    """With numpy and onnxruntime alone the page's example has the encoder's ids, in any alphabet, and its vector."""
    student: Path = request.getfixturevalue(done).out
    page = (ROOT / "docs" / "distillation.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example.replace("./student", str(student)), "distillation.md", "exec"), names)
    encoder = onnx_model.load(str(student))
    np.testing.assert_allclose(names["vectors"], vectors(encoder, ("a red square",)), atol=1e-6)
    texts = ["", "A Ruby's_tail!! 1234", "many words " * 99, *(text for text in SAMPLES if text not in _MENDED)]
    for text, ids in zip(texts, encoder.prepare_texts(texts), strict=True):
        assert names["ids_of"](text) == list(ids), text


_MENDED = ("fish &amp;amp; chips &lt;b&gt;", "ﬁne “quotes” – dashes… and café", *(s for s in SAMPLES if "<start" in s))
"""What the encoder does more with."""


def test_a_table_needs_captions_and_no_images(tmp_path: Path) -> None:
    """Captions are read once each, with the images that there are; a table without captions is refused."""
    file = tmp_path / "captions.csv"
    file.write_text("caption\nred\nblue\nred\n")
    assert read_captions(file) == (("red", "blue"), ())
    file.write_text("uri,caption\na.png,red\n,blue\n")
    assert read_captions(file) == (("red", "blue"), (str(tmp_path / "a.png"),))
    file.write_text("uri\na.png\n")
    with pytest.raises(BadLine, match="caption"):
        read_captions(file)


def test_the_page_is_as_good_as_its_commands() -> None:
    """Every command of docs/distillation.md is one that is understood, and every option that it names exists."""
    page = (ROOT / "docs" / "distillation.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    commands = [shlex.split(block.replace("\\\n", " ")) for block in blocks]
    for words in commands:
        if "training.distil" in words:
            parser().parse_args(words[words.index("training.distil") + 1 :])
    named = set(re.findall(r"--[a-z][a-z0-9-]+", page)) - {"--model", "--store"}
    assert named <= set(re.findall(r"--[a-z][a-z0-9-]+", parser().format_help()))
