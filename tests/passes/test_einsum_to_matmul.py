"""EinsumToMatMul: what it writes, what it computes, and what it leaves alone."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from onnx_fix.contract import Exactness
from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes._einsum_letters import EquationError, bind
from onnx_fix_passes.einsum_to_matmul import EinsumToMatMul

FLOAT = TensorProto.FLOAT
NUMPY = helper.tensor_dtype_to_np_dtype


def einsum(
    equation: str,
    *shapes: Sequence[int | str],
    dtype: int = FLOAT,
    opset: int = 13,
) -> ModelProto:
    """A model of one Einsum over inputs x0, x1, … of these shapes."""
    rank = 1
    with contextlib.suppress(EquationError):
        rank = len(bind(equation, [len(shape) for shape in shapes]).output)
    names = [f"x{k}" for k in range(len(shapes))]
    node = helper.make_node("Einsum", names, ["y"], name="e", equation=equation)
    inputs = [
        helper.make_tensor_value_info(name, dtype, shape)
        for name, shape in zip(names, shapes, strict=True)
    ]
    output = helper.make_tensor_value_info("y", dtype, [None] * rank)
    graph = helper.make_graph([node], "g", inputs, [output])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])


def feeds(*sizes: Sequence[Sequence[int]], dtype: Any = np.float32) -> list[dict[str, Any]]:
    """One feed per list of shapes; whole numbers, so that float32 sums are exact in any order."""
    rng = np.random.default_rng(0)
    return [
        {f"x{k}": rng.integers(-6, 7, shape).astype(dtype) for k, shape in enumerate(shapes)}
        for shapes in sizes
    ]


def check(model: ModelProto, fixed: ModelProto, feed: dict[str, Any]) -> None:
    """The fixed model computes what the original does, by numpy where a tensor is empty.

    The Einsum of onnxruntime ends the process (division by zero) on some empty tensors.
    """
    if all(x.size for x in feed.values()):
        assert_same_outputs(model, fixed, feed)
        return
    want = np.asarray(np.einsum(model.graph.node[0].attribute[0].s.decode(), *feed.values()))
    (have,) = run_model(fixed, feed)
    assert have.dtype == want.dtype and have.shape == want.shape
    np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize("opset", [12, 13, 18, 21])
@pytest.mark.parametrize(
    ("equation", "symbols", "after"),
    [
        ("bij,bjk->bik", "bij bjk", "MatMul"),
        ("bdn,bdm->bnm", "bdn bdm", "Transpose MatMul"),
        ("bdhn,bdhm->bhnm", "bdhn bdhm", "Transpose Transpose MatMul"),
        ("bhnm,bdhm->bdhn", "bhnm bdhm", "Transpose MatMul Transpose"),
        ("bhnm,bhmd->bhnd", "bhnm bhmd", "MatMul"),
        ("abk,kc", "abk kc", "MatMul"),
        ("i,i->", "i i", "MatMul"),
        ("ij->ji", "ij", "Transpose"),
        ("IJ -> JI", "ij", "Transpose"),
        ("ij->", "ij", "ReduceSum"),
        ("ij,ij->", "ij ij", "Mul ReduceSum"),
        ("ij,ij->ij", "ij ij", "Mul"),
    ],
)
def test_the_usual_forms(equation: str, symbols: str, after: str, opset: int) -> None:
    terms = symbols.split()
    shapes = [tuple(c.upper() for c in term) for term in terms]
    sizes = []
    for start in (2, 1, 3, 0):
        size = {c: start and start + k % 3 for k, c in enumerate(sorted(set(symbols)))}
        sizes.append([[size[c] for c in term] for term in terms])
    model = einsum(equation, *shapes, opset=opset)
    *full, empty = feeds(*sizes)
    fixed = assert_rewrites(EinsumToMatMul(), model, after=after.split(), feeds=full)
    check(model, fixed, empty)


def test_batch_axes_of_size_one_broadcast() -> None:
    model = einsum("bij,bjk->bik", ["B", "I", "J"], ["C", "J", "K"])
    sizes = [[[1, 2, 3], [4, 3, 2]], [[4, 2, 3], [1, 3, 2]]]
    fixed = assert_rewrites(EinsumToMatMul(), model, after=["MatMul"], feeds=feeds(*sizes))
    check(model, fixed, feeds([[0, 2, 3], [1, 3, 2]])[0])


def test_a_summed_label_of_size_one() -> None:
    model = einsum("ij,jk->ik", ["I", 1], ["J", 4])
    fixed, results = run_pass(EinsumToMatMul(), model)
    for feed in feeds([[2, 1], [3, 4]], [[1, 1], [1, 4]], [[2, 1], [0, 4]]):
        check(model, fixed, feed)
    assert results[0].changes[0].note == ""


def test_a_sum_over_no_elements() -> None:
    for equation, shape in (("abc,d->ad", [0, 1, 0]), ("abce,d->ad", [2, 0, 3, 0])):
        model = einsum(equation, shape, ["D"])
        fixed, _ = run_pass(EinsumToMatMul(everywhere=True), model, target="trt-7.2")
        assert "Einsum" not in ops(fixed)
        check(model, fixed, feeds([shape, [2]])[0])


def test_sizes_that_are_taken_as_equal_are_named() -> None:
    model = einsum("ij,jk->ik", ["I", "N"], ["M", "K"])
    fixed, results = run_pass(EinsumToMatMul(), model)
    assert ops(fixed) == ["MatMul"]
    change = results[0].changes[0]
    assert change.note == "the sizes of label 'j' (N, M) are taken as equal"
    assert change.exactness is Exactness.ROUNDING
    # Where they are not, the product fails.
    with pytest.raises(Exception, match=r"(?i)dim"):
        run_model(fixed, feeds([[2, 1], [3, 4]])[0])
    reasons = skip_reasons(EinsumToMatMul(unproved_sizes="skip"), model)
    assert reasons == [
        "labels 'j' (N and M) are summed over two operands whose sizes are not known to be equal; "
        "set unproved_sizes: assume-equal if they are"
    ]
    rows = einsum("bj,bj->b", ["B", "N"], ["B", "M"])
    strict = EinsumToMatMul(unproved_sizes="skip")
    sizes = feeds([[2, 3], [2, 3]], [[2, 1], [2, 3]], [[2, 3], [2, 1]])
    assert_rewrites(strict, rows, after=["Mul", "ReduceSum"], feeds=sizes)


def test_labels_merge_by_constant_sizes() -> None:
    model = einsum("bqhd,hdo->bqo", ["B", "Q", 2, 3], [2, 3, 5], opset=12)
    sizes = [[[b, q, 2, 3], [2, 3, 5]] for b, q in ((2, 4), (1, 1), (0, 3), (2, 0))]
    full = feeds(*sizes)
    after = ["Reshape", "Reshape", "MatMul"]
    fixed = assert_rewrites(EinsumToMatMul(), model, after=after, feeds=full[:2])
    for feed in full:
        check(model, fixed, feed)


def test_minus_one_is_written_on_request_only() -> None:
    model = einsum("bchw,bdhw->bcd", ["B", "C", "H", "W"], ["B", "D", "H", "W"], opset=12)
    sizes = feeds([[2, 3, 4, 5], [2, 1, 4, 5]], [[1, 3, 1, 2], [1, 2, 1, 2]])
    empty = feeds([[0, 3, 4, 5], [0, 1, 4, 5]], [[2, 3, 0, 5], [2, 1, 0, 5]])
    fixed, _ = run_pass(EinsumToMatMul(), model)
    assert "Reshape" not in ops(fixed)
    merged, _ = run_pass(EinsumToMatMul(merge_by_minus_one=True), model)
    assert ops(merged).count("Reshape") == 2
    for feed in sizes:
        assert_same_outputs(model, fixed, feed)
        assert_same_outputs(model, merged, feed)
    for feed in empty:
        check(model, fixed, feed)


@pytest.mark.parametrize("dtype", [TensorProto.INT32, TensorProto.INT64])
@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6", "trt-10.3"])
def test_integers_are_multiplied_and_summed(dtype: int, target: str) -> None:
    model = einsum("bij,bjk->bik", ["B", "I", "J"], ["B", "J", "K"], dtype=dtype, opset=12)
    big = feeds([[2, 3, 4], [2, 4, 5]], [[1, 1, 1], [1, 1, 1]], dtype=NUMPY(dtype))
    # Beyond what floating point of the same width holds, short of an overflow; the ReduceSum of
    # onnxruntime adds int64 in double, which is exact up to 2**53.
    for feed in big:
        feed["x0"] = feed["x0"] * NUMPY(dtype).type(
            10**7 if dtype == TensorProto.INT32 else 6 * 10**13
        )
    after = ["Unsqueeze", "Unsqueeze", "Mul", "ReduceSum"]
    assert_rewrites(EinsumToMatMul(), model, after=after, feeds=big, target=target)
    _, results = run_pass(EinsumToMatMul(), model, target=target)
    assert results[0].changes[0].exactness is Exactness.EXACT


def test_half_precision() -> None:
    model = einsum("bdn,bdm->bnm", [2, "D", "N"], [2, "D", "M"], dtype=TensorProto.FLOAT16)
    sizes = [[[2, d, n], [2, d, m]] for d, n, m in ((3, 4, 5), (1, 1, 1))]
    given_feeds = feeds(*sizes, dtype=np.float16)
    assert_rewrites(EinsumToMatMul(), model, after=["Transpose", "MatMul"], feeds=given_feeds)
    # Products near the largest float16 belong inside a MatMul.
    rows = einsum("bj,bj->b", ["B", "J"], ["B", "J"], dtype=TensorProto.FLOAT16, opset=12)
    after = ["Unsqueeze", "Unsqueeze", "MatMul", "Squeeze"]
    assert_rewrites(EinsumToMatMul(), rows, after=after, feeds=feeds([[2, 3], [2, 3]], dtype="e"))


def special(shape: Sequence[int], dtype: Any = np.float32) -> Any:
    """Numbers with NaN and both infinities among them."""
    x = np.arange(int(np.prod(shape)), dtype=np.float64).astype(dtype).reshape(-1)
    x[1::3] = np.nan
    x[2::5] = np.inf
    x[3::7] = -np.inf
    return x.reshape(shape)


@pytest.mark.parametrize(
    ("equation", "shape", "after"),
    [
        ("ii->i", [4, 4], "Reshape Gather"),
        ("iji->ij", [4, "J", 4], "Transpose Reshape Gather Transpose"),
        ("...ii ->...i", ["B", "C", 3, 3], "Reshape Gather"),
        ("iij->ij", [3, 3, 5], "Reshape Gather"),
        ("iij->ji", [3, 3, "J"], "Reshape Gather Transpose"),
        ("iii->i", [3, 3, 3], "Reshape Gather"),
        ("ii->i", [1, 1], "Reshape Gather"),
        ("ii->i", ["N", 4], "Reshape Gather"),
    ],
)
def test_static_diagonals_keep_what_is_not_finite(
    equation: str, shape: list[int | str], after: str
) -> None:
    sizes = {"B": 2, "C": 3, "J": 5, "N": 4}
    real = [s if isinstance(s, int) else sizes[s] for s in shape]
    model = einsum(equation, shape)
    assert_rewrites(EinsumToMatMul(), model, after=after.split(), feeds=[{"x0": special(real)}])


@pytest.mark.parametrize("dtype", [FLOAT, TensorProto.FLOAT16, TensorProto.INT64])
@pytest.mark.parametrize(
    ("equation", "symbols"),
    [("ii->i", "NN"), ("iji->ji", "NJN"), ("iij->ji", "NNJ"), ("iii->i", "NNN"), ("bii->b", "BNN")],
)
def test_dynamic_diagonals(equation: str, symbols: str, dtype: int) -> None:
    model = einsum(equation, list(symbols), dtype=dtype, opset=12)
    fixed, results = run_pass(EinsumToMatMul(), model)
    assert "Where" in ops(fixed) and "Einsum" not in ops(fixed)
    if equation != "bii->b":
        assert results[0].changes[0].exactness is Exactness.EXACT
    for n in (3, 1, 0):
        shape = [{"N": n, "J": 2, "B": 2}[c] for c in symbols]
        if dtype == TensorProto.INT64:
            x = np.arange(np.prod(shape)).reshape(shape)
        else:
            x = special(shape, NUMPY(dtype))
        check(model, fixed, {"x0": x})


def test_a_diagonal_over_sizes_in_doubt() -> None:
    model = einsum("ii->i", ["N", "M"])
    _, results = run_pass(EinsumToMatMul(), model)
    assert "label 'i' (N, M)" in results[0].changes[0].note
    assert "one operand" in skip_reasons(EinsumToMatMul(unproved_sizes="skip"), model)[0]


def test_ellipses_of_different_ranks_align_at_the_right() -> None:
    model = einsum("...ij,...jk->...ik", ["B", "H", "I", "J"], ["H", "J", "K"])
    shapes = [[[2, 3, 4, 5], [3, 5, 6]], [[1, 1, 2, 1], [1, 1, 1]]]
    # onnxruntime wants ellipses of one rank; onnx.reference reads them as numpy does.
    assert_rewrites(EinsumToMatMul(), model, after=["MatMul"], feeds=feeds(*shapes), reference=True)


def test_scalars_and_identities() -> None:
    scalar = feeds([[]])
    assert_rewrites(EinsumToMatMul(), einsum("->", []), after=["Identity"], feeds=scalar)
    assert_rewrites(EinsumToMatMul(), einsum("", []), after=["Identity"], feeds=scalar)
    assert_rewrites(EinsumToMatMul(), einsum(",", [], []), after=["Mul"], feeds=feeds([[], []]))
    model = einsum(",ij,->ji", [], ["I", "J"], [])
    fixed, _ = run_pass(EinsumToMatMul(), model)
    assert sorted(ops(fixed)) == ["Mul", "Mul", "Transpose"]
    assert_same_outputs(model, fixed, feeds([[], [2, 3], []])[0])


def test_products_of_three_are_rounded_otherwise_and_of_two_are_not() -> None:
    _, results = run_pass(EinsumToMatMul(), einsum("i,i->i", ["N"], ["N"]))
    assert results[0].changes[0].exactness is Exactness.EXACT
    _, results = run_pass(EinsumToMatMul(), einsum("i,i,i->i", ["N"], ["N"], ["N"]))
    assert results[0].changes[0].exactness is Exactness.ROUNDING


def test_the_order_of_many_products_is_chosen() -> None:
    shapes: list[Sequence[int | str]] = [[50, 2], [2, 50], [50, 3], [3, "N"]]
    model = einsum("ab,bc,cd,de->ae", *shapes)
    fixed, _ = run_pass(EinsumToMatMul(), model)
    assert ops(fixed) == ["MatMul"] * 3
    inner = fixed.graph.node[0]
    assert list(inner.input) == ["x1", "x2"], "2 x 50 times 50 x 3 is the cheapest start"
    assert_same_outputs(model, fixed, feeds([[50, 2], [2, 50], [50, 3], [3, 4]])[0])


# -- targets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["trt-8.2", "trt-8.6", "trt-10.3", "rtx-1.7"])
def test_what_the_target_takes_is_left_alone(target: str) -> None:
    model = einsum("bdhn,bdhm->bhnm", list("BDHN"), list("BDHM"))
    assert skip_reasons(EinsumToMatMul(), model, target=target) == []
    fixed, _ = run_pass(EinsumToMatMul(everywhere=True), model, target=target)
    assert ops(fixed) == ["Transpose", "Transpose", "MatMul"]


@pytest.mark.parametrize("target", ["trt-8.6", "trt-10.3", "rtx-1.7"])
def test_upper_case_is_respelled(target: str) -> None:
    model = einsum("bDn,bDm->bnm", list("BDN"), list("BDM"))
    sizes = feeds([[2, 3, 4], [2, 3, 5]], [[1, 1, 1], [1, 1, 1]])
    fixed = assert_rewrites(EinsumToMatMul(), model, after=["Einsum"], feeds=sizes, target=target)
    (node,) = fixed.graph.node
    assert node.attribute[0].s == b"ban,bam->bnm" and node.name == "e"


def test_an_ellipsis_is_written_out() -> None:
    model = einsum("...ij,...jk", ["B", "I", "J"], ["B", "J", "K"])
    sizes = feeds([[2, 3, 4], [2, 4, 5]])
    fixed = assert_rewrites(
        EinsumToMatMul(), model, after=["Einsum"], feeds=sizes, target="trt-8.6"
    )
    assert fixed.graph.node[0].attribute[0].s == b"aij,ajk->aik"
    mixed = einsum("...ij,...jk", [1, "I", "J"], [3, "J", "K"])
    feed = feeds([[1, 3, 4], [3, 4, 5]])
    assert_rewrites(EinsumToMatMul(), mixed, after=["MatMul"], feeds=feed, target="trt-8.6")
    assert skip_reasons(EinsumToMatMul(), mixed, target="rtx-1.7") == []


def test_what_no_spelling_helps_is_decomposed() -> None:
    model = einsum("ab,bc,cd->ad", ["A", "B"], ["B", "C"], ["C", "D"])
    feed = feeds([[2, 3], [3, 4], [4, 5]])
    assert_rewrites(EinsumToMatMul(), model, after=["MatMul"] * 2, feeds=feed, target="trt-8.6")
    assert skip_reasons(EinsumToMatMul(), model, target="rtx-1.7") == []


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6"])
def test_the_new_nodes_are_ones_the_target_takes(target: str) -> None:
    from onnx_fix.model import Model
    from onnx_fix.target import load_target

    equations = ["bij,bj->bi", "bj,bj->b", "bij->bj", "bij,bjk->k", "bji,bj->bi"]
    for equation in equations:
        terms = equation.split("->")[0].split(",")
        size = {"b": 2, "i": 3, "j": 4, "k": 5}
        real = [[size[c] for c in term] for term in terms]
        model = einsum(equation, *real, opset=13)
        fixed, _ = run_pass(EinsumToMatMul(), model, target=target)
        (feed,) = feeds(real)
        assert_same_outputs(model, fixed, feed)
        scope = Model(fixed, None, load_target(target)).main
        if target == "trt-7.2" and equation == "bj,bj->b":
            continue
        assert not [n.op for n in scope.nodes() if scope.refused(n)], (equation, ops(fixed))


# -- scopes --------------------------------------------------------------------------------------


def test_in_an_if() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (bool c, float[B,D,N] x, float[B,D,M] z) => (float[B,N,M] y) {
          y = If (c) <
            then_branch = t () => (float[B,N,M] u) {
              u = Einsum <equation = "bdn,bdm->bnm"> (x, z)
            },
            else_branch = f () => (float[B,N,M] v) {
              w = Einsum <equation = "bdn,bdm->bnm"> (x, z)
              v = Neg (w)
            }
          >
        }"""
    )
    fixed, results = run_pass(EinsumToMatMul(), model)
    assert len(results[0].changes) == 2
    branches = {a.name: [n.op_type for n in a.g.node] for a in fixed.graph.node[0].attribute}
    assert branches["then_branch"] == ["Transpose", "MatMul"]
    assert branches["else_branch"] == ["Transpose", "MatMul", "Neg"]
    for c in (True, False):
        (feed,) = feeds([[2, 3, 4], [2, 3, 5]])
        arrays = {"c": np.array(c), "x": feed["x0"], "z": feed["x1"]}
        assert_same_outputs(model, fixed, arrays)


