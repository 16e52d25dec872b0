"""Sizes of all tensors at one point, without running the model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, load, parser

from onnx_fix.profiles.sized import Sized, Sizer
from onnx_fix.profiles.target_limits import beyond, has_int64
from onnx_fix.target import load_target
from onnx_fix.verify.feeds import FeedMaker

FIXTURES = Path(__file__).parents[2] / "fixtures"


def model(text: str) -> ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')


def at(text: str, sizes: dict[str, int]) -> Sized:
    return Sizer(model(text)).at(sizes)


@pytest.mark.parametrize(
    "name",
    [
        "detector.dynamo18",
        "deformable.legacy17",
        "lightglue_match.dynamo18",
        "pair_matcher.legacy13",
        "superglue_match.legacy13",
        "unet.legacy11",
        "windowed.legacy13",
    ],
)
def test_every_size_is_that_of_a_run(name: str) -> None:
    proto = load(FIXTURES / f"{name}.onnx")
    side = json.loads((FIXTURES / f"{name}.onnx.json").read_text())
    sizes = {symbol: d["b"] for symbol, d in side["dims"].items()}
    sized = Sizer(proto).at(sizes)
    assert not sized.unknown and not sized.faults and not sized.wide
    makers = {o: n for n in proto.graph.node for o in n.output if o}
    kept = {o: n for o, n in makers.items() if o in sized.types}
    del proto.graph.output[:]
    for output in kept:
        proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(output))
        proto.graph.output[-1].type.CopyFrom(
            onnx.helper.make_tensor_type_proto(sized.types[output], None)
        )
    del proto.graph.value_info[:]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    results = session.run(None, FeedMaker(proto).make(sizes))
    for output, value in zip(kept, results, strict=True):
        assert sized.shapes[output] == value.shape, (output, kept[output].op_type)
        known = sized.values.get(output)
        if known is not None:
            assert np.array_equal(known, value), (output, kept[output].op_type)
    assert len(kept) > len(makers) * 0.9


def test_a_peak_counts_what_is_alive_at_once() -> None:
    sized = at(
        "g (float[N] x) => (float[N] y) { a = Abs (x)  b = Neg (a)  c = Exp (b)  y = Add (c, x) }",
        {"N": 1000},
    )
    # x is read last by y: x, one made before, and one made now.
    assert sized.peak == 3 * 4000
    assert sized.largest()[1] == 4000


def test_weights_are_counted() -> None:
    sized = at(
        "g (float[N] x) => (float[N] y) <float[3] w = {1, 2, 3}> { y = Add (x, w) }", {"N": 3}
    )
    assert sized.weights == 12 and sized.shapes["y"] == (3,)


@pytest.mark.parametrize(
    ("text", "op", "message"),
    [
        (
            "g (float[N] x) => (float[A,B] y) { s = Constant <value_ints = [3, 5]> ()"
            " y = Reshape (x, s) }",
            "Reshape",
            "[14] has 14 elements, and [3, 5] by [3, 5] has 15",
        ),
        (
            "g (float[N] x) => (float[A] y) { k = Constant <value_ints = [15]> ()"
            " y, i = TopK (x, k) }",
            "TopK",
            "K is 15, and axis -1 has 14 elements",
        ),
        (
            "g (float[N, 2] x, float[3, 3] z) => (float[A, B] y) { y = Concat <axis = 1> (x, z) }",
            "Concat",
            "3",
        ),
        (
            "g (float[N, 4] x, float[5, N] z) => (float[A, B] y) { y = MatMul (x, z) }",
            "MatMul",
            "",
        ),
    ],
)
def test_faults(text: str, op: str, message: str) -> None:
    (fault,) = at(text, {"N": 14}).faults[:1]
    assert fault.op == op and message in fault.message


def test_a_branch_that_sizes_decide() -> None:
    text = """g (float[N] x) => (float[A] y) {
      n = Size (x)
      ten = Constant <value_int = 10> ()
      c = Greater (n, ten)
      y = If (c) <
        then_branch = t () => (h) { h = Concat <axis = 0> (x, x) },
        else_branch = e () => (h) { h = Identity (x) } > }"""
    assert at(text, {"N": 11}).shapes["y"] == (22,)
    assert at(text, {"N": 10}).shapes["y"] == (10,)


SQUARE = """g (float[N] x) => (float[A] y) {
  s = Shape (x)
  i = Cast <to = 6> (s)
  j = Mul (i, i)
  z = Mul (s, s)
  last = Constant <value_ints = [9223372036854775807]> ()
  zero = Constant <value_ints = [0]> ()
  y = Slice (x, zero, last) }"""


def test_products_that_leave_int32() -> None:
    assert not at(SQUARE, {"N": 46340}).wide
    wide = at(SQUARE, {"N": 46341}).wide
    assert [(w.op, w.value, w.tensor) for w in wide] == [
        ("Mul", 46341**2, "j"),
        ("Mul", 46341**2, "z"),
    ]


def test_sizes_that_follow_from_data_are_open() -> None:
    sized = at("g (float[N] x) => (int64[1, A] y) { y = NonZero (x) }", {"N": 3})
    assert [n.op_type for n in sized.unknown] == ["NonZero"]


def test_limits_of_a_release() -> None:
    text = "g (float[N] x) => (float[A] y) { k = Shape (x)  y, i = TopK (x, k) }"
    sizer = Sizer(model(text))
    target = load_target("trt-8.6")
    assert not list(beyond(target, sizer, sizer.at({"N": 3840})))
    ((node, why),) = beyond(target, sizer, sizer.at({"N": 3841}))
    assert node.op_type == "TopK" and "3841, more than 3840" in why
    assert not has_int64(target) and has_int64(load_target("trt-10.3"))
