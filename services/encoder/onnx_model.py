"""An exported model, run by onnxruntime on a CPU. See training/export.py for what writes one."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from services.encoder.ends import Ends, Rows
from services.encoder.exported import IMAGE_GRAPH, TEXT_GRAPH, Export, read
from services.encoder.ports import Card, Ids, Vectors
from services.encoder.sources import LoadError
from services.encoder.tokenizer import load_tokenizer
from services.encoder.tokens import Tokens, runs
from services.pictures import Pixels, Preparation

log = logging.getLogger("sightline.encoder")

# What a pass through the text tower costs beyond its tokens, in tokens. See services/encoder/model.py.
CALL_COST = 16


@dataclass(frozen=True, slots=True)
class _Computed:
    vectors: Vectors
    order: Sequence[int]


class OnnxModel:
    """A services.encoder.ports.Model over onnxruntime, in single precision.

    Args:
        folder: of the export.
        said: what it says of itself.
        threads: CPU threads for one batch; 0: one a core.
        remembered_texts: how many texts' tokens to remember.
    """

    lanes = 1

    def __init__(self, folder: Path, said: Export, *, threads: int = 0, remembered_texts: int = 65_536) -> None:
        self._text, self._image = (_session(folder / name, threads) for name in (TEXT_GRAPH, IMAGE_GRAPH))
        self._ends = Ends(**said.cut.model_dump()) if said.cut else None
        self.cuts = self._ends is not None and self._ends.is_exact(self._vectors, self._vectors)
        """Whether texts are computed without their padding, which was then proven to be exact."""
        self._tokens = Tokens(
            load_tokenizer(folder, said.tokenizer),
            self._ends if self.cuts else None,
            casefold=said.casefold,
            capacity=remembered_texts,
        )
        preparation = Preparation(**said.pictures.model_dump())
        self.card = Card(said.name, said.digest, said.dimension, preparation, said.scope, said.scope_note)
        log.info("%s by onnxruntime, texts %s", said.name, "cut at their end" if self.cuts else "padded")

    def prepare_texts(self, texts: Sequence[str]) -> list[Ids]:
        """See Model."""
        return self._tokens(texts)

    def run_texts(self, batch: Sequence[Ids]) -> _Computed:
        """See Model."""
        order: list[int] = []
        vectors = []
        for places, rows, _ in runs(batch, CALL_COST):
            order += places
            vectors.append(self._vectors(rows))
        return _Computed(np.concatenate(vectors), order)

    def run_images(self, batch: Sequence[Pixels]) -> _Computed:
        """See Model."""
        [vectors] = self._image.run(None, {"pixels": np.stack(batch)})
        return _Computed(vectors, range(len(batch)))

    def finish(self, raw: _Computed) -> Vectors:
        """See Model."""
        vectors = np.empty_like(raw.vectors)
        vectors[list(raw.order)] = raw.vectors
        return vectors

    def _vectors(self, rows: Rows, ends: Rows | None = None) -> Vectors:
        given = {"tokens": rows}
        if self._ends is not None:
            given["ends"] = self._ends(rows) if ends is None else ends
        [vectors] = self._text.run(None, given)
        return np.asarray(vectors, dtype=np.float32)


def load(model: str, pretrained: str = "", *, threads: int = 0, remembered_texts: int = 65_536) -> OnnxModel:
    """Loads the export in a folder.

    Args:
        model: the folder.
        pretrained: nothing: an export brings its weights.
        threads: CPU threads for one batch; 0: one a core.
        remembered_texts: how many texts' tokens to remember.

    Raises:
        LoadError: there is no export, or its files do not fit together.
    """
    if pretrained:
        raise LoadError(f"{model} brings its own weights; leave pretrained empty")
    folder = Path(model)
    said = read(folder)
    try:
        return OnnxModel(folder, said, threads=threads, remembered_texts=remembered_texts)
    except Exception as error:  # it fails in as many ways as there are files
        raise LoadError(f"onnxruntime cannot load {folder}: {error}") from error


def _session(graph: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    options.log_severity_level = 3
    # Threads that wait for work would spin, which costs whoever shares the cores more than it gains us.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Patterns of memory are remembered by shape, and texts have many.
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
