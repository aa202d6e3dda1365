"""Fine-tuning, with a tiny model: what learns, what it is fed with, and that a run goes on where it was ended."""

from __future__ import annotations

import json
import math
import random
import re
import shlex
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from services.encoder.model import create, load
from services.encoder.sources import source
from services.gateway.vocabulary import Vocabulary
from tests.tiny_clip import tiny_clip
from training.evaluation.lines import BadLine
from training.evaluation.queries import Query, QuerySet
from training.finetune import main, parser
from training.finetuning import running
from training.finetuning.batches import Batches
from training.finetuning.loop import Plan, Precision, Progress, Trainer
from training.finetuning.processes import Processes
from training.finetuning.running import Judged, Task, between, finetune
from training.finetuning.table import Table, read_table
from training.finetuning.towers import Side, Towers
from training.finetuning.varying import Views, Words

ROOT = Path(__file__).parents[2]
SAID = {"red": ["a ruby square", "crimson"], "green": ["an emerald", "grass"], "blue": ["sapphire", "a clear sky"]}
WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three pictures, a table of six captions, and the same as queries and images."""
    folder = tmp_path_factory.mktemp("shop")
    for colour in SAID:
        Image.new("RGB", (40, 40), colour).save(folder / f"{colour}.png")
    rows = [f"{colour}.png,{caption}" for colour, captions in SAID.items() for caption in captions]
    (folder / "shop.csv").write_text("\n".join(["uri,caption", *rows]) + "\n")
    queries = [
        {"id": caption, "text": caption, "right": [colour], "language": "en"}
        for colour, captions in SAID.items()
        for caption in captions
    ]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, [{"cutoffs": [1]}, *queries])) + "\n")
    images = [{"id": colour, "uri": f"{colour}.png"} for colour in SAID]
    (folder / "images.jsonl").write_text("\n".join(map(json.dumps, images)) + "\n")
    return folder


@pytest.fixture(scope="module")
def finished(model: Path, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Task:
    """A run that is done."""
    plan = Plan(steps=1, rate=1e-3)
    run = task(model, shop, tmp_path_factory.mktemp("finished"), plan=plan, judged=judged(shop))
    finetune(run, log=lambda _: None)
    return run


def task(model: Path, shop: Path, folder: Path, side: Side = "text", **changes: object) -> Task:
    plan = Plan(steps=8, rate=1e-3, evaluate_every=4, save_seconds=0)
    table = read_table(shop / "shop.csv")
    whole = Task(str(model), table, folder / "work", folder / "out", side=side, batch=6, dropout=0.1, plan=plan)
    return replace(whole, **changes)  # type: ignore[arg-type]


def judged(shop: Path) -> Judged:
    queries = tuple(Query(c, c, {colour: 1}) for colour, captions in SAID.items() for c in captions)
    files = {colour: str(shop / f"{colour}.png") for colour in SAID}
    return Judged(QuerySet("", queries, cutoffs=(1,)), files, "ap")


def farthest(one: Path, other: Path) -> float:
    return max(float(change.abs().max()) for change in _changes(one, other))


def distance(one: Path, other: Path) -> float:
    return math.sqrt(sum(float(change.square().sum()) for change in _changes(one, other)))


def _changes(one: Path, other: Path) -> list[Tensor]:
    first, second = (_told_apart(load_file(folder / WEIGHTS)) for folder in (one, other))
    assert set(first) == set(second)
    return [first[name].double() - second[name].double() for name in first]


def _told_apart(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the keys' bias: it adds the same to all that a softmax weighs, so that its gradient is rounding alone."""
    biases = {name: bias.chunk(3) for name, bias in weights.items() if name.endswith("in_proj_bias")}
    return weights | {name: torch.cat([queries, values]) for name, (queries, _, values) in biases.items()}


