"""Free dims that the graph holds to one size."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.parser import parse_model

from onnx_fix.check import check
from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.formats.human import render
from onnx_fix.check.model_checks.frozen_dims import FrozenDims

Run = Callable[..., list[CheckFinding]]
HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'

FROZEN = {
    "reshape": (
        "g (float[T,B,24] x) => (float[a,b,c] y) { t = Shape(x) b = Gather(t, one) "
        "s = Concat<axis=0>(twelve, b, last) y = Reshape(x, s) }",
        "T",
        "12",
    ),
    "reshape to a number of elements": (
        "g (float[T,B,4] x) => (float[12,4] y) { y = Reshape(x, shape12) }",
        "B*T",
        "12",
    ),
    "expand": (
        "g (float[T,1] x) => (float[a,b] y) { y = Expand(x, shape12) }",
        "T",
        "12",
    ),
    "constant of shape": (
        "g (float[T,4] x) => (float[a,b] y) { c = ConstantOfShape(shape12) y = Add(c, x) }",
        "T",
        "12",
    ),
    "tile": (
        "g (float[T,4] x) => (float[a,b] y) { c = Tile(row, repeats) y = Mul(x, c) }",
        "T",
        "12",
    ),
    "concat": (
        "g (float[T,4] x) => (float[a,b] y) "
        "{ c = ConstantOfShape(shape12) y = Concat<axis=1>(x, c) }",
        "T",
        "12",
    ),
    "matmul": (
        "g (float[2,T] x) => (float[a,b] y) { c = ConstantOfShape(shape12) y = MatMul(x, c) }",
        "T",
        "12",
    ),
    "gemm, transposed": (
        "g (float[T,2] x) => (float[a,b] y) "
        "{ c = ConstantOfShape(shape12) y = Gemm<transA=1>(x, c) }",
        "T",
        "12",
    ),
    "two tied to one": (
        "g (float[2*T,4] x, float[T,4] z) => (float[a,b] y, float[c,d] w) "
        "{ c = ConstantOfShape(shape12) w = Neg(x) y = Sub(z, c) }",
        "T",
        "12",
    ),
}
WORKS = {
    "slice to the end": (
        "g (float[T,4] x) => (float[a,b] y) { c = Slice(x, start, far) y = Add(c, x) }"
    ),
    "minus one": "g (float[T,B,24] x) => (float[a,b,c] y) { y = Reshape(x, heads) }",
    "minus one of more": "g (float[T,B,24] x) => (float[a,b,c] y) { y = Reshape(x, split) }",
    "broadcast of one": "g (float[T,1] x) => (float[a,b] y) { y = Expand(x, ones) }",
    "sizes of the input": (
        "g (float[T,4] x) => (float[a,b] y) { s = Shape(x) c = ConstantOfShape(s) y = Add(c, x) }"
    ),
    "two free dims": "g (float[T,4] x, float[U,4] z) => (float[a,4] y) { y = Add(x, z) }",
    "concat along it": (
        "g (float[T,4] x) => (float[a,b] y) "
        "{ c = ConstantOfShape(shape12) y = Concat<axis=0>(x, c) }"
    ),
    "zero copies": "g (float[T,B,24] x) => (float[a,b,c] y) { y = Reshape(x, copies) }",
}
CONSTANTS = {
    "start": [0],
    "far": [10**9],
    "one": [1],
    "twelve": [12],
    "last": [24],
    "shape12": [12, 4],
    "heads": [-1, 4, 6],
    "split": [12, -1, 24],
    "ones": [1, 5],
    "copies": [0, 0, 4, 6],
    "repeats": [12, 1],
}


def build(text: str) -> onnx.ModelProto:
    model = parse_model(HEAD + text.replace("2*T", "U"))
    if "2*T" in text:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "2*T"
    used = {name for node in model.graph.node for name in node.input}
    for name, value in CONSTANTS.items():
        if name in used:
            tensor = numpy_helper.from_array(np.array(value, np.int64), name)
            model.graph.initializer.append(tensor)
    if "row" in used:
        row = numpy_helper.from_array(np.ones((1, 4), np.float32), "row")
        model.graph.initializer.append(row)
    return model


@pytest.mark.parametrize("case", FROZEN)
def test_a_frozen_dim_is_found(run: Run, case: str) -> None:
    text, symbols, only = FROZEN[case]
    found = run(FrozenDims, build(text))
    assert [f.severity for f in found] == [Severity.WARNING]
    expected = f"works for {symbols} = {only} only", f"{symbols} can only be {only};"
    assert any(text in found[0].why for text in expected)


@pytest.mark.parametrize("case", WORKS)
def test_what_works_for_many_sizes_is_left_alone(run: Run, case: str) -> None:
    assert run(FrozenDims, build(WORKS[case])) == []


def test_what_is_frozen_fails_in_onnxruntime(run: Run) -> None:
    from onnx_fix.testing import run_model

    for case in ("expand", "constant of shape", "concat", "matmul", "tile"):
        model = build(FROZEN[case][0])
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")
        dims = model.graph.input[0].type.tensor_type.shape.dim

        def feed(
            size: int, dims: object = dims
        ) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
            shape = [d.dim_value or size for d in dims]  # type: ignore[attr-defined]
            return {"x": np.ones(shape, np.float32)}

        run_model(model, feed(12))
        with pytest.raises(Exception, match=r"(?i)invalid|broadcast|dimension|mismatch|fail"):
            run_model(model, feed(7))


def test_annotations_of_the_exporter_prove_nothing(run: Run) -> None:
    text = "g (float[T,4] x) => (float[12,4] y) <float[12,4] a> { a = Neg(x) y = Add(a, x) }"
    assert run(FrozenDims, HEAD + text) == []


def test_the_minus_one_of_a_recurrent_model(run: Run, fixtures: Path) -> None:
    text = (
        "g (float[T,B,8] x) => (float[a,b,c] y) {"
        " r = Reshape(x, flat) t = Neg(r) s = Shape(x) b = Gather(s, one)"
        " k = Concat<axis=0>(one, b, four) h = Expand(zero, k)"
        " y, last = GRU<hidden_size=4>(t, W, R, , , h) }"
    )
    model = parse_model(HEAD + text)
    for name, value in {
        "flat": np.array([12, -1, 8]),
        "one": np.array([1]),
        "four": np.array([4]),
        "zero": np.zeros((1, 1, 1), np.float32),
        "W": np.random.default_rng(0).standard_normal((1, 12, 8), np.float32),
        "R": np.random.default_rng(1).standard_normal((1, 12, 4), np.float32),
    }.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    (found,) = run(FrozenDims, model)
    assert found.op == "Reshape" and "would have to be T" in found.why
    whole = onnx.load(fixtures / "rnn.legacy17.onnx")
    assert run(FrozenDims, whole) == []


@pytest.mark.parametrize(
    ("sizes", "severity"),
    [
        ((12, 12, 12), None),
        ((1, 1, 1), None),
        ((1, 12, 40), Severity.WARNING),
        ((1, 13, 40), Severity.ERROR),
    ],
)
def test_against_a_profile(
    run: Run, sizes: tuple[int, int, int], severity: Severity | None
) -> None:
    found = run(FrozenDims, build(FROZEN["expand"][0]), dims={"T": sizes})
    assert [f.severity for f in found] == ([] if severity is None else [severity])


def test_the_channels_of_a_convolution(run: Run) -> None:
    text = HEAD + "g (float[N,C,8,8] x) => (float[N,2,6,6] y) { y = Conv(x, w) }"
    model = parse_model(text)
    weights = np.random.default_rng(0).standard_normal((2, 3, 3, 3), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    (found,) = run(FrozenDims, model)
    assert "C can only be 3; C is dim 1 of input 'x'" in found.why
    assert "the numbers of 'w' follow no rule" in found.mend


def test_the_shipped_models_are_not_frozen(run: Run, fixtures: Path) -> None:
    """superpoint_points.legacy17 is, in floats that nothing contradicts: it runs at any size, and
    one export alone does not show what of it changes."""
    for path in [*fixtures.glob("*.onnx"), *fixtures.glob("frozen/*.free.onnx")]:
        model = onnx.load(path, load_external_data=False)
        assert run(FrozenDims, model, base_dir=path.parent) == [], path.name


def test_many_readers_of_one_size_read_as_one_line() -> None:
    chain = " ".join(f"u{k} = Reshape(v{k}, a) v{k + 1} = Reshape(u{k}, b)" for k in range(15))
    text = f"g (float[T,64] x) => (float[c,d] y) {{ v0 = Neg(x) {chain} y = Neg(v15) }}"
    model = parse_model(HEAD + text)
    for name, value in (("a", [24, 8, 8]), ("b", [24, 64])):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
    result = check(model, target="trt-8.6", run=True, select=["OF804"])
    assert len(result.findings) == 30
    (line,) = [part for part in render([result]).splitlines() if "OF804" in part]
    assert "30 x Reshape: u0, v1, u1, v2, u2 and 25 more: element 0 of <tensor> is 24" in line
    assert "runs it at T = 24 and fails at T = 48, T = 72" in line


def test_a_chain_takes_time_in_proportion(run: Run) -> None:
    seconds = []
    for length in (400, 1600):
        chain = " ".join(
            f"u{k} = Reshape(v{k}, a) v{k + 1} = Reshape(u{k}, b)" for k in range(length)
        )
        model = parse_model(HEAD + f"g (float[T,64] v0) => (float[c,d] v{length}) {{ {chain} }}")
        for name, value in (("a", [24, 8, 8]), ("b", [24, 64])):
            model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
        start = time.process_time()
        assert len(run(FrozenDims, model)) == 2 * length
        seconds.append(time.process_time() - start)
    assert seconds[1] < 10 * seconds[0] + 1
