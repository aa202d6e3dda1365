"""A short sample of the bar `vocabulary`, and a cluster that is given one."""

from __future__ import annotations

from pathlib import Path

from benchmarks import vocabulary
from benchmarks.emoji import MODEL, read
from benchmarks.proof import Proof
from benchmarks.vocabulary import ONLY_IN_VOCABULARY, Change
from services.encoder.onnx_model import load
from services.local.cluster import LocalCluster
from services.local.topology import Topology
from sightline import Client
from tests.e2e.conftest import StartCluster
from training.evaluation.local import LocalModel
from training.evaluation.queries import Query


async def test_a_gateway_with_a_vocabulary_knows_its_words(
    cluster: LocalCluster, start_cluster: StartCluster, pictures: Path, tmp_path: Path
) -> None:
    """A word that only the vocabulary knows finds what it means; without one it does not."""
    wanted, table = read(pictures)[100], tmp_path / "words.csv"
    table.write_text(f"text,means\nzqxw,{wanted.caption}\n", encoding="utf-8")
    told = {"gateway": {"vocabulary": str(table), "vocabulary_share": 0.9}}
    other = start_cluster(Topology(groups=2, encoders=0, redis=False), told)

    async with Client(cluster.gateway) as plain, Client(other.gateway) as expanding:
        [found] = (await expanding.search("zqxw", top_k=1)).hits
        [unknown] = (await plain.search("zqxw", top_k=1)).hits
        same = [[(hit.id, hit.score) for hit in await one.search("a red heart")] for one in (plain, expanding)]

    assert found.id == wanted.id
    assert unknown.score < found.score
    assert same[0] == same[1]


def test_a_vocabulary_is_measured(pictures: Path) -> None:
    """Queries are asked without and with a vocabulary of one half of the pictures, over the other."""
    files = {picture.id: str(picture.file) for picture in read(pictures)}
    spoken, searched = vocabulary.halves(list(files))
    words = vocabulary.of_pictures(spoken, 0.5, ["en"])
    some = sorted(searched)[:40]
    captions = {picture.id: picture.caption for picture in read(pictures)}
    queries = [Query(one, captions[one], {one: 1}, "en") for one in some]

    seen = vocabulary.measure(
        queries, words, LocalModel(load(str(MODEL), threads=1), {one: files[one] for one in some})
    )

    assert spoken
    assert not spoken & searched
    # A picture with a name and no keyword has no synonyms.
    assert sum(words.knows(captions[one]) for one in spoken) > 0.9 * len(spoken)
    assert seen.queries == 40
    assert seen.before >= 0.9
    assert 0 < seen.expanded <= 40


def test_a_vocabulary_that_helps_nobody_fails() -> None:
    """The bar fails where queries that only the vocabulary knows gain too little, or others change too much."""
    gained, same = Change(100, 100, 0.3, 0.41, 0.01), Change(100, 10, 0.9, 0.905, 0.5)
    cases = [
        (gained, same, 0),
        (Change(9, 9, 0.3, 0.41, 0.2), same, 1),  # by chance
        (Change(100, 100, 0.3, 0.38, 0.01), same, 1),  # too little
        (gained, Change(100, 10, 0.9, 0.92, 0.5), 1),  # others change
        (gained, Change(100, 10, 0.9, 0.88, 0.5), 1),  # others suffer
    ]
    for known, others, faults in cases:
        proof = Proof()
        vocabulary.judge(proof, {ONLY_IN_VOCABULARY: known, "own names": others})
        assert len(proof.faults) == faults
