"""The report on the bundled model: one file for people, one for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.judge import Score, Verdict, aims
from training.texts import FURTHER

_PAGE = """# The bundled model: how well it does

An ordinary open_clip model of {megabytes:.1f} MB in float16, trained from nothing on a processor core. It knows the
1,840 colour emoji of the Noto font and what Unicode CLDR calls them in 20 languages.

**It is for** the demo, the tests and the benchmarks: real texts, real pictures and real answers on a machine that can
reach no hub. **It is not for** photographs or anything else that is no emoji, nor for sentences. What no training text
says it cannot know: see the held-out keywords. For anything else, serve real weights, for example ViT-B-32 with
`laion2b_s34b_b79k`.

## Texts against pictures

All 1,840 pictures are ranked for each text, and any picture that bears the text is right. *hit* is how often a right
one is among the first 1 or 10, *recall* the share of all right ones that is among the first 10, *mAP* the mean of
average precision over the first 100. Means are over languages. Beside the model stand what needs none, BM25 over
words and TF-IDF over runs of 2 to 4 characters, both over all texts that the model was trained on, in all languages;
and the model fused with the latter by reciprocal rank.

{means}

*Held-out* names and keywords are nowhere among the training texts. Held-out keywords are asked only where they neither
contain nor lie inside any training text of at least one picture that bears them; *strictly* those of them of which
that is true of every picture that bears them. *Unseen pairs* are two keywords of one
picture, a twentieth of all, that training never joins and no language says as one text, asked as one text.

What was hoped for:

{aims}

{languages}
## Pictures against pictures

Every picture turned by up to 20 degrees, scaled to between 0.7 and 1 of its size, shifted, its brightness and colours
changed, and half the time put on a ground of any colour, then searched with: it finds itself first in **{p1:.3f}** of
{pn} cases, and among the first ten in {p10:.3f}.

## How it was made

{history}

    python -m training.train --work DIR --out models/emoji
    python -m training.emoji PICTURES
    python -m training.judge --model models/emoji --pictures PICTURES

Five stages. First the picture tower learns to tell the pictures apart, whatever is done to them. Then the texts,
against one free vector a picture, with no picture looked at: the vectors come to hold the meaning, and none may come so
close to another that the pictures could not be told apart. Then the picture tower onto those vectors, now frozen, and
the text tower further towards them, which can run side by side. Last the text tower onto the vectors of the real
pictures. A fifth of the texts are joined with another of the same picture, so that several words work.

Beside the 20 languages it reads {further} locales of CLDR that are variants or relatives of them, a share of their
texts in each pass. The same rules hold texts out there, and a variant (`pt_PT`) also holds out the names that its
language does.

Choices were made before the held-out queries were asked, with these exceptions: they were asked after the second
stage; and after runs of all stages with fewer steps of the last three, which showed that pictures lay too far from
their prototypes, that texts had to follow for longer, and that rankings were fused too flatly. Each then went on from
where it was, with its rate risen once more: `pictures` after 3,500 steps, `texts` after 3,200, `aligned` after 700; and
`pictures` was ended a little early. The first 1,469 steps of `views` and the first 861 of `prototypes` ran at a rate
that fell slowly, to 0.7 and 0.8 of the one told here.

Stages are numbers of steps and start from fixed seeds, so the recipe does not depend on how fast a machine is; sums of
floating point still differ a little from machine to machine. A run that was interrupted goes on with other shuffles.
The loss along the way, at about every eighth of a stage (all points are in `report.json`):

