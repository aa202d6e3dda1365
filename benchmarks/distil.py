"""A student of the bundled model: half its size and half its time for a text, and nearly all of what it finds.

It is taught the training texts of Unicode CLDR, alone and joined in twos as far as nothing held out comes about by
that, by the command that anyone uses. Teacher and student are then run as the encoder runs them, by onnxruntime.
"""

from __future__ import annotations

import csv
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.emoji import CHECKOUT, MODEL, draw, read
from benchmarks.proof import Proof
from services.encoder import onnx_model
from services.encoder.ports import Model
from training.distilling.costs import bytes_of, medians, milliseconds
from training.emoji import key_of, picture_id
from training.evaluation.local import LocalModel
from training.judge import Score, TextSearch, Verdict, evaluate, heldout_names, own_names
from training.texts import Corpus, Withheld, corpus, normalise

SIZE, SECONDS, AIM = 0.5, 0.5, 1 / 3
"""Of the teacher's, at the most."""

OWN, HELD_OUT = 0.95, 0.9
"""Of the teacher's R@1 on names that it has read, and R@10 on names that it has not, at the least."""

ORDER = (
    "--steps",
    "2000",
    "--batch",
    "1024",
    "--rate",
    "4e-3",
    "--dropout",
    "0.1",
    "--threads",
    "1",
    "--device",
    "cpu",
)
JOINED = 40_000
TIMED, ROUNDS = 1_600, 9
_BATCH = 64


def bar() -> dict[str, object]:
    """Distils, then measures both."""
    source, proof = draw(), Proof()
    files = {picture.id: str(picture.file) for picture in read(source)}
    with TemporaryDirectory() as folder:
        rows = list(taught(list(files)))
        check_read(proof, [caption for _, caption in rows], known(list(files)))
        student = distilled(rows, files, Path(folder), ORDER)
        models = {"teacher": MODEL, "student": student}
        judge_costs(proof, {name: bytes_of(model) for name, model in models.items()}, times(models, timed()))
        judge_answers(proof, *(found(load(model), files) for model in models.values()))
    told = proof.figures
    return proof.outcome(
        f"{told['megabytes of student']} MB of {told['megabytes of teacher']}; CPU time per text "
        f"{told['CPU ms per text of student']} ms of {told['CPU ms per text of teacher']} "
        f"({told['share of the time']:.2f}, aim {AIM:.2f}: {'reached' if told['aim'] else 'missed'}); keeps "
        f"{told['keeps of own names R@1']:.3f} of own names R@1 and {told['keeps of held-out names R@10']:.3f} of "
        f"held-out names R@10"
    )


def known(ids: Sequence[str]) -> Corpus:
    """The texts of pictures, by their ids: which are read and which are asked."""
    return corpus(map(key_of, ids))


def taught(ids: Sequence[str], joined: int = JOINED) -> Iterator[tuple[str, str]]:
    """Pairs of a picture's id and a text that may be read; joined ones have no picture."""
    texts = known(ids)
    yield from ((picture_id(phrase.picture), phrase.text) for phrase in texts.training)
    yield from (("", text) for text in joined_texts(texts, joined))


def joined_texts(texts: Corpus, count: int) -> Iterator[str]:
    """Pairs of what one language says of one picture, as far as they may be read; so many are tried."""
    said, bearers = defaultdict[tuple[str, str], list[str]](list), defaultdict[str, set[str]](set)
    for phrase in texts.training:
        said[phrase.picture, phrase.language].append(phrase.text)
        bearers[phrase.text].add(phrase.picture)
    several = [of for _, of in sorted(said.items()) if len(of) > 1]
    withheld, chance = Withheld(texts), random.Random(1)
    for _ in range(count):
        first, second = chance.sample(chance.choice(several), 2)
        if withheld.allows(text := f"{first} {second}", bearers[first] & bearers[second]):
            yield text


def check_read(proof: Proof, captions: Iterable[str], texts: Corpus) -> None:
    """No query of those held out is among the captions."""
    read_texts = set(captions)
    proof.figures["texts"] = len(read_texts)
    asked = {query.text for query in (*texts.heldout_names, *texts.heldout_keywords)}
    proof.expect("held-out texts that are taught", sorted(asked & read_texts), [])


