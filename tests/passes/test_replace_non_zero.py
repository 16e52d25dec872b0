"""ReplaceNonZero: masks do their work without a list of coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.contract import Change, Exactness
from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import (
    as_proto,
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.replace_non_zero import ReplaceNonZero

EVERYWHERE = ReplaceNonZero(everywhere=True)
SHAPES = ((3, 4), (1, 1), (5, 2))
RANDOM = np.random.default_rng(7)


def header(opset: int = 13) -> str:
    return f'<ir_version: 8, opset_import: ["" : {opset}]>'


def refused(model: ModelProto, target: str) -> set[str]:
    """The ops of a model that a target refuses."""
    work = Model(model, None, load_target(target))
    return {n.op for s in work.scopes for n in s.nodes() if s.refused(n)}


def changes(model: ModelProto | str, target: str = "trt-7.2") -> list[Change]:
    _, results = run_pass(ReplaceNonZero(), model, target=target)
    return [c for r in results for c in r.changes]


def floats(*shape: int) -> NDArray[np.float32]:
    return RANDOM.random(shape, np.float32)


# -- x[mask] = v ----------------------------------------------------------------------------------

DYNAMO = """ g (float[A,B] x) => (float[A,B] y)
  <float v = {0.0}, float half = {0.5}, int64[1] flat = {-1}> {
    m = Greater (x, half)
    n = NonZero (m)
    i = Transpose <perm = [1, 0]> (n)
    f = Reshape <allowzero = 0> (m, flat)
    c = Cast <to = 7> (f)
    k = ReduceSum <keepdims = 1, noop_with_empty_axes = 0> (c)
    w = Expand (v, k)
    u = Reshape <allowzero = 0> (w, flat)
    y = ScatterND (x, i, u)
}"""
"""``y = x.clone(); y[x > 0.5] = 0.0`` as torch.onnx.export(dynamo=True) writes it."""

LEGACY_OTHER = """ g (float[A,B] x, float[A,B] z) => (float[A,B] y) {
    half = Constant <value = float {0.5}> ()
    m = Greater (x, half)
    n = NonZero (m)
    i = Transpose <perm = [1, 0]> (n)
    taken = GatherND (z, i)
    s = Shape (x)
    wide = Expand (m, s)
    n2 = NonZero (wide)
    i2 = Transpose <perm = [1, 0]> (n2)
    flat = Constant <value = int64[1] {-1}> ()
    r = Reshape (taken, flat)
    s2 = Shape (i2)
    zero = Constant <value = int64 {0}> ()
    count = Gather <axis = 0> (s2, zero)
    zeros = Constant <value = int64[1] {0}> ()
    end = Unsqueeze (count, zeros)
    u = Slice (r, zeros, end, zeros)
    y = ScatterND (x, i2, u)
}"""
"""``y[m] = z[m]`` as torch.onnx.export(dynamo=False) writes it."""

SELF = """ g (float[A,B] x) => (float[A,B] y)
  <float half = {0.5}, float two = {2.0}, float one = {1.0}, int64[1] flat = {-1}> {
    m = Greater (x, half)
    n = NonZero (m)
    i = Transpose <perm = [1, 0]> (n)
    t = GatherND <batch_dims = 0> (x, i)
    p = Mul (t, two)
    q = Add (p, one)
    f = Reshape <allowzero = 0> (m, flat)
    c = Cast <to = 7> (f)
    k = ReduceSum <keepdims = 1> (c)
    w = Expand (q, k)
    u = Reshape <allowzero = 0> (w, flat)
    y = ScatterND (x, i, u)
}"""
"""``y[m] = y[m] * 2 + 1`` with dynamo=True."""

ROWS = """ g (float[A,B] x) => (float[A,B] y)
  <int64 first = {0}, float half = {0.5}, float v = {-3.0}, int64[1] flat = {-1},
   int64[1] one = {1}, int64[1] two = {2}, int64[1] nil = {0}> {
    column = Gather <axis = 1> (x, first)
    m = Greater (column, half)
    high = Unsqueeze (m, flat)
    s = Shape (x)
    wide = Expand (high, s)
    n = NonZero (wide)
    i = Transpose <perm = [1, 0]> (n)
    f = Reshape <allowzero = 0> (m, flat)
    c = Cast <to = 7> (f)
    k = ReduceSum <keepdims = 1> (c)
    tail = Slice (s, one, two, nil)
    kb = Concat <axis = 0> (k, tail)
    w = Expand (VALUE, kb)
    u = Reshape <allowzero = 0> (w, flat)
    y = ScatterND (x, i, u)
}"""
"""``y[x[:, 0] > 0.5] = v`` with dynamo=True; v is a scalar, or one row for all."""


def test_a_scalar_is_written_with_where() -> None:
    feeds = [{"x": floats(*s)} for s in SHAPES]
    fixed = assert_rewrites(
        ReplaceNonZero(), header(18) + DYNAMO, after=["Greater", "Where"], feeds=feeds
    )
    assert not refused(fixed, "trt-7.2")


def test_nothing_selected_and_all_selected() -> None:
    model = as_proto(header(18) + DYNAMO)
    fixed, _ = run_pass(ReplaceNonZero(), model)
    for x in (np.zeros((2, 3)), np.ones((2, 3)), np.full((2, 3), np.nan), np.zeros((0, 3))):
        assert_same_outputs(model, fixed, {"x": x.astype(np.float32)})


def test_values_of_another_tensor_under_the_same_mask() -> None:
    feeds = [{"x": floats(*s), "z": floats(*s)} for s in SHAPES]
    fixed = assert_rewrites(
        ReplaceNonZero(),
        header() + LEGACY_OTHER,
        after=["Constant", "Greater", "Where"],
        feeds=feeds,
    )
    assert not refused(fixed, "trt-7.2")


def test_values_computed_from_those_selected() -> None:
    feeds = [{"x": floats(*s)} for s in SHAPES]
    after = ["Greater", "Mul", "Add", "Where"]
    assert_rewrites(ReplaceNonZero(), header(18) + SELF, after=after, feeds=feeds)


def test_rows_under_a_mask_of_rows() -> None:
    feeds = [{"x": floats(*s)} for s in SHAPES]
    after = ["Gather", "Greater", "Unsqueeze", "Where"]
    text = header(18) + ROWS.replace("VALUE", "v")
    assert_rewrites(ReplaceNonZero(), text, after=after, feeds=feeds)
    last = """    row = Gather <axis = 0> (x, first)\n    w = Expand (row, kb)"""
    text = header(18) + ROWS.replace("    w = Expand (VALUE, kb)", last)
    after = ["Gather", "Greater", "Unsqueeze", "Gather", "Where"]
    assert_rewrites(ReplaceNonZero(), text, after=after, feeds=feeds)


def test_a_row_of_unknown_width_is_no_row() -> None:
    text = header(18) + ROWS.replace("(float[A,B] x)", "(float[A,B] x, float[C] r)", 1)
    (reason,) = set(skip_reasons(ReplaceNonZero(), text.replace("VALUE", "r")))
    assert "ScatterND" in reason and "shape" in reason


def test_rows_expanded_to_another_width_are_left() -> None:
    """The sizes agree in number where the mask selects nothing."""
    text = header(18) + ROWS.replace("(float[A,B] x)", "(float[A,B] x, float[C] r)", 1)
    text = text.replace("VALUE", "v").replace("tail = Slice (s, one, two, nil)", "tail = Shape (r)")
    (reason,) = set(skip_reasons(ReplaceNonZero(), text))
    assert "ScatterND" in reason


def test_a_mask_of_rows_that_the_exporter_expands() -> None:
    text = header(18) + ROWS.replace("(float[A,B] x)", "(float[A,B] x, bool[D] m)", 1)
    text = text.replace("VALUE", "v").replace("column = Gather <axis = 1> (x, first)", "")
    model = as_proto(text.replace("m = Greater (column, half)", ""))
    (change,) = changes(model)
    assert "broadcasts" in change.note
    fixed, _ = run_pass(ReplaceNonZero(), model)
    assert ops(fixed) == ["Unsqueeze", "Where"]
    feeds = {"x": floats(3, 4), "m": np.asarray([True, False, True])}
    assert_same_outputs(model, fixed, feeds)


def test_a_mask_that_the_exporter_expands() -> None:
    text = header(18) + DYNAMO.replace("(float[A,B] x)", "(float[A,B] x, bool[C,D] given)", 1)
    text = text.replace("m = Greater (x, half)", "s = Shape (x)\n    m = Expand (given, s)")
    model = as_proto(text)
    (change,) = changes(model)
    assert change.exactness is Exactness.EXACT and "broadcasts" in change.note
    fixed, _ = run_pass(ReplaceNonZero(), model)
    assert ops(fixed) == ["Where"]
    for wide in ((3, 4), (1, 4), (3, 1)):
        feeds = {"x": floats(3, 4), "given": RANDOM.random(wide) > 0.5}
        assert_same_outputs(model, fixed, feeds)


PLAIN = """ g ({dtype}[A,B,C] x, {mask} m{more}) => ({dtype}[A,B,C] y) {{
    n = NonZero (m)
    i = Transpose <perm = [1, 0]> (n)
    {values}
    y = ScatterND {attrs} (x, i, u)
}}"""


@pytest.mark.parametrize("opset", [11, 12, 13, 17, 18])
@pytest.mark.parametrize("mask", ["bool[A]", "bool[A,B]", "bool[A,B,C]", "int64[A]", "float[A,B]"])
def test_masks_of_the_first_dims(opset: int, mask: str) -> None:
    rank = mask.count(",") + 1
    text = PLAIN.format(
        dtype="float", mask=mask, more=", float[A,B,C] z", values="u = GatherND (z, i)", attrs=""
    )
    model = as_proto(header(opset) + text)
    fixed, _ = run_pass(ReplaceNonZero(), model)
    assert {"NonZero", "ScatterND", "GatherND"}.isdisjoint(ops(fixed))
    assert not refused(fixed, "trt-7.2")
    for shape in ((2, 3, 4), (1, 1, 1), (4, 1, 2)):
        m: NDArray[Any] = RANDOM.random(shape[:rank]) > 0.5
        if mask.startswith("float"):
            m = np.where(m, np.nan, -0.0).astype(np.float32)
        elif mask.startswith("int"):
            m = m.astype(np.int64) * -7
        feeds = {"x": floats(*shape), "z": floats(*shape), "m": m}
        assert_same_outputs(model, fixed, feeds)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_reductions_become_their_op(reduction: str) -> None:
    text = PLAIN.format(
        dtype="float",
        mask="bool[A,B]",
        more=", float[A,B,C] z",
        values="u = GatherND (z, i)",
        attrs=f'<reduction = "{reduction}">',
    )
    model = as_proto(header(18) + text)
    fixed, _ = run_pass(ReplaceNonZero(), model)
    assert "ScatterND" not in ops(fixed) and "Where" in ops(fixed)
    feeds = {"x": floats(2, 3, 4), "z": floats(2, 3, 4), "m": RANDOM.random((2, 3)) > 0.5}
    assert_same_outputs(model, fixed, feeds)


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6"])
def test_booleans_are_selected_by_logic(target: str) -> None:
    text = PLAIN.format(
        dtype="bool",
        mask="bool[A,B]",
        more=", bool[A,B,C] z",
        values="u = GatherND (z, i)",
        attrs="",
    )
    model = as_proto(header(13) + text)
    fixed, _ = run_pass(EVERYWHERE, model, target=target)
    assert set(ops(fixed)) <= {"And", "Or", "Not", "Reshape", "Unsqueeze"}
    assert not refused(fixed, target)
    x, z = (RANDOM.random((2, 3, 4)) > 0.5 for _ in range(2))
    assert_same_outputs(model, fixed, {"x": x, "z": z, "m": RANDOM.random((2, 3)) > 0.5})


def test_dims_without_names() -> None:
    text = (
        header(13)
        + """ g (float[?,?] x) => (float[?,?] y) {
        half = Constant <value = float {0.5}> ()
        m = Greater (x, half)
        n = NonZero (m)
        i = Transpose <perm = [1, 0]> (n)
        t = GatherND (x, i)
        u = Neg (t)
        y = ScatterND (x, i, u)
    }"""
    )
    feeds = [{"x": floats(*s)} for s in SHAPES]
    after = ["Constant", "Greater", "Neg", "Where"]
    assert_rewrites(ReplaceNonZero(), text, after=after, feeds=feeds)


@pytest.mark.parametrize("dtype", ["float16", "double", "int32", "int64", "uint8"])
def test_other_types(dtype: str) -> None:
    text = PLAIN.format(
        dtype=dtype,
        mask="bool[A]",
        more=f", {dtype}[A,B,C] z",
        values="u = GatherND (z, i)",
        attrs="",
    )
    model = as_proto(header(16) + text)
    fixed, _ = run_pass(ReplaceNonZero(), model)
    kind = {"double": "float64"}.get(dtype, dtype)
    x, z = (RANDOM.integers(0, 90, (2, 3, 4)).astype(kind) for _ in range(2))
    assert_same_outputs(model, fixed, {"x": x, "z": z, "m": np.asarray([True, False])})


def test_integers_are_not_divided_where_nothing_was() -> None:
    values = "p = GatherND (z, i)\n    q = GatherND (x, i)\n    u = Div (p, q)"
    text = PLAIN.format(
        dtype="int64", mask="int64[A,B,C]", more=", int64[A,B,C] z", values=values, attrs=""
    )
    (reason,) = set(skip_reasons(ReplaceNonZero(), header(13) + text))
    assert "ScatterND" in reason


def test_another_mask_for_the_values_is_another_matter() -> None:
    values = "n2 = NonZero (m2)\n    i2 = Transpose <perm = [1, 0]> (n2)\n    u = GatherND (z, i2)"
    text = PLAIN.format(
        dtype="float",
        mask="bool[A,B,C]",
        more=", bool[A,B,C] m2, float[A,B,C] z",
        values=values,
        attrs="",
    )
    reasons = skip_reasons(ReplaceNonZero(), header(13) + text)
    assert len(reasons) == 2


@pytest.mark.parametrize(("taken", "put"), [("i", "j"), ("j", "i"), ("j", "j")])
def test_coordinates_out_of_order_are_left(taken: str, put: str) -> None:
    values = (
        "o = Constant <value = int64[3] {2, 1, 0}> ()\n    j = Gather <axis = 1> (i, o)\n"
        f"    u = GatherND (x, {taken})"
    )
    text = PLAIN.format(dtype="float", mask="bool[A,B,C]", more="", values=values, attrs="")
    reasons = skip_reasons(
        ReplaceNonZero(), header(13) + text.replace("(x, i, u)", f"(x, {put}, u)")
    )
    assert len(reasons) == 1 and "ScatterND" in reasons[0]


@pytest.mark.parametrize(
    ("more", "values"),
    [
        ("float[A,B,D] z", "u = GatherND (z, i)"),
        ("float[D,B,C] z", "u = GatherND (z, i)"),
        ("float[?,?,?] z", "u = GatherND (z, i)"),
        ("float[D] z", "l = GatherND (x, i) s = Shape (l) u = Expand (z, s)"),
        ("float[B,1] z", "l = GatherND (x, i) s = Shape (l) u = Expand (z, s)"),
    ],
)
def test_values_of_another_shape_are_not_for_all(more: str, values: str) -> None:
    """They may fit where nothing, or little, is selected; Where would stretch the result."""
    text = PLAIN.format(dtype="float", mask="bool[A,B]", more=f", {more}", values=values, attrs="")
    reasons = skip_reasons(ReplaceNonZero(), header(13) + text)
    assert len(reasons) == 1 and "ScatterND" in reasons[0]


def test_a_mask_that_is_smaller_than_what_it_indexes_is_left() -> None:
    text = PLAIN.format(
        dtype="float",
        mask="bool[D,B]",
        more=", float[A,B,C] z",
        values="u = GatherND (z, i)",
        attrs="",
    )
    assert len(skip_reasons(ReplaceNonZero(), header(13) + text)) == 1


def test_coordinates_of_two_masks_are_left() -> None:
    text = (
        header(13)
        + """ g (float[A,B] x, bool[A,B] p, bool[A,B] q) => (float[A,B] y)
      <int64[1] first = {0}, int64[1] second = {1}> {
        ps = NonZero (p)
        qs = NonZero (q)
        r = Gather <axis = 0> (ps, first)
        c = Gather <axis = 0> (qs, second)
        n = Concat <axis = 0> (r, c)
        i = Transpose <perm = [1, 0]> (n)
        u = GatherND (x, i)
        v = Neg (u)
        y = ScatterND (x, i, v)
    }"""
    )
    assert len(skip_reasons(ReplaceNonZero(), text)) == 2


def test_a_coordinate_that_does_not_exist_is_no_traceback() -> None:
    text = (
        header(13)
        + """ g (bool[A,B] m) => (int64 y) <int64 fifth = {5}> {
        n = NonZero (m)
        c = Gather <axis = 0> (n, fifth)
        y = Size (c)
    }"""
    )
    assert len(skip_reasons(ReplaceNonZero(), text)) == 1


def test_values_without_the_first_are_left() -> None:
    text = header() + LEGACY_OTHER.replace("Slice (r, zeros,", "Slice (r, ones,").replace(
        "zeros = Constant", "ones = Constant <value = int64[1] {1}> ()\n    zeros = Constant"
    )
    reasons = skip_reasons(ReplaceNonZero(), text)
    assert len(reasons) == 2 and all("ScatterND" in r for r in reasons)


def test_a_mask_expanded_to_the_shape_of_something_else_is_left() -> None:
    text = header(18) + DYNAMO.replace(
        "(float[A,B] x)", "(float[A,B] x, bool[C,D] given, float[E,F] z)", 1
    )
    text = text.replace("m = Greater (x, half)", "s = Shape (z)\n    m = Expand (given, s)")
    (reason,) = set(skip_reasons(ReplaceNonZero(), text))
    assert "ScatterND" in reason


def test_one_row_expanded_to_many_is_left() -> None:
    text = header(18) + ROWS.replace("(float[A,B] x)", "(float[A,B] x, bool[1] m)", 1)
    text = text.replace("VALUE", "v").replace("column = Gather <axis = 1> (x, first)", "")
    text = text.replace("m = Greater (column, half)", "")
    assert len(skip_reasons(ReplaceNonZero(), text)) == 1


def test_coordinates_taken_apart_and_joined() -> None:
    text = (
        header(18)
        + """ g (float[A,B] x, float[A,B] z) => (float[A,B] y)
      <float half = {0.5}, int64[1] n0 = {0}, int64[1] n1 = {1}, int64[1] n2 = {2},
       int64[1] last = {-1}> {
        m = Greater (x, half)
        n = NonZero (m)
        t = Transpose <perm = [1, 0]> (n)
        back = Transpose (t)
        a = Slice (back, n0, n1, n0)
        a1 = Squeeze (a, n0)
        b = Slice (t, n1, n2, n1)
        b1 = Squeeze (b, n1)
        most = Max (b1)
        size = Shape (most)
        b2 = Expand (b1, size)
        a3 = Unsqueeze (a1, last)
        b3 = Unsqueeze (b2, n1)
        i = Concat <axis = -1> (a3, b3)
        u = GatherND (z, i)
        y = ScatterND (x, i, u)
    }"""
    )
    feeds = [{"x": floats(*s), "z": floats(*s)} for s in SHAPES]
    assert_rewrites(ReplaceNonZero(), text, after=["Greater", "Where"], feeds=feeds)


# -- counts and sums ------------------------------------------------------------------------------

COUNTS = {
    "rows": ("s = Shape (n) y = Identity (s)", "int64[2]"),
    "points, legacy": ("i = Transpose (n) s = Shape (i) y = Gather <axis = 0> (s, nil)", "int64"),
    "points, dynamo": (
        "i = Transpose (n) s = Shape <start = 0, end = 1> (i) y = Squeeze (s)",
        "int64",
    ),
    "the rank": ("i = Transpose (n) s = Shape (i) y = Gather <axis = 0> (s, last)", "int64"),
    "selected": (
        "i = Transpose (n) v = GatherND (x, i) s = Shape (v) y = ReduceProd <keepdims = 0> (s)",
        "int64",
    ),
    "computed": ("i = Transpose (n) v = GatherND (x, i) w = Exp (v) y = Size (w)", "int64"),
    "size": ("y = Size (n)", "int64"),
    "shape twice": (
        "i = Transpose (n) v = GatherND (x, i) s = Shape (v) r = Shape (n)"
        " y = Concat <axis = 0> (s, r)",
        "int64[3]",
    ),
}


@pytest.mark.parametrize(
    ("form", "opset"),
    [(f, o) for f in COUNTS for o in (11, 13, 15, 18) if o >= 15 or "start" not in COUNTS[f][0]],
)
def test_what_is_only_counted_is_summed(form: str, opset: int) -> None:
    body, kind = COUNTS[form]
    text = header(opset) + (
        f" g (float[A,B] x) => ({kind} y)"
        " <float half = {0.5}, int64 nil = {0}, int64 last = {-1}>"
        f" {{ m = Greater (x, half) n = NonZero (m) {body} }}"
    )
    model = as_proto(text)
    fixed, _ = run_pass(ReplaceNonZero(), model)
    assert "NonZero" not in ops(fixed) and ("ReduceSum" in ops(fixed)) == (form != "the rank")
    assert not refused(fixed, "trt-7.2")
    for shape in (*SHAPES, (0, 3), (2, 0)):
        feeds = {"x": floats(*shape)}
        assert_same_outputs(model, fixed, feeds)
        assert_same_outputs(model, fixed, feeds, reference=True)


@pytest.mark.parametrize(("kind", "exactness"), [("float", "ROUNDING"), ("int64", "EXACT")])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_sums_of_what_is_selected(kind: str, exactness: str, keepdims: int) -> None:
    text = (
        header(13)
        + f""" g ({kind}[A,B] x, bool[A,B] m) => ({kind}[S] y) {{
        n = NonZero (m)
        i = Transpose <perm = [1, 0]> (n)
        v = GatherND (x, i)
        w = Neg (v)
        s = ReduceSum <keepdims = {keepdims}> (w)
        flat = Constant <value = int64[1] {{-1}}> ()
        y = Reshape (s, flat)
    }}"""
    )
    model = as_proto(text)
    fixed, results = run_pass(ReplaceNonZero(), model)
    assert "NonZero" not in ops(fixed) and not refused(fixed, "trt-7.2")
    assert {c.exactness.name for r in results for c in r.changes} == {exactness}
    for shape in (*SHAPES, (0, 3)):
        x = (RANDOM.integers(-9, 9, shape)).astype("float32" if kind == "float" else kind)
        assert_same_outputs(model, fixed, {"x": x, "m": RANDOM.random(shape) > 0.5})
    if kind == "float":
        x = np.asarray([[np.nan, 1, np.inf]], np.float32)
        assert_same_outputs(model, fixed, {"x": x, "m": np.asarray([[False, True, False]])})


REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["float", "double", "int64", "int32"])
@pytest.mark.parametrize("op", REDUCTIONS)
def test_other_reductions_of_what_is_selected(op: str, kind: str) -> None:
    integer = kind.startswith("int")
    if integer and op == "ReduceMean":
        pytest.skip("left alone: see test_the_mean_of_integers_and_halfs_is_left")
    for opset, keepdims in ((11, 1), (13, 0), (18, 1)):
        # One number whatever keepdims says.
        text = header(opset) + (
            f" g ({kind}[A,B] x, bool[A,B] m) => ({kind}[S] y) <int64[1] flat = {{-1}}> {{"
            f" n = NonZero (m) i = Transpose <perm = [1, 0]> (n) v = GatherND (x, i)"
            f" s = {op} <keepdims = {keepdims}> (v) y = Reshape (s, flat) }}"
        )
        model = as_proto(text)
        fixed, results = run_pass(ReplaceNonZero(), model)
        assert "NonZero" not in ops(fixed)
        assert kind == "double" or not refused(fixed, "trt-7.2")
        exact = integer or op in ("ReduceMax", "ReduceMin")
        names = {c.exactness.name for r in results for c in r.changes}
        assert names == {"EXACT" if exact else "ROUNDING"}
        dtype = np.dtype({"float": "float32", "double": "float64"}.get(kind, kind))
        for shape in (*SHAPES, (0, 3)):
            for share in (0.0, 0.5, 1.0):
                x = RANDOM.integers(-4, 5, shape).astype(dtype)
                feeds = {"x": x, "m": RANDOM.random(shape) < share}
                assert_same_outputs(model, fixed, feeds, exact=exact)
        if not integer:
            # What is not selected does not count, whatever it is.
            x = np.asarray([[np.nan, 1.5, np.inf, -np.inf]], dtype)
            m = np.asarray([[False, True, False, False]])
            assert_same_outputs(model, fixed, {"x": x, "m": m}, exact=exact)


@pytest.mark.parametrize("kind", ["int64", "float16"])
def test_the_mean_of_integers_and_halfs_is_left(kind: str) -> None:
    text = header(13) + (
        f" g ({kind}[A] x, bool[A] m) => ({kind} y) {{"
        f" n = NonZero (m) i = Transpose (n) v = GatherND (x, i)"
        f" y = ReduceMean <keepdims = 0> (v) }}"
    )
    (reason,) = set(skip_reasons(ReplaceNonZero(), text))
    assert "ReduceMean 'y' needs what it selects" in reason


def test_a_count_beside_the_rows_themselves_is_left() -> None:
    text = (
        header(13)
        + """ g (bool[A] m) => (int64[1,K] n, int64 k) {
        n = NonZero (m)
        k = Size (n)
    }"""
    )
    (reason,) = set(skip_reasons(ReplaceNonZero(), text))
    assert "depends on the data" in reason and "bounded" in reason


# -- constant masks and grids ---------------------------------------------------------------------

GRIDS = {
    "legacy": "s = Shape (x) w = ConstantOfShape <value = float[1] {1.0}> (s)",
    "dynamo": "s = Shape (x) w = Expand (one, s)",
    "boolean": "s = Shape (x) w = ConstantOfShape <value = bool[1] {1}> (s)",
    "cast": "s = Shape (x) v = ConstantOfShape <value = int64[1] {-3}> (s) w = Cast <to = 9> (v)",
    "NaN": "s = Shape (x) u = ConstantOfShape (s) v = Add (u, nan) w = Mul (v, one)",
}


@pytest.mark.parametrize("form", GRIDS)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_all_true_masks_are_grids(form: str, rank: int) -> None:
    dims = ",".join("ABC"[:rank])
    text = header(13) + (
        f" g (float[{dims}] x) => (int64[K,{rank}] y) <float one = {{1.0}}, float nan = {{7.0}}>"
        f" {{ {GRIDS[form]} n = NonZero (w) y = Transpose <perm = [1, 0]> (n) }}"
    )
    model = as_proto(text)
    next(t for t in model.graph.initializer if t.name == "nan").CopyFrom(
        numpy_helper.from_array(np.asarray(np.nan, np.float32), "nan")
    )
    fixed, _ = run_pass(ReplaceNonZero(), model)
    assert "NonZero" not in ops(fixed) and ops(fixed).count("Range") == rank
    assert not refused(fixed, "trt-7.2")
    for shape in ((2, 3, 4), (1, 1, 1), (3, 0, 2), (0, 2, 2)):
        assert_same_outputs(model, fixed, {"x": floats(*shape[:rank])})


def test_all_false_masks_have_no_rows() -> None:
    text = (
        header(13)
        + """ g (float[A,B] x) => (int64[2,K] n) {
        s = Shape (x) w = ConstantOfShape (s) n = NonZero (w)
    }"""
    )
    feeds = [{"x": floats(2, 3)}, {"x": floats(0, 3)}]
    assert_rewrites(ReplaceNonZero(), text, after=["Identity"], feeds=feeds)


def test_constant_masks_have_constant_rows() -> None:
    text = (
        header(13)
        + """ g (float[A] x) => (int64[2,3] y)
      <float[2,3] c = {0, 1, 0, 2, 0, -1}> {
        zero = Constant <value = float {0.0}> ()
        e = Equal (c, zero)
        m = Not (e)
        y = NonZero (m)
    }"""
    )
    fixed = assert_rewrites(ReplaceNonZero(), text, after=["Identity"], feeds=[{"x": floats(3)}])
    np.testing.assert_array_equal(run_model(fixed, {"x": floats(3)})[0], [[0, 1, 1], [1, 0, 2]])


def test_a_grid_before_range_existed_is_left() -> None:
    text = (
        header(10)
        + """ g (float[A] x) => (int64[1,K] n) {
        s = Shape (x) w = ConstantOfShape <value = float[1] {1.0}> (s) n = NonZero (w)
    }"""
    )
    (reason,) = set(skip_reasons(ReplaceNonZero(), text))
    assert "operator set 11" in reason


def test_a_large_static_grid_is_computed() -> None:
    text = (
        header(13)
        + """ g (float[A] x) => (int64[2,K] y) <int64[2] s = {600, 500}> {
        w = ConstantOfShape <value = float[1] {1.0}> (s)
        y = NonZero (w)
    }"""
    )
    model = as_proto(text)
    fixed, _ = run_pass(ReplaceNonZero(), model)
    assert ops(fixed).count("Range") == 2 and len(fixed.SerializeToString()) < 4096
    assert_same_outputs(model, fixed, {"x": floats(1)})


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("g (bool[A] m) => (int64[R,K] y) { y = NonZero (m) }", "'y' is an output"),
        ("g (bool[A] m) => (int64[R,K] y) { n = NonZero (m) y = Add (n, n) }", "'y' is an output"),
        (
            "g (bool[A] m) => (int64[1] y) { n = NonZero (m) y = ReduceMax <keepdims=0> (n) }",
            "ReduceMax",
        ),
        ("g (bool m) => (int64[R,K] y) { y = NonZero (m) }", "scalar"),
        (
            "g (float[A] x, int64[R] s) => (int64[Q,K] y) { w = Reshape (x, s) y = NonZero (w) }",
            "rank",
        ),
    ],
)
def test_refusals_say_why(text: str, part: str) -> None:
    reasons = skip_reasons(ReplaceNonZero(), header(13) + text)
    assert len(reasons) == 1 and part in reasons[0], reasons


@pytest.mark.parametrize("target", ["trt-8.5", "trt-8.6", "trt-10.3"])
def test_what_the_target_takes_is_left_alone(target: str) -> None:
    model = as_proto(header(18) + DYNAMO)
    after, results = run_pass(ReplaceNonZero(), model, target=target)
    assert after == model and not any(r.changes or r.skipped for r in results)


@pytest.mark.parametrize("target", ["trt-8.2", "rtx-1.7"])
def test_what_the_target_lacks_is_replaced(target: str) -> None:
    fixed, _ = run_pass(ReplaceNonZero(), header(18) + DYNAMO, target=target)
    assert ops(fixed) == ["Greater", "Where"] and not refused(fixed, target)


def test_inside_bodies() -> None:
    text = (
        header(16)
        + """ g (bool c, float[A,B] x, int64 trips) => (float[P,Q] y, float[A,B] z)
      <float half = {0.5}, float[1] v = {9.0}, int64[1] flat = {-1}> {
        y = If (c) <
            then_branch = then () => (float[P,Q] a) {
                m = Greater (x, half)
                n = NonZero (m)
                i = Transpose <perm = [1, 0]> (n)
                t = GatherND (x, i)
                u = Neg (t)
                a = ScatterND (x, i, u)
            },
            else_branch = other () => (float[P,Q] b) { b = Identity (x) }
        >
        go = Constant <value = bool {1}> ()
        z = Loop (trips, go, x) <
            body = each (int64 k, bool on, float[A,B] s) => (bool off, float[A,B] w) {
                off = Identity (on)
                m2 = Less (s, half)
                n2 = NonZero (m2)
                i2 = Transpose <perm = [1, 0]> (n2)
                t2 = GatherND (s, i2)
                u2 = Add (t2, half)
                w = ScatterND (s, i2, u2)
            }
        >
    }"""
    )
    model = as_proto(text)
    fixed, results = run_pass(ReplaceNonZero(), model)
    assert sum(len(r.changes) for r in results) == 2
    for c in (True, False):
        feeds = {"c": np.asarray(c), "x": floats(3, 4), "trips": np.asarray(2)}
        assert_same_outputs(model, fixed, feeds)


def test_coordinates_read_inside_a_body_are_left() -> None:
    text = (
        header(16)
        + """ g (bool c, bool[A] m) => (int64 y) {
        n = NonZero (m)
        y = If (c) <
            then_branch = then () => (int64 a) { a = Size (n) },
            else_branch = other () => (int64 b) { b = Constant <value = int64 {0}> () }
        >
    }"""
    )
    reasons = skip_reasons(ReplaceNonZero(), text)
    assert len(reasons) == 1 and "depends on the data" in reasons[0]


# -- families -------------------------------------------------------------------------------------

cases = st.fixed_dictionaries(
    {
        "shape": st.lists(st.integers(1, 4), min_size=1, max_size=4),
        "mask_rank": st.integers(1, 4),
        "dtype": st.sampled_from(["float32", "int64", "float64"]),
        "mask_dtype": st.sampled_from(["bool", "int64", "float32", "int32"]),
        "values": st.sampled_from(["gathered", "scalar", "row", "computed"]),
        "opset": st.sampled_from([13, 18, 21]),
        "share": st.sampled_from([0.0, 0.5, 1.0]),
        "dynamic": st.booleans(),
        "seed": st.integers(0, 2**16),
    }
)


@settings(max_examples=100, deadline=None)
@given(cases)
def test_any_indexed_assignment(case: dict[str, Any]) -> None:
    """x[m] = v against numpy, for masks of the first dims and every kind of value."""
    shape = case["shape"]
    rank = min(case["mask_rank"], len(shape))
    rng = np.random.default_rng(case["seed"])
    x, z = (rng.integers(-9, 9, shape).astype(case["dtype"]) for _ in range(2))
    m = (rng.random(shape[:rank]) < case["share"]).astype(case["mask_dtype"])
    rest = shape[rank:]
    row = rng.integers(-9, 9, rest).astype(case["dtype"])
    dims = [f"d{k}" for k in range(len(shape))] if case["dynamic"] else shape
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    nodes = [
        helper.make_node("NonZero", ["m"], ["n"]),
        helper.make_node("Transpose", ["n"], ["i"], perm=[1, 0]),
        helper.make_node("GatherND", ["z", "i"], ["t"]),
    ]
    if case["values"] in ("scalar", "row"):
        source = "one" if case["values"] == "scalar" else "row"
        nodes[2:] = [
            helper.make_node("GatherND", ["x", "i"], ["like"]),
            helper.make_node("Shape", ["like"], ["size"]),
            helper.make_node("Expand", [source, "size"], ["t"]),
        ]
    values, want = "t", np.array(x)
    where = m.astype(bool)
    want[where] = {"scalar": x.dtype.type(5), "row": row}.get(case["values"], z[where])
    if case["values"] == "computed":
        nodes += [
            helper.make_node("Mul", ["t", "one"], ["t1"]),
            helper.make_node("Sub", ["t1", "t"], ["t2"]),
        ]
        values = "t2"
        want[where] = z[where] * x.dtype.type(5) - z[where]
    nodes.append(helper.make_node("ScatterND", ["x", "i", values], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", kind, dims),
            helper.make_tensor_value_info("z", kind, dims),
            helper.make_tensor_value_info("row", kind, dims[rank:]),
            helper.make_tensor_value_info(
                "m", helper.np_dtype_to_tensor_dtype(m.dtype), dims[:rank]
            ),
        ],
        [helper.make_tensor_value_info("y", kind, dims)],
        [numpy_helper.from_array(np.asarray(5, x.dtype), "one")],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", case["opset"])], ir_version=10
    )
    fixed, results = run_pass(EVERYWHERE, model, target="trt-8.6")
    assert {"NonZero", "ScatterND", "GatherND"}.isdisjoint(ops(fixed))
    assert not any(s for r in results[:1] for s in r.skipped)
    feeds = {"x": x, "z": z, "row": row, "m": m}
    np.testing.assert_array_equal(run_model(fixed, feeds)[0], want)


# -- the ONNX backend node tests ------------------------------------------------------------------


@pytest.mark.parametrize("freeze", [False, True])
def test_every_backend_test_keeps_its_outputs(node_cases: list[TestCase], freeze: bool) -> None:
    """As they come (coordinates are the output: left alone), and with a constant mask."""
    seen = 0
    for case in node_cases:
        if case.model is None or not any(n.op_type == "NonZero" for n in case.model.graph.node):
            continue
        for inputs, outputs in case.data_sets or []:
            model = ModelProto()
            model.CopyFrom(case.model)
            feeds = {i.name: np.asarray(v) for i, v in zip(model.graph.input, inputs, strict=True)}
            if freeze:
                name = model.graph.node[0].input[0]
                model.graph.initializer.append(numpy_helper.from_array(feeds.pop(name), name))
                del model.graph.input[:]
            fixed, _ = run_pass(EVERYWHERE, model)
            assert ("NonZero" in ops(fixed)) is not freeze, case.name
            onnx.checker.check_model(fixed)
            for want, have in zip(outputs, run_reference(fixed, feeds), strict=True):
                np.testing.assert_array_equal(have, np.asarray(want), err_msg=case.name)
            seen += 1
    assert seen
