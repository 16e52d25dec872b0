"""What ``clip-to-min-max`` claims."""

from __future__ import annotations

from claim import THREE, Case, built, of_text
from onnx import ModelProto, TensorProto, helper


def clip(dtype: str, kind: str, target: str, nodes: str, inputs: str = "", opset: int = 13) -> Case:
    names = [part.split()[-1] for part in inputs.split(",") if part]
    return of_text(
        opset,
        f"({dtype}[N] x{inputs}) => ({dtype}[N] y)",
        nodes,
        target,
        [{"x": (kind, (n,)), **{name: (kind, ()) for name in names}} for n in (1, 5)],
    )


def empty_name() -> ModelProto:
    """The ONNX text has no way to write an empty name at the end."""
    k = helper.make_tensor("k", TensorProto.FLOAT, [], [0.25])
    constant = helper.make_node("Constant", [], ["k"], value=k)
    return built([constant, helper.make_node("Clip", ["x", "k", ""], ["y"])])


HALF = "k = Constant <value = float16 {14336}> () y = Clip (x, k)"


CASES: dict[tuple[str, str, str], Case] = {
    ("clip-to-min-max", "bounds_dtype", "Clip"): clip("float16", "f2", "trt-8.4", HALF),
    ("clip-to-min-max", "dtype", "Clip"): clip(
        "float16", "f2", "trt-8.2", "y = Clip (x, low)", ", float16 low"
    ),
    ("clip-to-min-max", "dtype_refused", "Clip"): clip(
        "int32", "i4", "trt-7.2", "k = Constant <value = int32 {0}> () y = Clip (x, k)"
    ),
    ("clip-to-min-max", "input_must_be_constant", "Clip"): clip(
        "float", "f4", "trt-7.2", "y = Clip (x, low)", ", float low"
    ),
    ("clip-to-min-max", "optional_input_must_be_present", "Clip"): Case(
        empty_name(), "trt-7.2", THREE
    ),
}
