"""A model and picture files as the subject: the encoder's own model, in this process, and an exact ranking."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.encoder.ports import Model
from services.pictures import prepare
from sightline.errors import InvalidArgument
from sightline.queries import ImageId, Part, Text
from training.evaluation.pictures import open_file, thumbnails
from training.evaluation.queries import Query
from training.evaluation.ranking import Pool
from training.evaluation.searching import WARM_UP, Found, Progress, Run

BATCH = 64
TIMED = 200
"""So many queries, from all over the set, are also asked one by one, to take their time."""

Vectors = NDArray[np.float32]
T = TypeVar("T")


def spread(items: Sequence[T], most: int) -> Sequence[T]:
    """At most so many of the items, evenly from all over them."""
    return [items[place * len(items) // most] for place in range(most)] if len(items) > most else items


class LocalModel:
    """Ranks picture files by a model.

    Args:
        model: as the encoder serves it; see services.encoder.model.load.
        files: where the pictures are, by id.
        progress: told how many pictures have been read; they are read when the first query is asked.
        pool: their vectors, where they are at hand.
    """

    def __init__(
        self,
        model: Model,
        files: Mapping[str, str],
        progress: Progress = lambda done, of: None,
        *,
        pool: Pool | None = None,
    ) -> None:
        self._model, self._files, self._progress, self._pool = model, dict(files), progress, pool

    @property
    def pool(self) -> Pool:
        """The pictures' vectors, which another model may share whose image tower is the same."""
        return self._encoded()

    def run(self, queries: Sequence[Query], depth: int, progress: Progress) -> Run:
        """See Subject.

        Raises:
            SightlineError: a picture cannot be read, or there are none.
        """
        pool, found = self._encoded(), list[Found]()
        # First, so that no text is one that the model has read before.
        times = self._times(queries, depth)
        began = time.monotonic()
        for start in range(0, len(queries), BATCH):
            questions, errors = self._questions(queries[start : start + BATCH])
            ranked = pool.search(questions, depth)
            found += [
                Found(error=error) if error else Found(*answer) for error, answer in zip(errors, ranked, strict=True)
            ]
            progress(len(found), len(queries))
        seconds = time.monotonic() - began
        card = self._model.card
        return Run(
            found=tuple(replace(one, ms=times.get(place)) for place, one in enumerate(found)),
            subject={"kind": "model", "model": {"name": card.name, "digest": card.digest, "dimension": card.dimension}},
            pool=len(pool.ids),
            queries_per_second=len(queries) / seconds,
            timing=f"in process: rate in batches of {BATCH}, latencies of {len(times)} queries asked alone first",
        )

    def pictures(self, ids: Sequence[str]) -> dict[str, bytes]:
        """See Subject: WebP of at most 256 pixels a side."""
        return thumbnails(self._files, ids)

    def _times(self, queries: Sequence[Query], depth: int) -> dict[int, float]:
        """Milliseconds of a sample, by place."""
        for greeting in WARM_UP:
            self._time(greeting, depth)
        return {place: self._time(queries[place], depth) for place in spread(range(len(queries)), TIMED)}

    def _time(self, query: Query, depth: int) -> float:
        began = time.monotonic()
        questions, _ = self._questions([query])
        list(self._encoded().search(questions, depth))
        return (time.monotonic() - began) * 1000

    def _questions(self, queries: Sequence[Query]) -> tuple[Vectors, list[str]]:
        """Unit vectors [n, d], and for each what is wrong with it, if anything."""
        terms = [query.terms or ((1.0, Text(query.text)),) for query in queries]
        words = dict.fromkeys(part.words for parts in terms for _, part in parts if isinstance(part, Text))
        vectors = dict(zip(words, self._texts(list(words)), strict=True))
        rows, errors = np.zeros((len(queries), self._model.card.dimension), np.float32), [""] * len(queries)
        for place, parts in enumerate(terms):
            try:
                rows[place] = np.sum([weight * self._vector(part, vectors) for weight, part in parts], axis=0)
            except KeyError as missing:
                errors[place] = f"there is no image {missing} in the pool"
                continue
            if not rows[place].any():
                errors[place] = "the terms cancel each other out"
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), errors

    def _vector(self, part: Part, texts: Mapping[str, Vectors]) -> Vectors:
        if isinstance(part, Text):
            return texts[part.words]
        assert isinstance(part, ImageId), "query sets know no other parts"
        return self._encoded()[part.id]

    def _texts(self, texts: Sequence[str]) -> Iterable[Vectors]:
        if not texts:
            return []
        return self._model.finish(self._model.run_texts(self._model.prepare_texts(texts)))

    def _encoded(self) -> Pool:
        if self._pool is None:
            if not self._files:
                raise InvalidArgument("there are no pictures to rank", field="images")
            self._pool = Pool(list(self._files), np.concatenate(list(self._encode())))
        return self._pool

    def _encode(self) -> Iterable[Vectors]:
        files = list(self._files.values())
        for start in range(0, len(files), BATCH):
            pixels = [prepare(open_file(file), self._model.card.preparation) for file in files[start : start + BATCH]]
            yield self._model.finish(self._model.run_images(pixels))
            self._progress(min(start + BATCH, len(files)), len(files))