{curve}
"""

_MEASURES = {"hit@1": "at_1", "hit@10": "at_10", "mAP": "precision"}
_MEASURES_OF = {"unseen pairs": {"hit@1": "at_1", "recall@10": "recall_10", "mAP": "precision"}}


def write_report(verdicts: Mapping[str, Verdict], model: Path, folder: Path) -> None:
    """Writes REPORT.md and report.json into the folder.

    Args:
        verdicts: of `training.judge.compare`; that of "model" has pictures too.
    """
    pictures = verdicts["model"].pictures
    if pictures is None:
        raise ValueError("the report needs picture queries too")
    about = json.loads((model / "sightline.json").read_text(encoding="utf-8"))
    history = about.get("training", {})
    size = sum(file.stat().st_size for file in model.iterdir()) / 1e6
    facts = {"model": about["name"], "megabytes": round(size, 2), "training": history}
    facts |= asdict(verdicts["model"]) | {"beside": {way: asdict(v)["texts"] for way, v in verdicts.items()}}
    del facts["beside"]["model"]
    (folder / "report.json").write_text(json.dumps(_rounded(facts), indent=1) + "\n", encoding="utf-8")
    page = _PAGE.format(
        megabytes=size,
        means=_means(verdicts),
        aims=_aims(verdicts),
        languages="".join(f"### {name.capitalize()}\n\n{_languages(verdicts, name)}\n\n" for name in _sets(verdicts)),
        p1=pictures.at_1,
        p10=pictures.at_10,
        pn=f"{pictures.queries:,}",
        history=_history(history),
        further=len(FURTHER),
        curve=_curve(history),
    )
    (folder / "REPORT.md").write_text(page, encoding="utf-8")


def _sets(verdicts: Mapping[str, Verdict]) -> list[str]:
    return list(verdicts["model"].texts)


def _means(verdicts: Mapping[str, Verdict]) -> str:
    heads = [f"{name} {measure}" for name in _sets(verdicts) for measure in _measures(name)]
    rows = [
        [way, *(cell for name in _sets(verdicts) for cell in _cells(verdict.texts[name]["mean"], name))]
        for way, verdict in verdicts.items()
    ]
    counts = [f"{verdicts['model'].texts[name]['mean'].queries:,}" for name in _sets(verdicts)]
    rows.append(["queries", *(cell for count in counts for cell in (count, "", ""))])
    return _table(["mean", *heads], rows)


def _aims(verdicts: Mapping[str, Verdict]) -> str:
    rows = [[aim.name, f"{aim.wanted:.3f}", f"{aim.seen:.3f}", "yes" if aim.met else "no"] for aim in aims(verdicts)]
    return _table(["aim", "wanted", "seen", "met"], rows)


def _languages(verdicts: Mapping[str, Verdict], name: str) -> str:
    heads = [f"{way} {measure}" for way in verdicts for measure in _measures(name)]
    rows = [
        [language, f"{score.queries:,}", *(c for v in verdicts.values() for c in _cells(v.texts[name][language], name))]
        for language, score in verdicts["model"].texts[name].items()
    ]
    return _table(["language", "queries", *heads], rows)


def _measures(name: str) -> Mapping[str, str]:
    return _MEASURES_OF.get(name, _MEASURES)


def _cells(score: Score, name: str) -> list[str]:
    return [f"{getattr(score, measure):.3f}" for measure in _measures(name).values()]


def _history(stages: Mapping[str, Mapping[str, Any]]) -> str:
    heads = [head for head in next(iter(stages.values())) if head != "curve"]
    rows = [[name, *(f"{stage[head]:,}" for head in heads)] for name, stage in stages.items()]
    return _table(["stage", *(head.replace("_", " ") for head in heads)], rows)


def _curve(stages: Mapping[str, Mapping[str, Any]]) -> str:
    eighths = range(1, 9)
    rows = [[name, *(f"{_loss_at(stage, eighth / 8):.2f}" for eighth in eighths)] for name, stage in stages.items()]
    return _table(["stage", *(f"{eighth}/8" for eighth in eighths)], rows)


def _loss_at(stage: Mapping[str, Any], part: float) -> float:
    step = part * stage["steps"]
    return float(min(stage["curve"], key=lambda point: abs(point[0] - step))[1])


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value
