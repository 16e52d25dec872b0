"""What the nodes of a graph ask of the integers that reach them.

ONNX says which inputs of an operator are indices, counts, axes or shapes (Operators.md, the input
descriptions of each operator). A value outside the range makes a runtime fail, so random feeds
must keep to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import onnx

Kind = Literal[
    "index", "index_nd", "count", "range", "mask", "axes", "reshape", "expand", "split", "scales"
]


@dataclass(frozen=True, slots=True)
class Demand:
    """One demand on a value.

    ``index``: in [0, D) with D the size of ``axis`` of the tensor ``data``; ``count``: in [1, D].
    ``index_nd``: as GatherND indexes ``data`` after ``axis`` batch axes, in [0, smallest D).
    ``range``: in [low, high). ``mask``: 0 or 1. ``axes``: 0, 1, 2, ... ``reshape``, ``expand`` and
    ``split``: a vector that fits the shape of ``data`` (for split: of its ``axis``).
    ``scales``: positive factors. ``distinct``: the operator leaves equal indices undefined.
    """

    kind: Kind
    data: str = ""
    axis: int = 0
    low: int = 0
    high: int = 0
    distinct: bool = False


def attribute_int(node: onnx.NodeProto, name: str, default: int) -> int:
    """Return an int attribute of ``node``, or ``default``."""
    for attribute in node.attribute:
        if attribute.name == name and attribute.type == onnx.AttributeProto.INT:
            return int(attribute.i)
    return default


def _along(
    kind: Kind, data: int, attribute: str = "axis", default: int = 0, distinct: bool = False
) -> Callable[[onnx.NodeProto], Demand]:
    return lambda node: Demand(
        kind, node.input[data], attribute_int(node, attribute, default), distinct=distinct
    )


def _between(low: int, high: int) -> Callable[[onnx.NodeProto], Demand]:
    return lambda node: Demand("range", low=low, high=high)


def _simple(kind: Kind) -> Callable[[onnx.NodeProto], Demand]:
    return lambda node: Demand(kind, node.input[0])


def _sequence_lengths(node: onnx.NodeProto) -> Demand:
    return Demand("count", node.input[0], 1 if attribute_int(node, "layout", 0) else 0)


_AXES = _simple("axes")
_SMALL = _between(1, 4)
_POSITIVE = _between(1, 10)
_ZERO = _between(0, 1)

_SINKS: dict[tuple[str, int], Callable[[onnx.NodeProto], Demand]] = {
    ("Gather", 1): _along("index", 0),
    ("GatherElements", 1): _along("index", 0),
    ("GatherElementsPlugin", 1): _along("index", 0),
    ("Scatter", 1): _along("index", 0, distinct=True),
    ("ScatterElements", 1): _along("index", 0, distinct=True),
    ("GatherND", 1): _along("index_nd", 0, "batch_dims"),
    ("ScatterND", 1): _along("index_nd", 0, "", distinct=True),
    ("EmbedLayerNormalization", 0): _along("index", 2, ""),
    ("EmbedLayerNormalization", 1): _along("index", 4, ""),
    ("NegativeLogLikelihoodLoss", 1): lambda node: Demand("index", node.input[0], 1),
    ("SoftmaxCrossEntropyLoss", 1): lambda node: Demand("index", node.input[0], 1),
    ("ArrayFeatureExtractor", 1): lambda node: Demand("index", node.input[0], -1),
    ("RoiAlign", 2): lambda node: Demand("index", node.input[0], 0),
    ("RotaryEmbedding", 3): lambda node: Demand("index", node.input[1], 0),
    ("TensorScatter", 2): _between(0, 1),
    ("ReverseSequence", 1): _along("count", 0, "time_axis"),
    ("RNN", 4): _sequence_lengths,
    ("GRU", 4): _sequence_lengths,
    ("LSTM", 4): _sequence_lengths,
    ("TopK", 1): _along("count", 0, default=-1),
    ("OneHot", 0): _between(0, 5),
    ("OneHot", 1): _between(5, 9),
    ("Reshape", 1): _simple("reshape"),
    ("Expand", 1): _simple("expand"),
    ("Split", 1): _along("split", 0),
    ("SplitToSequence", 1): _along("split", 0),
    ("ConstantOfShape", 0): _between(1, 6),
    ("Tile", 1): _SMALL,
    ("Range", 0): _between(0, 3),
    ("Range", 1): _between(5, 10),
    ("Range", 2): _between(1, 3),
    ("Loop", 0): _SMALL,
    ("Slice", 1): _between(0, 2),
    ("Slice", 2): _between(2, 6),
    ("Slice", 3): _AXES,
    ("Slice", 4): _between(1, 3),
    ("Pad", 1): _between(0, 2),
    ("Pad", 3): _AXES,
    ("Resize", 2): _simple("scales"),
    ("Resize", 3): _between(4, 12),
    ("Upsample", 1): _simple("scales"),
    ("Squeeze", 1): _AXES,
    ("Unsqueeze", 1): _AXES,
    ("CumSum", 1): _ZERO,
    ("CumProd", 1): _ZERO,
    ("Col2Im", 1): _between(4, 7),
    ("Col2Im", 2): _between(1, 3),
    ("CenterCropPad", 1): _between(1, 6),
    ("DFT", 1): _POSITIVE,
    ("DFT", 2): _between(0, 2),
    ("STFT", 1): _SMALL,
    ("STFT", 3): _between(2, 5),
    ("HannWindow", 0): _POSITIVE,
    ("HammingWindow", 0): _POSITIVE,
    ("BlackmanWindow", 0): _POSITIVE,
    ("Trilu", 1): _between(-1, 3),
    ("SequenceAt", 1): _ZERO,
    ("SequenceErase", 1): _ZERO,
    ("SequenceInsert", 2): _ZERO,
    ("NonMaxSuppression", 2): _POSITIVE,
    ("Div", 1): _POSITIVE,
    ("Mod", 1): _POSITIVE,
    ("BitShift", 1): _between(0, 5),
}
# Resize without an roi input (opset 10) has its scales at position 1, as Upsample has.
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "trt.plugins", "com.microsoft")


def demand(node: onnx.NodeProto, position: int) -> Demand | None:
    """Return what ``node`` asks of its input at ``position``, or None where any value will do."""
    if node.domain not in _DOMAINS:
        return None
    if position == 1 and node.op_type.startswith("Reduce"):
        return Demand("axes", node.input[0])
    if node.op_type == "Resize" and len(node.input) == 2:
        return Demand("scales") if position == 1 else None
    maker = _SINKS.get((node.op_type, position))
    return maker(node) if maker else None


# Outputs that hold nothing but elements of the listed inputs (None: of any input).
_CARRIERS: dict[str, tuple[int, ...] | None] = {
    "CastLike": (0,),
    "Clip": (0,),
    "Compress": (0,),
    "Concat": None,
    "ConcatFromSequence": None,
    "DepthToSpace": None,
    "Dropout": (0,),
    "Expand": (0,),
    "Flatten": None,
    "Floor": None,
    "Gather": (0,),
    "GatherElements": (0,),
    "GatherElementsPlugin": (0,),
    "GatherND": (0,),
    "Identity": None,
    "Max": None,
    "Min": None,
    "Optional": None,
    "OptionalGetElement": None,
    "Pad": (0,),
    "ReduceMax": (0,),
    "ReduceMin": (0,),
    "Reshape": (0,),
    "Round": None,
    "ScatterElements": (0, 2),
    "ScatterND": (0, 2),
    "SequenceAt": (0,),
    "SequenceConstruct": None,
    "SequenceInsert": (0, 1),
    "Slice": (0,),
    "SpaceToDepth": None,
    "Split": (0,),
    "SplitToSequence": (0,),
    "Squeeze": (0,),
    "Tile": (0,),
    "TopK": (0,),
    "Transpose": None,
    "Trilu": (0,),
    "Unique": (0,),
    "Unsqueeze": (0,),
    "Where": (1, 2),
}


def carries(node: onnx.NodeProto, position: int) -> bool:
    """Whether the first output of ``node`` holds elements of input ``position`` as they are."""
    if node.domain not in _DOMAINS:
        return False
    if node.op_type == "Cast":
        return attribute_int(node, "to", 0) != onnx.TensorProto.BOOL
    positions = _CARRIERS.get(node.op_type, ())
    return positions is None or position in positions


VALUE_BLIND = frozenset(
    {"Shape", "Size", "OptionalHasElement", "SequenceLength", "RandomNormalLike"}
)
"""Operators whose outputs do not depend on the values of their inputs."""
