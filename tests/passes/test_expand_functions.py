"""expand-functions: a node that the target refuses becomes the body that ONNX defines it by."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import onnx
import pytest
from judged import refused
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto
from onnx.backend.test.case.test_case import TestCase
from onnx.reference import ReferenceEvaluator
from recorded import array

from onnx_fix.contract import Exactness
from onnx_fix.registry import default_order
from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes.expand_functions import ExpandFunctions, has_body

PASS = ExpandFunctions()
RNG = np.random.default_rng(5)
Arrays = dict[str, NDArray[np.generic]]


def text(opset: int, signature: str, nodes: str) -> str:
    return f'<ir_version: 10, opset_import: ["" : {opset}]> g {signature} {{ {nodes} }}'


def floats(*shape: int, dtype: type[np.generic] = np.float32) -> NDArray[np.generic]:
    return RNG.standard_normal(shape).astype(dtype)


UNARY = [
    ("Celu <alpha = 1.5> (x)", 12, "trt-7.2", ["Div", "Elu", "Mul"]),
    ("Gelu (x)", 20, "trt-8.6", None),
    ('Gelu <approximate = "tanh"> (x)', 20, "trt-8.6", None),
    ("HardSwish (x)", 14, "trt-8.0", ["HardSigmoid", "Mul"]),
    ("HardSwish (x)", 22, "trt-7.2", ["HardSigmoid", "Mul"]),
    ("Mish (x)", 18, "trt-8.6", ["Softplus", "Tanh", "Mul"]),
    ("Mish (x)", 25, "trt-8.6", ["Softplus", "Tanh", "Mul"]),
    ("Swish <alpha = 1.5> (x)", 24, "trt-10.3", ["Mul", "Sigmoid", "Mul"]),
    ("Shrink <lambd = 0.5, bias = 0.25> (x)", 9, "trt-8.0", None),
    ("Shrink <lambd = 0.5, bias = 0.25> (x)", 18, "trt-8.0", None),
]


@pytest.mark.parametrize(("node", "opset", "target", "after"), UNARY)
def test_activations(node: str, opset: int, target: str, after: list[str] | None) -> None:
    model = text(opset, "(float[N, 3] x) => (float[N, 3] y)", f"y = {node}")
    feeds = [{"x": floats(n, 3)} for n in (1, 5, 0)]
    fixed, results = run_pass(PASS, model, target=target)
    made = ops(fixed) if after is None else after
    by_reference = node.startswith(("Swish", "Mish")) and opset > 22
    feeds = feeds[:2] if by_reference else feeds
    assert_rewrites(
        PASS, model, after=made, feeds=feeds, target=target, exact=False, reference=by_reference
    )
    assert refused(fixed, target) == []
    assert {c.exactness for r in results for c in r.changes} == {Exactness.ROUNDING}


@pytest.mark.parametrize("shape", ["", "2, 0, 3", "2, 3, 1, 2"])
def test_other_ranks(shape: str) -> None:
    model = text(18, f"(float[{shape}] x) => (float[{shape}] y)", "y = Mish (x)")
    if not shape:
        model = model.replace("float[]", "float")
    sizes = [int(d) for d in shape.split(",") if d]
    after = ["Softplus", "Tanh", "Mul"]
    feeds = [{"x": floats(*sizes)}]
    assert_rewrites(PASS, model, after=after, feeds=feeds, target="trt-8.6", exact=False)


def test_half_precision_takes_constants_of_its_type() -> None:
    model = text(14, "(float16[N] x) => (float16[N] y)", "y = Shrink <lambd = 0.5> (x)")
    feeds = [{"x": floats(7, dtype=np.float16)}]
    fixed, _ = run_pass(PASS, model, target="trt-8.0")
    assert "CastLike" not in ops(fixed)
    (have,) = ReferenceEvaluator(fixed).run(None, feeds[0])
    (want,) = ReferenceEvaluator(onnx.parser.parse_model(model)).run(None, feeds[0])
    assert np.asarray(have).dtype == np.float16
    np.testing.assert_array_equal(np.asarray(have), np.asarray(want))


@pytest.mark.parametrize("opset", [12, 16, 22])
@pytest.mark.parametrize("op", ["GreaterOrEqual", "LessOrEqual"])
@pytest.mark.parametrize("dtype", ["float", "int32", "int64"])
def test_comparisons_are_exact(op: str, opset: int, dtype: str) -> None:
    kind = {"float": np.float32, "int32": np.int32, "int64": np.int64}[dtype]
    model = text(opset, f"({dtype}[N] a, {dtype}[N] b) => (bool[N] y)", f"y = {op} (a, b)")
    first = "Greater" if op == "GreaterOrEqual" else "Less"
    feeds = [
        {"a": np.array([1, 2, 3, 2**24][:n], kind), "b": np.array([3, 2, 1, 2**24][:n], kind)}
        for n in (4, 1, 0)
    ]
    if dtype == "float":
        nan = np.array([np.nan, np.inf, -np.inf, 0], np.float32)
        feeds.append({"a": nan, "b": nan[[0, 1, 1, 3]]})
    after = sorted([first, "Equal", "Or"])
    fixed, results = run_pass(PASS, model, target="trt-7.2")
    assert sorted(ops(fixed)) == after
    assert_rewrites(PASS, model, after=ops(fixed), feeds=feeds)
    assert {c.exactness for r in results for c in r.changes} == {Exactness.EXACT}


@pytest.mark.parametrize(("opset", "target"), [(15, "trt-7.2"), (19, "trt-8.4"), (23, "trt-8.4")])
def test_cast_like(opset: int, target: str) -> None:
    model = text(opset, "(float[N] x, int32[M] l) => (int32[N] y)", "y = CastLike (x, l)")
    feeds = [{"x": floats(n) * 9, "l": np.zeros(m, np.int32)} for n, m in ((4, 1), (0, 0))]
    fixed = assert_rewrites(PASS, model, after=["Cast"], feeds=feeds, target=target)
    (attribute,) = [a for a in fixed.graph.node[0].attribute if a.name == "to"]
    assert attribute.i == TensorProto.INT32


def test_cast_like_keeps_saturate() -> None:
    model = onnx.parser.parse_model(
        text(
            19,
            "(float[N] x, float16[M] l) => (float16[N] y)",
            "y = CastLike <saturate = 0> (x, l)",
        )
    )
    fixed, _ = run_pass(PASS, model, target="trt-8.4")
    assert {a.name: a.i for a in fixed.graph.node[0].attribute} == {
        "saturate": 0,
        "to": TensorProto.FLOAT16,
    }


# -- normalizations and attention -----------------------------------------------------------------


@pytest.mark.parametrize("opset", [17, 18, 21])
@pytest.mark.parametrize("axis", [-1, 1])
def test_layer_normalization(opset: int, axis: int) -> None:
    sizes = (4,) if axis == -1 else (3, 4)
    shape = ", ".join(map(str, sizes))
    model = text(
        opset,
        f"(float[N, 3, 4] x, float[{shape}] s) => (float[N, 3, 4] y)",
        f"y = LayerNormalization <axis = {axis}, epsilon = 0.001> (x, s)",
    )
    feeds = [{"x": floats(n, 3, 4), "s": floats(*sizes)} for n in (1, 5)]
    whole, _ = run_pass([c() for c in default_order()], model, target="trt-8.4")
    assert refused(whole, "trt-8.4") == []
    fixed, _ = run_pass(PASS, model, target="trt-8.4")
    assert_rewrites(
        PASS, model, after=ops(fixed), feeds=feeds, target="trt-8.4", exact=False, rtol=1e-4
    )


def test_group_normalization_of_both_meanings() -> None:
    for opset, count, target in ((18, 2, "trt-8.4"), (21, 4, "trt-10.3")):
        model = text(
            opset,
            f"(float[N, 4, H, W] x, float[{count}] s, float[{count}] b) => (float[N, 4, H, W] y)",
            "y = GroupNormalization <num_groups = 2> (x, s, b)",
        )
        feeds = [{"x": floats(n, 4, 2, 3), "s": floats(count), "b": floats(count)} for n in (1, 2)]
        fixed, _ = run_pass(PASS, model, target=target)
        assert "GroupNormalization" not in ops(fixed) and "CastLike" not in ops(fixed)
        assert_same_outputs(onnx.parser.parse_model(model), fixed, feeds[1], exact=False, rtol=1e-4)


ATTENTIONS = [
    ("q, k, v", ""),
    ("q, k, v, m", ""),
    ("q, k, v, a", "<softcap = 2.0>"),
    ("q, k, v", "<is_causal = 1, scale = 0.3>"),
]


@pytest.mark.parametrize(("inputs", "attributes"), ATTENTIONS)
@pytest.mark.parametrize("opset", [23, 24])
@pytest.mark.parametrize("target", ["rtx-1.7", "trt-10.3"])
def test_attention(inputs: str, attributes: str, opset: int, target: str) -> None:
    mask = {"m": ", bool[S, T] m", "a": ", float[S, T] a"}.get(inputs[-1], "")
    model = text(
        opset,
        f"(float[B, 2, S, 8] q, float[B, 2, T, 8] k, float[B, 2, T, 8] v{mask})"
        " => (float[B, 2, S, 8] y)",
        f"y = Attention {attributes} ({inputs})",
    )
    feeds: list[Arrays] = []
    for b, s, t in ((2, 3, 5), (1, 1, 1)):
        feed = {"q": floats(b, 2, s, 8), "k": floats(b, 2, t, 8), "v": floats(b, 2, t, 8)}
        more = {"m": RNG.random((s, t)) > 0.3, "a": floats(s, t)}
        feed.update({k: v for k, v in more.items() if k == inputs[-1]})
        feeds.append(feed)
    fixed, _ = run_pass(PASS, model, target=target)
    assert not {"Attention", "CastLike", "Identity", "Mod"} & set(ops(fixed))
    assert refused(fixed, target) == []
    assert_rewrites(
        PASS,
        model,
        after=ops(fixed),
        feeds=feeds,
        target=target,
        exact=False,
        rtol=1e-4,
        atol=1e-5,
        reference=True,
    )


def test_attention_of_grouped_heads_and_rank_three() -> None:
    model = text(
        23,
        "(float[B, S, 32] q, float[B, T, 16] k) => (float[B, S, 32] y)",
        "y = Attention <q_num_heads = 4, kv_num_heads = 2> (q, k, k)",
    )
    fixed, _ = run_pass(PASS, model, target="trt-10.3")
    assert "Attention" not in ops(fixed)
    for b, s, t in ((2, 3, 5), (1, 1, 1)):
        feed = {"q": floats(b, s, 32), "k": floats(b, t, 16)}
        assert_same_outputs(
            onnx.parser.parse_model(model), fixed, feed, exact=False, rtol=1e-4, atol=1e-5
        )


def test_attention_with_a_past() -> None:
    model = text(
        23,
        "(float[1, 2, S, 8] q, float[1, 2, T, 8] k, float[1, 2, P, 8] p)"
        " => (float[1, 2, S, 8] y, float[1, 2, U, 8] pk, float[1, 2, U, 8] pv)",
        "y, pk, pv = Attention (q, k, k, none, p, p)",
    )
    parsed = onnx.parser.parse_model(model)
    parsed.graph.node[0].input[3] = ""
    fixed, _ = run_pass(PASS, parsed, target="trt-10.3")
    assert "Attention" not in ops(fixed)
    feed = {"q": floats(1, 2, 3, 8), "k": floats(1, 2, 3, 8), "p": floats(1, 2, 2, 8)}
    assert_same_outputs(parsed, fixed, feed, exact=False, rtol=1e-4, atol=1e-5, reference=True)


# -- where nodes stand ----------------------------------------------------------------------------


def test_nodes_that_the_target_takes_stay() -> None:
    model = text(18, "(float[N] x) => (float[N] y)", "y = Mish (x)")
    assert skip_reasons(PASS, model, target="trt-10.3") == []
    fixed, _ = run_pass(ExpandFunctions(everywhere=True), model, target="trt-10.3")
    assert ops(fixed) == ["Softplus", "Tanh", "Mul"]


def test_bodies() -> None:
    model = text(
        18,
        "(bool c, float[N] x) => (float[N] y)",
        "y = If (c) <then_branch = one () => (float[N] t) { t = Mish (x) },"
        " else_branch = two () => (float[N] e) { z = Abs (x) e = Mish (z) }>",
    )
    fixed, results = run_pass(PASS, model, target="trt-8.6")
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    for given in (True, False):
        feed = {"c": np.array(given), "x": floats(4)}
        assert_same_outputs(onnx.parser.parse_model(model), fixed, feed, exact=False)


def test_an_op_of_a_body_is_expanded_in_turn() -> None:
    model = text(
        13,
        "(float[N, 3] x, int64[N] t) => (float l)",
        'l = SoftmaxCrossEntropyLoss <reduction = "mean"> (x, t)',
    )
    fixed, _ = run_pass([c() for c in default_order()], model, target="trt-8.6")
    assert not {"SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"} & set(ops(fixed))


# -- what is left alone ---------------------------------------------------------------------------


SCANNED = (
    "(float[1, 3, 4] q, float[1, T, 4] k, float[1, 3, 6] v, float[1, 2, 2, 3] s) => "
    "(float[1, 3, 6] y, float[1, 2, 2, 3] p)"
)


@pytest.mark.parametrize("target", ["trt-7.2", "trt-10.3", "rtx-1.7"])
def test_a_body_with_a_scan_over_a_static_dim(target: str) -> None:
    body = (
        'y, p = LinearAttention <kv_num_heads = 2, q_num_heads = 2, update_rule = "linear"> '
        "(q, k, v, s)"
    )
    model = onnx.parser.parse_model(text(27, SCANNED.replace("T", "3"), body))
    fixed, _ = run_pass(PASS, model, target=target)
    assert not {"LinearAttention", "Scan"} & set(ops(fixed))
    random = np.random.default_rng(1)
    feed = {
        v.name: random.standard_normal([d.dim_value for d in v.type.tensor_type.shape.dim]).astype(
            np.float32
        )
        for v in model.graph.input
    }
    assert_same_outputs(model, fixed, feed, exact=False, reference=True)


def test_a_body_with_a_scan_over_a_dynamic_dim() -> None:
    body = (
        'y, p = LinearAttention <kv_num_heads = 2, q_num_heads = 2, update_rule = "linear"> '
        "(q, k, v, s)"
    )
    signature = (
        SCANNED.replace("T", "T").replace("1, 3, 4", "1, T, 4").replace("1, 3, 6", "1, T, 6")
    )
    (reason,) = skip_reasons(PASS, text(27, signature, body), target="trt-10.3")
    assert "has an If, Loop or Scan: it goes over" in reason and "fix the dim" in reason


def test_random_numbers() -> None:
    model = text(15, "(float[N] x) => (float[N] y)", "y = Bernoulli <seed = 1.0> (x)")
    (reason,) = skip_reasons(PASS, model, target="trt-10.3")
    assert "draws other random numbers" in reason


def test_element_types_that_the_target_has_nowhere() -> None:
    model = text(18, "(double[N] x) => (double[N] y)", "y = Mish (x)")
    (reason,) = skip_reasons(PASS, model, target="trt-7.2")
    assert "refuses 'x' itself for its type or rank" in reason


def test_types_that_are_not_known() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 20, "my" : 1]>
        g (float[N] x) => (float[N] y) { y = my.f (x) }
        <opset_import: ["" : 20], domain: "my">
        f (a) => (b) { b = Gelu (a) }"""
    )
    (reason,) = skip_reasons(PASS, model, target="trt-8.6")
    assert "cannot be written" in reason and "element type" in reason


