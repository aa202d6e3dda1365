"""The report on the bundled model: one file for people, one for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.judge import Verdict

_PAGE = """# The bundled model: how well it does

An ordinary open_clip model of {megabytes:.1f} MB in float16, trained from nothing on a processor core. It knows the
1,840 colour emoji of the Noto font and what Unicode CLDR calls them in 20 languages.

**It is for** the demo, the tests and the benchmarks: real texts, real pictures and real answers on a machine that can
reach no hub. **It is not for** photographs or anything else that is no emoji, nor for sentences. What no training text
says it cannot know: see the held-out keywords. For anything else, serve real weights, for example ViT-B-32 with
`laion2b_s34b_b79k`.

## Texts against pictures

All 1,840 pictures are ranked for each text. A text counts as found where any picture that bears it is among the first
1 or 10. *Held-out* names and keywords are nowhere among the texts that it was trained on. Held-out keywords are asked
only where they neither contain nor lie inside any training text of at least one picture that bears them. The mean is
over languages.

{table}

## Pictures against pictures

Every picture turned by up to 20 degrees, scaled to between 0.7 and 1 of its size, shifted, its brightness and colours
changed, and half the time put on a ground of any colour, then searched with: it finds itself first in **{p1:.3f}** of
{pn} cases, and among the first ten in {p10:.3f}.

## How it was made

{history}

    python -m training.train --work DIR --out models/emoji
    python -m training.emoji PICTURES
    python -m training.judge --model models/emoji --pictures PICTURES

Three stages. First the texts against one free vector a picture, with no picture looked at: the vectors come to hold
the meaning. Then the picture tower onto those vectors. Last the text tower, from where the first stage left it, onto
the vectors of the real pictures. A fifth of the texts are joined with another of the same picture, so that several
words work. Stages are budgets of wall-clock time: the steps above were made on one thread of a busy two-core machine,
and another machine gives other steps and slightly other figures.
"""


def write_report(verdict: Verdict, model: Path, folder: Path) -> None:
    """Writes REPORT.md and report.json into the folder."""
    if verdict.pictures is None:
        raise ValueError("the report needs picture queries too")
    about = json.loads((model / "sightline.json").read_text(encoding="utf-8"))
    history = about.get("training", {})
    size = sum(file.stat().st_size for file in model.iterdir()) / 1e6
    facts = {"model": about["name"], "megabytes": round(size, 2), "training": history, **asdict(verdict)}
    (folder / "report.json").write_text(json.dumps(_rounded(facts), indent=1) + "\n", encoding="utf-8")
    page = _PAGE.format(
        megabytes=size,
        table=_table(verdict),
        p1=verdict.pictures.at_1,
        p10=verdict.pictures.at_10,
        pn=f"{verdict.pictures.queries:,}",
        history=_history(history),
    )
    (folder / "REPORT.md").write_text(page, encoding="utf-8")


def _table(verdict: Verdict) -> str:
    names = list(verdict.texts)
    head = "| language | " + " | ".join(f"{name} R@1 | R@10" for name in names) + " |"
    rows = [head, "|---|" + "---:|---:|" * len(names)]
    for language in verdict.texts[names[0]]:
        scores = [verdict.texts[name].get(language) for name in names]
        cells = (f"{score.at_1:.3f} | {score.at_10:.3f}" if score else " | " for score in scores)
        label = f"**{language}**" if language == "mean" else language
        rows.append(f"| {label} | " + " | ".join(cells) + " |")
    counts = (f"{verdict.texts[name]['mean'].queries:,} | " for name in names)
    return "\n".join([*rows, "| queries | " + " | ".join(counts) + " |"])


def _history(stages: dict[str, dict[str, Any]]) -> str:
    rows = [f"| {name} | {stage['minutes']} | {stage['steps']:,} |" for name, stage in stages.items()]
    return "\n".join(["| stage | minutes | steps |", "|---|---:|---:|", *rows])


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value
