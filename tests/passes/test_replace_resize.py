"""replace-resize: other spellings, gathers and weighted samples, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes.freeze_inputs import FreezeInputs
from onnx_fix_passes.lower_opset import LowerOpset
from onnx_fix_passes.replace_resize import ReplaceResize

PASS = ReplaceResize()
COORDINATES = ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"]
NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
RNG = np.random.default_rng(11)


def model(
    shape: list[int | str],
    *,
    scales: list[float] | None = None,
    sizes: list[int] | None = None,
    roi: list[float] | None = None,
    opset: int = 13,
    dtype: int = TensorProto.FLOAT,
    op: str = "Resize",
    **attrs: Any,
) -> ModelProto:
    """One Resize with constant scales or sizes."""
    constants: list[onnx.TensorProto] = []

    def constant(name: str, value: Any, kind: str) -> str:
        constants.append(onnx.numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    inputs = ["x"]
    if op == "Upsample" or opset == 10:
        inputs.append(constant("scales", scales, "f4"))
    else:
        given = roi is not None or opset < 13
        inputs.append(constant("roi", roi or [], "f4") if given else "")
        if scales is not None:
            inputs.append(constant("scales", scales, "f4"))
        else:
            inputs.append(constant("scales", [], "f4") if opset < 13 else "")
            inputs.append(constant("sizes", sizes, "i8"))
    node = helper.make_node(op, inputs, ["y"], **attrs)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, [f"d{k}" for k in range(len(shape))])],
        constants,
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])


def refused(proto: ModelProto, target: str) -> list[str]:
    view = Model(proto, None, load_target(target))
    return [n.op for s in view.scopes for n in s.graph.nodes if s.refused(n)]


def check(proto: ModelProto, target: str = "trt-7.2", *, exact: bool = False) -> ModelProto:
    """The pass takes the refused node away, and the numbers are those of onnxruntime."""
    shape = [d.dim_value or 3 for d in proto.graph.input[0].type.tensor_type.shape.dim]
    kind = helper.tensor_dtype_to_np_dtype(proto.graph.input[0].type.tensor_type.elem_type)
    x = (RNG.standard_normal(shape) * 5).astype(kind)
    fixed, _ = run_pass(PASS, proto, target=target)
    # TensorRT 7 misreads sums of operator set 13, which the lowering mends.
    left = {op for op in refused(fixed, target) if (target, op) != ("trt-7.2", "ReduceSum")}
    assert refused(proto, target) and not left, ops(fixed)
    assert_same_outputs(proto, fixed, {"x": x}, exact=exact, rtol=2e-4, atol=2e-4)
    return fixed


# -- nearest ---------------------------------------------------------------------------------------


@given(
    st.sampled_from([*COORDINATES, "tf_half_pixel_for_nn"]),
    st.sampled_from(NEAREST),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 17),
    st.integers(1, 17),
    st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_nearest(
    kind: str, rounding: str, h: int, w: int, to_h: int, to_w: int, by_size: bool
) -> None:
    scales = [1.0, 1.0, float(np.float32(to_h / h)), float(np.float32(to_w / w))]
    given_sizes: dict[str, Any] = {"sizes": [1, 2, to_h, to_w]} if by_size else {"scales": scales}
    whole = all(
        int(np.float32(s) * np.float32(d)) == t
        for s, d, t in zip(scales[2:], (h, w), (to_h, to_w), strict=True)
    )
    assume(by_size or whole)
    proto = model(
        [1, 2, h, w],
        mode="nearest",
        coordinate_transformation_mode=kind,
        nearest_mode=rounding,
        **given_sizes,
    )
    if skip_reasons_of(proto):
        (reason,) = skip_reasons_of(proto)
        assert "halfway" in reason
    elif refused(proto, "trt-7.2"):
        check(proto, exact=True)


def skip_reasons_of(proto: ModelProto) -> list[str]:
    _, results = run_pass(PASS, proto)
    return [s.reason for r in results for s in r.skipped]


def test_halfway() -> None:
    proto = model(
        [1, 1, 1, 7],
        scales=[1, 1, 1, float(np.float32(2 / 7))],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="round_prefer_ceil",
    )
    (reason,) = skip_reasons(PASS, proto)
    assert reason.startswith("along axis 3 a sample is as good as halfway between two")


def test_nearest_of_integers() -> None:
    for dtype in (TensorProto.INT32, TensorProto.INT8):
        proto = model([1, 1, 3, 5], sizes=[1, 1, 6, 4], mode="nearest", dtype=dtype)
        assert check(proto, exact=True)


def test_nearest_is_a_gather_for_each_axis() -> None:
    proto = model([1, 2, 4, 6], sizes=[1, 2, 5, 4], mode="nearest")
    assert ops(check(proto, exact=True)) == ["Gather", "Gather"]


def test_whole_scales_of_dynamic_lengths_are_spelled_otherwise() -> None:
    proto = model(["N", 3, "H", "W"], scales=[1, 1, 2, 3], mode="nearest")
    fixed, _ = run_pass(PASS, proto)
    assert ops(fixed) == ["Resize"]
    attrs = {a.name: helper.get_attribute_value(a) for a in fixed.graph.node[0].attribute}
    assert attrs["coordinate_transformation_mode"] == b"asymmetric"
    assert attrs["nearest_mode"] == b"floor"
    for h, w in ((1, 1), (4, 7)):
        x = RNG.standard_normal((2, 3, h, w)).astype(np.float32)
        assert_same_outputs(proto, fixed, {"x": x})


# -- linear, cubic ---------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("kind", COORDINATES)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize(("h", "w"), [(8, 7), (2, 3), (1, 1), (4, 5)])
def test_sizes(mode: str, kind: str, opset: int, h: int, w: int) -> None:
    proto = model(
        [1, 2, 4, 5],
        sizes=[1, 2, h, w],
        mode=mode,
        coordinate_transformation_mode=kind,
        opset=opset,
    )
    if refused(proto, "trt-7.2"):
        check(proto)


@given(
    st.sampled_from(["linear", "cubic"]),
    st.sampled_from(["half_pixel", "pytorch_half_pixel", "asymmetric"]),
    st.integers(1, 9),
    st.floats(0.3, 3.5),
    st.sampled_from([-0.75, -0.5]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_scales(mode: str, kind: str, w: int, scale: float, a: float, outside: bool) -> None:
    assume(int(np.float32(scale) * np.float32(w)) > 0)
    proto = model(
        [1, 1, 4, w],
        scales=[1, 1, 1.5, scale],
        mode=mode,
        coordinate_transformation_mode=kind,
        cubic_coeff_a=a,
        exclude_outside=int(outside and mode == "cubic"),
    )
    if refused(proto, "trt-7.2"):
        check(proto)


def test_nodes_of_cubic() -> None:
    proto = model([1, 3, 4, 4], scales=[1, 1, 2, 2], mode="cubic", opset=11)
    fixed = assert_rewrites(
        PASS,
        proto,
        after=["Gather", "Mul", "ReduceSum"] * 2,
        feeds=[{"x": RNG.standard_normal((1, 3, 4, 4)).astype(np.float32)}],
        exact=False,
    )
    assert not refused(fixed, "trt-7.2")
    both = model([1, 3, 4, 4], scales=[1, 1, 2, 2], mode="cubic")
    fixed, _ = run_pass([LowerOpset(), PASS], both)
    assert not refused(fixed, "trt-7.2")


def test_dynamic_axes_that_do_not_change() -> None:
    proto = model(["N", "C", 4, 4], scales=[1, 1, 2, 2], mode="cubic")
    fixed, _ = run_pass(PASS, proto, target="trt-8.2")
    for n, c in ((1, 1), (2, 3)):
        x = RNG.standard_normal((n, c, 4, 4)).astype(np.float32)
        assert_same_outputs(proto, fixed, {"x": x}, exact=False, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_sizes_of_which_some_are_those_of_the_input(mode: str) -> None:
    """What ``interpolate(x, size=(9, 6))`` becomes with a dynamic batch."""
    text = f"""<ir_version: 8, opset_import: ["" : 13]>
    g (float[N, 3, 4, 5] x) => (float[A, B, C, D] y) {{
        s = Shape (x) zero = Constant <value = int64[1] {{0}}> ()
        two = Constant <value = int64[1] {{2}}> () a = Slice (s, zero, two)
        b = Constant <value = int64[2] {{9, 6}}> () sizes = Concat <axis = 0> (a, b)
        y = Resize <mode = "{mode}", coordinate_transformation_mode = "asymmetric",
                    nearest_mode = "ceil"> (x, , , sizes) }}"""
    fixed, results = run_pass(PASS, text)
    assert sum(len(r.changes) for r in results) == 1
    assert "Resize" not in ops(fixed)
    for n in (1, 3):
        x = RNG.standard_normal((n, 3, 4, 5)).astype(np.float32)
        exact = mode == "nearest"
        assert_same_outputs(
            onnx.parser.parse_model(text), fixed, {"x": x}, exact=exact, rtol=1e-4, atol=1e-4
        )


def test_corners_of_dynamic_lengths_become_sizes() -> None:
    proto = model(
        [1, 3, "H", "W"],
        scales=[1, 1, 2, 2],
        mode="linear",
        coordinate_transformation_mode="align_corners",
    )
    fixed, _ = run_pass(PASS, proto)
    assert ops(fixed) == ["Shape", "Mul", "Resize"] and not refused(fixed, "trt-7.2")
    for h, w in ((1, 1), (4, 7)):
        x = RNG.standard_normal((1, 3, h, w)).astype(np.float32)
        assert_same_outputs(proto, fixed, {"x": x}, exact=False)


def test_half_floats() -> None:
    proto = model([1, 1, 4, 4], scales=[1, 1, 2, 2], mode="cubic", dtype=TensorProto.FLOAT16)
    fixed, _ = run_pass(PASS, proto, target="trt-8.2")
    assert not refused(fixed, "trt-8.2")
    like = model([1, 1, 4, 4], scales=[1, 1, 2, 2], mode="cubic")
    x = RNG.standard_normal((1, 1, 4, 4)).astype(np.float16)
    (want,) = run_model(like, {"x": x.astype(np.float32)})
    (have,) = run_model(fixed, {"x": x})
    np.testing.assert_allclose(
        have.astype(np.float32), want.astype(np.float32), rtol=4e-3, atol=4e-3
    )


# -- newer attributes ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("outside", [0, 1])
@pytest.mark.parametrize(("h", "w"), [(2, 3), (5, 9), (3, 1)])
def test_antialias(mode: str, outside: int, h: int, w: int) -> None:
    if outside and mode == "linear":
        return
    proto = model(
        [1, 1, 7, 9],
        sizes=[1, 1, h, w],
        mode=mode,
        antialias=1,
        exclude_outside=outside,
        opset=18,
    )
    check(proto, "trt-10.3")


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_policies(mode: str, policy: str) -> None:
    proto = model(
        [1, 2, 4, 6],
        sizes=[9, 7],
        axes=[2, 3],
        keep_aspect_ratio_policy=policy,
        mode=mode,
        opset=18,
    )
    check(proto, "trt-10.3", exact=mode == "nearest")


@pytest.mark.parametrize("axes", [[2, 3], [3, 2], [-1, -2]])
def test_axes(axes: list[int]) -> None:
    proto = model([1, 2, 4, 6], sizes=[9, 7], axes=axes, antialias=1, mode="linear", opset=18)
    check(proto, "trt-10.3")


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("sizes", [[1, 1, 3, 3], [1, 1, 8, 1]])
def test_crop_and_resize(mode: str, sizes: list[int]) -> None:
    for roi in ([0, 0, 0.4, 0.6, 1, 1, 0.6, 0.8], [0, 0, 0.4, 0.6, 1, 1, 1.2, 1.7]):
        proto = model(
            [1, 1, 4, 4],
            sizes=sizes,
            roi=roi,
            mode=mode,
            coordinate_transformation_mode="tf_crop_and_resize",
            extrapolation_value=10.0,
        )
        check(proto, "trt-8.6", exact=mode == "nearest")


def test_symmetric() -> None:
    for scales in ([1.0, 1.0, 0.6, 0.7], [1.0, 1.0, 2.3, 2.94]):
        proto = model(
            [1, 1, 4, 5],
            scales=scales,
            mode="linear",
            coordinate_transformation_mode="half_pixel_symmetric",
            opset=19,
        )
        check(proto, "trt-10.3")


# -- Upsample and Resize 10 ------------------------------------------------------------------------


def test_upsample() -> None:
    """Scales that are no initializer, which no release before 8.4 takes, fold to one."""
    text = """<ir_version: 8, opset_import: ["" : 9]>
        g (float[1, 2, 3, 4] x) => (float[A, B, C, D] y) {
        a = Constant <value = float[2] {1.0, 1.0}> () b = Constant <value = float[2] {2.0, 3.0}> ()
        s = Concat <axis = 0> (a, b) y = Upsample <mode = "nearest"> (x, s) }"""
    proto = onnx.parser.parse_model(text)
    fixed, _ = run_pass(PASS, proto)
    assert not refused(fixed, "trt-7.2")
    x = RNG.standard_normal((1, 2, 3, 4)).astype(np.float32)
    assert_same_outputs(proto, fixed, {"x": x})


# -- lengths and sizes known at run time only ------------------------------------------------------


def resized(
    mode: str, kind: str, *, opset: int = 13, dtype: int = TensorProto.FLOAT, **attrs: Any
) -> ModelProto:
    """A Resize to the size of another input."""
    value = helper.make_tensor_value_info
    empty = "" if opset > 12 else "none"
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "zero", "two"], ["front"]),
        helper.make_node("Shape", ["like"], ["back"]),
        helper.make_node("Concat", ["front", "back"], ["sizes"], axis=0),
        helper.make_node(
            "Resize",
            ["x", empty, empty, "sizes"],
            ["y"],
            mode=mode,
            coordinate_transformation_mode=kind,
            **attrs,
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", dtype, ["N", 2, "H", "W"]), value("like", dtype, ["P", "Q"])],
        [value("y", dtype, ["N", 2, "P", "Q"])],
        [
            onnx.numpy_helper.from_array(np.asarray([0], np.int64), "zero"),
            onnx.numpy_helper.from_array(np.asarray([2], np.int64), "two"),
            onnx.numpy_helper.from_array(np.asarray([], np.float32), "none"),
        ],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("kind", COORDINATES)
def test_cubic_to_the_size_of_another(kind: str, opset: int) -> None:
    proto = resized("cubic", kind, opset=opset, cubic_coeff_a=-0.6)
    fixed, _ = run_pass(PASS, proto, target="trt-7.2")
    assert "Resize" not in ops(fixed) and ops(fixed).count("Gather") == 4
    for n, h, w, p, q in ((1, 4, 5, 9, 3), (2, 3, 3, 3, 6), (1, 1, 2, 1, 1), (1, 7, 2, 2, 7)):
        x = RNG.standard_normal((n, 2, h, w)).astype(np.float32)
        feeds = {"x": x, "like": np.zeros((p, q), np.float32)}
        assert_same_outputs(proto, fixed, feeds, exact=False, rtol=2e-4, atol=2e-4)


@given(
    st.sampled_from(COORDINATES),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 17),
    st.integers(1, 17),
)
@settings(max_examples=40, deadline=None)
def test_linear_to_the_size_of_another(kind: str, h: int, w: int, p: int, q: int) -> None:
    proto = resized("linear", kind)
    fixed, _ = run_pass(ReplaceResize(everywhere=True), proto, target="trt-7.2")
    assert "Resize" not in ops(fixed)
    x = RNG.standard_normal((1, 2, h, w)).astype(np.float32)
    feeds = {"x": x, "like": np.zeros((p, q), np.float32)}
    assert_same_outputs(proto, fixed, feeds, exact=False, rtol=2e-4, atol=2e-4)


def test_whole_scales_of_a_dynamic_length() -> None:
    proto = model([1, 1, "H", 4], scales=[1, 1, 2, 3], mode="cubic")
    fixed, _ = run_pass(PASS, proto, target="trt-7.2")
    assert "Resize" not in ops(fixed)
    for h in (1, 2, 5):
        x = RNG.standard_normal((1, 1, h, 4)).astype(np.float32)
        assert_same_outputs(proto, fixed, {"x": x}, exact=False, rtol=2e-4, atol=2e-4)


# -- what is left ----------------------------------------------------------------------------------


def test_what_is_left() -> None:
    (reason,) = skip_reasons(PASS, model([1, 1, "H", 4], scales=[1, 1, 1.5, 2], mode="cubic"))
    assert reason.startswith("the length of axis 2 is not known: fix the dim")
    assert reason.endswith("the scales are no whole numbers, and a length is not known: give sizes")
    proto = model([1, 1, "H", 4], sizes=[1, 1, 7, 3], mode="cubic", exclude_outside=1)
    (reason,) = skip_reasons(PASS, proto)
    assert reason.endswith("antialias and exclude_outside need lengths that are known")
    (reason,) = skip_reasons(
        PASS,
        model(
            [1, 1, 2, 4],
            scales=[1, 1, 0.6, 0.6],
            mode="linear",
            coordinate_transformation_mode="align_corners",
        ),
    )
    assert "runtimes differ in what align_corners means then" in reason
    (reason,) = skip_reasons(
        PASS, model([1, 1, 2, 4], sizes=[1, 1, 4, 4], mode="cubic", dtype=TensorProto.UINT8)
    ) or [""]
    assert "UINT8" in reason
    text = """<ir_version: 8, opset_import: ["" : 13]> g (float[1,1,4,4] x, float[4] s) =>
        (float[A,B,C,D] y) { y = Resize <mode = "cubic"> (x, , s) }"""
    (reason,) = skip_reasons(PASS, text)
    assert reason.startswith("'s' known at run time only") and "--freeze" in reason
    proto = model([1, 1, 4, 4], scales=[1, 1, 2, 2], mode="cubic")
    assert skip_reasons(PASS, proto, target="trt-8.6") == []


def test_a_parameter_of_a_function() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13, "d" : 1]>
    g (float[1,1,4,4] x) => (float[A,B,C,D] y) { y = d.f <m = "cubic"> (x) }
    <domain: "d", opset_import: ["" : 13]> f <m> (x) => (y) {
        s = Constant <value = float[4] {1.0, 1.0, 2.0, 2.0}> ()
        y = Resize <mode: string = @m, nearest_mode = "ceil"> (x, , s) }"""
    assert skip_reasons(PASS, text) in (
        [],
        ["an attribute is a parameter of the function; inline it first"],
    )