def test_parameters_of_a_function() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 20, "my" : 1]>
        g (float[N] x) => (float[N] y) { y = my.f <alpha = 2.0> (x) }
        <opset_import: ["" : 14], domain: "my">
        f <alpha> (a) => (b) { b = Celu <alpha: float = @alpha> (a) }"""
    )
    (reason,) = skip_reasons(PASS, model, target="trt-7.2")
    assert "is a parameter of the enclosing function; inline it" in reason


def test_an_op_that_the_target_lacks_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx_fix_passes.expand_functions as module

    monkeypatch.setattr(module, "menders", lambda _kind, _op: ())
    model = text(
        13,
        "(float[N, 3] x, int64[N] t) => (float l)",
        'l = NegativeLogLikelihoodLoss <reduction = "mean"> (x, t)',
    )
    (reason,) = skip_reasons(PASS, model, target="trt-7.2")
    assert "needs GatherElements, which trt-7.2 lacks too" in reason


def test_axes_that_the_target_does_not_read() -> None:
    nodes = "y = LayerNormalization (x, s)"
    model = text(18, "(float[N, 4] x, float[4] s) => (float[N, 4] y)", nodes)
    (reason,) = skip_reasons(PASS, model, target="trt-7.2")
    assert "reduces over axes that trt-7.2 does not read" in reason
    model = text(17, "(float[N, 4] x, float[4] s) => (float[N, 4] y)", nodes)
    fixed, _ = run_pass(PASS, model, target="trt-7.2")
    assert "LayerNormalization" not in ops(fixed)


# -- ONNX backend node tests ----------------------------------------------------------------------


def outputs(model: ModelProto, feeds: Arrays) -> list[NDArray[np.generic]]:
    try:
        return run_model(model, feeds)
    except Exception:
        # onnxruntime lacks a kernel for many of the newest ops and odd types.
        return [np.asarray(v) for v in ReferenceEvaluator(model).run(None, feeds)]


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    """Every op that has a body, on a target that takes all types that there are."""
    count: Counter[str] = Counter()
    for case in node_cases:
        model = case.model
        if model is None or len(model.graph.node) != 1 or not model.opset_import:
            continue
        opset = next((o.version for o in model.opset_import if o.domain == ""), 0)
        op = model.graph.node[0].op_type
        if not opset or not has_body(op, opset) or "bfloat16" in case.name:
            continue
        fixed, results = run_pass(ExpandFunctions(everywhere=True), model, target="trt-11.5")
        if not any(r.changes for r in results):
            continue
        count[op] += 1
        names = [v.name for v in model.graph.input]
        for given, wanted in case.data_sets or []:
            feeds = dict(zip(names, map(array, given), strict=True))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                have = outputs(fixed, feeds)
            for mine, theirs in zip(have, map(array, wanted), strict=True):
                assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape), case.name
                np.testing.assert_allclose(
                    mine.astype(np.float64),
                    theirs.astype(np.float64),
                    case.rtol,
                    max(case.atol, 1e-6),
                    err_msg=case.name,
                )
    assert count["Attention"] > 60 and count["LayerNormalization"] > 15
    assert len(count) > 30


def test_schemas_that_have_bodies() -> None:
    assert has_body("Attention", 23) and has_body("Mish", 18) and has_body("Shrink", 9)
    assert not has_body("Attention", 22) and not has_body("Conv", 18)
    assert (
        not has_body("Softmax", 13) and not has_body("Softplus", 18) and not has_body("Range", 11)
    )
    assert not has_body("ReduceL2", 18) and not has_body("Clip", 13) and not has_body("My", 13)