@pytest.mark.parametrize("how", [("text", 0, "fp32"), ("both", 2, "bf16"), ("image", 0, "fp32")])
def test_a_run_goes_on_where_it_was_ended(
    model: Path, shop: Path, tmp_path: Path, how: tuple[Side, int, Precision]
) -> None:
    """A run that is ended between two states, after an evaluation, and started again ends as one that was not."""
    side, rank, precision = how
    plan = Plan(steps=8, rate=1e-3, evaluate_every=4, save_seconds=0, precision=precision)
    whole, ended = (
        task(model, shop, tmp_path / name, side, rank=rank, plan=plan, judged=judged(shop)) for name in ("one", "two")
    )
    done = finetune(whole, log=lambda _: None)
    said, again = end_and_resume(ended, "step 6 of")

    assert said[0] == "going on from step 5"
    assert (again.step, again.best, again.history) == (done.progress.step, done.progress.best, done.progress.history)
    assert [step for step, _ in again.history] == [0, 4, 8]
    assert farthest(whole.out, ended.out) <= 1e-5
    # What is best need not be what was learnt last.
    learnt, learnt_again = (torch.load(run.work / "state.pt", weights_only=True)["towers"] for run in (whole, ended))
    torch.testing.assert_close(_told_apart(learnt_again), _told_apart(learnt), rtol=0, atol=1e-5)


def test_a_run_that_was_ended_knows_what_was_best(model: Path, shop: Path, tmp_path: Path) -> None:
    """A run that was ended after evaluations that gained nothing stops when it would have, with the best weights."""
    wild = Plan(steps=400, rate=0.5, evaluate_every=2, patience=2, warmup=0.0, save_seconds=0)
    run = task(model, shop, tmp_path, table=wrong_table(shop), plan=wild, judged=judged(shop), batch=2)
    said, progress = end_and_resume(run, "step 3 of")
    assert said[0] == "going on from step 2"
    assert (progress.best, progress.step) == (0, 4)
    assert farthest(run.out, model) == 0


def test_what_is_best_is_kept_by_the_state_that_says_so(model: Path, shop: Path, tmp_path: Path) -> None:
    """A run that is ended after the state and before its best weights are written has these all the same."""
    wild = Plan(steps=400, rate=0.5, evaluate_every=2, patience=1, warmup=0.0)
    run = task(model, shop, tmp_path, table=wrong_table(shop), plan=wild, judged=judged(shop), batch=2)
    best = run.work / "best.pt"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Trainer, "_keep_best", interrupted)
        with pytest.raises(KeyboardInterrupt):
            finetune(run, log=lambda _: None)
    assert not best.exists()
    assert finetune(run, log=lambda _: None).progress.best == 0
    assert farthest(run.out, model) == 0


def end_and_resume(run: Task, at: str) -> tuple[list[str], Progress]:
    """Ends a run where it says so, before it writes the state; what it says from there on, and how far it comes."""
    with pytest.raises(KeyboardInterrupt):
        finetune(run, log=lambda said: interrupted() if said.startswith(at) else None)
    said: list[str] = []
    return said, finetune(run, log=said.append).progress


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def wrong_table(shop: Path) -> Table:
    """What does harm: each of two captions with the other's picture."""
    return Table((str(shop / "red.png"), str(shop / "green.png")), ("grass", "ruby"), ((0,), (1,)))


@pytest.mark.parametrize(("side", "kept"), [("text", "visual."), ("image", "transformer.")])
def test_a_locked_tower_stays_as_it_is(model: Path, shop: Path, tmp_path: Path, side: Side, kept: str) -> None:
    """Of the tower that is locked no weight changes, so that an index of pictures keeps its vectors."""
    finetune(task(model, shop, tmp_path, side), log=lambda _: None)
    before, after = load_file(model / WEIGHTS), load_file(tmp_path / "out" / WEIGHTS)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not [name for name in changed if name.startswith(kept)]


def test_low_rank_changes_have_low_rank(model: Path, shop: Path, tmp_path: Path) -> None:
    """With a rank, weights change by matrices of that rank and are plain weights again in the folder."""
    finetune(task(model, shop, tmp_path, rank=2), log=lambda _: None)
    before, after = load_file(model / WEIGHTS), load_file(tmp_path / "out" / WEIGHTS)
    name = "transformer.resblocks.0.attn.in_proj_weight"
    assert set(before) == set(after)
    assert torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3) == 2
    assert torch.equal(before["token_embedding.weight"], after["token_embedding.weight"])


