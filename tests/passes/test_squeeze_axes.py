"""squeeze-axes: the axes that ONNX would squeeze, where that is certain."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_fix.testing import assert_rewrites, run_pass, skip_reasons
from onnx_fix_passes.squeeze_axes import SqueezeAxes


def model(shape: str, opset: int = 11, dtype: str = "float") -> str:
    return f"""<ir_version: 6, opset_import: ["" : {opset}]>
    g ({dtype}[{shape}] x) => ({dtype}[A] y) {{ y = Squeeze (x) }}"""


@pytest.mark.parametrize("opset", [11, 13, 21])
@pytest.mark.parametrize(
    ("shape", "axes"), [("1", [0]), ("1, 3, 1", [0, 2]), ("2, 1", [1]), ("1, 0", [0])]
)
def test_sizes_that_are_known(opset: int, shape: str, axes: list[int]) -> None:
    text = model(shape, opset).replace("float[A] y", "float y" if shape == "1" else "float[A] y")
    sizes = [int(d) for d in shape.split(",")]
    fixed = assert_rewrites(
        SqueezeAxes(everywhere=True),
        text,
        after=["Squeeze"],
        feeds=[{"x": np.ones(sizes, np.float32)}],
        target="trt-7.2" if opset < 13 else "trt-8.6",
    )
    if opset < 13:
        assert list(fixed.graph.node[0].attribute[0].ints) == axes
    else:
        assert len(fixed.graph.node[0].input) == 2


def test_nothing_to_squeeze_passes_the_tensor_on() -> None:
    assert_rewrites(
        SqueezeAxes(),
        model("2, 3").replace("float[A] y", "float[2, 3] y"),
        after=["Identity"],
        feeds=[{"x": np.ones((2, 3), np.float32)}],
    )


def test_sizes_of_run_time_are_left_alone() -> None:
    (reason,) = skip_reasons(SqueezeAxes(), model("N, 1"))
    assert "is known at run time only" in reason


def test_axes_that_the_target_would_not_read_are_not_written() -> None:
    (reason,) = skip_reasons(SqueezeAxes(), model("1, 3", 13))
    assert "does not read it" in reason


def test_targets_that_squeeze_static_shapes_are_left_alone() -> None:
    assert skip_reasons(SqueezeAxes(), model("1, 3", 13), target="trt-8.6") == []


def test_bodies() -> None:
    text = """<ir_version: 6, opset_import: ["" : 11]>
    g (bool c, float[1, 3] x) => (float[3] y) {
      y = If (c) <
        then_branch = one () => (float[3] t) { t = Squeeze (x) },
        else_branch = two () => (float[3] e) { e = Squeeze <axes = [0]> (x) }
      >
    }"""
    _, results = run_pass(SqueezeAxes(), text)
    assert [c.scope for r in results for c in r.changes] == ["y/then_branch"]
