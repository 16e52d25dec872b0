"""BatchPooling: pools and convolutions on tensors without batch axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.testing import as_proto, ops, run_model, run_pass, run_reference, skip_reasons
from onnx_fix_passes.batch_pooling import BatchPooling

POOL = "<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [1, 1]>"
CHAIN = (
    '<ir_version: 8, opset_import: ["" : 13]> g (float[C,H,W] x) => (float[A,B,D] y) {{\n'
    "  a = MaxPool {pool} (x)\n"
    "  b = Equal (x, a)\n"
    "  c = Cast <to = 1> (b)\n"
    "  d = MaxPool {pool} (c)\n"
    "  e = Greater (d, c)\n"
    "  f = Where (e, x, a)\n"
    "  y = MaxPool {pool} (f)\n"
    "}}"
)


def model_of(
    op: str,
    rank: int,
    *,
    opset: int = 13,
    dtype: int = TensorProto.FLOAT,
    weights: np.ndarray | None = None,
    outputs: int = 1,
    **attrs: Any,
) -> ModelProto:
    """One node on an input of the rank given, every size dynamic."""
    names = ["x"] if weights is None else ["x", "w"]
    node = helper.make_node(op, names, ["y", "i"][:outputs], **attrs)
    made = [helper.make_tensor_value_info("y", dtype, [f"o{k}" for k in range(rank)])]
    if outputs == 2:
        made.append(
            helper.make_tensor_value_info("i", TensorProto.INT64, [f"o{k}" for k in range(rank)])
        )
    given = [helper.make_tensor_value_info("x", dtype, [f"d{k}" for k in range(rank)])]
    held = [] if weights is None else [onnx.numpy_helper.from_array(weights, "w")]
    graph = helper.make_graph([node], "g", given, made, held)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7 if opset < 19 else 10
    )


def assert_as_batched(
    fixed: ModelProto, batched: ModelProto, x: np.ndarray, *, reference: bool = False
) -> None:
    """The repaired model gives for ``x`` what the valid one gives for a batch of it."""
    run = run_reference if reference else run_model
    for have, want in zip(run(fixed, {"x": x}), run(batched, {"x": x[None]}), strict=True):
        assert have.dtype == want.dtype
        np.testing.assert_array_equal(have, want[0])


@pytest.mark.parametrize("shape", [(1, 5, 7), (4, 3, 3), (3, 9, 1)])
def test_chain_is_mended_in_one_run(shape: tuple[int, ...]) -> None:
    before = as_proto(CHAIN.format(pool=POOL))
    fixed, results = run_pass(BatchPooling(), before, target="trt-8.6")
    assert [len(r.changes) for r in results] == [3, 0]
    assert [c.new_ops for c in results[0].changes] == [("Unsqueeze", "MaxPool", "Squeeze")] * 3
    onnx.checker.check_model(fixed, full_check=True)
    assert list(fixed.graph.output) == list(before.graph.output)

    text = CHAIN.format(pool=POOL).replace("[C,H,W]", "[1,C,H,W]").replace("[A,", "[1,A,")
    batched = as_proto(text)
    assert ops(run_pass(BatchPooling(), batched)[0]) == ops(batched)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    assert_as_batched(fixed, batched, x)
    assert_as_batched(fixed, batched, x, reference=True)


@pytest.mark.parametrize(
    ("target", "opset", "form"),
    [
        ("trt-7.2", 11, ["Unsqueeze", "MaxPool", "Squeeze"]),
        ("trt-7.2", 13, ["Expand", "MaxPool", "Gather"]),
        ("trt-8.6", 13, ["Unsqueeze", "MaxPool", "Squeeze"]),
        ("trt-10.3", 22, ["Unsqueeze", "MaxPool", "Squeeze"]),
        ("rtx-1.7", 9, ["Unsqueeze", "MaxPool", "Squeeze"]),
    ],
)
def test_form_is_one_that_the_target_takes(target: str, opset: int, form: list[str]) -> None:
    fixed, _ = run_pass(
        BatchPooling(), model_of("MaxPool", 3, opset=opset, kernel_shape=[2, 2]), target=target
    )
    assert ops(fixed) == form
    onnx.checker.check_model(fixed, full_check=True)
    x = np.random.default_rng(1).standard_normal((3, 6, 5)).astype(np.float32)
    assert_as_batched(fixed, model_of("MaxPool", 4, opset=opset, kernel_shape=[2, 2]), x)


@settings(max_examples=40, deadline=None)
@given(
    op=st.sampled_from(["MaxPool", "AveragePool", "LpPool"]),
    target=st.sampled_from(["trt-7.2", "trt-8.6"]),
    spatial=st.integers(1, 3),
    data=st.data(),
)
def test_pools_of_any_rank(op: str, target: str, spatial: int, data: st.DataObject) -> None:
    kernel = data.draw(st.lists(st.integers(1, 3), min_size=spatial, max_size=spatial))
    attrs: dict[str, Any] = {"kernel_shape": kernel}
    if data.draw(st.booleans()):
        attrs["strides"] = [data.draw(st.integers(1, size)) for size in kernel]
    if data.draw(st.booleans()):
        attrs["auto_pad"] = "SAME_UPPER"
    shape = [data.draw(st.integers(1, 3)), *(data.draw(st.integers(3, 6)) for _ in range(spatial))]
    x = np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)
    fixed, _ = run_pass(BatchPooling(), model_of(op, spatial + 1, **attrs), target=target)
    assert_as_batched(fixed, model_of(op, spatial + 2, **attrs), x)


def test_indices_of_maxpool_do_not_change() -> None:
    attrs: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    before = model_of("MaxPool", 3, outputs=2, **attrs)
    fixed, _ = run_pass(BatchPooling(), before, target="trt-8.6")
    assert ops(fixed) == ["Unsqueeze", "MaxPool", "Squeeze", "Squeeze"]
    x = np.random.default_rng(2).standard_normal((3, 4, 6)).astype(np.float32)
    assert_as_batched(fixed, model_of("MaxPool", 4, outputs=2, **attrs), x)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.uint8])
def test_element_types_of_maxpool(dtype: type[np.number[Any]]) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    fixed, _ = run_pass(BatchPooling(), model_of("MaxPool", 3, dtype=kind, kernel_shape=[2, 2]))
    x: np.ndarray = np.random.default_rng(3).integers(0, 100, (2, 5, 4)).astype(dtype)
    batched = model_of("MaxPool", 4, dtype=kind, kernel_shape=[2, 2])
    assert_as_batched(fixed, batched, x, reference=dtype is np.float16)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_convolutions(op: str, named: bool) -> None:
    weights = np.random.default_rng(4).standard_normal((3, 3, 3, 2)).astype(np.float32)
    attrs: dict[str, Any] = {"kernel_shape": [3, 2]} if named else {}
    fixed, _ = run_pass(BatchPooling(), model_of(op, 3, weights=weights, **attrs), target="trt-8.6")
    assert ops(fixed) == ["Unsqueeze", op, "Squeeze"]
    x = np.random.default_rng(5).standard_normal((3, 6, 5)).astype(np.float32)
    assert_as_batched(fixed, model_of(op, 4, weights=weights, **attrs), x)


IN_A_BODY = """<ir_version: 8, opset_import: ["" : 13]>
g (bool c, float[C,H,W] x) => (float[A,B,D] y) {
  y = If (c) <
    then_branch = t () => (float[A,B,D] p) { p = MaxPool <kernel_shape = [2, 2]> (x) },
    else_branch = f () => (float[A,B,D] q) { n = Neg (x) q = MaxPool <kernel_shape = [2, 2]> (n) }
  >
}"""


def test_in_branches() -> None:
    fixed, results = run_pass(BatchPooling(), IN_A_BODY, target="trt-8.6")
    assert sorted(c.scope for r in results for c in r.changes) == ["y/else_branch", "y/then_branch"]
    x = np.random.default_rng(6).standard_normal((2, 4, 4)).astype(np.float32)
    batched = model_of("MaxPool", 4, kernel_shape=[2, 2])
    for choice, fed in ((True, x), (False, -x)):
        (have,) = run_model(fixed, {"c": np.array(choice), "x": x})
        np.testing.assert_array_equal(have, run_model(batched, {"x": fed[None]})[0][0])


def test_in_a_loop() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (int64 n, float[2,4,4] x) => (float[2,4,4] y) <bool go = {1}> {
      y = Loop (n, go, x) <
        body = b (int64 i, bool k, float[2,4,4] s) => (bool k2, float[2,4,4] t) {
          k2 = Identity (k)
          p = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (s)
          t = Sub (p, s)
        }
      >
    }"""
    fixed, results = run_pass(BatchPooling(), text)
    assert [c.scope for r in results for c in r.changes] == ["y/body"]
    x = np.random.default_rng(7).standard_normal((2, 4, 4)).astype(np.float32)
    pool = model_of("MaxPool", 4, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    want = x
    for _ in range(3):
        want = run_model(pool, {"x": want[None]})[0][0] - want
    np.testing.assert_array_equal(run_model(fixed, {"n": np.array(3), "x": x})[0], want)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(float[H,W] x) => (float[A,B] y) { y = MaxPool <kernel_shape = [2, 2]> (x) }", "rank 2"),
        (
            "(float[A,B,C,D,E] x) => (float[F,G,H,I,J] y) { y = MaxPool <kernel_shape=[2,2]> (x) }",
            "rank 5",
        ),
    ],
)
def test_left_alone_with_a_reason(text: str, reason: str) -> None:
    (said,) = skip_reasons(BatchPooling(), f'<ir_version: 8, opset_import: ["" : 13]> g {text}')
    assert reason in said


