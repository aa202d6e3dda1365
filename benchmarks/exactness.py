"""The merged answer of a cluster equals brute force over all vectors, however it is sharded, grouped and asked."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.emoji import draw, encoding, index, wait_visible
from benchmarks.oracle import Oracle
from benchmarks.questions import Question, oracle_of, questions
from benchmarks.ways import WAYS, Outcome
from services.local.cluster import LocalCluster
from services.local.topology import Topology
from sightline import CacheState, Client
from sightline.errors import SightlineError
from training.judge import augmented_pictures, heldout_names, own_names

OF_EACH_KIND = 100
QUERIES = 5 * OF_EACH_KIND
SHARDS = (1, 3, 8)
GROUPS = (1, 2, 3)
TIMEOUT = 60.0


@dataclass(slots=True)
class Tally:
    """What came of the answers."""

    answers: int = 0
    score_error: float = 0.0
    faults: list[str] = field(default_factory=list)
    by: Counter[str] = field(default_factory=Counter)


def bar() -> dict[str, object]:
    """500 queries, three numbers of shards over three numbers of groups, six ways of asking."""
    texts = random.Random(3).sample([query.text for query in (*own_names(), *heldout_names())], OF_EACH_KIND)
    files = [file for file, _ in itertools.islice(augmented_pictures(), 0, None, 18)][:OF_EACH_KIND]
    with TemporaryDirectory() as name, encoding((folder := Path(name)) / "encoder") as encoder:
        tally = prove(folder, encoder, draw(), texts, files)
    layouts = len(SHARDS) * len(GROUPS)
    return {
        "passed": not tally.faults and tally.answers == QUERIES * layouts * len(WAYS),
        "figure": (
            f"{len(tally.faults)} of {tally.answers:,} answers ({QUERIES} queries, {layouts} layouts, {len(WAYS)} ways "
            f"to ask) differ from brute force; scores are off by {tally.score_error:.1e} at the most"
        ),
        "figures": {
            "queries": QUERIES,
            "answers": tally.answers,
            "wrong": len(tally.faults),
            "largest_score_error": tally.score_error,
            "answers_by": dict(tally.by),
            "first_faults": tally.faults[:20],
        },
    }


def prove(
    folder: Path,
    encoder: str,
    source: Path,
    texts: Sequence[str],
    files: Sequence[bytes],
    *,
    shards: Sequence[int] = SHARDS,
    groups: Sequence[int] = GROUPS,
) -> Tally:
    """Asks every question in every way of every layout.

    Args:
        folder: for stores and logs.
        encoder: host:port of one with the bundled model.
        source: the list of pictures that are indexed.
        texts: to ask with.
        files: pictures to ask with.
        shards: as many collections, of so many shards.
        groups: as many clusters, of so many searcher groups, over the same collections.
    """
    store, tally = str(folder / "store"), Tally()
    for count in shards:
        index(source, store, encoders=[encoder], collection=_name(count), shards=count)
    asked: tuple[Oracle, list[Question]] | None = None
    for count in groups:
        with _searching(store, folder / f"groups-{count}", count, encoder) as cluster:
            for one in shards:
                wait_visible(cluster, _name(one))
            asked = asked or asyncio.run(_prepare(cluster.gateway, source, texts, files))
            asyncio.run(_Asking(*asked, shards, count).run(cluster.gateway, tally))
    return tally


def _searching(store: str, run_dir: Path, groups: int, encoder: str) -> LocalCluster:
    # Without caches, so that every way of asking computes its answers.
    settings = {"encoders": encoder, "cache_bytes": 0}
    return LocalCluster(
        store=store,
        model="",
        run_dir=run_dir,
        topology=Topology(groups=groups, encoders=0, redis=False),
        overrides={"gateway": settings},
    )


def _name(shards: int) -> str:
    return f"emoji-{shards}"


async def _prepare(
    gateway: str, source: Path, texts: Sequence[str], files: Sequence[bytes]
) -> tuple[Oracle, list[Question]]:
    async with Client(gateway, timeout=TIMEOUT) as client:
        oracle = await oracle_of(client, source)
        return oracle, await questions(client, oracle, texts, files)


@dataclass(frozen=True)
class _Asking:
    """All questions to all collections, through one cluster."""

    oracle: Oracle
    questions: Sequence[Question]
    shards: Sequence[int]
    groups: int

    async def run(self, gateway: str, tally: Tally) -> None:
        """Asks in every way, with kinds, depths and collections mixed."""
        mixed = [(question, count) for question in self.questions for count in self.shards]
        random.Random(self.groups).shuffle(mixed)
        requests = [replace(question.request, collection=_name(count)) for question, count in mixed]
        async with Client(gateway, timeout=TIMEOUT) as client:
            for way, ask in WAYS.items():
                for (question, count), outcome in zip(mixed, await ask(client, requests), strict=True):
                    tally.by.update((way, question.kind, f"k={question.request.top_k}"))
                    tally.by.update([f"{count} shards over {self.groups} groups"])
                    about = f"{way}: {question.kind}, k={question.request.top_k}, {count} shards, {self.groups} groups"
                    tally.faults += [f"{about}: {fault}" for fault in self._judge(question, count, outcome, tally)]
                print(f"{self.groups} groups, {way}: {len(mixed):,} answers, {len(tally.faults)} faults", flush=True)

    def _judge(self, question: Question, shards: int, outcome: Outcome, tally: Tally) -> list[str]:
        tally.answers += 1
        if isinstance(outcome, SightlineError):
            return [repr(outcome)]
        verdict = self.oracle.judge(outcome, question.vector, question.request.top_k)
        tally.score_error = max(tally.score_error, verdict.score_error)
        faults = list(verdict.faults)
        if outcome.coverage.shards_answered != shards:
            faults.append(f"not from all shards: {outcome.coverage}")
        if outcome.cache not in (CacheState.MISS, CacheState.JOINED):
            faults.append(f"from a cache: {outcome.cache}")
        return ["; ".join(faults)] if faults else []
