"""Judges a search by real texts and pictures that have known right answers.

    python -m training.judge --model models/emoji --pictures DIR

The judge knows no model: it is handed functions that search, so the same one judges a model on its own and a running
cluster.
"""

from __future__ import annotations

import argparse
import io
import json
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageChops, ImageEnhance

from training import lexical, texts
from training.emoji import SIDE, Picture, picture_id, pictures
from training.evaluation.measures import measure, measure_names

Ranked = Sequence[Sequence[str]]
# Ranked picture ids, best first, for each text, or for each picture given as the bytes of a PNG file.
TextSearch = Callable[[Sequence[str]], Ranked]
PictureSearch = Callable[[Sequence[bytes]], Ranked]

DEPTHS = (1, 10)
# How far the report looks down a ranking: for average precision, and where two are fused.
DEPTH = 100
SEED = 7
AIM_NAMES, AIM_EACH_LANGUAGE = 0.85, 0.6


@dataclass(frozen=True, slots=True)
class Query:
    """A text, its language, and the ids of all pictures that are right answers."""

    text: str
    language: str
    right: frozenset[str]


@dataclass(frozen=True, slots=True)
class Score:
    """Means over so many queries, by `training.evaluation.measures`: how often a right picture is among the first 1 and
    10 (hit), the share of all right ones that is among the first 10 (recall), and average precision (mAP) as deep as
    was searched.
    """

    queries: int
    at_1: float
    at_10: float
    recall_10: float
    precision: float


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure that is hoped for, and the one that was seen."""

    name: str
    wanted: float
    seen: float

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.seen >= self.wanted


@dataclass(frozen=True, slots=True)
class Verdict:
    """Scores by set of queries and language, where `mean` is the plain mean over languages; and those of pictures."""

    texts: Mapping[str, Mapping[str, Score]]
    pictures: Score | None


def own_names() -> tuple[Query, ...]:
    """Every name that the model was trained on, once a language."""
    return _with_ids(_corpus().own_names)


def heldout_names() -> tuple[Query, ...]:
    """Names that are nowhere among the training texts."""
    return _with_ids(_corpus().heldout_names)


def heldout_keywords() -> tuple[Query, ...]:
    """Keywords nowhere among the training texts, nor within or around any of at least one picture that bears them."""
    return _with_ids(_corpus().heldout_keywords)


def strict_keywords() -> tuple[Query, ...]:
    """Of the held-out keywords those that no text of any picture that bears them contains or lies inside."""
    return _with_ids(_corpus().strict_keywords)


def unseen_pairs() -> tuple[Query, ...]:
    """Two keywords of a picture that training never joins; right is each picture that bears both."""
    return _with_ids(_corpus().unseen_pairs)


QUERY_SETS: Mapping[str, Callable[[], tuple[Query, ...]]] = {
    "own names": own_names,
    "held-out names": heldout_names,
    "held-out keywords": heldout_keywords,
}
REPORTED = {**QUERY_SETS, "held-out keywords, strictly": strict_keywords, "unseen pairs": unseen_pairs}


def augmented_pictures(seed: int = SEED) -> Iterator[tuple[bytes, str]]:
    """Every picture turned, rescaled, shifted, recoloured and half the time on a coloured ground: PNG bytes and id."""
    chance = random.Random(seed)
    for picture in _pictures():
        file = io.BytesIO()
        _vary(picture.image, chance).save(file, "PNG", compress_level=1)
        yield file.getvalue(), picture.id


def ways(model: TextSearch) -> Mapping[str, TextSearch]:
    """A model, what finds pictures by letters alone, and the model fused with character n-grams."""
    said = _said()
    bm25, n_grams = lexical.bm25(said, DEPTH), lexical.character_n_grams(said, DEPTH)
    return {
        "model": model,
        "BM25": bm25,
        "n-grams": n_grams,
        "fused": lambda asked: lexical.fuse(model(asked), n_grams(asked)),
    }


def aims(verdicts: Mapping[str, Verdict]) -> tuple[Aim, ...]:
    """What is hoped for, and no condition."""
    names = verdicts["model"].texts["held-out names"]
    keywords, n_grams = (verdicts[way].texts["held-out keywords"]["mean"].at_10 for way in ("model", "n-grams"))
    return (
        Aim("held-out names hit@10, mean", AIM_NAMES, names["mean"].at_10),
        Aim("held-out names hit@10, weakest language", AIM_EACH_LANGUAGE, min(one.at_10 for one in names.values())),
        Aim("held-out keywords hit@10, as n-grams alone", n_grams, keywords),
    )


def compare(model: TextSearch, search_pictures: PictureSearch) -> dict[str, Verdict]:
    """Judges a model, what finds pictures by letters alone, and the model fused with character n-grams."""
    return {
        way: evaluate(search, search_pictures if search is model else None, REPORTED)
        for way, search in ways(model).items()
    }


def evaluate(
    search: TextSearch,
    search_pictures: PictureSearch | None = None,
    sets: Mapping[str, Callable[[], tuple[Query, ...]]] | None = None,
) -> Verdict:
    """Asks every query of every set, by default of `QUERY_SETS`, and every augmented picture where those can be asked
    with."""
    judged = {name: _judge_languages(search, queries()) for name, queries in (sets or QUERY_SETS).items()}
    if search_pictures is None:
        return Verdict(judged, None)
    files, ids = zip(*augmented_pictures(), strict=True)
    return Verdict(judged, _score(search_pictures(files), [{found} for found in ids]))


def _judge_languages(search: TextSearch, queries: Sequence[Query]) -> dict[str, Score]:
    ranked = search([query.text for query in queries])
    answers: defaultdict[str, list[tuple[Sequence[str], frozenset[str]]]] = defaultdict(list)
    for found, query in zip(ranked, queries, strict=True):
        answers[query.language].append((found, query.right))
    scores = {language: _score(*zip(*pairs, strict=True)) for language, pairs in answers.items()}
    return {"mean": _mean(list(scores.values())), **scores}


def _score(ranked: Ranked, right: Sequence[Collection[str]]) -> Score:
    values = measure(ranked, [dict.fromkeys(wanted, 1) for wanted in right], DEPTHS).mean(axis=0)
    of = dict(zip(measure_names(DEPTHS), values.tolist(), strict=True))
    return Score(len(right), of["hit@1"], of["hit@10"], of["recall@10"], of["ap"])


def _mean(scores: Sequence[Score]) -> Score:
    count = len(scores)
    rows = [(score.at_1, score.at_10, score.recall_10, score.precision) for score in scores]
    return Score(sum(score.queries for score in scores), *(sum(column) / count for column in zip(*rows, strict=True)))


def _vary(image: Image.Image, chance: random.Random) -> Image.Image:
    turned = image.rotate(chance.uniform(-20, 20), Image.Resampling.BICUBIC)
    side = round(SIDE * chance.uniform(0.7, 1.0))
    small = turned.resize((side, side), Image.Resampling.LANCZOS)
    lit = ImageEnhance.Brightness(small.convert("RGB")).enhance(chance.uniform(0.75, 1.2))
    cast = Image.new("RGB", lit.size, tuple(round(255 * chance.uniform(0.85, 1.0)) for _ in range(3)))
    ground = "white" if chance.random() < 0.5 else tuple(chance.randrange(256) for _ in range(3))
    canvas = Image.new("RGB", (SIDE, SIDE), ground)
    corner = (chance.randint(0, SIDE - side), chance.randint(0, SIDE - side))
    canvas.paste(ImageChops.multiply(lit, cast), corner, mask=small.getchannel("A"))
    return canvas


@cache
def _pictures() -> tuple[Picture, ...]:
    return pictures()


@cache
def _corpus() -> texts.Corpus:
    return texts.corpus(picture.key for picture in _pictures())


def _said() -> dict[str, set[str]]:
    """What training reads of each picture, by id, in all languages."""
    keys = [picture.key for picture in _pictures()]
    found: dict[str, set[str]] = {picture_id(key): set() for key in keys}
    for phrase in (*_corpus().training, *texts.further(keys, _corpus())):
        found[picture_id(phrase.picture)].add(phrase.text)
    return found


def _with_ids(queries: Sequence[texts.Query]) -> tuple[Query, ...]:
    return tuple(Query(q.text, q.language, frozenset(map(picture_id, q.right))) for q in queries)


def main() -> None:
    """Judges the model in a folder over the pictures in another, and writes the report."""
    # Only here, so that judging a cluster needs no torch.
    from training.local_search import LocalSearch  # noqa: PLC0415
    from training.report import write_report  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="an open_clip folder")
    parser.add_argument("--pictures", type=Path, required=True, help="what `python -m training.emoji` wrote")
    parser.add_argument("--report", type=Path, default=Path(__file__).parent, help="the folder to report to")
    arguments = parser.parse_args()
    local = LocalSearch(arguments.model, arguments.pictures, DEPTH)
    verdicts = compare(local.by_texts, local.by_pictures)
    for way, verdict in verdicts.items():
        for name, scores in verdict.texts.items():
            print(f"{way}, {name}: hit@1 {scores['mean'].at_1:.3f}, hit@10 {scores['mean'].at_10:.3f}")
    print(f"varied pictures: {json.dumps(asdict(verdicts['model'])['pictures'])}")
    write_report(verdicts, arguments.model, arguments.report)


if __name__ == "__main__":
    main()
