"""ReplaceGridSample: the numbers of onnxruntime, in ops that every release has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from live_parser import rtx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper
from onnx.backend.test.case.test_case import TestCase

import onnx_fix
from onnx_fix.check import check
from onnx_fix.contract import Exactness
from onnx_fix.lower import lower
from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.replace_grid_sample import ReplaceGridSample

EVERYWHERE = ReplaceGridSample(everywhere=True)
PADDINGS = ("zeros", "border", "reflection")
OLD_NAMES = {"linear": "bilinear", "cubic": "bicubic"}
Shape = tuple[int | str | None, ...]


def model_of(
    mode: str = "linear",
    padding: str = "zeros",
    aligned: int = 0,
    *,
    x: Shape = ("N", "C", "H", "W"),
    grid: Shape | None = None,
    opset: int = 20,
    dtype: str = "float32",
    grid_dtype: str | None = None,
) -> ModelProto:
    """One GridSample of two graph inputs; the mode is spelled as the operator set does."""
    dims = len(x) - 2
    if grid is None:
        grid = (x[0], *("P", "Q", "R")[:dims], dims)
    kinds = [
        helper.np_dtype_to_tensor_dtype(np.dtype(d)) for d in (dtype, grid_dtype or dtype, dtype)
    ]
    shapes: tuple[Shape, ...] = (x, grid, (x[0], x[1], *grid[1:-1]))
    values = [
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in zip(("x", "grid", "y"), kinds, shapes, strict=True)
    ]
    node = helper.make_node(
        "GridSample",
        ["x", "grid"],
        ["y"],
        name="sampled",
        mode=mode if opset >= 20 else OLD_NAMES.get(mode, mode),
        padding_mode=padding,
        align_corners=aligned,
    )
    graph = helper.make_graph([node], "g", values[:2], values[2:])
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8 if opset < 20 else 10)


def assert_close(have: Any, want: Any, rtol: float, atol: float, name: str = "") -> None:
    np.testing.assert_allclose(have, want, rtol, atol, err_msg=name)


def coordinates(
    rng: np.random.Generator, sizes: tuple[int, ...], grid: tuple[int, ...], aligned: int
) -> NDArray[np.float64]:
    """Random places, and among them the middles of pixels and what lies half-way between them,
    the borders, places far away and what is no number."""
    result = rng.uniform(-3, 3, grid)
    for k, size in enumerate(reversed(sizes)):
        pixels = rng.integers(-3 * size - 2, 4 * size + 2, grid[:-1]) / 2
        exact = 2 * pixels / max(size - 1, 1) - 1 if aligned else (2 * pixels + 1) / size - 1
        result[..., k] = np.where(rng.random(grid[:-1]) < 0.4, exact, result[..., k])
    special = [-1, 1, 0, 50, -33.3, 1e30, -1e30, np.inf, -np.inf, np.nan]
    return np.where(rng.random(grid) < 0.15, rng.choice(special, grid), result)


def feeds_of(
    rng: np.random.Generator,
    batch: int,
    channels: int,
    sizes: tuple[int, ...],
    places: tuple[int, ...],
    aligned: int = 0,
    dtype: str = "float32",
) -> dict[str, NDArray[Any]]:
    grid = coordinates(rng, sizes, (batch, *places, len(sizes)), aligned)
    with np.errstate(over="ignore"):
        return {
            "x": rng.standard_normal((batch, channels, *sizes)).astype(dtype),
            "grid": grid.astype(dtype),
        }


# -- the numbers ----------------------------------------------------------------------------------

cases = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["nearest", "linear", "cubic"]),
        "padding": st.sampled_from(PADDINGS),
        "aligned": st.sampled_from([0, 1]),
        "sizes": st.lists(st.sampled_from([1, 2, 3, 4, 5, 7]), min_size=2, max_size=3),
        "places": st.lists(st.integers(1, 6), min_size=3, max_size=3),
        "batch": st.sampled_from([1, 2, 3]),
        "channels": st.sampled_from([1, 2, 5]),
        "opset": st.sampled_from([16, 20, 22]),
        "dtype": st.sampled_from(["float32", "float32", "float16", "float64"]),
        "known": st.lists(st.booleans(), min_size=6, max_size=6),
        "target": st.sampled_from(["trt-7.2", "trt-8.0", "trt-8.6", "rtx-1.7"]),
        "seed": st.integers(0, 2**16),
    }
)
CORNER = {
    "mode": "cubic",
    "padding": "reflection",
    "aligned": 1,
    "sizes": [1, 2],
    "places": [5, 5, 1],
    "batch": 2,
    "channels": 1,
    "opset": 16,
    "dtype": "float32",
    "known": [False] * 6,
    "target": "trt-7.2",
    "seed": 0,
}


@settings(max_examples=250, deadline=None)
@example(CORNER)
@example({**CORNER, "sizes": [1, 1], "aligned": 0})
@example({**CORNER, "mode": "linear", "sizes": [1, 1, 1], "opset": 20})
@given(cases)
def test_any_setting_gives_the_numbers_of_onnxruntime(case: dict[str, Any]) -> None:
    sizes, opset, dtype = tuple(case["sizes"]), case["opset"], case["dtype"]
    mode = "linear" if len(sizes) == 3 and case["mode"] == "cubic" else case["mode"]
    if opset == 16 and (dtype == "float64" or len(sizes) == 3):
        opset = 20  # onnxruntime has no kernel for double before, and ONNX no volumes
    places = tuple(case["places"][: len(sizes)])
    full = (case["batch"], case["channels"], *sizes)
    shape = tuple(
        d if known else f"d{k}"
        for k, (d, known) in enumerate(zip(full, case["known"], strict=False))
    )
    grid = (
        (case["batch"], *places, len(sizes))
        if case["known"][-1]
        else (shape[0], *(f"p{k}" for k in range(len(places))), len(sizes))
    )
    model = model_of(
        mode, case["padding"], case["aligned"], x=shape, grid=grid, opset=opset, dtype=dtype
    )
    fixed, results = run_pass(EVERYWHERE, model, target=case["target"])
    assert "GridSample" not in ops(fixed), results
    if all(isinstance(d, int) for d in shape):
        assert "Shape" not in ops(fixed)
    rng = np.random.default_rng(case["seed"])
    feeds = feeds_of(rng, full[0], full[1], sizes, places, case["aligned"], dtype)
    close = {"float16": 1e-3, "float32": 1e-5, "float64": 1e-12}[dtype]
    assert_same_outputs(
        model,
        fixed,
        feeds,
        exact=mode == "nearest",
        rtol=close,
        # Sums of both signs, which cancel: a few roundings of the largest term.
        atol=2e-6 if dtype != "float64" else 1e-12,
    )


@pytest.mark.parametrize("aligned", [0, 1])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("target", ["trt-7.2", "rtx-1.7"])
def test_halves_go_to_the_even_pixel(padding: str, aligned: int, target: str) -> None:
    """With and without Round: exact halves of 8 pixels (9 when aligned), and both neighbours."""
    size = 8 + aligned
    pixels = np.arange(-30, 40) / 2
    exact = pixels / 4 - 1 if aligned else (2 * pixels + 1) / 8 - 1
    line = np.concatenate([np.nextafter(np.float32(exact), np.float32(s)) for s in (-9, 9)])
    line = np.concatenate([np.float32(exact), line]).astype(np.float32)
    grid = np.stack(np.meshgrid(line, line), axis=-1)[None]
    x = np.arange(size * size, dtype=np.float32).reshape(1, 1, size, size) + 1
    model = model_of("nearest", padding, aligned)
    fixed, _ = run_pass(EVERYWHERE, model, target=target)
    assert ("Round" in ops(fixed)) is (target == "rtx-1.7")
    assert_same_outputs(model, fixed, {"x": x, "grid": grid})


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("aligned", [0, 1])
def test_no_number_in_the_grid_leads_outside_the_data(
    mode: str, padding: str, aligned: int
) -> None:
    """onnxruntime's Gather refuses an index outside, so that it runs is what is tested."""
    top = float(np.finfo(np.float32).max)
    powers = [s * 10.0**k for k in range(0, 39, 2) for s in (1, -1)]
    line = np.asarray([np.nan, np.inf, -np.inf, top, -top, 0.1, *powers], np.float32)
    grid = np.stack(np.meshgrid(line, line), axis=-1)[None]
    x = np.random.default_rng(0).standard_normal((1, 2, 3, 4)).astype(np.float32)
    model = model_of(mode, padding, aligned)
    fixed, _ = run_pass(EVERYWHERE, model)
    have, want = (run_model(m, {"x": x, "grid": grid})[0] for m in (fixed, model))
    assert np.all(np.isfinite(have))
    # In between onnxruntime's own linear weights are lost to rounding; see the docstring.
    plain = ~np.isfinite(line) | (np.abs(line) < 1e5) | (np.abs(line) > 2.0**63)
    chosen = np.ix_(plain, plain)
    for channel in (0, 1):
        assert_close(have[0, channel][chosen], want[0, channel][chosen], 2e-5, 2e-6)
    if padding != "reflection":
        assert np.all(np.abs(have) <= 1.5 * np.abs(x).max())


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_far_places_give_the_border(mode: str) -> None:
    x = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    far = np.asarray([[1e9, 1e12], [-1e9, -1e12]], np.float32).reshape(1, 1, 2, 2)
    fixed, _ = run_pass(EVERYWHERE, model_of(mode, "border"))
    assert run_model(fixed, {"x": x, "grid": far})[0].tolist() == [[[[11, 0]]]]
    fixed, _ = run_pass(EVERYWHERE, model_of(mode, "zeros"))
    assert run_model(fixed, {"x": x + 1, "grid": far})[0].tolist() == [[[[0, 0]]]]


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("padding", PADDINGS)
def test_pixels_that_are_no_numbers_stay_where_they_are(mode: str, padding: str) -> None:
    """What lies outside counts as zero, not as a pixel at the border times zero."""
    rng = np.random.default_rng(3)
    x = rng.choice(np.asarray([1, 2, np.nan, np.inf], np.float32), (2, 3, 4, 5))
    grid = rng.uniform(-2, 2, (2, 9, 9, 2)).astype(np.float32)
    model = model_of(mode, padding)
    fixed, _ = run_pass(EVERYWHERE, model)
    with np.errstate(invalid="ignore"):
        assert_same_outputs(model, fixed, {"x": x, "grid": grid}, exact=mode == "nearest")


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("x", [("N", "C", "H", "W"), ("N", 3, 4, 5), (None, None, None, None)])
def test_one_model_serves_all_sizes(mode: str, padding: str, x: Shape) -> None:
    model = model_of(mode, padding, 1, x=x, opset=16)
    fixed, _ = run_pass(ReplaceGridSample(), model)
    assert "GridSample" not in ops(fixed)
    rng = np.random.default_rng(5)
    runs = [(1, 3, (4, 5), (3, 3)), (3, 3, (4, 5), (1, 7)), (2, 3, (4, 5), (0, 2))]
    runs += [(0, 3, (4, 5), (2, 2))]
    if x[3] != 5:
        runs += [(2, 1, (1, 1), (4, 4)), (1, 4, (9, 2), (2, 1)), (1, 0, (2, 2), (2, 2))]
    for batch, channels, sizes, places in runs:
        feeds = feeds_of(rng, batch, channels, sizes, places, 1)
        exact = mode == "nearest"
        assert_same_outputs(model, fixed, feeds, exact=exact, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("places", [(0, 2, 3), (2, 3, 0)])
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_volumes_without_places(places: tuple[int, ...], batch: int) -> None:
    model = model_of("linear", x=("N", 2, 3, 2, 4))
    for target in ("trt-7.2", "rtx-1.7"):
        fixed, _ = run_pass(EVERYWHERE, model, target=target)
        feeds = feeds_of(np.random.default_rng(0), batch, 2, (3, 2, 4), places)
        assert_same_outputs(model, fixed, feeds)


@pytest.mark.parametrize("kinds", [("float16", "float32"), ("float32", "float16")])
def test_data_and_grid_of_two_types(kinds: tuple[str, str]) -> None:
    model = model_of("linear", "border", dtype=kinds[0], grid_dtype=kinds[1])
    fixed, _ = run_pass(EVERYWHERE, model)
    feeds = feeds_of(np.random.default_rng(1), 2, 3, (5, 4), (6, 6))
    with np.errstate(over="ignore"):
        feeds = {"x": feeds["x"].astype(kinds[0]), "grid": feeds["grid"].astype(kinds[1])}
    assert_same_outputs(model, fixed, feeds, exact=False, rtol=1e-3, atol=2e-6)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_bfloat16_is_summed_in_float32(mode: str) -> None:
    """onnxruntime has no GridSample of bfloat16: the same in float32, rounded once."""
    single = feeds_of(np.random.default_rng(1), 1, 2, (5, 4), (6, 6))
    feeds = {k: v.astype(ml_dtypes.bfloat16) for k, v in single.items()}
    fixed, _ = run_pass(EVERYWHERE, model_of(mode, opset=22, dtype="bfloat16"), target="trt-10.3")
    assert "GridSample" not in ops(fixed)
    exact = {k: v.astype(np.float32) for k, v in feeds.items()}
    want = run_model(model_of(mode, opset=22), exact)[0]
    have = run_reference(fixed, feeds)[0]
    assert have.dtype == ml_dtypes.bfloat16
    assert_close(have.astype(np.float32), want, 2**-8, 1e-6)


# -- the nodes ------------------------------------------------------------------------------------


def test_static_linear_border() -> None:
    rng = np.random.default_rng(0)
    corner = ["Gather", "Gather", "Gather", "Mul"]
    assert_rewrites(
        ReplaceGridSample(),
        model_of("linear", "border", 1, x=(1, 3, 4, 5), grid=(1, 6, 7, 2), opset=16),
        after=[
            *["Transpose", "Flatten"],
            *["Gather", "Add", "Mul", "Mul", "Abs", "Less", "Where", "Floor", "Sub"],
            *["Sub", "Abs", "Add", "Min", "Max", "Cast", "Mul"],
            *["Gather", "Gather", "Add", "Gather", "Gather", "Mul"],
            *corner,
            *[*corner, "Add"] * 3,
            "Transpose",
        ],
        feeds=[feeds_of(rng, 1, 3, (4, 5), (6, 7), 1)],
        exact=False,
    )


@pytest.mark.parametrize(
    ("mode", "rank", "corners"),
    [("nearest", 4, 1), ("nearest", 5, 1), ("linear", 4, 4), ("linear", 5, 8), ("cubic", 4, 16)],
)
@pytest.mark.parametrize("static", [True, False])
def test_one_gather_of_pixels_for_each_corner(
    mode: str, rank: int, corners: int, static: bool
) -> None:
    x: Shape = ((2, 3, 4, 5, 6) if static else ("N", "C", "D", "H", "W"))[:rank]
    model = model_of(mode, x=x)
    fixed, results = run_pass(ReplaceGridSample(), model)
    (table,) = (n.output[0] for n in fixed.graph.node if n.op_type == "Flatten")
    assert sum(n.op_type == "Gather" and n.input[0] == table for n in fixed.graph.node) == corners
    assert ops(fixed).count("Shape") == (not static)
    (change,) = (c for r in results for c in r.changes)
    assert change.exactness is (Exactness.EXACT if mode == "nearest" else Exactness.ROUNDING)


def test_a_grid_with_a_batch_of_one_needs_no_offset() -> None:
    for x, grid in (((1, 3, "H", "W"), ("N", 4, 4, 2)), (("N", 3, "H", "W"), (1, 4, 4, 2))):
        model = model_of("linear", x=x, grid=grid)
        fixed, _ = run_pass(ReplaceGridSample(), model)
        assert "Range" not in ops(fixed)
        feeds = feeds_of(np.random.default_rng(0), 1, 3, (4, 5), (4, 4))
        assert_same_outputs(model, fixed, feeds, exact=False, atol=2e-6)


# -- where ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["trt-8.6", "trt-10.3", "trt-11.0"])
def test_a_mode_that_is_misread_is_left_out_where_it_is_the_default(target: str) -> None:
    model = model_of("linear", "border", 1)
    feeds = [feeds_of(np.random.default_rng(0), 2, 3, (4, 5), (6, 7), 1)]
    fixed = assert_rewrites(
        ReplaceGridSample(), model, after=["GridSample"], feeds=feeds, target=target
    )
    names = {a.name for a in fixed.graph.node[0].attribute}
    assert names == {"padding_mode", "align_corners"}
    assert not [f for f in check(fixed, target=target).findings if f.blocks]


@pytest.mark.parametrize(
    ("target", "model"),
    [
        ("trt-8.6", model_of("cubic")),
        ("trt-10.3", model_of("cubic", "reflection", 1)),
        ("trt-8.6", model_of("linear", x=("N", "C", "D", "H", "W"))),
        ("trt-8.2", model_of("nearest", opset=16)),
        ("trt-7.2", model_of("linear", opset=16)),
    ],
)
def test_what_the_target_refuses_is_replaced(target: str, model: ModelProto) -> None:
    fixed, _ = run_pass(ReplaceGridSample(), model, target=target)
    assert "GridSample" not in ops(fixed)
    if target != "trt-7.2":
        assert not [f for f in check(fixed, target=target).findings if f.blocks]


@pytest.mark.parametrize(
    ("target", "model"),
    [
        ("trt-8.6", model_of("cubic", opset=16)),
        ("trt-8.6", model_of("nearest")),
        ("trt-10.3", model_of("linear", opset=16)),
        ("rtx-1.7", model_of("cubic")),
        ("rtx-1.7", model_of("linear", x=("N", "C", "D", "H", "W"))),
    ],
)
def test_what_the_target_takes_is_left_alone(target: str, model: ModelProto) -> None:
    after, results = run_pass(ReplaceGridSample(), model, target=target)
    assert after == model and not any(r.changes or r.skipped for r in results)
    fixed, _ = run_pass(EVERYWHERE, model, target=target)
    assert "GridSample" not in ops(fixed)


HEADER = '<ir_version: 10, opset_import: ["" : 20]> '


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (
            HEADER + "g (float[N,1,4,4] x, int64[R] s, int64[Q] t) => (float[A,B,C,D] y) {"
            " f = Abs (x) w = Reshape (f, s) v = Reshape (f, t) u = GridSample (w, v)"
            " a = Shape (u) b = Reshape (u, a) y = Reshape (b, t) }",
            "rank of its input",
        ),
        (model_of("cubic", x=("N", "C", "D", "H", "W")), "rank 5"),
        (model_of("area"), "no mode area"),
        (model_of("linear", "wrap"), "padding wrap"),
        (model_of("nearest", x=("N", "C", "W"), grid=("N", "P", 1)), "4 or 5"),
        (model_of("nearest", dtype="int32", grid_dtype="float32"), "INT32"),
        (model_of("linear", x=(1, 1, 1 << 16, 1 << 16)), "too many pixels"),
    ],
    ids=["rank", "cubic", "mode", "padding", "line", "type", "large"],
)
def test_refusals_say_why(model: ModelProto | str, part: str) -> None:
    reasons = skip_reasons(ReplaceGridSample(), model)
    assert len(reasons) == 1 and part in reasons[0]


