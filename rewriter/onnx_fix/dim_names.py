"""The symbols of dims, and names that are none."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import ModelProto, TensorShapeProto

PLACEHOLDERS = frozenset({"?", "*", "-1", "None"})
"""What exporters write for every dim that they know nothing of: PaddlePaddle ``?``, Keras ``None``.

ONNX says that dims of one name have one size, which is not meant here: height and width of an image
are both called so. They are taken for dims without a name.
"""


def symbol_of(dim: TensorShapeProto.Dimension) -> str:
    """The symbol of a dim; empty where it is a number or has no name."""
    name: str = dim.dim_param
    return "" if name in PLACEHOLDERS else name


def placeholders(model: ModelProto) -> Iterator[tuple[str, int, TensorShapeProto.Dimension]]:
    """The dims of inputs that a placeholder names: input, axis and dim."""
    for value in model.graph.input:
        if value.type.WhichOneof("value") != "tensor_type":
            continue
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param in PLACEHOLDERS:
                yield value.name, axis, dim


def shared_placeholders(model: ModelProto) -> dict[str, list[str]]:
    """The placeholders that stand for several dims of the inputs, with the dims as INPUT:AXIS."""
    found: dict[str, list[str]] = {}
    for name, axis, dim in placeholders(model):
        found.setdefault(dim.dim_param, []).append(f"{name}:{axis}")
    return {name: places for name, places in found.items() if len(places) > 1}
