"""Filters over 200,000 images: exact where the index is, hardly less found where it is not, never fewer than there are,
and at hardly more CPU. Attributes that have nothing to do with the vectors, and such that follow them, near to and far
from where the queries look."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.emoji import CHECKOUT
from benchmarks.proof import Proof
from benchmarks.variations import Vectors, texts_and_images
from services.index import Hits, LoadedGeneration, Row, load, train, use_threads, write_shard
from services.runtime.ranking import sort_keys
from services.store import AttributeField, Model, Store
from sightline import Filter, attribute

IMAGES = 200_000
K = 10
IVF = "IVF1024,PQ128x4fs"
TYPES = {"share": "int", "near": "int", "far": "int"}
MATCHING = {"50 %": 5000, "10 %": 1000, "1 %": 100, "0.1 %": 10, "0.01 %": 1}
"""Attributes count ten-thousandths of the images: so many have a lower number."""

RECALL = 0.95
CPU_RATIO = 1.5
ROUNDS = 9
SAMPLE = 100_000
FOLDER = CHECKOUT / ".cache" / "filters"


@dataclass(frozen=True)
class Scale:
    """The images, what their attributes are, and the queries."""

    images: Vectors
    attributes: dict[str, NDArray[np.int64]]
    texts: Vectors


def bar() -> dict[str, object]:
    """200,000 images in a Flat and in a compressed index, five shares of them matching, three kinds of attributes."""
    use_threads(1)
    texts, images = texts_and_images(IMAGES)
    scale, proof = Scale(images, attributes_of(images), texts[:100]), Proof()
    prove_flat(built("Flat", scale, FOLDER), scale, proof, queries=10)
    compressed = built(IVF, scale, FOLDER)
    prove_recall(compressed, scale, proof)
    ratio = prove_cost(compressed, scale, proof)
    return proof.outcome(
        f"{IMAGES:,} images: Flat equals brute force at {', '.join(MATCHING)} matching; {IVF} has recall@10 of at "
        f"least {proof.figures['least recall']:.3f}; never fewer than k; CPU at 1 % is {ratio:.2f} times unfiltered"
    )


def attributes_of(images: Vectors) -> dict[str, NDArray[np.int64]]:
    """Numbers 0 to 9,999 for each image, int64 [n]: drawn, and by the distance from one of the images, both ways."""
    ranks = np.arange(len(images)) * 10_000 // len(images)
    by_distance = np.empty(len(images), np.int64)
    by_distance[np.argsort(-(images @ images[0]), kind="stable")] = ranks
    drawn = np.random.default_rng(17).permutation(ranks)
    return {"share": drawn, "near": by_distance, "far": 9_999 - by_distance}


def built(factory: str, scale: Scale, folder: Path) -> LoadedGeneration:
    """Returns the images in an index, which is kept for the next time."""
    store = Store(str(folder / f"{factory.replace(',', '-')}-{len(scale.images)}"))
    pointers = store.pointers("images") if "images" in store.collections() else None
    if pointers is None or pointers.next is None:
        draft, dimension = store.begin("images"), scale.images.shape[1]
        trained = train(factory, dimension, scale.images[:: max(1, len(scale.images) // SAMPLE)])
        images = write_shard(draft.folder(0), _rows(scale), trained, TYPES)
        draft.seal(0, images)
        fields = [AttributeField(name, kind, images) for name, kind in TYPES.items()]
        manifest = draft.publish(Model("emoji", "0" * 64, dimension), index=factory, attributes=fields)
        store.set_next("images", manifest.generation)
    number = store.pointers("images").next
    assert number
    return load(store, store.manifest("images", number), [0], verified=False)


def prove_flat(part: LoadedGeneration, scale: Scale, proof: Proof, *, queries: int) -> None:
    """Every filtered answer is that of brute force: ids, scores and order, one by one and in a batch."""
    for name, share, condition, mask in _filters(scale):
        texts = scale.texts[:queries]
        wanted = [_brute_force(scale.images, np.flatnonzero(mask), query) for query in texts]
        alone = [part.search(query[None], [K], [condition])[0] for query in texts]
        together = part.search(texts, [K] * len(texts), [condition] * len(texts))
        for way, hits in (("one by one", alone), ("together", together)):
            right = sum(_read(one) == of for one, of in zip(hits, wanted, strict=True))
            proof.expect(f"Flat, {name}, {share}, {way}: answers equal to brute force", right, len(texts))


def prove_recall(part: LoadedGeneration, scale: Scale, proof: Proof) -> None:
    """Of what brute force finds among the matching images the compressed index finds nearly all, at every share."""
    everything = np.ones(len(scale.images), np.bool_)
    proof.figures["recall@10 unfiltered"] = recall(ask(part, scale.texts, None), scale, everything)
    recalls = []
    for name, share, condition, mask in _filters(scale):
        hits, matching = ask(part, scale.texts, condition), int(mask.sum())
        recalls.append(recall(hits, scale, mask))
        proof.figures[f"recall@10, {name}, {share}"] = recalls[-1]
        short = sum(len(one.ids) < min(K, matching) for one in hits)
        proof.expect(f"answers with fewer than k, {name}, {share}", short, 0)
        proof.expect(f"counted as matching, {name}, {share}", hits[0].matched, matching)
    proof.figures["least recall"] = min(recalls)
    proof.holds(f"recall@10 is at least {RECALL} everywhere", min(recalls) >= RECALL)


def prove_cost(part: LoadedGeneration, scale: Scale, proof: Proof) -> float:
    """CPU of a query with each filter remembered against that of one without, in alternating rounds."""
    ratios = {}
    for share, below in MATCHING.items():
        condition = attribute("share").between(less_than=below)
        part.search(scale.texts[:1], [K], [condition])
        rounds = [_round(part, scale.texts, condition, first=number % 2 == 0) for number in range(ROUNDS)]
        plain, filtered = (np.array(one) for one in zip(*rounds, strict=True))
        ratios[share] = float(np.median(filtered / plain))
        proof.figures[f"CPU µs a query at {share}"] = {
            "unfiltered": _interval(plain * 1e6),
            "filtered, remembered": _interval(filtered * 1e6),
            "ratio": _interval(filtered / plain),
            "first query with the filter": _interval([_cold(part, scale.texts, below, n) for n in range(ROUNDS)]),
        }
    proof.holds(f"CPU at 1 % is at most {CPU_RATIO} times unfiltered", ratios["1 %"] <= CPU_RATIO)
    return ratios["1 %"]


def _filters(scale: Scale) -> Iterator[tuple[str, str, Filter, NDArray[np.bool_]]]:
    for name, values in scale.attributes.items():
        for share, below in MATCHING.items():
            yield name, share, attribute(name).between(less_than=below), values < below


def _rows(scale: Scale) -> Iterator[Row]:
    columns = {name: values.tolist() for name, values in scale.attributes.items()}
    for number, vector in enumerate(scale.images):
        yield Row(f"{number:06d}", vector, b"", b"", {name: column[number] for name, column in columns.items()})


def ask(part: LoadedGeneration, texts: Vectors, condition: Filter | None) -> list[Hits]:
    """Returns the hits of each text, float32 [n, d], asked one by one."""
    return [part.search(query[None], [K], [condition])[0] for query in texts]


def _read(hits: Hits) -> tuple[list[int], list[float]]:
    return [int(one) for one in hits.ids], hits.scores.tolist()


def _brute_force(images: Vectors, rows: NDArray[np.int64], query: Vectors) -> tuple[list[int], list[float]]:
    """The best of the rows by scores in float64; those that float32 puts far behind are not looked at twice."""
    rough = images[rows] @ query
    floor = np.partition(rough, -min(K, len(rough)))[-min(K, len(rough))] - 1e-4
    rows = rows[rough >= floor]
    scores = (images[rows].astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    order = np.lexsort((rows, sort_keys(scores)))[:K]
    return rows[order].tolist(), scores[order].tolist()


def recall(hits: Sequence[Hits], scale: Scale, mask: NDArray[np.bool_]) -> float:
    """Returns the mean share of the best K of the images in the mask, bool [n], that was found."""
    rows = np.flatnonzero(mask)
    among, shares = scale.images[rows], []
    for query, one in zip(scale.texts, hits, strict=True):
        best = rows[np.argsort(-(among @ query), kind="stable")[:K]]
        shares.append(len(set(map(int, one.ids)) & set(best.tolist())) / len(best))
    return round(float(np.mean(shares)), 4)


def _round(part: LoadedGeneration, texts: Vectors, condition: Filter, *, first: bool) -> tuple[float, float]:
    """CPU seconds a query without and with the filter; which of the two comes first alternates."""
    spent = {}
    for filtered in (first, not first):
        began = time.process_time()
        ask(part, texts, condition if filtered else None)
        spent[filtered] = (time.process_time() - began) / len(texts)
    return spent[False], spent[True]


def _cold(part: LoadedGeneration, texts: Vectors, below: int, number: int) -> float:
    """CPU µs of a query with a filter that nobody has asked yet."""
    condition = attribute("share").between(-1 - number, below)
    began = time.process_time()
    ask(part, texts[:1], condition)
    return (time.process_time() - began) * 1e6


def _interval(values: Sequence[float] | NDArray[np.float64]) -> list[float]:
    """The median, between the quartiles."""
    return [round(float(one), 3) for one in np.percentile(values, [25, 50, 75])]
