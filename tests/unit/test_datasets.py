"""Published datasets: tiny copies of the same formats are read by their protocols."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from services.encoder.model import load
from services.indexer.sources import open_source
from tests.tiny_clip import tiny_clip
from training.datasets.cocotext import coco_text
from training.datasets.crossmodal import crossmodal3600
from training.datasets.dataset import Dataset, DatasetError, write
from training.datasets.fashioniq import fashioniq, joined
from training.datasets.karpathy import coco, flickr30k
from training.evaluate import main
from training.evaluation import evaluate, read_queries, read_report
from training.evaluation.local import LocalModel
from training.evaluation.pictures import locations, read_rows


def draw(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (40, 30), (40 * number % 256, 90, 200 - 30 * number % 200)).save(folder / name)


def save(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")


def karpathy(name: str, split: str, captions: int, **more: Any) -> dict[str, Any]:
    sentences = [{"raw": f" {name} said {n} ", "tokens": [], "sentid": n} for n in range(captions)]
    return {"filename": name, "split": split, "imgid": 0, "sentences": sentences, **more}


@pytest.fixture
def flickr(tmp_path: Path) -> Path:
    images = [karpathy("1.jpg", "test", 5), karpathy("2.jpg", "train", 5), karpathy("3.jpg", "test", 5)]
    save(tmp_path / "dataset_flickr30k.json", {"dataset": "flickr30k", "images": images})
    draw(tmp_path / "flickr30k-images", "1.jpg", "2.jpg", "3.jpg")
    return tmp_path


@pytest.fixture
def mscoco(tmp_path: Path) -> Path:
    images = [karpathy("v1.jpg", "test", 7, filepath="val2014"), karpathy("t1.jpg", "restval", 5, filepath="train2014")]
    save(tmp_path / "dataset_coco.json", {"dataset": "coco", "images": images})
    draw(tmp_path / "val2014", "v1.jpg")
    return tmp_path


@pytest.fixture
def cocotext(tmp_path: Path) -> Path:
    said = [(1, "Stop"), (2, "STOP"), (2, "7th"), (3, "stop"), (1, "go"), (1, "Café")]
    seen = {"legibility": "legible", "language": "english"}
    words = [{"image_id": image, "utf8_string": text, **seen} for image, text in said]
    words.append({"image_id": 2, "utf8_string": "blurred", **seen, "legibility": "illegible"})
    sets = {1: "val", 2: "val", 3: "train", 4: "val"}
    images = {str(n): {"id": n, "file_name": f"{n}.jpg", "set": name} for n, name in sets.items()}
    save(tmp_path / "cocotext.v2.json", {"imgs": images, "anns": {str(n): one for n, one in enumerate(words)}})
    draw(tmp_path / "train2014", "1.jpg", "2.jpg", "4.jpg")
    return tmp_path


@pytest.fixture
def crossmodal(tmp_path: Path) -> Path:
    records = [
        {
            "image/key": key,
            "image/locale": "fil",
            "en": {"caption": [f"{key} one", f"{key} two"]},
            "sw": {"caption": [f"moja {key}"]},
        }
        for key in ("a", "b")
    ]
    (tmp_path / "captions.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    draw(tmp_path / "images", "a.jpg", "b.jpg")
    return tmp_path


@pytest.fixture
def fashion(tmp_path: Path) -> Path:
    pairs = [{"candidate": "B1", "target": "B3", "captions": ["is shorter. ", "has no sleeves"]}]
    save(tmp_path / "captions" / "cap.dress.val.json", pairs)
    save(tmp_path / "image_splits" / "split.dress.val.json", ["B1", "B2", "B3"])
    draw(tmp_path / "images", "B1.png", "B2.jpg", "B3.png")
    return tmp_path


def test_flickr30k_ranks_its_test_split(flickr: Path) -> None:
    """The test pool is the split's 1,000 images; each of five captions is right on its own image alone."""
    read = flickr30k(flickr)
    assert [picture.id for picture in read.pictures] == ["1.jpg", "3.jpg"]
    assert len(read.asked.queries) == 10
    assert read.asked.queries[0].text == "1.jpg said 0"
    assert read.asked.queries[0].right == {"1.jpg": 1}
    assert read.asked.pool == 1_000


def test_the_full_pool_of_flickr30k_asks_the_same(flickr: Path) -> None:
    """The full pool ranks all images for the captions of the test split."""
    read = flickr30k(flickr, "full")
    assert len(read.pictures) == 3
    assert read.asked.queries == flickr30k(flickr).asked.queries
    assert read.asked.pool == 31_014


def test_coco_asks_five_captions_of_each_image(mscoco: Path) -> None:
    """The 5,000 images of the test split lie in val2014, and of each the first five captions are asked."""
    read = coco(mscoco)
    assert [picture.id for picture in read.pictures] == ["v1.jpg"]
    assert len(read.asked.queries) == 5
    assert read.asked.pool == 5_000


def test_coco_text_asks_for_words_that_can_be_read(cocotext: Path) -> None:
    """Right for a word, whatever its case, are all pictures of the split in which it can be read; all are ranked."""
    read = coco_text(cocotext)
    assert [picture.id for picture in read.pictures] == ["1.jpg", "2.jpg", "4.jpg"]
    assert {query.text: set(query.right) for query in read.asked.queries} == {
        "café": {"1.jpg"},
        "stop": {"1.jpg", "2.jpg"},
    }
    assert read.asked.pool == 10_000
    assert "no published figure is comparable" in read.asked.about


def test_coco_text_of_another_format_is_refused(cocotext: Path) -> None:
    """Where a picture or a word lacks something, the error says which, and what is wanted."""
    save(cocotext / "cocotext.v2.json", {"imgs": {"1": {"id": 1, "set": "val"}}, "anns": {"1": {}}})
    with pytest.raises(DatasetError, match=r"imgs 1: lacks file_name: wanted are cocotext\.v2\.json"):
        coco_text(cocotext)


