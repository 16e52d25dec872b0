"""Clip, TopK, Dropout, Gemm: bounds, counts and ratios that were attributes."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from onnx_fix.lower.node import LowNode, Refused, Rule, make_attribute
from onnx_fix.lower.rules._steps import integer, known_dtype, reduce_mean, select
from onnx_fix.lower.rules._types import FLOATS, INTEGERS, WIDER_FLOAT, takes, types_fit
from onnx_fix.lower.rules.axes import from_front

_LARGEST: dict[int, float] = {
    TensorProto.FLOAT16: float(np.finfo(np.float16).max),
    TensorProto.FLOAT: float(np.finfo(np.float32).max),
    TensorProto.DOUBLE: float(np.finfo(np.float64).max),
}


def _clip_12(low: LowNode) -> list[NodeProto]:
    """Clip 12 took in integers: they are compared and selected."""
    if low.dtype(0) in INTEGERS:
        return _select_bounds(low)
    types_fit(low)
    return low.result(low.copy())


def _select_bounds(low: LowNode) -> list[NodeProto]:
    """min(high, max(x, low)) by comparing and selecting: exact for each type, and NaN stays.

    An absent bound of a float is its largest finite value.
    """
    data = low.input(0)
    dtype = known_dtype(low, 0)
    for index, comparison in ((1, "Less"), (2, "Greater")):
        bound = low.input(index)
        if not bound and dtype in FLOATS:
            largest = _LARGEST[dtype]
            bound = low.const(-largest if index == 1 else largest, dtype)
        if bound:
            data = select(low, low.add(comparison, data, bound), bound, data, dtype)
    return low.result(data)


def _clip_11(low: LowNode) -> list[NodeProto]:
    """Bounds as attributes.

    Bounds that are computed at run time, that a float32 attribute does not hold, or that are out of
    order, are compared and selected. An absent bound is the largest finite value of the type; the
    default of the attribute is that of float32.
    """
    types_fit(low)
    dtype = known_dtype(low, 0)
    attributes: dict[str, object] = {}
    bounds = {"min": -np.inf, "max": np.inf}
    for index, name in ((1, "min"), (2, "max")):
        if not low.input(index):
            if dtype == TensorProto.DOUBLE:
                return _select_bounds(low)
            if dtype == TensorProto.FLOAT16:
                attributes[name] = -_LARGEST[dtype] if name == "min" else _LARGEST[dtype]
            continue
        value = low.value(low.input(index))
        if value is None:
            return _select_bounds(low)
        exact = float(value.reshape(-1)[0])
        if np.isnan(exact):
            raise Refused(f"the bound {name} is NaN")
        if float(np.float32(exact)) != exact:
            return _select_bounds(low)
        attributes[name] = bounds[name] = exact
    if bounds["min"] > bounds["max"]:
        return _select_bounds(low)
    node = low.copy(inputs=[low.input(0)])
    node.attribute.extend(make_attribute(name, value) for name, value in attributes.items())
    return low.result(node)


def _topk_11(low: LowNode) -> list[NodeProto]:
    """The smallest are the largest of the negated; integers through a float type that holds them.

    Negating an unsigned or the lowest signed integer is safe in that float type.
    """
    axis = from_front(low, [integer(low, "axis", -1)])[0] if integer(low, "axis", -1) < -1 else None
    dtype = known_dtype(low, 0)
    kind = dtype if takes(low, dtype) else WIDER_FLOAT.get(dtype)
    if kind is None:
        raise Refused(
            f"TopK takes floats only before opset {low.opset}, and none holds every int64"
        )
    axis = integer(low, "axis", -1) if axis is None else axis
    largest = integer(low, "largest", 1)
    data = low.input(0) if kind == dtype else low.add("Cast", low.input(0), to=kind)
    data = data if largest else low.add("Neg", data)
    values, indices = (
        list(low.proto.output),
        low.proto.output[1] if len(low.proto.output) > 1 else "",
    )
    changed = kind != dtype or not largest
    inner = low.fresh(f"{low.proto.output[0] or indices}/topk") if changed else values[0]
    node = low.copy(
        inputs=[data, low.input(1)], outputs=[inner, indices], drop=["largest", "sorted"], axis=axis
    )
    if not changed:
        return low.result(node)
    after = [node]
    if values[0]:
        if not largest:
            name = values[0] if kind == dtype else low.fresh(f"{values[0]}/neg")
            after.append(helper.make_node("Neg", [inner], [name], name=name))
            inner = name
        if kind != dtype:
            after.append(helper.make_node("Cast", [inner], [values[0]], name=values[0], to=dtype))
    return [*low.made, *after]


def _topk_10(low: LowNode) -> list[NodeProto]:
    """K as an attribute."""
    types_fit(low)
    k = int(low.constant(1, "K").reshape(-1)[0])
    return low.result(low.copy(inputs=[low.input(0)], k=k))


def _dropout_12(low: LowNode) -> list[NodeProto]:
    """Without training the data passes and the mask is all true."""
    training = low.input(2)
    if training:
        value = low.value(training)
        if value is None:
            raise Refused(f"training_mode '{training}' is computed at run time")
        ratio = low.value(low.input(1)) if low.input(1) else None
        unchanged = ratio is not None and not ratio.any()
        if value.any() and not unchanged:
            raise Refused("training_mode is true: the result is random")
    return _pass_through(low)


def _dropout_10(low: LowNode) -> list[NodeProto]:
    """The mask had the type of the data; in inference the data passes."""
    if len(low.proto.output) > 1 and low.proto.output[1]:
        return _pass_through(low)
    types_fit(low)
    return low.result(low.copy())


def _pass_through(low: LowNode) -> list[NodeProto]:
    output, *mask = low.proto.output
    made = [*low.made]
    if mask and mask[0]:
        shape = low.add("Shape", low.input(0))
        true = helper.make_tensor("value", TensorProto.BOOL, [1], [True])
        node = helper.make_node("ConstantOfShape", [shape], [mask[0]], name=mask[0], value=true)
        made = [*low.made, node]
    if not output:
        return made
    same = helper.make_node("Identity", [low.input(0)], [output], name=low.proto.name)
    return [*made, same]


def _gemm_11(low: LowNode) -> list[NodeProto]:
    """C was required: a scalar zero."""
    types_fit(low)
    if low.input(2):
        return low.result(low.copy())
    dtype = known_dtype(low, 0)
    zero = low.const(np.zeros((), np.float32), dtype)
    return low.result(low.copy(inputs=[low.input(0), low.input(1), zero]))


def _batch_norm_15(low: LowNode) -> list[NodeProto]:
    """Scale and bias may differ from the data in type: all are computed in the widest."""
    return _one_type(low)


def _one_type(low: LowNode, attributes: dict[str, object] | None = None) -> list[NodeProto]:
    kinds = [known_dtype(low, i) for i in range(5)]
    drop = list(attributes or {})
    if len(set(kinds)) == 1:
        types_fit(low)
        return low.result(low.copy(drop=drop))
    if not set(kinds) <= FLOATS:
        raise Refused(f"BatchNormalization takes one element type before opset {low.opset}")
    if len(low.proto.output) > 1:
        raise Refused("the running mean and variance have another element type than the data")
    wide = TensorProto.DOUBLE if TensorProto.DOUBLE in kinds else TensorProto.FLOAT
    inputs = [
        low.input(i) if kind == wide else low.add("Cast", low.input(i), to=wide)
        for i, kind in enumerate(kinds)
    ]
    if kinds[0] == wide:
        return low.result(low.copy(inputs=inputs, drop=drop))
    inner = low.fresh(f"{low.proto.output[0]}/wide")
    low.made.append(low.copy(inputs=inputs, outputs=[inner], drop=drop))
    back = helper.make_node(
        "Cast", [inner], [low.proto.output[0]], name=low.proto.name, to=kinds[0]
    )
    return low.result(back)


def _batch_norm_14(low: LowNode) -> list[NodeProto]:
    """In training the statistics of the batch are computed beside the node."""
    if not integer(low, "training_mode", 0):
        if any(low.proto.output[1:]):
            raise Refused("without training_mode there is one output")
        return _one_type(low, {"training_mode": 0})
    types_fit(low)
    rank = low.rank(0)
    if rank is None:
        raise Refused("the rank of the data is not known")
    axes = [a for a in range(rank) if a != 1]
    data = low.input(0)
    low.rounds = True
    kept = reduce_mean(low, data, axes)
    mean = reduce_mean(low, data, axes, keepdims=0)
    apart = low.add("Sub", data, kept)
    variance = reduce_mean(low, low.add("Mul", apart, apart), axes, keepdims=0)
    momentum = low.attr("momentum", 0.9)
    share = float(momentum) if isinstance(momentum, int | float) else 0.9
    kind = known_dtype(low, 0)
    for index, batch in ((1, mean), (2, variance)):
        output = low.proto.output[index] if index < len(low.proto.output) else ""
        if output:
            if known_dtype(low, index + 2) != kind:
                raise Refused("the running mean and variance have another type than the data")
            old = low.add("Mul", low.input(index + 2), low.const(share, kind))
            new = low.add("Mul", batch, low.const(1 - share, kind))
            low.made.append(helper.make_node("Add", [old, new], [output], name=output))
    inputs = [data, low.input(1), low.input(2), mean, variance]
    node = low.copy(
        inputs=inputs, outputs=[low.proto.output[0]], drop=["training_mode", "momentum"]
    )
    return low.result(node)


RULES: dict[tuple[str, int], Rule] = {
    ("Clip", 12): _clip_12,
    ("Clip", 11): _clip_11,
    ("TopK", 11): _topk_11,
    ("TopK", 10): _topk_10,
    ("Dropout", 12): _dropout_12,
    ("Dropout", 10): _dropout_10,
    ("Gemm", 11): _gemm_11,
    ("BatchNormalization", 15): _batch_norm_15,
    ("BatchNormalization", 14): _batch_norm_14,
}
