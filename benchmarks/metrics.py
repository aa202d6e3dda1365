"""Every metric that a dashboard, a rule or an autoscaler asks for is exported, and every query finds what it asks for.

A real Prometheus scrapes a cluster under load of every kind and under faults. Each query, its comparisons with numbers
taken off, must have answers that are numbers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.emoji import draw, some
from benchmarks.hurting import drive
from benchmarks.observed import Observed, observed
from benchmarks.prometheus import CHART, Prometheus, complaints, promtool
from benchmarks.proof import Proof
from benchmarks.watched import SUFFIXES, Asked, all_asked, of_autoscalers, recorded
from deploy.observability.foreign import FOREIGN
from services.local import probes

TESTS = Path(__file__).resolve().parents[1] / "tests" / "rules"
STATE_SECONDS = 8.0
EVERY = 8
"""Of the pictures, so many are left out for each that is indexed."""


def bar() -> dict[str, object]:
    """Two gateways, two groups of two searchers, two encoders, Redis and a web process, all hurt in turn."""
    proof = Proof()
    check_files(proof)
    with TemporaryDirectory() as folder, observed(Path(folder) / "o", some(draw(), EVERY, Path(folder))) as seen:
        began = time.time()
        asyncio.run(drive(seen, STATE_SECONDS))
        check_queries(proof, seen.prometheus, all_asked("20s"), since=began)
        check_names(proof, seen)
    counts = proof.figures
    return proof.outcome(
        f"{counts['queries']} queries had answers from a real Prometheus, {counts['queries of autoscalers']} of them "
        f"of autoscalers; {counts['queries of what others export']} more ask for what others export; promtool is "
        f"content with {counts['metrics exported']} metrics of ours, and the tests of the rules pass"
    )


def check_files(proof: Proof) -> None:
    """Holds that promtool is content with the rules, and that their tests pass."""
    for what, files in (("check", CHART / "rules"), ("test", TESTS)):
        code, said = promtool(what, "rules", *sorted(files.glob("*.yaml")))
        proof.expect(f"promtool {what} rules", said if code else "content", "content")


def check_queries(proof: Proof, prometheus: Prometheus, asked: Iterable[Asked], *, since: float) -> None:
    """Holds that every query of what we export has answers that are numbers, at some time since then."""
    ours = [one for one in asked if not one.is_foreign]
    foreign = [one for one in asked if one.is_foreign]
    now = time.time()
    empty = sorted(
        f"{one.where}: {expr}"
        for one in ours
        for expr in one.bare
        if not any(series.has_data for series in prometheus.ask_range(expr, since, now, 2))
    )
    proof.figures["queries"] = len(ours)
    proof.figures["queries of autoscalers"] = len(list(of_autoscalers()))
    proof.figures["queries of what others export"] = len(foreign)
    proof.expect("queries without an answer", empty, [])


def check_names(proof: Proof, seen: Observed) -> None:
    """Holds that every metric named is exported, recorded or on the list of what others export, and rightly named."""
    exported = seen.prometheus.scraped()
    named = {name for one in all_asked() for name in one.metrics}
    proof.expect("metrics that nobody exports", sorted(named - exported - recorded() - FOREIGN.keys()), [])
    proof.expect("exceptions that are no exceptions", sorted(FOREIGN.keys() - named), [])
    ours = {_family(name) for name in exported if name.startswith("sightline_")}
    proof.figures["metrics exported"] = len(ours)
    for name, process in seen.cluster.processes.items():
        if process.spec.role != "redis":
            proof.expect(f"promtool check metrics: {name}", complaints(probes.exposition(process.spec.health)), [])


def _family(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)