def test_crossmodal_asks_in_every_language(crossmodal: Path) -> None:
    """The first caption of each picture is asked in each language, or all of them, or some languages."""
    first = crossmodal3600(crossmodal)
    assert [(query.language, query.text) for query in first.asked.queries] == [
        ("en", "a one"), ("en", "b one"), ("sw", "moja a"), ("sw", "moja b"),
    ]  # fmt: skip
    assert len(crossmodal3600(crossmodal, "all").asked.queries) == 6
    assert {q.language for q in crossmodal3600(crossmodal, languages=["sw"]).asked.queries} == {"sw"}
    assert first.pictures[0].attributes == {"locale": "fil"}


def test_fashioniq_composes_picture_and_words(fashion: Path) -> None:
    """The reference picture and both captions in one text, over the pool of the category, at 10 and 50."""
    read = fashioniq(fashion, "dress")
    [query] = read.asked.queries
    assert query.text == joined(["is shorter. ", "has no sleeves"]) == "Is shorter and has no sleeves"
    assert query.right == {"B3": 1}
    assert [picture.file.name for picture in read.pictures] == ["B1.png", "B2.jpg", "B3.png"]
    assert (read.asked.pool, read.asked.cutoffs) == (3_817, (10, 50))


@pytest.mark.parametrize(
    ("read", "wanted"),
    [
        (flickr30k, "dataset_flickr30k.json.*flickr30k-images"),
        (coco, "dataset_coco.json.*val2014"),
        (coco_text, "cocotext.v2.json.*train2014"),
        (crossmodal3600, "captions.jsonl.*images.tgz"),
        (lambda root: fashioniq(root, "dress"), "split.CATEGORY.val.json.*images"),
    ],
)
def test_missing_files_are_named_with_their_origin(
    tmp_path: Path, read: Callable[[Path], Dataset], wanted: str
) -> None:
    """Where nothing lies, the error says which files are wanted and where they come from."""
    with pytest.raises(DatasetError, match=wanted):
        read(tmp_path)


def test_a_pool_with_a_picture_missing_is_refused(flickr: Path) -> None:
    """One missing picture of the pool is named: fewer pictures would flatter every figure."""
    (flickr / "flickr30k-images" / "3.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of 2 pictures are missing \(.*3.jpg\)"):
        flickr30k(flickr)


@pytest.mark.parametrize("content", ["{}", '{"images": [7]}', '{"images": [{"filename": "a"}]}', "not json"])
def test_another_format_is_refused(flickr: Path, content: str) -> None:
    """A file that is not what it should be is named, with what is wanted."""
    (flickr / "dataset_flickr30k.json").write_text(content)
    with pytest.raises(DatasetError, match=r"dataset_flickr30k\.json"):
        flickr30k(flickr)


def test_a_dataset_is_written_for_indexer_and_evaluation(fashion: Path, tmp_path: Path) -> None:
    """The list of pictures is what the indexer reads, and the query set is read again as it was."""
    dataset = fashioniq(fashion, "dress")
    write(dataset, tmp_path / "out")
    rows = list(open_source(str(tmp_path / "out" / "images.jsonl")).items)
    assert [getattr(row, "id", row) for row in rows] == ["B1", "B2", "B3"]
    assert read_queries(tmp_path / "out" / "queries.jsonl") == dataset.asked


def test_a_model_is_evaluated_over_files(flickr: Path, tmp_path: Path) -> None:
    """From a local copy to a report: a model in this process ranks the files, and the report warns of a tiny pool."""
    model, out, report = tiny_clip(tmp_path / "tiny"), tmp_path / "out", tmp_path / "r.json"
    assert main(["dataset", "flickr30k", str(flickr), "--out", str(out)]) == 0
    told = ["--model", str(model), "--images", str(out / "images.jsonl"), "--json", str(report)]
    assert main([str(out / "queries.jsonl"), *told]) == 0
    found = read_report(report)
    assert found.overall.measures["hit@5"].mean == 1
    assert found.pool == {"images": 2, "protocol": 1_000}
    assert "ranks 1,000 images, here 2" in found.warnings[0]
    assert found.latency_ms["p50"] > 0


def test_the_one_command_of_the_page_runs(flickr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command of docs/evaluation.md goes from a local copy to a report, here with a tiny copy and a tiny model."""
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    [command] = [body for body in re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S) if "flickr" in body]
    command = command.replace("--pretrained laion2b_s34b_b79k", "").replace("\\\n", "")
    instead = {"~/flickr30k": str(flickr), "ViT-B-32": str(tiny_clip(tmp_path / "tiny"))}
    words = [instead.get(word, word) for word in shlex.split(command)]
    monkeypatch.chdir(tmp_path)
    assert words[:3] == [".venv/bin/python", "-m", "training.evaluate"]
    assert main(words[3:]) == 0
    assert "1.jpg" in Path("flickr30k.html").read_text()


def test_composed_queries_start_from_the_reference(fashion: Path, tmp_path: Path) -> None:
    """With words that weigh next to nothing, the reference picture itself comes first; a model can show its pool."""
    dataset = fashioniq(fashion, "dress", weight=1e-6)
    write(dataset, tmp_path / "out")
    subject = LocalModel(
        load(str(tiny_clip(tmp_path / "tiny"))), locations(read_rows(tmp_path / "out" / "images.jsonl"))
    )
    report = evaluate(
        dataset.asked,
        subject,
    )
    assert report.queries[0].found[0] == "B1"
    assert list(subject.pictures(["B1", "nobody"])) == ["B1"]
