"""Axes that become attributes and axes counted from the back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from onnx_fix.lower import lower

Check = Callable[..., ModelProto]
Refusal = Callable[[str, int], str]


def floats(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(7).uniform(0.5, 2, shape).astype(np.float32)


def feeds(*sizes: int) -> list[dict[str, NDArray[np.float32]]]:
    return [{"x": floats(n, 1, 4)} for n in sizes]


def text(opset: int, body: str, rank: int, constants: str = "") -> str:
    sizes = f"[{','.join(f'D{i}' for i in range(rank))}]" if rank else ""
    head = f'<ir_version: 8, opset_import: ["": {opset}]> g (float[N,1,4] x) => (float{sizes} y)'
    return f"{head} {constants} {{{body}}}"


@pytest.mark.parametrize("opset", [12, 10, 9])
def test_squeeze_and_unsqueeze(opset: int, check: Check) -> None:
    body = "a = Squeeze(x, s) y = Unsqueeze(a, u)"
    constants = "<int64[1] s = {-2}, int64[2] u = {-1, 0}>"
    after = check(
        text(13, body, 4, constants), opset, feeds(3, 1, 0), want=["Squeeze", "Unsqueeze"]
    )
    axes = [list(n.attribute[0].ints) for n in after.graph.node]
    assert axes == ([[-2], [-1, 0]] if opset == 12 else [[1], [0, 3]])


def test_squeeze_of_all_axes_of_size_1(check: Check) -> None:
    check(text(13, "y = Squeeze(x)", 2), 9, feeds(3), want=["Squeeze"])


RUNTIMES = ("onnxruntime",)
"""onnx.reference has no Scatter."""


def at_run_time(opset: int, body: str, x: str, count: str, rank: int) -> str:
    sizes = f"[{','.join(f'D{i}' for i in range(rank))}]" if rank else ""
    return f"""<ir_version: 8, opset_import: ["": {opset}]>
        g (float[{x}] x, int64[{count}] axes) => (float{sizes} y) {{ y = {body} }}"""


@pytest.mark.parametrize("opset", [12, 10])
@pytest.mark.parametrize("known", [True, False])
def test_squeeze_along_axes_computed_at_run_time(opset: int, known: bool, check: Check) -> None:
    text = at_run_time(13, "Squeeze(x, axes)", "3,1,4,1" if known else "N,A,L,B", "2", 2)
    for sizes in [(3, 1, 4, 1)] if known else [(3, 1, 4, 1), (0, 1, 0, 1), (0, 1, 4, 1)]:
        axes = [np.array(a, np.int64) for a in ([1, 3], [-1, -3], [3, 1])]
        check(text, opset, [{"x": floats(*sizes), "axes": a} for a in axes], runtimes=RUNTIMES)


@pytest.mark.parametrize("opset", [12, 10])
@pytest.mark.parametrize("known", [True, False])
def test_unsqueeze_along_axes_computed_at_run_time(opset: int, known: bool, check: Check) -> None:
    text = at_run_time(13, "Unsqueeze(x, axes)", "3,4" if known else "N,L", "2", 4)
    for sizes in [(3, 4)] if known else [(3, 4), (0, 4), (3, 0), (0, 0)]:
        axes = [np.array(a, np.int64) for a in ([0, 1], [-1, 0], [2, 3], [-2, 2], [3, 1])]
        valid = [a for a in axes if len({*(a % 4)}) == 2]
        check(text, opset, [{"x": floats(*sizes), "axes": a} for a in valid], runtimes=RUNTIMES)


@pytest.mark.parametrize("op", ["ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceSum"])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("opset", [17, 12, 10])
def test_one_axis_computed_at_run_time(
    op: str, keep: int, known: bool, opset: int, check: Check
) -> None:
    shape = "3,1,4" if known else "N,A,L"
    text = at_run_time(18, f"{op}<keepdims = {keep}>(x, axes)", shape, "1", 2 + keep)
    for sizes in [(3, 1, 4)] if known else [(3, 1, 4), (2, 3, 4)]:
        axes = [np.array([a], np.int64) for a in (0, 1, 2, -1, -3)]
        feeds = [{"x": floats(*sizes), "axes": a} for a in axes]
        check(text, opset, feeds, rtol=1e-6, runtimes=RUNTIMES)


@pytest.mark.parametrize("keep", [0, 1])
def test_an_empty_tensor_along_one_axis_computed_at_run_time(keep: int, check: Check) -> None:
    text = at_run_time(18, f"ReduceSum<keepdims = {keep}>(x, axes)", "N,A,L", "1", 2 + keep)
    for sizes in [(0, 3, 4), (2, 0, 3), (0, 0, 2)]:
        axes = [np.array([a], np.int64) for a in (0, 1, 2)]
        feeds = [{"x": floats(*sizes), "axes": a} for a in axes]
        check(text, 12, feeds, runtimes=["onnxruntime"])


@pytest.mark.parametrize("opset", [12, 9])
def test_no_axes_and_all_axes_computed_at_run_time(opset: int, check: Check) -> None:
    x, none = floats(2, 1, 3), np.zeros(0, np.int64)
    for noop, rank, want in ((0, 0, "ReduceSum"), (1, 3, "Identity")):
        body = f"ReduceSum<keepdims = 0, noop_with_empty_axes = {noop}>(x, axes)"
        text = at_run_time(18, body, "N,1,L", "0", rank)
        check(text, opset, [{"x": x, "axes": none}], want=[want], rtol=1e-6)
    text = at_run_time(18, "ReduceMax<keepdims = 0>(x, axes)", "N,1,L", "3", 0)
    axes = np.array([2, 0, -2], np.int64)
    check(text, opset, [{"x": x, "axes": axes}], want=["ReduceMax"])


def test_axes_computed_at_run_time_are_refused(refusal: Refusal) -> None:
    squeeze = at_run_time(13, "Squeeze(x, axes)", "N,1,4", "K", 2)
    assert "how many is not known" in refusal(squeeze, 12)
    two = at_run_time(18, "ReduceSum(x, axes)", "N,1,4", "2", 3)
    assert "computed at run time" in refusal(two, 12)


@pytest.mark.parametrize(
    "op",
    [
        *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax"),
        *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
    ],
)
@pytest.mark.parametrize("opset", [17, 12, 9])
def test_reduce(op: str, opset: int, check: Check) -> None:
    constants = "<int64[2] axes = {-1, 1}>"
    check(text(18, f"y = {op}(x, axes)", 3, constants), opset, feeds(3, 1), want=[op], rtol=1e-6)
    body = f"y = {op}<keepdims = 0>(x)"
    check(text(18, body, 0), opset, feeds(2), want=[op], rtol=1e-6)


@pytest.mark.parametrize(
    ("op", "want"),
    [
        *(("ReduceL1", "Abs"), ("ReduceL2", "Abs"), ("ReduceLogSum", "Log")),
        *(("ReduceLogSumExp", "Identity"), ("ReduceMax", "Identity"), ("ReduceSum", "Identity")),
        ("ReduceSumSquare", "Mul"),
    ],
)
def test_reduce_over_no_axes(op: str, want: str, check: Check) -> None:
    constants = "<int64[0] axes = {}>"
    body = f"y = {op}<noop_with_empty_axes = 1>(x, axes)"
    # onnx.reference passes the data on, also where the op computes something for each element.
    runtimes = ["onnxruntime"] if want != "Identity" else ["onnxruntime", "reference"]
    check(text(18, body, 3, constants), 12, feeds(2), want=[want], rtol=1e-5, runtimes=runtimes)


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("opset", [19, 12, 11])
def test_reduce_of_booleans(op: str, opset: int, check: Check) -> None:
    source = f"""<ir_version: 9, opset_import: ["": 20]> g (bool[N,3] x) => (bool[N] y)
        <int64[1] axes = {{1}}> {{y = {op}<keepdims = 0>(x, axes)}}"""
    x = np.array([[True, False, True], [True] * 3, [False] * 3])
    check(source, opset, [{"x": x}, {"x": x[:1]}, {"x": x[:0]}])


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_reduce_of_small_integers(op: str, kind: str, check: Check) -> None:
    source = f"""<ir_version: 8, opset_import: ["": 12]> g ({kind}[N,3] x) => ({kind}[N,1] y)
        {{y = {op}<axes = [-1]>(x)}}"""
    limits = np.iinfo(kind)
    x = np.array([[limits.min, 0, limits.max], [1, 2, 3]], kind)
    check(source, 9, [{"x": x}], want=["Cast", op, "Cast"])


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("axis", [0, -1])
def test_the_last_of_several_extremes(op: str, keep: int, axis: int, check: Check) -> None:
    rank = 1 + keep
    sizes = ",".join("AB"[:rank])
    source = f"""<ir_version: 8, opset_import: ["": 13]> g (float[N,M] x) => (int64[{sizes}] y)
        {{y = {op}<axis = {axis}, keepdims = {keep}, select_last_index = 1>(x)}}"""
    x = np.random.default_rng(1).integers(0, 2, (4, 5)).astype(np.float32)
    check(source, 11, [{"x": x}, {"x": x[:1]}], want=["Slice", op, "Shape", "Gather", "Sub", "Sub"])


@pytest.mark.parametrize(
    "body", ["Concat<axis = -1>(x, x)", "Flatten<axis = -1>(x)", "Flatten<axis = -3>(x)"]
)
def test_axes_counted_from_the_back(body: str, check: Check) -> None:
    rank = 2 if "Flatten" in body else 3
    after = check(text(11, f"y = {body}", rank), 9, feeds(3, 1, 0))
    assert after.graph.node[0].attribute[0].i >= 0


def test_an_unknown_rank_is_refused() -> None:
    source = """<ir_version: 8, opset_import: ["": 11]>
        g (float[N] x) => (float[M] y) {y = Concat<axis = -1>(x, x)}"""
    proto = onnx.parser.parse_model(source)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.ClearField("shape")
    assert "rank of input 'x' is not known" in lower(proto, 10).refusals[0].reason


def test_axes_up_to_the_rank_are_known_where_the_sizes_are_not(check: Check) -> None:
    body = """
        s = Shape(x) r = Size(s) one = Constant <value_int = 1> ()
        axes = Range(one, r, one) y = ReduceMean(x, axes)
    """
    after = check(text(18, body, 3), 17, feeds(3, 1))
    reduce = next(n for n in after.graph.node if n.op_type == "ReduceMean")
    assert next(list(a.ints) for a in reduce.attribute if a.name == "axes") == [1, 2]


def test_axes_that_a_caller_may_feed_are_not_written_in(refused: Refusal) -> None:
    model = text(18, "y = ReduceMean(x, axes)", 3).replace(
        "float[N,1,4] x", "float[N,1,4] x, int64[2] axes = {1, 2}"
    )
    assert "run time" in refused(model, 17)
