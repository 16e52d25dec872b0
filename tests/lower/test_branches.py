"""Sibling branches may use the same names for other tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import ModelProto

from onnx_fix.lower import lower
from onnx_fix.testing import as_proto

Check = Callable[..., ModelProto]

SAME_NAMES = """<ir_version: 8, opset_import: ["" : 13]>
g (bool c, float[2, 3, 4] x) => (float[N] y) {
    y = If (c) <
        then_branch = a () => (float[N] out) {
            axis = Constant <value = int64[1] {0}> ()
            part = ReduceSum <keepdims = 0> (x, axis)
            shape = Constant <value = int64[1] {-1}> ()
            out = Reshape (part, shape)
        },
        else_branch = b () => (float[N] out) {
            axis = Constant <value = int64[2] {0, 2}> ()
            part = ReduceSum <keepdims = 0> (x, axis)
            shape = Constant <value = int64[1] {-1}> ()
            out = Reshape (part, shape)
        }
    >
}"""

OTHER_RANKS = """<ir_version: 8, opset_import: ["" : 13]>
g (bool c, float[2, 3] x, float[2, 3, 4] z) => (float[N] y) {
    y = If (c) <
        then_branch = a () => (float[N] out) {
            part = Identity (x)
            soft = Softmax <axis = -1> (part)
            shape = Constant <value = int64[1] {-1}> ()
            out = Reshape (soft, shape)
        },
        else_branch = b () => (float[N] out) {
            part = Identity (z)
            soft = Softmax <axis = 1> (part)
            shape = Constant <value = int64[1] {-1}> ()
            out = Reshape (soft, shape)
        }
    >
}"""


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("opset", [12, 11])
def test_constants_of_one_branch_are_not_those_of_the_other(
    check: Check, taken: bool, opset: int
) -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    check(SAME_NAMES, opset, [{"c": np.asarray(taken), "x": x}])


@pytest.mark.parametrize("taken", [True, False])
def test_ranks_of_one_branch_are_not_those_of_the_other(check: Check, taken: bool) -> None:
    rng = np.random.default_rng(0)
    x, z = (rng.standard_normal(s).astype(np.float32) for s in ((2, 3), (2, 3, 4)))
    check(OTHER_RANKS, 11, [{"c": np.asarray(taken), "x": x, "z": z}], rtol=1e-6)


def test_branches_of_different_shapes_are_refused_before_11() -> None:
    (refusal,) = lower(as_proto(SAME_NAMES), 10).refusals
    assert refusal.op == "If" and refusal.opset == 11
    assert "different shapes" in refusal.reason


def test_a_run_time_name_of_one_branch_is_a_constant_of_the_other() -> None:
    text = SAME_NAMES.replace("float[2, 3, 4] x", "float[2, 3, 4] x, int64[2] given").replace(
        "axis = Constant <value = int64[2] {0, 2}> ()", "axis = Identity (given)"
    )
    (refusal,) = lower(as_proto(text), 11).refusals
    assert refusal.scope == "y/else_branch"
    assert "'axis' is computed at run time" in refusal.reason
