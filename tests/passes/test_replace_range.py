"""replace-range: floating-point numbers that are whole, counted in integers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes.replace_range import ReplaceRange

PASS = ReplaceRange()


def text(
    nodes: str,
    inputs: str = "int64 n",
    dtype: str = "float",
    opset: int = 13,
    **constants: float,
) -> str:
    made = " ".join(
        f"{name} = Constant <value = {dtype} {{{value!r}}}> ()" for name, value in constants.items()
    )
    return (
        f'<ir_version: 8, opset_import: ["" : {opset}]> g ({inputs}) => ({dtype}[M] y) '
        f"{{ {made} {nodes} }}"
    )


def feeds(*numbers: int, dtype: str = "i8") -> list[dict[str, np.ndarray]]:
    return [{"n": np.array(n, dtype)} for n in numbers]


LIMIT = "l = Cast <to = 1> (n) y = Range (a, l, d)"


@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2", "trt-8.2"])
@pytest.mark.parametrize("opset", [11, 13])
def test_a_count_that_was_cast(opset: int, target: str) -> None:
    model = text(LIMIT, a=0.0, d=1.0, opset=opset)
    fixed = assert_rewrites(
        PASS,
        model,
        after=["Cast", "Reshape", "Range", "Cast"],
        feeds=feeds(0, 1, 7, -3),
        target=target,
    )
    scope = Model(fixed, None, load_target(target)).main
    assert not [n.op for n in scope.nodes() if scope.refused(n)]


@pytest.mark.parametrize(
    ("a", "d"), [(0.5, 1.0), (-2.0, 0.125), (3.0, -0.5), (-0.75, -1.25), (7.0, 3.0), (0.0, 100.5)]
)
def test_fractions(a: float, d: float) -> None:
    model = text(LIMIT, a=a, d=d)
    fixed, _ = run_pass(PASS, model)
    assert ops(fixed).count("Range") == 1
    for feed in feeds(0, 1, 8, 500, -1, -9):
        assert_same_outputs(onnx.parser.parse_model(model), fixed, feed)


@given(
    st.integers(-40, 40),
    st.sampled_from([1, 2, 8, 64]),
    st.integers(-40, 40).filter(bool),
    st.sampled_from([1, 4, 32]),
    st.integers(-60, 60),
)
@settings(max_examples=40, deadline=None)
def test_any_fraction(start: int, of: int, step: int, by: int, limit: int) -> None:
    model = text(LIMIT, a=start / of, d=step / by)
    fixed, results = run_pass(PASS, model)
    assert any(r.changes for r in results)
    assert_same_outputs(onnx.parser.parse_model(model), fixed, feeds(limit)[0])


def test_arithmetic_of_whole_numbers() -> None:
    model = text(
        "f = Cast <to = 1> (n) g = Mul (f, h) i = Add (g, d) j = Neg (i) k = Sub (i, j) "
        "y = Range (j, k, d)",
        h=2.5,
        d=0.5,
    )
    fixed, results = run_pass(PASS, model)
    assert any(r.changes for r in results)
    for feed in feeds(0, 1, 6, -2):
        assert_same_outputs(onnx.parser.parse_model(model), fixed, feed)


def test_shapes_and_other_types() -> None:
    model = text(
        "s = Shape (x) one = Constant <value = int64[1] {1}> () e = Gather (s, one) "
        "z = Constant <value = int64[1] {0}> () q = Squeeze (e, z) l = Cast <to = 1> (q) "
        "y = Range (a, l, d)",
        "float[N, M] x",
        a=0.0,
        d=1.0,
    )
    fixed, _ = run_pass(PASS, model)
    for m in (0, 1, 5):
        feed = {"x": np.zeros((2, m), np.float32)}
        assert_same_outputs(onnx.parser.parse_model(model), fixed, feed)
    model = text(LIMIT, "int32 n", a=0.0, d=1.0)
    fixed, _ = run_pass(PASS, model)
    assert_same_outputs(onnx.parser.parse_model(model), fixed, feeds(4, dtype="i4")[0])


def test_in_a_branch() -> None:
    model = """<ir_version: 8, opset_import: ["" : 13]> g (int64 n, bool c) => (float[M] y) {
        y = If (c) <then_branch = t () => (float[A] p) {
                a = Constant <value = float {0.0}> () d = Constant <value = float {1.0}> ()
                l = Cast <to = 1> (n) p = Range (a, l, d) },
            else_branch = e () => (float[B] q) { q = Constant <value = float[2] {1.0, 2.0}> () }> }
    """
    fixed, results = run_pass(PASS, model)
    assert sum(len(r.changes) for r in results) == 1
    for c in (True, False):
        feed = {"n": np.array(5), "c": np.array(c)}
        assert_same_outputs(onnx.parser.parse_model(model), fixed, feed)


def test_what_is_left() -> None:
    (reason,) = skip_reasons(PASS, text("y = Range (a, n, d)", "float n", a=0.0, d=1.0))
    assert reason.startswith("'n' is not seen to hold whole numbers")
    (reason,) = skip_reasons(PASS, text(LIMIT, a=0.0, d=0.1))
    assert "multiples of 1/134217728" in reason
    (reason,) = skip_reasons(PASS, text(LIMIT, a=0.0, d=0.0))
    assert reason == "its step is 0"
    (reason,) = skip_reasons(
        PASS, text("l = Cast <to = 11> (n) y = Range (a, l, d)", dtype="double", a=0.0, d=1.0)
    )
    assert "casts no integers to DOUBLE" in reason
    assert skip_reasons(PASS, text(LIMIT, a=0.0, d=1.0), target="trt-8.4") == []
    assert skip_reasons(PASS, text("y = Range (n, n, n)", dtype="int64")) == []


def test_a_narrower_cast_is_not_followed() -> None:
    model = text(
        "h = Cast <to = 1> (n) w = Cast <to = 10> (h) l = Cast <to = 1> (w) y = Range (a, l, d)",
        a=0.0,
        d=1.0,
    )
    (reason,) = skip_reasons(PASS, model)
    assert "'l' is not seen to hold whole numbers" in reason
    (reason,) = skip_reasons(
        PASS, text("w = Cast <to = 10> (n) l = Cast <to = 1> (w) y = Range (a, l, d)", a=0.0, d=1.0)
    )
    assert "'l' is not seen to hold whole numbers" in reason


def test_the_note_says_how_far() -> None:
    _, results = run_pass(PASS, text(LIMIT, a=0.0, d=1.0))
    assert results[0].changes[0].note == "exact while FLOAT holds the numbers: up to 2**24"


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.2", "rtx-1.7"])
@pytest.mark.parametrize(("length", "bounds"), [
    (4, (0.5, 2.25, 0.5)),
    (1, (3.0, 3.5, 1.0)),
    (3, (1.0, -0.2, -0.5)),
    (0, (2.0, 1.0, 0.25)),
])  # fmt: skip
def test_a_length_that_the_model_states(
    length: int, bounds: tuple[float, float, float], target: str
) -> None:
    model = text("y = Range (a, l, d)", "float a, float l, float d").replace("[M]", f"[{length}]")
    feed = dict(zip("ald", (np.asarray(b, np.float32) for b in bounds), strict=True))
    assert_rewrites(PASS, model, after=["Mul", "Add"], feeds=[feed], target=target, exact=False)


def test_a_length_that_nothing_states() -> None:
    (reason,) = skip_reasons(
        PASS, text("y = Range (a, l, d)", "float a, float l, float d"), target="rtx-1.7"
    )
    assert "is not seen to hold whole numbers" in reason
