"""Scatter ops: reductions, which opset 16 and 18 brought, and those that did not exist.

A reduction is a Loop over parts of the updates that hold no place twice: gather, combine, scatter.
The order is that of the updates.
"""

from __future__ import annotations

from typing import Any

from onnx import NodeProto, TensorProto, helper

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._positions import INT64, flat_index, int64, width_of, wrapped
from onnx_fix.lower.rules._steps import (
    counting,
    dims_of,
    integer,
    keep,
    known_dtype,
    known_rank,
    same,
    schema_below,
    squeeze,
    unsqueeze,
)

_COMBINE = {"add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}


def _scatter_nd(low: LowNode) -> list[NodeProto]:
    """11 to 10: Scatter into the data as a matrix, its indexed axes the rows."""
    width = width_of(low, 1)
    if width == 0:
        raise Refused("ScatterND with indices of no entries has no equivalent before opset 11")
    rank = known_rank(low, 0)
    one = low.const([1], INT64)
    rows, columns = one, one
    for axis in range(rank):
        size = dims_of(low, low.input(0), [axis])
        if axis < width:
            rows = low.add("Mul", rows, size)
        else:
            columns = low.add("Mul", columns, size)
    flat = low.add("Reshape", flat_index(low, low.input(1), width), low.const([-1, 1], INT64))
    count = dims_of(low, flat, [0])
    table = low.add("Reshape", low.input(0), low.add("Concat", rows, columns, axis=0))
    shape = low.add("Concat", count, columns, axis=0)
    updates = low.add("Reshape", low.input(2), shape)
    places = low.add("Expand", flat, shape)
    scattered = low.add("Scatter", table, places, updates, axis=0)
    shape = low.add("Shape", low.input(0))
    return low.result(low.copy(op="Reshape", inputs=[scattered, shape]))


def _scatter_elements(low: LowNode) -> list[NodeProto]:
    """11 to 10: Scatter has the meaning, for indices from the front."""
    axis = integer(low, "axis", 0)
    if axis < 0:
        axis += known_rank(low, 0)
    size = dims_of(low, low.input(0), [axis])
    indices = wrapped(low, int64(low, 1), size)
    return low.result(
        low.copy(op="Scatter", inputs=[low.input(0), indices, low.input(2)], axis=axis)
    )


def tensor_scatter(low: LowNode) -> list[NodeProto]:
    """24 to 23: ScatterElements along the axis, at the write index of the batch and on."""
    rank = known_rank(low, 0)
    axis = integer(low, "axis", -2) % rank
    if axis == 0:
        raise Refused("TensorScatter along the batch axis is not defined")
    steps = counting(low, dims_of(low, low.input(1), [axis]))
    places = unsqueeze(low, steps, [i for i in range(rank) if i != axis])
    if low.input(2):
        begins = unsqueeze(low, int64(low, 2), range(1, rank))
        places = low.add("Add", places, begins)
    if low.attr("mode", "linear") == "circular":
        places = low.add("Mod", places, dims_of(low, low.input(0), [axis]))
    places = low.add("Expand", places, low.add("Shape", low.input(1)))
    node = low.copy(
        op="ScatterElements", inputs=[low.input(0), places, low.input(1)], drop=["mode"], axis=axis
    )
    return low.result(node)


def _reduced(low: LowNode) -> list[NodeProto]:
    """16 to 13 and 18 to 16: reductions that did not exist, as a Loop."""
    reduction = str(low.attr("reduction", "none"))
    known = ("none", "add", "mul") if low.opset == 18 else ("none",)
    if reduction in known:
        return keep(low, drop=[] if low.opset == 18 else ["reduction"])
    if reduction not in _COMBINE:
        raise Refused(f"{low.op} has no reduction {reduction} before opset {low.opset}")
    return _combined(low, _COMBINE[reduction])


def _combined(low: LowNode, combine: str) -> list[NodeProto]:
    elements, dtype = low.op == "ScatterElements", known_dtype(low, 0)
    if dtype in (TensorProto.BOOL, TensorProto.STRING):
        raise Refused(f"{low.op} with a reduction of such a type has no equivalent")
    schema_below(low)
    indices, updates = low.input(1), low.input(2)
    if elements:
        axis = integer(low, "axis", 0) % known_rank(low, 0)
    else:
        axis = 0
        width = width_of(low, 1)
        if width == 0:
            raise Refused("ScatterND with indices of no entries has no equivalent")
        indices = low.add("Reshape", indices, low.const([-1, width], INT64))
        shape = low.const([-1], INT64)
        rank = known_rank(low, 0)
        if width < rank:
            rows = dims_of(low, indices, [0])
            tail = dims_of(low, low.input(0), range(width, rank))
            shape = low.add("Concat", rows, tail, axis=0)
        updates = low.add("Reshape", updates, shape)
    count = squeeze(low, dims_of(low, indices, [axis]), [0])
    yes = low.const(True)
    one = helper.make_tensor("value", INT64, [1], [1])
    name = {
        n: low.fresh(f"{low.proto.output[0]}/{n}")
        for n in ("step", "go", "data", "one", "at", "index", "update", "old", "new", "on", "next")
    }
    gather = "GatherElements" if elements else "GatherND"
    place: dict[str, Any] = {"axis": axis} if elements else {}
    nodes = [
        helper.make_node("Constant", [], [name["one"]], value=one),
        helper.make_node("Reshape", [name["step"], name["one"]], [name["at"]]),
        helper.make_node("Gather", [indices, name["at"]], [name["index"]], axis=axis),
        helper.make_node("Gather", [updates, name["at"]], [name["update"]], axis=axis),
        helper.make_node(gather, [name["data"], name["index"]], [name["old"]], **place),
        helper.make_node(combine, [name["old"], name["update"]], [name["new"]]),
        helper.make_node(
            low.op, [name["data"], name["index"], name["new"]], [name["next"]], **place
        ),
        helper.make_node("Identity", [name["go"]], [name["on"]]),
    ]
    for node in nodes:
        node.name = node.output[0]
    info = helper.make_tensor_value_info
    shape_of = low.types(low.input(0)).shape
    body = helper.make_graph(
        nodes,
        name["next"],
        [
            info(name["step"], INT64, []),
            info(name["go"], TensorProto.BOOL, []),
            info(name["data"], dtype, shape_of),
        ],
        [info(name["on"], TensorProto.BOOL, []), info(name["next"], dtype, shape_of)],
    )
    drop = [a.name for a in low.proto.attribute]
    return low.result(low.copy(op="Loop", inputs=[count, yes, low.input(0)], drop=drop, body=body))


RULES: dict[tuple[str, int], Rule] = {
    ("Scatter", 11): same(),
    **{
        (op, version): rule
        for op in ("ScatterElements", "ScatterND")
        for version, rule in ((18, _reduced), (16, _reduced), (13, same(widen=True)))
    },
    ("ScatterElements", 11): _scatter_elements,
    ("ScatterND", 11): _scatter_nd,
    ("TensorScatter", 24): tensor_scatter,
}