def test_in_a_branch() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]> g (float[1,1,4,4] x, bool c) =>
        (float[1,1,8,8] y) {
        s = Constant <value = float[4] {1.0, 1.0, 2.0, 2.0}> ()
        y = If (c) <then_branch = t () => (float[1,1,8,8] a) {
            a = Resize <mode = "cubic"> (x, , s) },
        else_branch = e () => (float[1,1,8,8] b) { b = Resize <mode = "linear"> (x, , s) }> }"""
    fixed, results = run_pass(PASS, text)
    assert sum(len(r.changes) for r in results) == 1
    for c in (True, False):
        feed = {"x": RNG.standard_normal((1, 1, 4, 4)).astype(np.float32), "c": np.array(c)}
        assert_same_outputs(onnx.parser.parse_model(text), fixed, feed, exact=False, atol=1e-5)


@pytest.mark.parametrize("target", ["trt-7.2", "rtx-1.7"])
def test_node_tests(node_cases: list[TestCase], target: str) -> None:
    """With scales, sizes and regions frozen: the recorded outputs."""
    left = []
    for case in node_cases:
        proto = case.model
        if proto is None or not case.name.startswith(("test_resize", "test_upsample")):
            continue
        ((inputs, outputs),) = case.data_sets or ()
        names = [v.name for v in proto.graph.input]
        feeds = dict(zip(names, map(np.asarray, inputs), strict=True))
        steering = {name: value for name, value in feeds.items() if name != names[0]}
        fixed, _ = run_pass(
            [FreezeInputs(freeze=steering), LowerOpset(), PASS], proto, target=target
        )
        if refused(fixed, target):
            left.append(case.name)
            continue
        (have,) = run_model(fixed, {names[0]: feeds[names[0]]})
        want = np.asarray(outputs[0], np.float32)
        assert have.shape == want.shape, case.name
        if not ("downsample_scales" in case.name and "align_corners" in case.name):
            # Of these two onnxruntime gives other numbers than are recorded.
            got = have.astype(np.float32)
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4, err_msg=case.name)
    assert set(left) <= {
        "test_resize_downsample_scales_linear_align_corners",
        "test_resize_downsample_scales_cubic_align_corners",
    }
