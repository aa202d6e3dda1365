"""Short samples of the bars `batching`, `demo-relevance` and `padding`: the same code with tiny numbers.

What takes how long is for the bars to say; here their figures need only make sense.
"""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from benchmarks import batching, demo_relevance, padding
from benchmarks.batching import BATCHED, SINGLE, UNCACHED
from benchmarks.callers import Load, Order
from benchmarks.emoji import MODEL, read
from services.encoder.model import OpenClipModel, load
from services.local.cluster import LocalCluster
from services.local.topology import Topology
from tests.e2e.conftest import StartCluster
from tests.tiny_clip import tiny_clip
from training import judge

TEXTS = ["a red apple", "two hearts", "a cat that laughs"]
LANGUAGES = ("en", "zh", "ru")


def test_batching_is_measured(start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many callers share calls of the one gateway and never of the other, and each has its figures."""
    tiny = {"CALLERS": 32, "ROUNDS": 2, "QUERIES": 200, "PAIRS": 10, "WARM_UP": 50}
    for name, value in tiny.items():
        monkeypatch.setattr(batching, name, value)
    cluster = start_cluster(Topology(groups=2, gateways=2, encoders=0, redis=False), UNCACHED)

    busy, idle = batching.measure(cluster, TEXTS)

    assert [len(busy[name]) for name in (BATCHED, SINGLE, "ratios", "queries_per_second")] == [2, 2, 2, 2]
    assert all(figure > 0 for figures in busy.values() for figure in figures)
    assert min(busy["encode_batch"] + busy["search_batch"]) > 1
    assert _batch_sizes(cluster, SINGLE) == {"encode": 1.0, "search": 1.0}
    assert idle["pairs"] == 10
    assert 0 < idle["ratio"] <= idle["upper_95"]
    assert min(idle["batched_ms"], idle["single_ms"]) > 0


def test_load_reports_every_query(cluster: LocalCluster) -> None:
    """Each query has its time, of texts and of vectors, asked together of one gateway or in turn of each."""
    dimension = json.loads((MODEL / "open_clip_config.json").read_text())["model_cfg"]["embed_dim"]
    with Load(TEXTS) as load_:
        together = load_(Order([cluster.gateway], 30, callers=8))
        in_turn = load_(Order(cluster.gateways, 10, dimension=dimension))

    assert [len(one) for one in together.latencies] == [30]
    assert [len(one) for one in in_turn.latencies] == [10, 10]
    assert all(0 < one <= together.seconds for one in together.latencies[0])


def test_load_that_fails_is_no_figure(cluster: LocalCluster) -> None:
    """A query that fails ends the measurement, so that no figure is of failures."""
    with Load(TEXTS) as load_, pytest.raises(RuntimeError, match="a query failed"):
        load_(Order([cluster.gateway], 1, dimension=3))


def test_relevance_is_judged(cluster: LocalCluster, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names in three languages, and varied pictures, find their pictures through the running cluster."""
    indexed = {picture.id for picture in read(pictures)}
    _ask_less(monkeypatch, indexed)

    verdict = demo_relevance.judge(cluster.gateway)

    assert set(verdict.texts) == set(judge.QUERY_SETS)
    assert all(set(scores) == {"mean", *LANGUAGES} for scores in verdict.texts.values())
    assert verdict.texts["own names"]["mean"].queries == 10 * len(LANGUAGES)
    assert min(verdict.texts["own names"][language].at_1 for language in LANGUAGES) >= 0.8
    assert verdict.texts["held-out names"]["mean"].at_10 >= 0.4
    assert all(0 <= score.at_1 <= score.at_10 <= 1 for of in verdict.texts.values() for score in of.values())
    assert verdict.pictures
    assert verdict.pictures.queries == 12
    assert verdict.pictures.at_1 >= 0.5


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> OpenClipModel:
    """A small CLIP with random weights."""
    return load(str(tiny_clip(tmp_path_factory.mktemp("padding") / "tiny")), device="cpu", threads=1)


def test_padding_makes_no_difference(tiny: OpenClipModel) -> None:
    """Texts of all lengths have the same vectors with their padding and without."""
    assert tiny.cuts
    assert padding.worst_distance(tiny) <= padding.EXACT


def test_towers_that_see_their_padding_keep_it() -> None:
    """A text tower without a causal mask is not cut, and answered as open_clip answers it."""
    text = {"context_length": 16, "vocab_size": 500, "width": 64, "heads": 2, "layers": 2}
    config = {"embed_dim": 32, "text_cfg": text | {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}}
    seen = padding.not_cut(padding.tower(config, "ViT-B-16-SigLIP", padding.rows_of(16, 500, padding=1)))

    assert not seen["cuts"]
    assert seen["cosine_distance"] <= padding.EXACT


def test_padding_is_measured(tiny: OpenClipModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides have a rate in every round."""
    monkeypatch.setattr(padding, "ROUNDS", 2)

    rate = padding.speed(tiny)

    assert len(rate["rounds"]) == 2
    assert min(rate["ours"], rate["open_clip"], rate["times"]) > 0


def _batch_sizes(cluster: LocalCluster, name: str) -> dict[str, float]:
    """How many items the calls of a gateway have held."""
    seen = cluster.metrics(name)
    items, batches = (
        {stage: seen.total(f"sightline_batch_items_{what}", queue=queue) for stage, queue in batching.QUEUES.items()}
        for what in ("sum", "count")
    )
    return {stage: items[stage] / batches[stage] for stage in items}


def _ask_less(monkeypatch: pytest.MonkeyPatch, indexed: set[str]) -> None:
    """Ten queries of each set and language, and twelve pictures, whose right answers are among the indexed."""

    def few(queries: tuple[judge.Query, ...]) -> tuple[judge.Query, ...]:
        found = [query for query in queries if query.right & indexed]
        return tuple(one for language in LANGUAGES for one in [q for q in found if q.language == language][:10])

    sets = {name: few(queries()) for name, queries in judge.QUERY_SETS.items()}
    varied = list(islice((one for one in judge.augmented_pictures() if one[1] in indexed), 12))
    monkeypatch.setattr(judge, "QUERY_SETS", {name: lambda some=some: some for name, some in sets.items()})
    monkeypatch.setattr(judge, "augmented_pictures", lambda: iter(varied))