def test_several_processes_learn_what_one_does(model: Path, tmp_path: Path) -> None:
    """Two processes of torchrun, each with half of every batch, learn what one process learns."""
    # Pictures of one colour give attention no gradient but noise, of which Adam makes steps of full size.
    noise = np.random.default_rng(0).integers(0, 255, (len(SAID), 40, 40, 3), dtype=np.uint8)
    for name, pixels in zip(SAID, noise, strict=True):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    rows = [f"{name}.png,{caption}" for name, captions in SAID.items() for caption in captions]
    (tmp_path / "shop.csv").write_text("\n".join(["uri,caption", *rows]) + "\n")
    command = [str(model), str(tmp_path / "shop.csv"), "--train", "both", "--steps", "2", "--batch", "6"]
    command += ["--hard-negatives", "1", "--rate", "1e-3", "--threads", "1", "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "one")]) == 0
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run += ["-m", "training.finetune", *command, "--out", str(tmp_path / "two")]
    subprocess.run(run, cwd=ROOT, check=True, capture_output=True)
    # Sums in another order turn gradients that are next to nothing, and Adam's first steps are as long for these.
    learnt, apart = (distance(tmp_path / "one", other) for other in (model, tmp_path / "two"))
    assert apart < 0.05 * learnt


def test_the_command_reports_before_and_after(
    model: Path, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command learns the captions, writes a page and a folder that the encoder loads, and never ends worse."""
    options = ["--steps", "40", "--batch", "6", "--rate", "3e-3", "--evaluate-every", "20", "--measure", "hit@1"]
    options += ["--queries", str(shop / "queries.jsonl"), "--images", str(shop / "images.jsonl"), "--threads", "1"]
    options += ["--report", str(tmp_path / "page.html"), "--json", str(tmp_path / "diff.json"), "--device", "cpu"]
    assert main([str(model), str(shop / "shop.csv"), "--out", str(tmp_path / "out"), *options]) == 0

    said = json.loads((tmp_path / "diff.json").read_text())["differences"]["hit@1"]
    assert said["before"] < said["after"] == 1.0
    page = (tmp_path / "page.html").read_text()
    assert any(text in page for texts in SAID.values() for text in texts)  # what gained
    assert f"{said['before']:.3f} → 1.000" in capsys.readouterr().out
    served = load(str(tmp_path / "out"), device="cpu")
    assert served.card.digest != load(str(model), device="cpu").card.digest
    vectors = served.finish(served.run_texts(served.prepare_texts(["crimson", "grass"])))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_training_that_does_harm_is_given_up(model: Path, shop: Path, tmp_path: Path) -> None:
    """Where no evaluation beats the model as it came, the run stops early and ends with those weights."""
    wild = Plan(steps=400, rate=0.5, evaluate_every=2, patience=2, warmup=0.0)
    run = task(model, shop, tmp_path, table=wrong_table(shop), plan=wild, judged=judged(shop), batch=2)
    done = finetune(run, log=lambda _: None)
    assert done.progress.step < 400
    assert done.comparison
    assert done.comparison.differences["ap"].after >= done.comparison.differences["ap"].before


def test_part_of_what_was_learnt_is_kept_where_that_is_better(
    model: Path, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that interpolates ends between the weights before and those learnt, and answers no worse."""
    monkeypatch.setattr(running, "SHARES", (1.0, 0.5))
    plain = task(model, shop, tmp_path / "plain", judged=judged(shop))
    mixed = task(model, shop, tmp_path / "mixed", judged=judged(shop), interpolate=True)
    one, other = (finetune(run, log=lambda _: None).comparison for run in (plain, mixed))
    assert one
    assert other
    assert other.differences["ap"].after >= one.differences["ap"].after
    share = json.loads((mixed.out / "sightline.json").read_text())["finetuned"]["share"]
    before, learnt, kept = (load_file(folder / WEIGHTS) for folder in (model, plain.out, mixed.out))
    for name, wanted in between(before, learnt, share).items():
        torch.testing.assert_close(kept[name], wanted, rtol=0, atol=1e-6)


def test_another_run_keeps_its_work(model: Path, shop: Path, tmp_path: Path) -> None:
    """A work folder is gone on with by the run that began it and by no other."""
    first = task(model, shop, tmp_path)
    finetune(first, log=lambda _: None)
    with pytest.raises(ValueError, match=r"another run: batch was 6, is 4$"):
        finetune(replace(first, batch=4), log=lambda _: None)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"views": Views(crop=0.9)}, "crop was 0.6, is 0.9$"),
        ({"views": Views(rotation=5, colour=0)}, "rotation was 10.0, is 5; colour was 0.2, is 0$"),
        ({"words": Words(told=0.4, shuffled=0.1)}, "told was 0.5, is 0.4; shuffled was 0.0, is 0.1$"),
        ({"words": Words(Vocabulary([("a", "b", 1.0)], 0.5))}, "synonyms was None, is [0-9a-f]{16}$"),
        ({"words": Words(templates=("a photo of {}",))}, "templates was None, is [0-9a-f]{16}$"),
        ({"judged": None}, "measure was ap, is None; queries was [0-9a-f]{16}, is None; images was .*, is None$"),
        ({"interpolate": True}, "interpolate was False, is True$"),
        ({"plan": Plan(steps=1, rate=2e-3)}, "rate was 0.001, is 0.002$"),
    ],
)
def test_a_run_that_is_done_is_not_taken_for_another(finished: Task, changes: dict[str, object], says: str) -> None:
    """Whatever decides what comes of a run tells it from others, and what differs is named with both values."""
    with pytest.raises(ValueError, match=f"another run: {says}"):
        finetune(replace(finished, **changes), log=lambda _: None)  # type: ignore[arg-type]


