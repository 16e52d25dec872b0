"""Nodes for the target tests, written as short texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnx_fix.target import Constness, Dim, NodeFacts, TensorFacts

Build = Callable[..., NodeFacts]

_DTYPES = {"FP32": TensorProto.FLOAT, "FP16": TensorProto.FLOAT16, "BF16": TensorProto.BFLOAT16}
_SPEC = re.compile(r"^(const |fold )?(\w+|\?)(?:\[(.*?)\])?(?:=(.*))?$")


def tensor(name: str, text: str) -> TensorFacts:
    """``FP32[N,3]``, ``const INT64[2]=1,2``, ``fold INT64[1]``, ``?``, or empty where left out.

    A letter is a symbolic size, ``_`` one that nobody knows; no brackets: the rank is unknown.
    """
    if not text:
        return TensorFacts("")
    match = _SPEC.match(text)
    assert match is not None, text
    how, dtype, dims, values = match.groups()
    constness: Constness = "runtime"
    if how:
        constness = "initializer" if how == "const " else "foldable"
    number = None
    if dtype != "?":
        number = int(_DTYPES[dtype] if dtype in _DTYPES else TensorProto.DataType.Value(dtype))
    shape = None if dims is None else tuple(_size(size) for size in dims.split(",") if size)
    if values is None or number is None:
        return TensorFacts(name, number, shape, constness)
    kind = helper.tensor_dtype_to_np_dtype(number)
    array = np.array([float(v) for v in values.split(",") if v]).astype(kind)
    if shape is not None:
        array = array.reshape([size for size in shape if isinstance(size, int)])
    return TensorFacts(name, number, shape, constness, lambda: array)


def _size(text: str) -> Dim:
    if text == "_":
        return None
    return int(text) if text.isdigit() else text


def build_node(
    op: str,
    *inputs: str,
    outputs: int | tuple[str, ...] = 1,
    opset: int = 17,
    domain: str = "",
    unresolved: tuple[str, ...] = (),
    first: dict[str, object] | None = None,
    **attributes: object,
) -> NodeFacts:
    """A node whose inputs are called x0, x1, ... and whose outputs y0, y1, ...

    ``first`` are the attributes of the first node of the op, on the same inputs.
    """
    given = [tensor(f"x{index}", text) for index, text in enumerate(inputs)]
    texts = ("?",) * outputs if isinstance(outputs, int) else outputs
    made = [tensor(f"y{index}", text) for index, text in enumerate(texts)]
    node = NodeFacts(
        op=op,
        domain=domain,
        name=f"my_{op}",
        scope="main",
        opset=opset,
        inputs=tuple(given),
        outputs=tuple(made),
        attributes=attributes,
        unresolved=frozenset(unresolved),
    )
    if first is None:
        return node
    earlier = replace(node, name="first", outputs=(TensorFacts("earlier"),), attributes=first)
    return replace(node, first=lambda: earlier)


@pytest.fixture
def build() -> Build:
    return build_node