def test_a_parameter_of_a_function_is_not_guessed() -> None:
    text = """<ir_version: 10, opset_import: ["" : 20, "own" : 1]>
    g (float[1,2,4,4] x, float[1,3,3,2] i) => (float[1,2,3,3] y) {
        y = own.sample <how: string = "border"> (x, i)
    }
    <opset_import: ["" : 20], domain: "own">
    sample <how> (v, w) => (z) { z = GridSample <padding_mode: string = @how> (v, w) }"""
    (reason,) = skip_reasons(ReplaceGridSample(), text)
    assert "parameter" in reason
    (reason,) = skip_reasons(ReplaceGridSample(), text.replace("string = @how", 'string = "zeros"'))
    assert "rank" in reason and "inline" in reason


def test_inside_bodies() -> None:
    text = (
        HEADER
        + """g (bool c, float[N,2,H,W] x, float[N,P,Q,2] i, int64 trips)
      => (float[N,2,P,Q] y, float[N,P,Q,2] z) {
        y = If (c) <
            then_branch = then () => (float[A,B,C,D] a) {
                a = GridSample <mode = "cubic", padding_mode = "reflection"> (x, i)
            },
            else_branch = other () => (float[A,B,C,D] b) {
                b = GridSample <mode = "nearest", align_corners = 1> (x, i)
            }
        >
        yes = Constant <value = bool {1}> ()
        z = Loop (trips, yes, i) <
            body = each (int64 k, bool go, float[N,P,Q,2] v) => (bool on, float[N,P,Q,2] w) {
                on = Identity (go)
                s = GridSample <padding_mode = "border"> (x, v)
                w = Transpose <perm = [0, 2, 3, 1]> (s)
            }
        >
    }"""
    )
    model = onnx.parser.parse_model(text)
    fixed, results = run_pass(ReplaceGridSample(), model)
    assert sum(len(r.changes) for r in results) == 3
    assert "GridSample" not in str(fixed)
    rng = np.random.default_rng(0)
    for c in (True, False):
        for trips in (0, 2):
            feeds = feeds_of(rng, 2, 2, (4, 5), (3, 6))
            feeds |= {"c": np.asarray(c), "trips": np.asarray(trips)}
            feeds["grid"] = rng.uniform(-1, 1, (2, 3, 6, 2)).astype(np.float32)
            feeds["i"] = feeds.pop("grid")
            assert_same_outputs(model, fixed, feeds, exact=False, rtol=1e-4, atol=1e-5)