def test_what_decides_nothing_may_change(finished: Task, tmp_path: Path) -> None:
    """A run is the same with other workers, states written more often, another folder and half precision."""
    plan = replace(finished.plan, workers=1, save_seconds=1.0)
    said: list[str] = []
    finetune(replace(finished, plan=plan, out=tmp_path / "out", half=True), log=said.append)
    assert said == ["going on from step 1"]


def test_a_batch_that_processes_cannot_share_is_refused(
    model: Path, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that is no multiple of the number of processes is refused before anything is begun."""
    pair = Processes(rank=0, world=2)
    monkeypatch.setattr(running, "together", lambda device: nullcontext((pair, torch.device(device))))
    with pytest.raises(ValueError, match="--batch must be a multiple of 2, the processes; is 5"):
        finetune(task(model, shop, tmp_path, batch=5), log=lambda _: None)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(("size", "share"), [(5, 0.5), (7, 0.5), (9, 0.3)])
def test_a_batch_of_two_parts_is_as_large_as_was_asked(size: int, share: float) -> None:
    """What is new and what was known make a batch together, however it is divided."""
    table = Table(tuple("ab"), tuple("AB"), ((0,), (1,)))
    parts = [([0], 1 - share), ([1], share)]
    batches = Batches(table, parts, size, lambda texts: torch.zeros(len(texts), 1), words=Words())
    assert len(batches[0].tokens) == size


def test_the_scale_reaches_what_it_may(model: Path) -> None:
    """The scale of cosines is bounded by the plan alone."""
    with source(str(model)) as where:
        module, tokenizer = create(where)
    module.logit_scale.data.fill_(math.log(150))
    *_, scale = Towers(module, "text")(tokenizer(["red"]), None)
    assert scale.item() == pytest.approx(150)


def test_captions_are_varied_by_chance_that_can_be_repeated() -> None:
    """Synonyms, order of words and sentences vary a caption, and the same seed gives the same variation."""
    words = Words(Vocabulary([("sneaker", "trainer", 1.0)], 0.5), 0.5, ("a photo of {}",), 0.5, 0.5)
    drawn = [words("red sneaker", random.Random(seed)) for seed in range(600)]
    assert drawn == [words("red sneaker", random.Random(seed)) for seed in range(600)]
    expected = {"red sneaker", "sneaker red", "red trainer", "trainer red"}
    assert set(drawn) == expected | {f"a photo of {one}" for one in expected}


def test_pictures_are_varied_by_chance_that_can_be_repeated(model: Path) -> None:
    """Views of one picture differ by seed, are the same for the same seed, and leave other chances alone."""
    served = load(str(model), device="cpu")
    view = Views().of(served.card, served.preprocess)
    noise = np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    torch.manual_seed(1)
    wanted = torch.rand(1)
    torch.manual_seed(1)
    one, other, again = (view(Image.fromarray(noise), seed) for seed in (1, 2, 1))
    assert torch.equal(torch.rand(1), wanted)
    assert one.shape == (3, 32, 32)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_images_that_look_alike_come_together() -> None:
    """With hard negatives, each drawn image brings some of those that look most like it."""
    table = Table(tuple("abcdef"), tuple("ABCDEF"), tuple((place,) for place in range(6)))

    def tokens(texts: list[str]) -> Tensor:
        return torch.tensor([[ord(text)] for text in texts])

    batches = Batches(table, [(range(6), 1.0)], 4, tokens, words=Words(), view=lambda *_: torch.zeros(3, 2, 2), hard=1)
    batches.neighbours = torch.tensor([[1], [0], [3], [2], [5], [4]])
    batches._pixels = lambda image, seed: torch.zeros(3, 2, 2)  # type: ignore[method-assign]
    for step in range(6):
        drawn = [chr(one) for one in batches[step].tokens[:, 0].tolist()]
        assert {drawn[0], drawn[1]} in ({"A", "B"}, {"C", "D"}, {"E", "F"})
        assert {drawn[2], drawn[3]} in ({"A", "B"}, {"C", "D"}, {"E", "F"})


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", "uri,text\n", "caption"),
        ("t.csv", "uri,caption\n,x\n", "line 2: uri"),
        ("t.csv", "uri,caption\na.png,\n", "no row"),
        ("T.TSV", "uri\tcaption\n\tx\n", "line 2: uri"),
        ("t.csv", b"uri,caption\na.png,\xff\n", "t.csv, line"),
        ("t.jsonl", "[1]\n", "line 1: must be a JSON object"),
        ("t.jsonl", '\n{"uri": "a.png", "caption": ["a", "b"]}\n', "line 2: caption: must be a text"),
        ("t.jsonl", '{"uri": 1, "caption": "a"}\n', "line 1: uri: must be a text"),
        ("t.jsonl", b'{"uri": "a.png", "caption": "a"}\n{"uri": "\xff"}\n', "t.jsonl, line 2: not UTF-8"),
        ("t.jsonl", '{"uri": "a.png", "caption": "%s"}\n' % ("a" * 16_385), "caption: may have at most 16,384 bytes"),
    ],
)
def test_a_bad_table_names_the_line(tmp_path: Path, name: str, content: str | bytes, says: str) -> None:
    """A table that is wrong is refused with the file, the line and the column."""
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadLine, match=says):
        read_table(file)


@pytest.mark.parametrize("name", ["t.csv", "T.CSV", "t.tsv", "t.Tsv", "t.jsonl", "t.json"])
def test_tables_say_the_same_however_they_are_written(tmp_path: Path, name: str) -> None:
    """A table is read by its suffix, in capitals too; a text of JSON is the same text."""
    rows = [("uri", "caption"), ("a.png", "red"), ("a.png", " crimson "), ("s3://b/c.png", "red")]
    delimiter = {".csv": ",", ".tsv": "\t"}.get(Path(name).suffix.lower())
    plain = [delimiter.join(row) for row in rows] if delimiter else []
    lines = plain or [json.dumps(dict(zip(rows[0], row, strict=True))) for row in rows[1:]]
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    table = read_table(tmp_path / name)
    assert table == Table((str(tmp_path / "a.png"), "s3://b/c.png"), ("red", "crimson"), ((0, 1), (0,)))


def test_the_page_is_as_good_as_its_commands(tmp_path: Path) -> None:
    """Every command of docs/finetuning.md is one that is understood, every option exists, and its table can be read."""
    page = (ROOT / "docs" / "finetuning.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    commands = [shlex.split(block.replace("\\\n", " ")) for block in blocks]
    given = [parser().parse_args(words[words.index("training.finetune") + 1 :]) for words in commands]
    assert [one.train for one in given] == ["text", "both", "text", "both", "text"]
    named = set(re.findall(r"--[a-z][a-z-]+", page)) - {"--nproc-per-node", "--model"}
    assert named <= set(re.findall(r"--[a-z][a-z-]+", parser().format_help()))
    told = {name: said.strip() for name, said in re.findall(r"^\| `(--[a-z-]+)` \|(.*?)\|", page, re.MULTILINE)}
    defaults = {action.option_strings[-1]: action.default for action in parser()._actions if action.option_strings}
    assert told == {name: _shown(defaults[name]) for name in told}
    [rows] = re.findall(r"^```csv\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "shop.csv").write_text(rows)
    table = read_table(tmp_path / "shop.csv")
    assert (len(table.images), len(table.captions)) == (2, 3)


def _shown(default: object) -> str:
    """A default as the page shows it."""
    if isinstance(default, str):
        return f"`{default}`"
    return "" if default is None else "off" if default is False else str(default)
