"""Filters in a shard: what meets them, and the best of what does."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from services.index import Hits, LoadedGeneration, Row, load, train, write_shard
from services.index import segment as segments
from services.index.attributes import Attributes, AttributeWriter
from services.index.matching import Matching, Matchings
from services.store import Store
from sightline import Filter, attribute
from sightline._filtering import meets
from sightline.errors import FailedPrecondition, InvalidArgument
from sightline.filters import All, Any, AttributeValue, Equals, Exists, InRange, Not, OneOf
from tests.corpus import TYPES, Corpus, unit_vectors, write

CORPUS = Corpus.described(700)
QUERIES = unit_vectors(6, seed=1)
VALUES: dict[str, list[AttributeValue]] = {
    "group": ["fruit", "car", "", "猫", "zebra"],
    "year": [0, -1, 1999, 1999.0, 1999.5, 2**53, 2**53 + 1, 2.0**53, 2**63 - 1, -(2**63), 2.0**63, -1e300, 1e300],
    "price": [0, -0.0, 0.0, 0.5, 9, 9.5, 2**53, 2**53 + 1, 2**63 - 1, 1e300, float("inf"), -float("inf")],
    "fast": [True, False],
    "tags": ["sweet", "soft", "", "none"],
}
FILTERS = [
    attribute("group").equals("fruit"),
    ~attribute("tags").one_of("sweet", "soft"),
    attribute("price").between(0.5, 1999.5) | attribute("fast").equals(True),
    attribute("group").one_of("fruit", "猫") & attribute("year").exists() & ~attribute("tags").exists(),
    attribute("group").equals("no such"),
]


def drawn_filter(drawn: Random, depth: int = 3) -> Filter:
    """Returns some filter of the corpus's attributes."""
    if depth and drawn.random() < 0.5:
        kind = drawn.choice([All, Any, Not])
        return kind(tuple(drawn_filter(drawn, depth - 1) for _ in range(drawn.randint(1, 3))))
    name = drawn.choice(list(VALUES))
    one, other = drawn.choice(VALUES[name]), drawn.choice(VALUES[name])
    ranged = InRange(name, drawn.choice([one, None]), other)
    tests: list[Filter] = [Equals(name, one), OneOf(name, (one, other)), Exists(name, drawn.random() < 0.5)]
    return drawn.choice([*tests, ranged] if name in ("group", "year", "price") else tests)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Attributes:
    path = tmp_path_factory.mktemp("attributes") / "attributes.arrow"
    with AttributeWriter(path, TYPES) as writer:
        for first in range(0, 700, 64):
            writer.add(CORPUS.attributes[first : first + 64])
    return Attributes(path, TYPES, 700)


@pytest.mark.parametrize("seed", range(4))
def test_the_table_and_the_fake_agree_on_what_meets_a_filter(table: Attributes, seed: int) -> None:
    """Filters of every form, with values at every edge, are met by the same images in the service and in the fake."""
    drawn = Random(seed)
    for _ in range(30):
        condition = drawn_filter(drawn)
        expected = [meets(one, condition) for one in CORPUS.attributes]
        assert table.mask(condition).tolist() == expected, condition


def loaded(path: Path, index: str = "Flat", shards: int = 1) -> LoadedGeneration:
    """Returns the corpus as a generation."""
    store = Store(str(path))
    return load(store, write(store, "c", CORPUS, shards=shards, index=index), range(shards))


def of(hits: Hits) -> tuple[list[bytes], list[float]]:
    """Returns ids and scores."""
    return hits.ids, hits.scores.tolist()


@pytest.mark.parametrize("shards", [1, 3])
def test_filtered_answers_equal_brute_force_over_what_matches(tmp_path: Path, shards: int) -> None:
    """Of an exact index, a filtered answer has the ids, the scores and the order of brute force over what matches, down
    to the last bit, alone, in a batch with the same filter, and in one of mixed filters and depths."""
    part = loaded(tmp_path, shards=shards)
    asked = [(query, condition, k) for query in QUERIES for condition in FILTERS for k in (1, 10, 300)]
    vectors = np.stack([query for query, _, _ in asked])
    together = part.search(vectors, [k for _, _, k in asked], [condition for _, condition, _ in asked])
    for place, (query, condition, k) in enumerate(asked):
        among = CORPUS.meeting(condition)
        assert of(together[place]) == among.best(query, k)
        assert together[place].matched == len(among.ids)
        if place % 7 == 0:
            assert of(part.search(query[None], [k], [condition])[0]) == of(together[place])