def test_valid_and_global_pools_are_left_alone() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[C,H,W] x) => (float[A,B,D] y) {
      a = MaxPool <kernel_shape = [2]> (x)
      y = GlobalAveragePool (a)
    }"""
    assert skip_reasons(BatchPooling(), text) == []


def test_function_bodies_are_left_alone() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13, "my" : 1]>
    g (float[1,C,H,W] x) => (float[A,B,D,E] y) { y = my.pool (x) }
    <domain: "my", opset_import: ["" : 13]> pool (x) => (y)
    { y = MaxPool <kernel_shape = [2, 2]> (x) }
    """
    assert skip_reasons(BatchPooling(), text, target="trt-10.3") == []


def test_unknown_rank_is_left_alone() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[M] v, int64[N] s) => (float[A,B,C,D] y) {
      x = Reshape (v, s)
      y = MaxPool <kernel_shape = [2, 2]> (x)
    }"""
    assert skip_reasons(BatchPooling(), text) == []


OPS = {"AveragePool", "Conv", "ConvTranspose", "LpPool", "MaxPool"}


def test_backend_node_tests_are_left_byte_identical(node_cases: list[TestCase]) -> None:
    models = [case.model for case in node_cases if case.model is not None]
    models = [m for m in models if any(node.op_type in OPS for node in m.graph.node)]
    assert len(models) > 60
    for model in models:
        assert run_pass(BatchPooling(), model)[0] == model, model.graph.name