# -- the rest of the way --------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2", "trt-8.0"])
@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(
    ("mode", "rank", "opset"),
    [("nearest", 4, 16), ("linear", 4, 20), ("cubic", 4, 22), ("linear", 5, 20)],
)
def test_old_releases_take_it_in_operator_set_11(
    mode: str, rank: int, opset: int, padding: str, static: bool, target: str
) -> None:
    x: Shape = ((2, 3, 4, 5, 6) if static else ("N", "C", "D", "H", "W"))[:rank]
    grid = (2, *(3, 4, 5)[: rank - 2], rank - 2) if static else None
    model = model_of(mode, padding, x=x, grid=grid, opset=opset)
    fixed, _ = run_pass(ReplaceGridSample(), model, target=target)
    lowered = lower(fixed, 11)
    assert not lowered.refusals
    assert not [f for f in check(lowered.model, target=target).findings if f.op]
    feeds = feeds_of(np.random.default_rng(0), 2, 3, (4, 5, 6)[: rank - 2], (3, 4, 5)[: rank - 2])
    exact = mode == "nearest"
    assert_same_outputs(model, lowered.model, feeds, exact=exact, atol=2e-6)


def test_the_points_of_superpoint(fixtures: Path) -> None:
    result = onnx_fix.fix(fixtures / "superpoint_points.dynamo18.onnx", target="trt-8.2")
    assert "GridSample" not in ops(result.model)
    assert result.report.verification is not None
    assert result.report.verification.status == "equal"


