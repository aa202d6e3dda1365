"""A student's folder: an export, which the encoder runs by onnxruntime."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from services.encoder.exported import EXPORT_FILE, IMAGE_GRAPH, TEXT_GRAPH, Export, TokenizerFile, digest_of
from services.encoder.model import OpenClipModel
from services.encoder.onnx_model import OnnxModel
from services.encoder.sources import CARD_FILE
from services.encoder.tokens import runs
from training.distilling.tower import PieceTower
from training.export import SAMPLES, ExportError, distance_of, vectors_of_noise
from training.graphs import OPSET, Kept, trace_cut, trace_images, write_towers

FARTHEST = {"single": 1e-6, "half": 1e-3, "int8": 5e-2}
"""1 - cos that a vector may be away from the one that was trained, by how weights are kept."""


class _Served(nn.Module):
    """The tower under the name by which graphs find their weights."""

    def __init__(self, tower: PieceTower) -> None:
        super().__init__()
        self.model = tower

    def forward(self, tokens: Tensor, ends: Tensor) -> Tensor:
        found: Tensor = self.model(tokens, ends)
        return found


def write_student(
    tower: PieceTower,
    teacher: OpenClipModel,
    tokenizer: TokenizerFile,
    folder: Path,
    *,
    merges: Path,
    about: Mapping[str, Any],
    kept: Kept,
) -> Export:
    """Writes the student's text tower beside the teacher's picture tower, and returns what the export says of itself.

    Args:
        tower: trained.
        teacher: on the CPU.
        tokenizer: of the student.
        folder: made where it is missing.
        merges: the tokenizer's file.
        about: goes into the card.
        kept: how weights are kept.

    Raises:
        ExportError: what was written does not compute what was trained.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Last to come and first to go: a folder that has it is whole.
    (folder / EXPORT_FILE).unlink(missing_ok=True)
    copyfile(merges, folder / tokenizer.file)
    card = teacher.card
    known = {"name": folder.name, "scope": card.scope, "scope_note": card.scope_note}
    text = json.dumps({**known, "casefold": teacher.source.casefold, **about}, indent=2, ensure_ascii=False)
    (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")
    tower.eval()
    towers = {TEXT_GRAPH: trace_cut(_Served(tower), tokenizer.context), IMAGE_GRAPH: trace_images(teacher)}
    weights = write_towers(towers, {**teacher.module.state_dict(), **tower.state_dict()}, folder, kept)
    deciding = {name: digest_of(folder / name) for name in sorted({*towers, weights.name, tokenizer.file})}
    facts = {
        "opset": OPSET,
        "dimension": card.dimension,
        "scope": card.scope,
        "scope_note": card.scope_note,
        "casefold": teacher.source.casefold,
        "pictures": asdict(card.preparation),
        "tokenizer": tokenizer.model_dump(),
        "cut": {"context": tokenizer.context, "vocabulary": tower.table.num_embeddings, "eos": None},
    }
    files = {**deciding, CARD_FILE: digest_of(folder / CARD_FILE)}
    named = {"name": folder.name, "digest": _digest({**facts, "files": deciding}), "files": files}
    said = Export.model_validate({**facts, **named})
    _compare(tower, teacher, OnnxModel(folder, said), FARTHEST[kept])
    (folder / EXPORT_FILE).write_text(said.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return said


def _digest(deciding: Mapping[str, Any]) -> str:
    """Of all that decides a vector, wherever the files lie: what they are called for people is no part of it."""
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


@torch.inference_mode()
def _compare(tower: PieceTower, teacher: OpenClipModel, ours: OnnxModel, farthest: float) -> None:
    if not ours.cuts:
        raise ExportError("what stands after the end of a text changes its vector")
    ids = ours.prepare_texts(SAMPLES)
    texts = np.empty((len(ids), teacher.card.dimension), dtype=np.float32)
    for places, rows, ends in runs(ids, call_cost=0):
        texts[places] = tower(torch.from_numpy(rows), torch.from_numpy(ends)).numpy()
    away = distance_of(texts, ours.finish(ours.run_texts(ids)))
    distance = max(away, distance_of(vectors_of_noise(teacher), vectors_of_noise(ours)))
    if not distance <= farthest:
        raise ExportError(f"onnxruntime computes other vectors than were trained: 1 - cos is {distance:.1e}")
