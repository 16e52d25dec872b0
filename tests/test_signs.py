"""Indices that cannot be negative are not doubted."""

from __future__ import annotations

import onnx
import pytest

from onnx_fix.model import Model
from onnx_fix.target import load_target


@pytest.mark.parametrize(
    ("index", "status"),
    [
        ("i = ArgMax <axis = 1, keepdims = 0> (x)", "supported"),
        ("k = Shape (x)  i = Identity (k)", "supported"),
        ("i = Cast <to = 7> (f)", "unknown"),
        ("a = Abs (f)  i = Cast <to = 7> (a)", "supported"),
        ("a = Neg (f)  i = Cast <to = 7> (a)", "unknown"),
        ("r = Relu (f)  a = Cast <to = 7> (r)  i = Mul (a, a)", "supported"),
        ("i = Constant <value = int64[2] {0, 3}> ()", "supported"),
        ("i = Constant <value = int64[2] {0, -1}> ()", "refused"),
        (
            "c = Cast <to = 7> (f)  n = Less (c, zero)  p = Add (c, four)  i = Where (n, p, c)",
            "supported",
        ),
        ("c = Cast <to = 7> (f)  n = Less (c, zero)  i = Where (n, four, c)", "supported"),
        ("c = Cast <to = 7> (f)  n = Less (zero, c)  i = Where (n, four, c)", "unknown"),
        ("c = Cast <to = 7> (f)  n = Less (c, four)  i = Where (n, c, zero)", "unknown"),
        (
            "c = Cast <to = 7> (f)  n = Less (c, zero)  p = Add (c, zero)  i = Where (n, p, c)",
            "unknown",
        ),
        ("c = Cast <to = 7> (f)  n = Less (c, zero)  i = Where (n, zero, c)", "supported"),
        ("c = Cast <to = 7> (f)  n = Less (c, four)  i = Where (n, zero, c)", "unknown"),
        ("c = Cast <to = 7> (f)  n = Less (c, zero)  i = Where (n, c, c)", "unknown"),
        ("a = Abs (f)  r = ReduceMax (a)  i = Cast <to = 7> (r)", "supported"),
        ("r = ReduceMax (f)  i = Cast <to = 7> (r)", "unknown"),
    ],
)
def test_a_release_that_wraps_no_indices(index: str, status: str) -> None:
    proto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 11]>
        g (float[N, 4] x, float[K] f) => (float[A, B] y) <int64 zero = {{0}}, int64 four = {{4}}> {{
            {index}
            y = Gather <axis = 1> (x, i)
        }}"""
    )
    model = Model(proto, None, load_target("trt-7.2"))
    (gather,) = model.main.nodes("Gather")
    assert model.main.judge(gather).status == status
