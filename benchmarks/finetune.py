"""Fine-tuning pays: Swahili for a model that has never read any, and no other language forgotten.

What Unicode CLDR calls the emoji in Swahili is split as the other languages are: a tenth of the names and a fifth of
the keywords are held out. When to stop is told by other texts than those that the gate asks: by Swahili names that are
left out of training besides, and by held-out keywords of the other languages, both of the same weight. The same texts
tell how much of what was learnt is kept.
"""

from __future__ import annotations

import csv
import hashlib
import json
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.torch import load_file
from torch import load as load_state

from benchmarks.emoji import CHECKOUT, MODEL, draw, read
from benchmarks.proof import Proof
from services.encoder.model import load
from training.emoji import key_of, picture_id
from training.evaluation.evaluating import Plan, evaluate
from training.evaluation.local import LocalModel
from training.evaluation.queries import Query, QuerySet
from training.evaluation.report import Slice
from training.evaluation.resampling import Estimate
from training.finetuning.folder import WEIGHTS_FILE
from training.texts import LANGUAGES, Corpus, Phrase, corpus, further, is_held_out, phrases

LANGUAGE = "sw"
CLOSED, LOST, SAME = 0.5, 0.02, 1e-5
ORDER = ("--steps", "800", "--batch", "320", "--replay-share", "0.5", "--rate", "1e-3", "--dropout", "0.1")
EVALUATED = ("--max-scale", "40", "--evaluate-every", "200", "--patience", "3", "--interpolate")
SHORT = ("--steps", "24", "--batch", "64", "--rate", "1e-4", "--dropout", "0.1")
SAVED = ("--evaluate-every", "8", "--patience", "2", "--save-seconds", "0")
OTHERS = "others"
SAMPLED = 20  # held-out keywords of each other language, to stop by


@dataclass(frozen=True, slots=True)
class Split:
    """Texts of the new language, and of those that the model knows.

    Attributes:
        new, known: what may be read, with the picture of each.
        asked: held-out names by language, the new one among them: what the gate asks.
        watched: what early stopping and interpolation look at. All that is not of the new language counts as one.
    """

    new: tuple[Phrase, ...]
    known: tuple[Phrase, ...]
    asked: tuple[Query, ...]
    watched: tuple[Query, ...]


def bar() -> dict[str, object]:
    """The whole training, and a short one that is killed."""
    source, proof = draw(), Proof()
    files = {picture.id: str(picture.file) for picture in read(source)}
    with TemporaryDirectory() as folder:
        split = split_of(list(files))
        train(split, source, Path(folder), Path(folder) / "tuned", [*ORDER, *EVALUATED, "--half"])
        models = {"before": MODEL, "after": Path(folder) / "tuned"}
        seen = {name: hits(split.asked, model, files) for name, model in models.items()}
        judge(proof, *(means(of) for of in seen.values()))
        prove_resuming(proof, split, source, Path(folder))
    proof.figures["how sure"] = {
        of: {"queries": seen["before"][of].queries, **{name: asdict(_hit(found[of])) for name, found in seen.items()}}
        for of in (LANGUAGE, OTHERS)
    }
    return proof.outcome(
        f"names in {LANGUAGE} held out, R@10 {_told(seen, LANGUAGE)}; the mean of the {len(LANGUAGES)} trained "
        f"languages {_told(seen, OTHERS)}; killed and resumed, "
        f"weights differ by at most {proof.figures['weights differ by at most']:.1e}"
    )


def split_of(ids: Sequence[str], known_languages: Sequence[str] = LANGUAGES) -> Split:
    """What may be read and what is asked, by the rules that hold for all languages."""
    keys = [key_of(one) for one in ids]
    known = corpus(keys)
    said = tuple(phrases(keys, (LANGUAGE,)))
    asked_before = {query.text for query in (*known.heldout_names, *known.heldout_keywords)}
    free = [phrase for phrase in said if not is_held_out(phrase) and phrase.text not in asked_before]
    read_before = {phrase.text for phrase in (*known.training, *further(keys, known))}
    stopping = {phrase.text for phrase in free if phrase.kind == "name" and _is_watched(phrase)} - read_before
    new = tuple(phrase for phrase in free if phrase.text not in stopping)
    anywhere = read_before | {phrase.text for phrase in new}
    names = {phrase.text for phrase in said if phrase.kind == "name" and is_held_out(phrase)} - anywhere - stopping
    bearers: defaultdict[str, set[str]] = defaultdict(set)
    for phrase in said:
        bearers[phrase.text].add(phrase.picture)
    asked = (*_queries(LANGUAGE, {text: bearers[text] for text in names}), *_names(known, known_languages))
    watched = (*_queries(LANGUAGE, {text: bearers[text] for text in stopping}), *_sampled(known, known_languages))
    texts = {query.text for query in asked}  # a name in one language may be a keyword in another
    return Split(
        new,
        tuple(phrase for phrase in known.training if phrase.language in known_languages),
        asked,
        tuple(query for query in watched if query.text not in texts),
    )


def train(split: Split, source: Path, folder: Path, out: Path, options: Sequence[str]) -> None:
    """Fine-tunes by the command, with one thread."""
    subprocess.run(command(split, source, folder, out, options), cwd=CHECKOUT, check=True)


def write_tables(split: Split, source: Path, folder: Path) -> tuple[Path, Path, Path]:
    """Writes into the folder, and returns, what is new, what was known, and the queries to stop by."""
    files = {picture.id: str(picture.file) for picture in read(source)}
    new, known, queries = folder / "new.csv", folder / "known.csv", folder / "watched.jsonl"
    _write_table(new, split.new, files)
    _write_table(known, split.known, files)
    queries.write_text("".join(json.dumps(_line(query)) + "\n" for query in split.watched), encoding="utf-8")
    return new, known, queries


