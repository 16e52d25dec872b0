"""Sizes that are known only when the engine runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.data_dependent_sizes import DataDependentSizes

Run = Callable[..., list[CheckFinding]]
HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'
POINTS = (
    HEAD
    + """g (float[H,W] x) => (int64[n,2] y, float[m] z, float[H,W] w) {
    k = NonZero(x)
    y = Transpose<perm=[1,0]>(k)
    w = Neg(x)
    s = Shape(k)
    one = Constant<value=int64{1}>()
    zero = Constant<value=int64{0}>()
    count = Gather(s, one)
    r = Range(zero, count, one)
    z = Cast<to=1>(r)
}"""
)


@pytest.mark.parametrize("target", ["trt-8.5", "trt-8.6", "trt-10.3", "trt-11.5"])
def test_readers_and_outputs_are_listed(run: Run, target: str) -> None:
    (found,) = run(DataDependentSizes, POINTS, target)
    assert found.severity is Severity.WARNING and found.op == "NonZero" and found.tensor == "k"
    assert "follow from it: 3 ('Transpose y', 'Range r', 'Cast z')" in found.why
    assert "known only after the run: 'y', 'z'" in found.why


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.4", "rtx-1.7"])
def test_where_the_node_is_refused_that_comes_first(run: Run, target: str) -> None:
    assert run(DataDependentSizes, POINTS, target) == []


def test_a_size_that_is_reduced_away_stops_there(run: Run) -> None:
    model = (
        HEAD
        + """g (float[4,5] x, float[4,5] z) => (float y) {
        k = NonZero(x)
        t = Transpose<perm=[1,0]>(k)
        v = GatherND(z, t)
        y = ReduceSum<keepdims=0>(v)
    }"""
    )
    (found,) = run(DataDependentSizes, model)
    assert "follow from it: 2 ('Transpose t', 'GatherND v')" in found.why
    assert "output" not in found.why


def test_each_reader_is_told_of_once(run: Run) -> None:
    model = (
        HEAD
        + """g (float[4,5] x) => (int64[2,a] y) {
        k = NonZero(x)
        l = NonZero(k)
        m = Concat<axis=1>(k, l)
        y = Identity(m)
    }"""
    )
    first, *rest = run(DataDependentSizes, model)
    assert "follow from it: 2 ('Concat m', 'Identity y')" in first.why
    assert rest == []


def test_boxes_since_the_layer_exists(run: Run) -> None:
    model = (
        HEAD
        + """g (float[1,N,4] b, float[1,1,N] s) => (int64[a,3] y) {
        m = Constant<value=int64[1]{10}>()
        i = NonMaxSuppression(b, s, m)
        y = Identity(i)
    }"""
    )
    (found,) = run(DataDependentSizes, model, "trt-8.6")
    assert found.op == "NonMaxSuppression"
    assert run(DataDependentSizes, model, "trt-8.2") == []


def branches(then_shape: str, else_shape: str, condition: str = "bool c, ") -> str:
    constant = "" if condition else " <bool c = {1}>"
    return (
        HEAD
        + f"""g ({condition}float[2,3] x) => (float[a,b] y){constant} {{
        r = If(c) <
          then_branch = t () => (float[{then_shape}] o) {{ o = Slice(x, b0, e1, ax) }},
          else_branch = e () => (float[{else_shape}] p) {{ p = Identity(x) }}
        >
        y = Neg(r)
    }}"""
    ).replace(
        "{\n        r =",
        "{\n b0 = Constant<value=int64[1]{0}>() e1 = Constant<value=int64[1]{1}>() "
        "ax = Constant<value=int64[1]{0}>()\n r =",
    )


def test_branches_of_unequal_size(run: Run) -> None:
    (found,) = run(DataDependentSizes, branches("1,3", "2,3"), "trt-10.3")
    assert found.op == "If" and "'Neg y'" in found.why


def test_a_condition_on_sizes_is_no_data(run: Run) -> None:
    model = branches("1,3", "2,3").replace("bool c, float[2,3] x", "float[2,3] x, float[N] v")
    model = model.replace("r = If", "s = Size(v) c = Greater(s, one) r = If")
    model = model.replace("b0 = ", "one = Constant<value=int64{1}>() b0 = ")
    assert run(DataDependentSizes, model, "trt-10.3") == []
    asked = model.replace("s = Size(v)", "a = ReduceSum<keepdims=0>(v) s = Cast<to=7>(a)")
    assert [f.op for f in run(DataDependentSizes, asked, "trt-10.3")] == ["If"]


def test_branches_of_equal_size(run: Run) -> None:
    model = branches("1,3", "2,3").replace("p = Identity(x)", "p = Slice(x, b0, e1, ax)")
    assert run(DataDependentSizes, model.replace("float[2,3] p", "float[1,3] p"), "trt-10.3") == []


def test_a_static_model_has_none(run: Run) -> None:
    model = HEAD + "g (float[N] x) => (float[N] y) { a = Shape(x) y = Expand(x, a) }"
    assert run(DataDependentSizes, model) == []


def test_inside_a_branch(run: Run) -> None:
    model = (
        HEAD
        + """g (bool c, float[2,3] x) => (int64[2,a] y) {
        y = If(c) <
          then_branch = t () => (int64[2,a] o) { k = NonZero(x) o = Neg(k) },
          else_branch = e () => (int64[2,b] p) { p = NonZero(x) }
        >
    }"""
    )
    found = run(DataDependentSizes, model, "trt-10.3")
    assert [f.scope for f in found] == ["y/then_branch", "y/else_branch"]
    assert "'Neg o'" in found[0].why
