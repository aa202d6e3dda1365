"""A model's two towers as ONNX graphs, whose weights lie in a file of safetensors beside them."""

from __future__ import annotations

import json
import logging
import struct
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import onnx_ir as ir
import torch
from onnx_ir.passes import common as passes
from onnxscript.optimizer import fold_constants_ir
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from services.encoder.cutting import CausalText
from services.encoder.exported import IMAGE_GRAPH, TEXT_GRAPH
from services.encoder.model import OpenClipModel

OPSET = 20
WEIGHTS_FILE = "weights.safetensors"
SOURCE_WEIGHTS = "open_clip_model.safetensors"

Kept = Literal["single", "half", "int8"]
"""How weights lie in the file: as they are, in half precision, or as bytes with a scale for each row."""

_KINDS = {
    torch.float32: ir.DataType.FLOAT,
    torch.float16: ir.DataType.FLOAT16,
    torch.int8: ir.DataType.INT8,
    torch.int64: ir.DataType.INT64,
}
_NAMES = {"F32": torch.float32, "F16": torch.float16, "I8": torch.int8, "I64": torch.int64}
_SCALE = ".scale"
# The graphs' modules hold the model under this name.
_PREFIX = "model."


class CutTextTower(nn.Module):
    """Ids, int64 [n, length], and their ends, int64 [n], to unit vectors [n, d]."""

    def __init__(self, model: Any, causal: CausalText) -> None:
        super().__init__()
        self.model, self._causal = model, causal

    def forward(self, tokens: Tensor, ends: Tensor) -> Tensor:
        """See above."""
        return normalize(self._causal(tokens, ends), dim=-1)


class PaddedTextTower(nn.Module):
    """Ids with their padding, int64 [n, context], to unit vectors [n, d]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        """See above."""
        return normalize(self.model.encode_text(tokens), dim=-1)


class ImageTower(nn.Module):
    """Prepared pictures, uint8 [n, height, width, 3], to unit vectors [n, d]."""

    def __init__(self, model: Any, preprocess: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.mean, self.std = (nn.Buffer(torch.tensor(preprocess[key])) for key in ("mean", "std"))

    def forward(self, pixels: Tensor) -> Tensor:
        """See above."""
        pictures = (pixels.float() / 255 - self.mean) / self.std
        return normalize(self.model.encode_image(pictures.permute(0, 3, 1, 2)), dim=-1)


def write_graphs(model: OpenClipModel, context: int, folder: Path, *, half: bool) -> Path:
    """Writes both towers, and their weights where the folder has no file with these; returns the file of weights.

    Args:
        model: on the CPU.
        context: ids of a text with its padding.
        folder: where to.
        half: whether weights are kept in half precision; they are computed with in single precision all the same.
    """
    towers = {TEXT_GRAPH: _trace_text(model, context), IMAGE_GRAPH: trace_images(model)}
    return write_towers(towers, model.module.state_dict(), folder, "half" if half else "single")


def write_towers(towers: Mapping[str, ir.Model], state: Mapping[str, Tensor], folder: Path, kept: Kept) -> Path:
    """Writes graphs, and their weights where the folder has no file with these; returns the file of weights.

    Args:
        towers: by the names of their files; they are changed.
        state: weights by the names that the graphs have for them.
        folder: where to.
        kept: how weights lie in the file; they are computed with in single precision all the same.
    """
    used = {name for tower in towers.values() for name in _weights_of(tower, state)}
    weights = _find_weights({name: state[name] for name in sorted(used)}, folder, kept)
    places = places_in(weights)
    for name, tower in towers.items():
        _point(tower, state, weights.name, places)
        _forget_origins(tower)
        ir.save(tower, folder / name)
    return weights


def places_in(file: Path) -> dict[str, tuple[torch.dtype, int, int]]:
    """Returns where each tensor of a safetensors file lies: its type, its first byte and how many there are."""
    with file.open("rb") as opened:
        [size] = struct.unpack("<Q", opened.read(8))
        header = json.loads(opened.read(size))
    return {
        name: (
            _NAMES[said["dtype"]],
            8 + size + said["data_offsets"][0],
            said["data_offsets"][1] - said["data_offsets"][0],
        )
        for name, said in header.items()
        if name != "__metadata__" and said["dtype"] in _NAMES
    }


def _trace_text(model: OpenClipModel, context: int) -> ir.Model:
    count = torch.export.Dim("texts")
    if model.causal is None:
        tokens = torch.ones(3, context, dtype=torch.int64)
        return _trace(PaddedTextTower(model.module), {"tokens": tokens}, [{0: count}])
    return trace_cut(CutTextTower(model.module, model.causal), model.causal.ends.context)


def trace_cut(tower: nn.Module, context: int) -> ir.Model:
    """The graph of a text tower that is handed ids without padding, int64 [n, length], and their ends, int64 [n].

    Its weights have the names that they have in `tower.model`.
    """
    count, length = torch.export.Dim("texts"), torch.export.Dim("length", min=2, max=context)
    given = {"tokens": torch.ones(3, 5, dtype=torch.int64), "ends": torch.full((3,), 5)}
    return _trace(tower, given, [{0: count, 1: length}, {0: count}])


def trace_images(model: OpenClipModel) -> ir.Model:
    """The graph of a model's picture tower, which prepares pictures too."""
    shape = model.card.preparation
    pixels = torch.zeros(3, shape.height, shape.width, 3, dtype=torch.uint8)
    return _trace(ImageTower(model.module, model.preprocess), {"pixels": pixels}, [{0: torch.export.Dim("pictures")}])