@pytest.mark.rtx
@pytest.mark.skipif(not rtx.available(), reason="tensorrt_rtx (the extra `rtx`) is not installed")
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(
    ("mode", "rank", "opset"),
    [
        *[("nearest", 4, 16), ("linear", 4, 16), ("cubic", 4, 20)],
        *[("nearest", 5, 20), ("linear", 5, 22)],
    ],
)
def test_the_real_builder_takes_it(
    mode: str, rank: int, opset: int, padding: str, tmp_path: Path
) -> None:
    path = tmp_path / "fixed.onnx"
    for x in ((2, 3, 4, 5, 6)[:rank], ("N", "C", "D", "H", "W")[:rank]):
        for source in ("trt-7.2", "rtx-1.7"):
            model = model_of(mode, padding, x=x, opset=opset)
            fixed, _ = run_pass(EVERYWHERE, model, target=source)
            onnx.save(fixed, path)
            verdict = rtx.ask(path, build=True, timeout=120)
            assert verdict.parsed and verdict.built, verdict.message


# -- the ONNX backend node tests ------------------------------------------------------------------


def test_every_backend_test_keeps_its_outputs(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or not any(n.op_type == "GridSample" for n in case.model.graph.node):
            continue
        for inputs, outputs in case.data_sets or []:
            feeds = {
                i.name: np.asarray(v) for i, v in zip(case.model.graph.input, inputs, strict=True)
            }
            fixed, _ = run_pass(ReplaceGridSample(), case.model)
            assert "GridSample" not in ops(fixed), case.name
            for want, have in zip(outputs, run_model(fixed, feeds), strict=True):
                assert have.dtype == np.asarray(want).dtype
                # The recorded numbers have four decimals.
                assert_close(have, np.asarray(want), 1e-4, 1e-4, case.name)
            seen += 1
    assert seen >= 15


def test_types_are_those_that_onnx_samples() -> None:
    """The interface of the node: the data keep their type, whatever the grid has."""
    model = model_of("nearest", dtype="float16", grid_dtype="float32", opset=16)
    fixed, _ = run_pass(ReplaceGridSample(), model)
    assert fixed.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    assert onnx.shape_inference.infer_shapes(fixed, strict_mode=True)