def command(split: Split, source: Path, folder: Path, out: Path, options: Sequence[str]) -> list[str]:
    """Writes the tables and the queries into the folder; returns the command that trains on them."""
    new, known, queries = write_tables(split, source, folder)
    words = [sys.executable, "-m", "training.finetune", str(MODEL), str(new), "--replay", str(known), "--out", str(out)]
    words += ["--threads", "1", "--device", "cpu", *options]
    if "--evaluate-every" in options:
        words += ["--queries", str(queries), "--images", str(source)]
    return words


def hits(asked: Sequence[Query], model: Path, files: Mapping[str, str]) -> dict[str, Slice]:
    """What is found of each language, and of all but the new one: the mean of their means, as OTHERS."""
    subject = LocalModel(load(str(model), device="cpu", threads=1), files)
    plan = Plan(depth=10, cutoffs=(1, 10))
    every, others = (
        evaluate(QuerySet("", tuple(of)), subject, plan)
        for of in (asked, [query for query in asked if query.language != LANGUAGE])
    )
    return {**every.slices["language"], OTHERS: others.mean_over_languages or others.overall}


def means(found: Mapping[str, Slice]) -> dict[str, float]:
    """hit@10 of each language."""
    return {name: _hit(one).mean for name, one in found.items() if name != OTHERS}


def judge(proof: Proof, before: Mapping[str, float], after: Mapping[str, float]) -> None:
    """The new language closes its part of the distance, and the others lose no more than they may."""
    (new, others), (new_after, others_after) = map(_new_and_others, (before, after))
    proof.figures |= {"before": before, "after": after}
    closed = (new_after - new) / (others - new)
    proof.figures["closes so much of the distance"] = closed
    proof.holds(f"closes {CLOSED:.0%} of the distance to the trained languages", closed >= CLOSED)
    proof.holds(f"the others' mean falls by at most {LOST:.0%}", others - others_after <= LOST)


def prove_resuming(
    proof: Proof,
    split: Split,
    source: Path,
    folder: Path,
    *,
    options: Sequence[str] = (*SHORT, *SAVED),
    after: int = 12,
) -> None:
    """A run that is killed once it is so many steps far, and started again, ends as one that was not.

    By then it has been evaluated on its way, so that what is best and when to stop go on too.
    """
    whole, killed = folder / "whole", folder / "killed"
    train(split, source, folder, whole, options)
    words = command(split, source, folder, killed, options)
    running = subprocess.Popen(words, cwd=CHECKOUT, stdout=subprocess.DEVNULL)
    while _state(killed).get("step", 0) < after and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    proof.expect("killed before it was done", (running.wait(), killed.exists()), (-signal.SIGKILL, False))
    proof.holds("killed after an evaluation on its way", len(_state(killed).get("history", ())) > 1)
    subprocess.run(words, cwd=CHECKOUT, check=True)
    ends = ([_state(one)[name] for name in ("step", "history")] for one in (whole, killed))
    proof.expect("killed and resumed, it is evaluated and stops", *ends)
    # The best, in the folder, and the last.
    one, other = ({**load_file(out / WEIGHTS_FILE), **_state(out)["towers"]} for out in (whole, killed))
    farthest = max(float((one[name].double() - other[name].double()).abs().max()) for name in one)
    proof.figures["weights differ by at most"] = farthest
    proof.holds(f"killed and resumed, weights are the same within {SAME}", farthest <= SAME)


def _state(out: Path) -> dict[str, Any]:
    """The last state of a run; empty where there is none yet."""
    file = out.with_name(f"{out.name}.work") / "state.pt"
    found: dict[str, Any] = load_state(file, weights_only=True) if file.exists() else {}
    return found


def _hit(found: Slice) -> Estimate:
    return found.measures["hit@10"]


def _new_and_others(found: Mapping[str, float]) -> tuple[float, float]:
    return found[LANGUAGE], fmean(value for name, value in found.items() if name != LANGUAGE)


def _told(seen: Mapping[str, Mapping[str, Slice]], of: str) -> str:
    before, after = (f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in (_hit(f[of]) for f in seen.values()))
    return f"{before} → {after} (n = {seen['before'][of].queries:,})"


def _names(known: Corpus, languages: Sequence[str]) -> list[Query]:
    return [_query(one.language, one.text, one.right) for one in known.heldout_names if one.language in languages]


def _sampled(known: Corpus, languages: Sequence[str]) -> list[Query]:
    found = []
    for language in languages:
        of = [one for one in known.heldout_keywords if one.language == language]
        chosen = sorted(of, key=lambda one: _digest(one.text))[:SAMPLED]
        found += [replace(_query(one.language, one.text, one.right), language=OTHERS) for one in chosen]
    return found


def _queries(language: str, bearers: Mapping[str, Iterable[str]]) -> list[Query]:
    return [_query(language, text, bearers[text]) for text in sorted(bearers)]


def _query(language: str, text: str, right: Iterable[str]) -> Query:
    return Query(f"{language}/{text}", text, dict.fromkeys(sorted(map(picture_id, right)), 1), language)


def _line(query: Query) -> dict[str, object]:
    return {"id": query.id, "text": query.text, "right": list(query.right), "language": query.language}


def _write_table(file: Path, said: Iterable[Phrase], files: Mapping[str, str]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(["uri", "caption", "language"])
        rows.writerows([files[picture_id(one.picture)], one.text, one.language] for one in said)


def _is_watched(phrase: Phrase) -> bool:
    return int(_digest("watched" + phrase.picture), 16) % 20 == 0


def _digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
