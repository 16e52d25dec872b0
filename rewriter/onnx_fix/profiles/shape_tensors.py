"""Inputs whose values, not only whose sizes, decide the sizes of other tensors.

TensorRT calls them shape tensors: an engine takes their values at build time as a range (min, opt
and max of every element) and at run time before it can say how large its tensors are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx import ModelProto, NodeProto, TensorProto

from onnx_fix.op_names import BROADCASTING, REARRANGING
from onnx_fix.verify.symbols import fed_inputs, input_dims, tensor_type

if TYPE_CHECKING:
    from onnx_fix.verify.tracing import Tracer

_DOMAINS = ("", "ai.onnx")

_DECIDES: dict[str, frozenset[int]] = {
    "AffineGrid": frozenset({1}),
    "BlackmanWindow": frozenset({0}),
    "CenterCropPad": frozenset({1}),
    "Col2Im": frozenset({1, 2}),
    "ConstantOfShape": frozenset({0}),
    "CumSum": frozenset({1}),
    "DFT": frozenset({1}),
    "Expand": frozenset({1}),
    "HammingWindow": frozenset({0}),
    "HannWindow": frozenset({0}),
    "Loop": frozenset({0}),
    "MaxUnpool": frozenset({2}),
    "OneHot": frozenset({1}),
    "Pad": frozenset({1, 3}),
    "Range": frozenset({0, 1, 2}),
    "Reshape": frozenset({1}),
    "Resize": frozenset({1, 2, 3}),
    "STFT": frozenset({1, 3}),
    "Slice": frozenset({1, 2, 3, 4}),
    "Split": frozenset({1}),
    "SplitToSequence": frozenset({1}),
    "Tile": frozenset({1}),
    "TopK": frozenset({1}),
    "Upsample": frozenset({1}),
}
"""The inputs of ops whose values decide the size of an output."""

_ARITHMETIC = (
    BROADCASTING
    | REARRANGING
    | {
        "Abs",
        "Cast",
        "Ceil",
        "Clip",
        "Concat",
        "CumSum",
        "Floor",
        "Mod",
        "Neg",
        "Not",
        "Range",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "Relu",
        "Round",
        "ScatterElements",
        "ScatterND",
        "Sign",
        "Sqrt",
    }
)
"""Ops that shapes are computed with; what any other op makes of a value is no shape."""

_INTEGERS = frozenset({TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL})


@dataclass(frozen=True, slots=True)
class ShapeInput:
    """An input whose values decide sizes, and the first node where they do.

    ``split`` says that its shape is dynamic too; ``obstacle`` why TensorRT cannot take it as a
    shape tensor, empty where it can.
    """

    name: str
    dims: tuple[int | str, ...] | None
    node: str
    op: str
    split: bool = False
    obstacle: str = ""

    @property
    def length(self) -> int | None:
        """How many values it has; None where that is not declared."""
        if self.dims is None or any(isinstance(d, str) for d in self.dims):
            return None
        size = 1
        for dim in self.dims:
            size *= int(dim)
        return size


def shape_inputs(model: ModelProto, *, fit: bool = False) -> dict[str, ShapeInput]:
    """The inputs whose values decide sizes, by name, in the order of the inputs.

    Values are followed through shape arithmetic, nested graphs and local functions.

    Args:
        model: The model; weights are not looked at.
        fit: Leave out those that TensorRT cannot take as shape tensors.
    """
    from onnx_fix.verify.tracing import Tracer

    found: dict[str, ShapeInput] = {}
    tracer: Tracer | None = None
    for value in fed_inputs(model):
        declared = tensor_type(value.type)
        if declared is None or value.type.WhichOneof("value") != "tensor_type":
            continue
        dims = input_dims(value)
        obstacle = _obstacle(dims, declared.elem_type)
        if fit and obstacle:
            continue
        tracer = tracer or Tracer(model)
        first = next(
            (node for node, place in tracer.readers(value.name, _onward) if _decides(node, place)),
            None,
        )
        if first is None:
            continue
        found[value.name] = ShapeInput(
            value.name,
            dims,
            first.name or first.output[0],
            first.op_type,
            split=dims is None or any(isinstance(d, str) for d in dims),
            obstacle=obstacle,
        )
    return found


def _onward(node: NodeProto, place: int) -> list[str]:
    """The outputs that hold what became of a value; none where it does not go on."""
    if node.domain not in _DOMAINS or node.op_type not in _ARITHMETIC:
        return []
    # What Reshape, Expand and Tile are told decides the size of their output, not its elements.
    blind = place > 0 and node.op_type in ("Reshape", "Expand", "Tile", "Split")
    return [] if blind else list(node.output)


def _decides(node: NodeProto, place: int) -> bool:
    if node.domain not in _DOMAINS or place not in _DECIDES.get(node.op_type, ()):
        return False
    # Of a Resize with two inputs (opset 10) the second has the scales; with more it is the roi.
    return not (node.op_type == "Resize" and place == 1 and len(node.input) > 2)


def _obstacle(dims: tuple[int | str, ...] | None, elem_type: int) -> str:
    if dims is None:
        return "its number of dims is not declared"
    if len(dims) > 1:
        return f"it has {len(dims)} dims, and a shape tensor has at most one"
    if elem_type not in _INTEGERS:
        name = TensorProto.DataType.Name(elem_type)
        return f"it is {name}, and the values of a profile are integers"
    if dims and isinstance(dims[0], str):
        return "it has a dynamic length, and a shape tensor has a fixed one"
    return ""