def test_in_a_loop() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (int64 n, float[I,I] x) => (float[I,I] y) {
          go = Constant <value = bool {1}> ()
          y = Loop (n, go, x) <body = b (int64 i, bool k, float[I,I] s) => (bool l, float[I,I] t) {
            l = Identity (k)
            t = Einsum <equation = "ij,jk"> (s, x)
          }>
        }"""
    )
    fixed, results = run_pass(EinsumToMatMul(), model)
    assert [c.new_ops for c in results[0].changes] == [("MatMul",)]
    for n in (0, 1, 3):
        (feed,) = feeds([[2, 2]])
        assert_same_outputs(model, fixed, {"n": np.array(n), "x": feed["x0"]})


FUNCTION = """<ir_version: 8, opset_import: ["" : 13, "f" : 1]>
g (float[I,J] x) => (float[J,I] y) { y = f.turn %s (x) }
<domain: "f", opset_import: ["" : 13]>
turn %s (a) => (b) { b = Einsum <equation%s> (a) }"""


def test_in_a_function() -> None:
    model = onnx.parser.parse_model(FUNCTION % ("", "", ' = "ij->ji"'))
    fixed, _ = run_pass(EinsumToMatMul(), model)
    assert [n.op_type for n in fixed.functions[0].node] == ["Transpose"]
    assert_same_outputs(model, fixed, {"x": feeds([[2, 3]])[0]["x0"]})
    dotted = onnx.parser.parse_model(FUNCTION % ("", "", ' = "...ij->...ji"'))
    assert "rank is not known" in skip_reasons(EinsumToMatMul(), dotted)[0]


def test_an_equation_that_is_a_parameter() -> None:
    text = FUNCTION % ('<eq = "ij->ji">', "<eq>", ": string = @eq")
    reasons = skip_reasons(EinsumToMatMul(), onnx.parser.parse_model(text))
    assert reasons == ["the equation is a parameter of the function"]


# -- refusals ------------------------------------------------------------------------------------


UNKNOWN_RANK = """<ir_version: 8, opset_import: ["" : 13]>
g (float[2,3] a, int64[N] s, float[3,4] b) => (float[2,4] y) {
  x = Reshape (a, s)
  y = Einsum <equation = "%s"> (x, b)
}"""


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (UNKNOWN_RANK % "...i,ij->...j", "rank is not known"),
        (einsum("i1->i", [2, 3]), "malformed at 'i1'"),
        (einsum("ij->ik", [2, 3]), "output label 'k'"),
        (einsum("ij,jk->ik", [2, 3]), "2 terms and the node has 1 inputs"),
        (einsum("...ij->ij", [2, 3, 4]), "implementations disagree"),
        (einsum("ij,jk->ik", [2, 3], [4, 5]), "'j' has sizes 3 and 4"),
        (einsum("ij->i", [2, 3], dtype=TensorProto.DOUBLE), "neither MatMul nor Mul of DOUBLE"),
    ],
)
def test_what_is_left_alone_and_why(model: ModelProto | str, reason: str) -> None:
    (given_reason,) = skip_reasons(EinsumToMatMul(), model)
    assert reason in given_reason


def test_narrow_integers() -> None:
    model = einsum("ij,jk->ik", [2, 3], [3, 4], dtype=TensorProto.INT8, opset=14)
    assert "INT8" in skip_reasons(EinsumToMatMul(everywhere=True), model)[0]
    early = einsum("i,i->i", [2], [2], dtype=TensorProto.INT8, opset=13)
    assert "before opset 14" in skip_reasons(EinsumToMatMul(everywhere=True), early)[0]


def test_an_unknown_rank_matters_only_with_an_ellipsis() -> None:
    (feed,) = feeds([[2, 3], [3, 4]])
    arrays = {"a": feed["x0"], "s": np.array([2, 3]), "b": feed["x1"]}
    model = UNKNOWN_RANK % "ij,jk->ik"
    assert_rewrites(EinsumToMatMul(), model, after=["Reshape", "MatMul"], feeds=[arrays])


# -- against other implementations -----------------------------------------------------------------


def test_the_node_tests_of_onnx_keep_their_outputs(node_cases: list[TestCase]) -> None:
    mine = [
        (case, case.model)
        for case in node_cases
        if case.model and any(n.op_type == "Einsum" for n in case.model.graph.node)
    ]
    assert len(mine) >= 6
    for case, model in mine:
        fixed, results = run_pass(EinsumToMatMul(everywhere=True), model)
        assert not any(n.op_type == "Einsum" for n in fixed.graph.node), case.name
        assert sum(len(r.changes) for r in results) == 1
        for inputs, outputs in case.data_sets or ():
            names = [v.name for v in model.graph.input]
            feed = {
                n: numpy_helper.to_array(v) if isinstance(v, TensorProto) else np.asarray(v)
                for n, v in zip(names, inputs, strict=True)
            }
            for have, want in zip(run_reference(fixed, feed), outputs, strict=True):
                array = numpy_helper.to_array(want) if isinstance(want, TensorProto) else want
                have64, want64 = np.asarray(have, np.float64), np.asarray(array, np.float64)
                assert have.shape == want64.shape
                np.testing.assert_allclose(have64, want64, rtol=case.rtol, atol=case.atol)


EQUATIONS = [
    "ab->ba",
    "ab->b",
    "ab,bc->ac",
    "ab,bc->ca",
    "ab,cb",
    "ab,ab->a",
    "abc,abd->acd",
    "abc,dbc->ad",
    "abc,cd->abd",
    "abc,cde->abde",
    "abcd,bce->aed",
    "a,b->ba",
    "abc,c->ab",
    "b,abc->ac",
    "aba->b",
    "aab,bc->ac",
    "abc,d->ad",
    "ab,bc,cd->ad",
    "ab,ac,ad->bcd",
    "ab,,b->a",
    "...a,...a->...",
    "a...b,b...c->c...a",
    "...ab,...bc",
    "Ab,bC->AC",
]


@st.composite
def models(draw: st.DrawFn) -> tuple[ModelProto, dict[str, Any]]:
    """A model of one of the equations, with feeds; labels may be 1 in one operand."""
    equation = draw(st.sampled_from(EQUATIONS))
    dtype = draw(
        st.sampled_from([FLOAT, TensorProto.FLOAT16, TensorProto.INT32, TensorProto.INT64])
    )
    size = {c: draw(st.integers(0, 3)) for c in "abcdeAC."}
    shapes, known = [], []
    for term in equation.split("->")[0].replace("...", ".").split(","):
        mine = {c: 1 if draw(st.integers(0, 9)) == 0 else size[c] for c in set(term)}
        dims = [mine[c] for c in term]
        shapes.append(dims)
        static = draw(st.booleans())
        known.append([d if static else f"{c}{mine[c]}" for c, d in zip(term, dims, strict=True)])
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    feed = {
        f"x{k}": rng.integers(-3, 4, shape).astype(NUMPY(dtype)) for k, shape in enumerate(shapes)
    }
    opset = draw(st.sampled_from([12, 13, 18]))
    return einsum(equation, *known, dtype=dtype, opset=opset), feed


@settings(max_examples=120, deadline=None)
@given(models(), st.sampled_from(["trt-7.2", "trt-8.6", "trt-10.3"]))
def test_every_model_computes_the_same(
    case: tuple[ModelProto, dict[str, Any]], target: str
) -> None:
    model, feed = case
    equation = model.graph.node[0].attribute[0].s.decode()
    want = np.asarray(np.einsum(equation, *feed.values()))
    if all(x.size for x in feed.values()):
        # onnxruntime may die of some empty tensors.
        with contextlib.suppress(Fail):
            np.testing.assert_array_equal(run_model(model, feed)[0], want)
    fixed, results = run_pass(EinsumToMatMul(everywhere=True), model, target=target)
    (change,) = results[0].changes
    assert "Einsum" not in ops(fixed)
    try:
        (have,) = run_model(fixed, feed)
    except (Fail, InvalidArgument, RuntimeException):
        assert change.note, "failed although nothing was assumed"
        return
    assert have.dtype == want.dtype and have.shape == want.shape
    np.testing.assert_array_equal(have, want)
