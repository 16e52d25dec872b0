"""Split, Slice and Pad with sizes, ranges and pads as inputs, written as attributes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from onnx_fix.testing import run_model

Check = Callable[..., ModelProto]
Refusal = Callable[[str, int], str]


def floats(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def split(sizes: str, body: str, constants: str = "", more: str = "", opset: int = 18) -> str:
    return f"""<ir_version: 8, opset_import: ["": {opset}]>
        g (float[{sizes}] x{more}) => (float[A,B] a, float[C,D] b, float[E,F] c)
        {constants} {{a, b, c = {body}}}"""


@pytest.mark.parametrize("opset", [17, 12, 9])
@pytest.mark.parametrize("size", [7, 6, 3])
def test_num_outputs_of_a_known_size(size: int, opset: int, check: Check) -> None:
    text = split(f"N,{size}", "Split<axis = -1, num_outputs = 3>(x)")
    check(text, opset, [{"x": floats(n, size)} for n in (2, 1, 0)], want=["Split"])


def test_more_outputs_than_there_is_in_a_branch_not_taken(check: Check) -> None:
    text = """<ir_version: 8, opset_import: ["": 18]> g (bool c, float[5] x) => (float[A] y) {
        y = If(c) <then_branch = t () => (float[E] e) { e, f, g, h = Split<num_outputs = 4>(x) },
                   else_branch = e () => (float[F] i) { i = Identity(x) }> }"""
    check(text, 11, [{"c": np.array(False), "x": floats(5)}], runtimes=["onnxruntime"])


@pytest.mark.parametrize("opset", [17, 12, 11])
def test_num_outputs_of_a_size_known_at_run_time(opset: int, check: Check) -> None:
    text = split("N,4", "Split<num_outputs = 3>(x)")
    check(text, opset, [{"x": floats(n, 4)} for n in (3, 7, 8, 9)])


def test_sizes_computed_at_run_time_are_cut_out(check: Check, refusal: Refusal) -> None:
    text = split("N,4", "Split<axis = 0>(x, s)", more=", int64[3] s", opset=13)
    feeds = [{"x": floats(6, 4), "s": np.array(s, np.int64)} for s in ([1, 2, 3], [0, 6, 0])]
    check(text, 12, feeds)
    check(text, 10, feeds)
    assert "computed at run time" in refusal(text, 9)


def test_sizes_become_an_attribute(check: Check) -> None:
    text = split("N,6", "Split<axis = 1>(x, s)", "<int64[3] s = {1, 0, 5}>", opset=13)
    check(text, 9, [{"x": floats(2, 6)}], want=["Split"])


def sliced(constants: str, body: str, sizes: str = "N,6", opset: int = 13, more: str = "") -> str:
    return f"""<ir_version: 8, opset_import: ["": {opset}]>
        g (float[{sizes}] x{more}) => (float[A,B] y) <{constants}> {{y = {body}}}"""


@pytest.mark.parametrize(
    ("start", "end", "step", "ops"),
    [
        (1, 4, 1, ["Slice"]),
        (-3, 9223372036854775807, 1, ["Slice"]),
        (-1, -9223372036854775807, -1, ["Gather"]),
        (-1, -9223372036854775807, -2, ["Gather"]),
        (0, 6, 2, ["Gather"]),
        (4, 1, -1, ["Gather"]),
        (9, 0, -3, ["Gather"]),
    ],
)
def test_ranges(start: int, end: int, step: int, ops: list[str], check: Check) -> None:
    constants = f"int64[1] s = {{{start}}}, int64[1] e = {{{end}}}, int64[1] a = {{-1}}"
    text = sliced(f"{constants}, int64[1] t = {{{step}}}", "Slice(x, s, e, a, t)")
    feeds = [{"x": floats(n, 6)} for n in (2, 1, 0)]
    check(text, 10, feeds, want=["Slice"])
    check(text, 9, feeds, want=ops)


def test_a_range_without_axes(check: Check) -> None:
    text = sliced("int64[2] s = {1, -2}, int64[2] e = {5, 6}", "Slice(x, s, e)")
    check(text, 9, [{"x": floats(n, 6)} for n in (2, 9, 0)], want=["Slice"])


def test_a_step_along_an_axis_of_unknown_size_is_refused(refusal: Refusal) -> None:
    constants = "int64[1] s = {0}, int64[1] e = {9}, int64[1] a = {0}, int64[1] t = {2}"
    assert "size of axis 0" in refusal(sliced(constants, "Slice(x, s, e, a, t)"), 9)


def test_ends_computed_at_run_time(check: Check, refusal: Refusal) -> None:
    text = sliced("int64[1] s = {0}", "Slice(x, s, e)", more=", int64[1] e")
    check(text, 10, [{"x": floats(3, 6), "e": np.array([2])}], want=["Slice"])
    assert "computed at run time" in refusal(text, 9)


def padded(
    kind: str, constants: str, body: str, opset: int = 18, more: str = "", sizes: str = "N,3"
) -> str:
    head = f"""<ir_version: 9, opset_import: ["": {opset}]>"""
    return f"{head} g ({kind}[{sizes}] x{more}) => ({kind}[A,B] y) <{constants}> {{y = {body}}}"


@pytest.mark.parametrize("opset", [17, 12, 9])
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_pads_of_some_axes(mode: str, opset: int, check: Check) -> None:
    constants = "int64[2] p = {1, 2}, int64[1] a = {-1}"
    text = padded("float", constants, f'Pad<mode = "{mode}">(x, p, , a)')
    check(text, opset, [{"x": floats(n, 3)} for n in (2, 1)], want=["Pad"])


def test_pads_computed_at_run_time(check: Check, refusal: Refusal) -> None:
    text = padded("float", "int64[1] a = {1}", "Pad(x, p, , a)", more=", int64[2] p")
    feeds = [{"x": floats(2, 3), "p": np.array(p)} for p in ([1, 2], [0, 0], [-1, 1])]
    # onnx.reference refuses pads that cut.
    check(text, 11, feeds, want=["Concat", "Gather", "Pad"], runtimes=["onnxruntime"])
    assert "computed at run time" in refusal(text, 10)


@pytest.mark.parametrize(("begin", "end"), [(1, 2), (4, 7), (0, 1), (-1, 0), (-1, -1)])
def test_wrap(begin: int, end: int, check: Check) -> None:
    constants = f"int64[4] p = {{0, {begin}, 0, {end}}}"
    text = padded("float", constants, 'Pad<mode = "wrap">(x, p)', opset=19)
    x = floats(2, 3)
    after = check(text, 18, [{"x": x}], runtimes=["onnxruntime"])
    check(text, 11, [{"x": x}], runtimes=["onnxruntime"])
    indices = np.arange(-begin, 3 + end) % 3
    np.testing.assert_array_equal(run_model(after, {"x": x})[0], x[:, indices])


def test_booleans_are_padded(check: Check) -> None:
    constants = "int64[4] p = {0, 1, 1, 0}, bool v = {1}"
    text = padded("bool", constants, "Pad(x, p, v)", opset=13)
    x = np.array([[True, False, True]])
    check(text, 12, [{"x": x}], want=["Cast", "Cast", "Pad", "Cast"])
    check(text, 9, [{"x": x}])


@pytest.mark.parametrize("kind", ["int8", "int32", "uint32", "float16", "double"])
def test_pads_of_other_types_below_11(kind: str, check: Check) -> None:
    text = padded(kind, "int64[4] p = {0, 1, 1, -1}", "Pad(x, p)", opset=13)
    dtype = {"double": "float64"}.get(kind, kind)
    check(text, 10, [{"x": np.array([[1, 2, 3]]).astype(dtype)}], runtimes=["onnxruntime"])


def test_int64_is_refused_below_11(refusal: Refusal) -> None:
    assert "int64" in refusal(padded("int64", "int64[4] p = {0, 1, 1, 0}", "Pad(x, p)", 13), 10)


def test_a_value_that_an_attribute_does_not_hold_is_selected(check: Check) -> None:
    constants = "int64[4] p = {1, 0, 0, 2}, double v = {0.1}"
    text = padded("double", constants, "Pad(x, p, v)", opset=13)
    check(text, 9, [{"x": np.ones((2, 3))}])


def test_a_value_computed_at_run_time_is_selected(check: Check) -> None:
    text = padded("float", "int64[4] p = {1, 0, 0, 2}", "Pad(x, p, v)", 13, more=", float v")
    check(text, 9, [{"x": floats(2, 3), "v": np.array(v, np.float32)} for v in (2.5, np.inf)])
