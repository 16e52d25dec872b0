"""What ``constant-value`` claims."""

from __future__ import annotations

from claim import THREE, Case, built, of_text, text
from onnx import ModelProto, TensorProto, helper


def sparse() -> ModelProto:
    value = helper.make_sparse_tensor(
        helper.make_tensor("values", TensorProto.FLOAT, [1], [2.5]),
        helper.make_tensor("indices", TensorProto.INT64, [1], [1]),
        [3],
    )
    constant = helper.make_node("Constant", [], ["k"], sparse_value=value)
    return built([constant, helper.make_node("Add", ["x", "k"], ["y"])])


CASES: dict[tuple[str, str, str], Case] = {
    ("constant-value", "attribute_allowed_names", "Constant"): of_text(
        13,
        "(float[N] x) => (float[N] y)",
        "k = Constant <value_float = 0.5> () y = Add (x, k)",
        "trt-7.2",
        THREE,
    ),
    ("constant-value", "attribute_must_be_absent", "Constant"): Case(
        sparse(),
        "trt-8.6",
        THREE,
        twin=text(
            13,
            "(float[3] x) => (float[3] y)",
            "k = Constant <value = float[3] {0.0, 2.5, 0.0}> () y = Add (x, k)",
        ),
    ),
    ("constant-value", "attribute_value_misread", "Constant"): of_text(
        13,
        "(float[2, 3] x) => (float[3, 2] y)",
        "k = Constant <value_ints = [3, 2]> () y = Reshape (x, k)",
        "trt-8.6",
        [{"x": ("f4", (2, 3))}],
    ),
}
