"""Search in a generation: exact means equal to brute force, alone and in any company."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from services.index import Hits, LoadedGeneration, load
from services.runtime.ranking import merge
from services.store import Store
from sightline.errors import InvalidArgument
from tests.corpus import Corpus, Vectors, unit_vectors, write

CORPUS = Corpus.random(900)
QUERIES = np.concatenate([unit_vectors(30, seed=1), CORPUS.vectors[440:460]])
KS = [1, 10, 3, 100, 1000]


def ks_for(queries: Vectors) -> list[int]:
    """Returns a mixture of k, one for each query."""
    return [KS[place % len(KS)] for place in range(len(queries))]


def loaded(path: Path, shards: int = 1, groups: int = 1, index: str = "Flat") -> list[LoadedGeneration]:
    """Returns the generation as each of the groups holds it."""
    store = Store(str(path))
    manifest = write(store, "c", CORPUS, shards=shards, index=index)
    return [load(store, manifest, range(group, shards, groups)) for group in range(groups)]


def merged(hits: Sequence[Hits], k: int) -> list[bytes]:
    """Returns the ids of the best of several groups."""
    order = merge([(one.scores, one.ids) for one in hits], k)
    return [hits[which].ids[place] for which, place in order]


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("shards", [1, 3, 8])
def test_shards_and_groups_do_not_change_the_answer(tmp_path: Path, shards: int, groups: int) -> None:
    """Merged over any shards and groups, the ids are those of brute force, in order, ties by id."""
    parts = loaded(tmp_path, shards, groups)
    assert sum(part.images for part in parts) == len(CORPUS.ids)
    answers = [part.search(QUERIES, ks_for(QUERIES)) for part in parts]
    for place, (query, k) in enumerate(zip(QUERIES, ks_for(QUERIES), strict=True)):
        assert merged([answer[place] for answer in answers], k) == CORPUS.best(query, k)[0]


def test_scores_are_those_of_the_stored_vectors(tmp_path: Path) -> None:
    """Scores are inner products with the stored vectors, in float64 rounded once."""
    part = loaded(tmp_path)[0]
    for query, hits in zip(QUERIES, part.search(QUERIES, [20] * len(QUERIES)), strict=True):
        assert hits.scores.tolist() == CORPUS.best(query, 20)[1]


@pytest.mark.parametrize("index", ["Flat", "IVF8,SQfp16", "IVF8,PQ16x4fs", "HNSW16,SQfp16", "PCA16,IVF4,PQ8np,RFlat"])
def test_an_answer_does_not_depend_on_its_company(tmp_path: Path, index: str) -> None:
    """A query has the same answer, to the last bit, alone, in a batch, and in a batch of mixed k."""
    part = loaded(tmp_path, shards=2, index=index)[0]
    together = part.search(QUERIES, ks_for(QUERIES))
    backwards = part.search(QUERIES[::-1], ks_for(QUERIES)[::-1])[::-1]
    for place, (query, k) in enumerate(zip(QUERIES, ks_for(QUERIES), strict=True)):
        alone = part.search(query[None], [k])[0]
        for other in (together[place], backwards[place]):
            assert (other.ids, other.rows.tolist()) == (alone.ids, alone.rows.tolist())
            assert other.scores.tobytes() == alone.scores.tobytes()


@pytest.mark.parametrize("index", ["IVF8,SQfp16", "IVF8,PQ16x4fs", "HNSW16,SQfp16", "PCA24,IVF4,SQfp16", "IDMap,SQ8"])
def test_any_factory_string_is_searched(tmp_path: Path, index: str) -> None:
    """Other indexes find most of what brute force finds, with exact scores."""
    part = loaded(tmp_path, index=index)[0]
    found = 0
    for query, hits in zip(QUERIES, part.search(QUERIES, [10] * len(QUERIES)), strict=True):
        best = dict(zip(*CORPUS.best(query, len(CORPUS.ids)), strict=True))
        assert hits.scores.tolist() == [best[identifier] for identifier in hits.ids]
        assert hits.scores.tolist() == sorted(hits.scores.tolist(), reverse=True)
        found += len(set(hits.ids) & set(CORPUS.best(query, 10)[0]))
    assert found >= 0.8 * 10 * len(QUERIES)


def test_many_images_alike_are_ordered_by_id(tmp_path: Path) -> None:
    """More ties at rank k than there are candidates are still decided by id, as brute force does."""
    same = Corpus([f"{number:04d}" for number in range(500)], np.repeat(unit_vectors(1), 500, axis=0))
    store = Store(str(tmp_path))
    part = load(store, write(store, "c", same, shards=2), [0, 1])
    hits = part.search(same.vectors[:1], [10])[0]
    assert hits.ids == [f"{number:04d}".encode() for number in range(10)]


def test_stored_data_is_found_by_id_and_by_row(tmp_path: Path) -> None:
    """Ids lead to rows, and rows to ids, documents, thumbnails and vectors."""
    part = loaded(tmp_path, shards=3)[0]
    chosen = [0, 5, 899]
    rows = [row for row in part.find([CORPUS.ids[place] for place in chosen]) if row is not None]
    assert part.ids(rows) == [CORPUS.ids[place].encode() for place in chosen]
    assert part.documents(rows) == [CORPUS.document(CORPUS.ids[place]) for place in chosen]
    assert part.thumbnails(rows) == [b"thumbnail"] * 3
    assert np.array_equal(np.stack(part.vectors(rows)), CORPUS.vectors[chosen])
    assert part.find(["no such image", CORPUS.ids[0]]) == [None, rows[0]]


def test_an_image_of_another_group_is_not_found_here(tmp_path: Path) -> None:
    """Each image is found by exactly one of the groups, and rows of the others are refused."""
    parts = loaded(tmp_path, shards=4, groups=2)
    found = [part.find(list(CORPUS.ids)) for part in parts]
    assert all((one is None) != (other is None) for one, other in zip(*found, strict=True))
    foreign = next(row for row in found[0] if row is not None)
    assert (parts[0].has(foreign), parts[1].has(foreign)) == (True, False)
    with pytest.raises(InvalidArgument, match="no row"):
        parts[1].documents([foreign])


def test_a_group_without_shards_answers_with_nothing(tmp_path: Path) -> None:
    """More groups than shards is not an error: the surplus groups have no hits."""
    idle = loaded(tmp_path, shards=1, groups=2)[1]
    assert idle.images == 0
    assert idle.search(QUERIES[:1], [5])[0].ids == []
