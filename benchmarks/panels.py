"""Every panel of the dashboards shows what it is for: drawn from a real Prometheus, by the panel's own queries.

Grafana's own library in Go reads the dashboards strictly: a field that its schema does not have, or lacks, is an error.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.drawing import Span, draw, exporters, rows_of
from benchmarks.emoji import CHECKOUT, some
from benchmarks.emoji import draw as draw_emoji
from benchmarks.hurting import drive
from benchmarks.observed import observed
from benchmarks.prometheus import CHART, Prometheus
from benchmarks.proof import Proof

PICTURES = CHECKOUT / "docs" / "panels"
CHECKER = CHECKOUT / "deploy" / "observability" / "schema"
STATE_SECONDS = 15.0
SCRAPE_SECONDS = 2.0
MOST_BYTES = 1_500_000
EVERY = 8


def bar() -> dict[str, object]:
    """Draws all rows of a cluster that was under load and hurt in every way, into the pages of docs/."""
    proof = Proof()
    check_schema(proof)
    with (
        TemporaryDirectory() as folder,
        observed(Path(folder) / "o", some(draw_emoji(), EVERY, Path(folder)), seconds=SCRAPE_SECONDS) as seen,
    ):
        began = time.time()
        asyncio.run(drive(seen, STATE_SECONDS))
        pictures = draw_all(
            proof, seen.prometheus, Span(began, time.time(), SCRAPE_SECONDS, f"{4 * SCRAPE_SECONDS:g}s")
        )
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        (PICTURES / name).write_bytes(picture)
    size = sum(map(len, pictures.values()))
    proof.figures["bytes"] = size
    proof.holds(f"the pictures have at most {MOST_BYTES:,} bytes", size <= MOST_BYTES)
    return proof.outcome(
        f"{proof.figures['panels']} panels drawn from a real Prometheus in {len(pictures)} pictures of "
        f"{size / 1e6:.2f} MB, each with lines but the {proof.figures['panels of what others export']} of what others "
        "export; the dashboards are of Grafana's schema"
    )


def draw_all(proof: Proof, prometheus: Prometheus, span: Span) -> dict[str, bytes]:
    """Returns a picture of each row of each dashboard, by file name; holds that every panel has a line."""
    pictures, panels, foreign, empty = {}, 0, 0, []
    for dashboard in sorted((CHART / "dashboards").glob("*.json")):
        for row in rows_of(dashboard):
            name = f"{dashboard.stem}-{row.title.lower().replace(' ', '-')}.png"
            pictures[name] = draw(row, prometheus, span)
            others = {panel["title"] for panel in row.panels if exporters(panel)}
            panels, foreign = panels + len(row.panels), foreign + len(others)
            empty += [
                f"{row.title}: {title}" for title, lines in row.lines.items() if not lines and title not in others
            ]
    proof.figures["panels"], proof.figures["panels of what others export"] = panels, foreign
    proof.expect("panels without a line", empty, [])
    return pictures


def check_schema(proof: Proof) -> None:
    """Holds that Grafana's library finds the dashboards to be of its schema, and a wrong one not to be."""
    if why := no_checker():
        proof.faults.append(why)
        return
    proof.expect("what the schema finds wrong", schema_faults(*sorted((CHART / "dashboards").glob("*.json"))), "")


def no_checker() -> str:
    """Returns why schemas cannot be checked here; nothing where they can."""
    return "" if shutil.which("go") else "Grafana's library needs go on PATH"


def schema_faults(*dashboards: Path) -> str:
    """Returns what Grafana's library finds wrong with dashboards; nothing where they are sound."""
    command = ["go", "run", "-mod=readonly", ".", *map(str, dashboards)]
    done = subprocess.run(command, cwd=CHECKER, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip() if done.returncode else ""