def _trace(tower: nn.Module, given: dict[str, Tensor], dynamic: list[dict[int, Any]]) -> ir.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("onnxscript").setLevel(logging.ERROR)
        program = torch.onnx.export(
            tower.eval(),
            tuple(given.values()),
            input_names=list(given),
            output_names=["vectors"],
            opset_version=OPSET,
            dynamic_shapes=tuple(dynamic),
            dynamo=True,
            optimize=False,
            verbose=False,
        )
        assert program is not None
    return _simplify(program.model)


def _simplify(tower: ir.Model) -> ir.Model:
    """Works out what is known: shapes, above all. Weights stay as they are, for they lie in the file as they are; the
    session works out what depends on them alone."""
    passes.InlinePass()(tower)
    tower.functions.clear()
    for _ in range(2):
        fold_constants_ir(tower, should_fold=_without_weights)
        passes.RemoveUnusedNodesPass()(tower)
    for step in (
        passes.RemoveUnusedOpsetsPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.CommonSubexpressionEliminationPass(),
    ):
        step(tower)
    return tower


def _without_weights(node: ir.Node) -> bool | None:
    """False for what must not be worked out, None where the library may decide."""
    names = [str(value.name) for value in node.inputs if value is not None]
    return False if any(name.startswith(_PREFIX) for name in names) else None


def _weights_of(tower: ir.Model, state: Mapping[str, Tensor]) -> list[str]:
    """The initialisers that are weights of the model as they are, by its own names for them."""
    names = (name.removeprefix(_PREFIX) for name in tower.graph.initializers if name.startswith(_PREFIX))
    return [name for name in names if name in state]


def _find_weights(wanted: Mapping[str, Tensor], folder: Path, kept: Kept) -> Path:
    """The model's own file, where the graphs are to lie beside it and it holds these very numbers; else a new file."""
    own = folder / SOURCE_WEIGHTS
    if own.is_file() and kept != "int8" and _holds(own, wanted):
        return own
    file = folder / WEIGHTS_FILE
    save_file({name: part for whole, tensor in wanted.items() for name, part in _kept(whole, tensor, kept)}, file)
    # safetensors keeps its files to their owner; a served model is read by others.
    file.chmod(0o644)
    return file


def _holds(file: Path, wanted: Mapping[str, Tensor]) -> bool:
    with safe_open(file, framework="pt") as opened:
        names = set(opened.keys())
        return all(name in names and _equal(opened.get_tensor(name), tensor) for name, tensor in wanted.items())


def _equal(found: Tensor, wanted: Tensor) -> bool:
    return found.dtype in _KINDS and torch.equal(found.to(wanted.dtype), wanted)


def _kept(name: str, tensor: Tensor, kept: Kept) -> Iterator[tuple[str, Tensor]]:
    """What a weight is in the file, by name: itself, or its bytes and their scales."""
    if kept == "int8" and tensor.is_floating_point() and tensor.ndim > 1:
        # Symmetric, with a scale for each row: for each output of linear layers and convolutions, each id of a table.
        scale = tensor.float().abs().amax(dim=tuple(range(1, tensor.ndim)), keepdim=True).clamp(min=1e-12) / 127
        yield name, (tensor / scale).round().to(torch.int8).contiguous()
        yield name + _SCALE, scale
    else:
        # A copy: weights that two names share cannot be kept as such.
        yield name, (tensor.half() if kept == "half" and tensor.is_floating_point() else tensor).clone().contiguous()


def _point(
    tower: ir.Model, state: Mapping[str, Tensor], file: str, places: Mapping[str, tuple[torch.dtype, int, int]]
) -> None:
    """Lets the weights of a graph be those in the file; what is kept otherwise becomes single precision, as plain
    operators on constants, when a session is made."""
    graph = tower.graph

    def lying(name: str, called: str, shape: ir.Shape) -> ir.Value:
        kind, start, size = places[name]
        outside = ir.ExternalTensor(file, start, size, _KINDS[kind], shape=shape, name=called)
        return ir.Value(name=called, shape=shape, type=ir.TensorType(_KINDS[kind]), const_value=outside)

    for name in _weights_of(tower, state):
        value, shape = graph.initializers[_PREFIX + name], ir.Shape(state[name].shape)
        if places[name][0] == state[name].dtype:
            value.const_value = lying(name, _PREFIX + name, shape).const_value
            continue
        del graph.initializers[_PREFIX + name]
        graph.register_initializer(kept := lying(name, f"{name}.kept", shape))
        steps = [ir.node("Cast", [kept], {"to": ir.DataType.FLOAT})]
        if name + _SCALE in places:
            rows = ir.Shape([shape[0], *[1] * (len(shape) - 1)])
            graph.register_initializer(scale := lying(name + _SCALE, name + _SCALE, rows))
            steps.append(ir.node("Mul", [steps[0].outputs[0], scale]))
            steps[0].outputs[0].name = f"{name}.whole"
        steps[-1].outputs[0].name = f"{name}.single"
        ir.convenience.replace_all_uses_with(value, steps[-1].outputs[0])
        graph.insert_before(graph[0], steps)


def _forget_origins(tower: ir.Model) -> None:
    """Takes out where in which file of which machine each part of the graph comes from."""
    tower.metadata_props.clear()
    tower.graph.metadata_props.clear()
    for part in [*tower.graph, *tower.functions.values()]:
        part.metadata_props.clear()
        part.doc_string = None
    for node in tower.graph:
        for value in node.outputs:
            value.metadata_props.clear()
    for value in [*tower.graph.inputs, *tower.graph.initializers.values()]:
        value.metadata_props.clear()