def distilled(rows: Iterable[tuple[str, str]], files: Mapping[str, str], folder: Path, options: Sequence[str]) -> Path:
    """Writes the table and runs the command; returns the student's folder."""
    table, student = folder / "captions.csv", folder / "student"
    with table.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["uri", "caption"])
        writer.writerows([files.get(picture, ""), caption] for picture, caption in rows)
    command = [sys.executable, "-m", "training.distil", str(MODEL), str(table), "--out", str(student), *options]
    subprocess.run(command, cwd=CHECKOUT, check=True)
    return student


def load(folder: Path) -> Model:
    """A model as the encoder runs it, on one thread; it remembers no text, so that each is tokenised."""
    return onnx_model.load(str(folder), threads=1, remembered_texts=1)


def timed() -> list[str]:
    """Names in all languages, read and unread, in an order by chance."""
    texts = [query.text for query in (*own_names(), *heldout_names())]
    return random.Random(9).sample(texts, TIMED)


def times(models: Mapping[str, Path], texts: Sequence[str]) -> dict[str, list[float]]:
    """CPU milliseconds of a text, by model and round."""
    return milliseconds({name: load(folder) for name, folder in models.items()}, texts, ROUNDS)


def found(model: Model, files: Mapping[str, str]) -> Verdict:
    """What a model finds of all names and keywords."""
    return evaluate(searching(model, files))


def searching(model: Model, files: Mapping[str, str]) -> TextSearch:
    """Ranks the pictures exactly, by their ids."""
    pool = LocalModel(model, files).pool

    def search(texts: Sequence[str]) -> list[tuple[str, ...]]:
        asked, ranked = [normalise(text) for text in texts], list[tuple[str, ...]]()
        for start in range(0, len(asked), _BATCH):
            ids = model.prepare_texts(asked[start : start + _BATCH])
            ranked += [best for best, _ in pool.search(model.finish(model.run_texts(ids)), 10)]
        return ranked

    return search


def judge_costs(proof: Proof, sizes: Mapping[str, int], spent: Mapping[str, Sequence[float]]) -> None:
    """Half the bytes, half the time; whether the aim is reached is told."""
    took = medians(spent)
    for name in ("teacher", "student"):
        proof.figures[f"megabytes of {name}"] = round(sizes[name] / 1e6, 2)
        proof.figures[f"CPU ms per text of {name}"] = took[name]
    share = took["student"] / took["teacher"]
    proof.figures |= {"rounds": dict(spent), "share of the time": share, "aim": share <= AIM}
    proof.holds(f"at most {SIZE} of the size", sizes["student"] <= SIZE * sizes["teacher"])
    proof.holds(f"at most {SECONDS} of the time", share <= SECONDS)


def judge_answers(proof: Proof, teacher: Verdict, student: Verdict) -> None:
    """What the student keeps of each measure, as means over languages."""
    before, after = ({name: of["mean"] for name, of in verdict.texts.items()} for verdict in (teacher, student))
    for name in before:
        proof.figures[f"{name} of the teacher"] = _told(before[name])
        proof.figures[f"{name} of the student"] = _told(after[name])
    own = after["own names"].at_1 / before["own names"].at_1
    held_out = after["held-out names"].at_10 / before["held-out names"].at_10
    proof.figures |= {"keeps of own names R@1": own, "keeps of held-out names R@10": held_out}
    proof.figures["R@10 of held-out names by language"] = {
        language: [teacher.texts["held-out names"][language].at_10, one.at_10]
        for language, one in student.texts["held-out names"].items()
    }
    proof.holds(f"keeps {OWN} of own names R@1", own >= OWN)
    proof.holds(f"keeps {HELD_OUT} of held-out names R@10", held_out >= HELD_OUT)


def _told(score: Score) -> str:
    return f"R@1 {score.at_1:.4f}, R@10 {score.at_10:.4f}"