@pytest.mark.parametrize("few", [0, segments.FEW])
@pytest.mark.parametrize(
    "index",
    ["IVF8,SQfp16", "IVF8,PQ16x4fs,RFlat", "HNSW16,SQfp16", "PCA24,IVF4,SQfp16", "IDMap,SQ8", "PQ16x4fs", "PQ8np"],
)
def test_any_index_finds_as_many_as_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str, few: int
) -> None:
    """Whether few match or many, and even where FAISS takes no selector, every hit meets the filter, scores as its
    stored vector does, and there are k of them where so many match."""
    monkeypatch.setattr(segments, "FEW", few)
    part, found, right = loaded(tmp_path, index), 0, 0
    for condition in FILTERS:
        among = CORPUS.meeting(condition)
        for query in QUERIES:
            hits = part.search(query[None], [10], [condition])[0]
            best = dict(zip(*among.best(query, len(among.ids)), strict=True))
            assert len(hits.ids) == min(10, len(among.ids))
            assert hits.scores.tolist() == [best[identifier] for identifier in hits.ids]
            found += len(set(hits.ids) & set(among.best(query, 10)[0]))
            right += min(10, len(among.ids))
    assert found >= 0.8 * right


def test_what_matches_is_remembered_within_bounds() -> None:
    """A filter that was asked lately is not applied again; what was not asked for longest is forgotten first."""
    made: list[bytes] = []

    def ask(key: bytes) -> None:
        def make() -> Matching:
            made.append(key)
            return Matching.of(np.zeros(8000, np.bool_))

        kept.get(key, 0, make)

    kept = Matchings(capacity=2500)
    for key in (b"a", b"b", b"a", b"c", b"a", b"b"):
        ask(key)
    assert made == [b"a", b"b", b"c", b"b"]


def test_attributes_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    """Two builds of the same rows write the same table, and rows without attributes no table."""
    for name in ("one", "other", "none"):
        (tmp_path / name).mkdir()
        types = TYPES if name != "none" else {}
        write_shard(tmp_path / name, CORPUS.rows(0, 1), train("Flat", 32, CORPUS.vectors), types)
    one, other = ((tmp_path / name / "attributes.arrow").read_bytes() for name in ("one", "other"))
    assert one == other
    assert not (tmp_path / "none" / "attributes.arrow").exists()


@pytest.mark.parametrize("attributes", [{"year": "1999"}, {"year": 2**63}, {"tags": "sweet"}, {"colour": "red"}])
def test_attributes_of_another_type_are_refused(tmp_path: Path, attributes: dict[str, AttributeValue]) -> None:
    """A shard is not written with values that are not of the types that it is written with."""
    row = Row("a", CORPUS.vectors[0], b"", b"", attributes)
    with pytest.raises(InvalidArgument) as caught:
        write_shard(tmp_path, [row], train("Flat", 32, CORPUS.vectors), TYPES)
    assert caught.value.field == f"attributes.{next(iter(attributes))}"


def test_a_table_that_does_not_belong_is_refused(tmp_path: Path, table: Attributes) -> None:
    """A file of other rows, other types, or no table at all is a corrupt generation."""
    path = tmp_path / "attributes.arrow"
    with AttributeWriter(path, {"year": "int"}) as writer:
        writer.add([{"year": 1}])
    assert Attributes(path, {"year": "int"}, 1).mask(attribute("year").equals(1)).tolist() == [True]
    for types, rows in (({"year": "int"}, 2), ({"year": "double"}, 1), ({"price": "double"}, 1)):
        with pytest.raises(FailedPrecondition, match=r"attributes\.arrow"):
            Attributes(path, types, rows)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FailedPrecondition, match=r"attributes\.arrow"):
        Attributes(path, {"year": "int"}, 1)
