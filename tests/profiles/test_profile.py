"""What ranges mean for the inputs of a model, and everything that is wrong with them at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from onnx import ModelProto, load, parser

from onnx_fix.api import fix
from onnx_fix.errors import UsageError
from onnx_fix.profiles import (
    InputRange,
    Profile,
    parse_profile,
    profile_from,
    profile_of,
    shape_inputs,
    symbol_ranges,
)

FIXTURES = Path(__file__).parents[2] / "fixtures"
PAIR = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1, N, 2] a, float[1, N] b, float[M, "2*N"] c, float[3] d) => (float y)
{ y = ReduceSum <keepdims = 0> (d) }"""


def model(text: str) -> ModelProto:
    return parser.parse_model(text)


def profile(text: str, ranges: str) -> Profile:
    return profile_from(model(text), parse_profile(ranges))


def test_symbols_give_the_shapes_of_all_inputs() -> None:
    found = profile_of(model(PAIR), {"N": (1, 4, 8), "M": (2, 2, 2)})
    assert found.inputs == (
        InputRange("a", (1, 1, 2), (1, 4, 2), (1, 8, 2)),
        InputRange("b", (1, 1), (1, 4), (1, 8)),
        InputRange("c", (2, 2), (2, 8), (2, 16)),
    )
    assert found.ranges == {"N": (1, 4, 8), "M": (2, 2, 2)}
    assert found.of("b") == found.inputs[1] and found.of("d") is None


def test_an_input_gives_the_sizes_of_its_symbols_to_the_others() -> None:
    found = profile(PAIR, "a=1x1x2:1x4x2:1x8x2,M=2")
    assert found == profile_of(model(PAIR), {"N": (1, 4, 8), "M": (2, 2, 2)})
    shapes = {"a": ((1, 1, 2), (1, 4, 2), (1, 8, 2))}
    assert profile_of(model(PAIR), {"M": (2, 2, 2)}, shapes) == found


@pytest.mark.parametrize(
    "name", ["pair_matcher.dynamo18", "superglue_match.legacy13", "unet.legacy11"]
)
def test_sidecars_of_fixtures(name: str) -> None:
    side = json.loads((FIXTURES / f"{name}.onnx.json").read_text())
    ranges = {s: (d["min"], d["opt"], d["max"]) for s, d in side["dims"].items()}
    found = profile_of(load(FIXTURES / f"{name}.onnx", load_external_data=False), ranges)
    assert [i.name for i in found.inputs] == list(side["inputs"])
    for one in found.inputs:
        shape = side["inputs"][one.name]["shape"]
        assert one.max == tuple(d if isinstance(d, int) else ranges[d][2] for d in shape)


@pytest.mark.parametrize(
    ("ranges", "what"),
    [
        ("n=1:2:3,N=1,M=1", "no dim or input called 'n'; did you mean N?"),
        ("M=1", "no range is given for N (of a, b)"),
        ("e=1x2,N=1,M=1", "no input called 'e'; it has: a, b, c, d"),
        ("N=1x2,M=1", "N is a dim and has one size, not 1x2"),
        ("N=1,M=1,2*N=4", "the size of 2*N follows from other dims; give theirs: N, M"),
        ("a=1x4,M=1", "input a has 3 dims [1, N, 2], its range 2"),
        ("a=1x4x3,M=1", "input a, axis 2: the model has 2 there, always; not 3"),
        ("a=1x4x2,b=1x5,M=1", "N has one range, not two: 4 by axis 1 of input a, and 5 by axis 1"),
        ("a=1x4x2,N=5,M=1", "N has one range, not two: 4 by axis 1 of input a, and 5"),
        ("N=4,c=2x9", "input c, axis 1: 2*N is 8, not 9"),
        ("N=4,M=1,d=3:3:4", "input d, axis 0: the model has 3 there, always; not 3:3:4"),
        ("N=4,M=1,q=[3]", "no input called 'q'"),
        ("N=4,M=1,a=[3]", "input a has 3 dims, and only a scalar or a list"),
        ("N=4,M=1,d=[3]", "input d holds 3 values, its range 1"),
    ],
)
def test_mistakes(ranges: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        profile(PAIR, ranges)
    assert what in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        profile(PAIR, "K=1,b=2x4,d=5")
    lines = str(caught.value).splitlines()
    assert len(lines) == 5 and lines[0] == "the profile does not suit the model:"
    assert "M (of c)" in lines[-1]


def test_unnamed_dims_go_by_input_and_axis() -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[?,3] x) => (float[?,3] y) {y = Abs(x)}'
    )
    assert profile(text, "x[0]=1:2:3").inputs == (InputRange("x", (1, 3), (2, 3), (3, 3)),)
    assert profile(text, "x=1x3:2x3:3x3").ranges == {"x[0]": (1, 2, 3)}


def test_an_input_without_a_rank_needs_a_shape() -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float x) => (float y) {y = Abs(x)}'
    proto = model(text)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UsageError, match="input x, whose number of dims is not declared"):
        profile_of(proto, {})
    found = profile_from(proto, parse_profile("x=1x3:2x3:3x4"))
    assert found.inputs == (InputRange("x", (1, 3), (2, 3), (3, 4)),)


def test_dims_that_fall_as_others_grow_have_their_extremes() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[N] x, float["9-N"] z) => (float y) { y = Abs (x) }"""
    found = profile(text, "N=1:3:4").of("z")
    assert found is not None and found.shapes == ((5,), (6,), (8,))


SHAPED = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N] x, int64[2] s, int64 k, int64[L] t, float z, int64[2, 2] u, bool[1] w, int64[3] i)
=> (float o)
{ one = Constant <value_ints = [1]> ()
  two = Constant <value_int = 2> ()
  a = Reshape (x, s)
  k2 = Mul (k, two)
  k1 = Unsqueeze (k2, one)
  b, c = TopK (x, k1)
  d = Expand (x, t)
  e = Range (z, z, z)
  u1 = ReduceProd <keepdims = 0> (u)
  u2 = Unsqueeze (u1, one)
  f = ConstantOfShape (u2)
  w1 = Cast <to = 7> (w)
  g = If (w) <
    then_branch = t1 () => (h) { h = Tile (x, w1) },
    else_branch = e1 () => (h) { h = Identity (x) } >
  j = Gather (x, i)
  o = ReduceSum <keepdims = 0> (j) }"""


def test_shape_tensors_are_found_through_arithmetic_and_branches() -> None:
    found = shape_inputs(model(SHAPED))
    assert [(s.name, s.op, s.split, bool(s.obstacle)) for s in found.values()] == [
        ("s", "Reshape", False, False),
        ("k", "TopK", False, False),
        ("t", "Expand", True, True),
        ("z", "Range", False, True),
        ("u", "ConstantOfShape", False, True),
        ("w", "Tile", False, False),
    ]
    assert "FLOAT" in found["z"].obstacle and "2 dims" in found["u"].obstacle
    assert "dynamic length" in found["t"].obstacle


def test_shape_tensors_inside_local_functions() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "l" : 1]>
    g (float[N] x, int64[2] s) => (float[A,B] y) { y = l.shaped (x, s) }
    <domain: "l", opset_import: ["" : 17]> shaped (p, q) => (r) { r = Reshape (p, q) }"""
    assert list(shape_inputs(model(text))) == ["s"]


def test_what_only_decides_sizes_is_not_followed_on() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[6] x, int64[1] i) => (float y)
    { h = Gather (x, i)  y = Softmax (h)  z = Shape (h)  u = Expand (x, z) }"""
    assert shape_inputs(model(text)) == {}


def test_values_of_shape_tensors() -> None:
    found = profile(SHAPED, "N=4,s=[1,1]:[2,2]:[4,4],k=1:1:2,L=1,w=[0]:[1]:[1]")
    kinds = [(i.name, i.kind, i.min, i.max) for i in found.inputs]
    assert kinds == [
        ("x", "shape", (4,), (4,)),
        ("s", "values", (1, 1), (4, 4)),
        ("k", "values", (1,), (2,)),
        ("t", "shape", (1,), (1,)),
        ("w", "values", (0,), (1,)),
    ]
    assert found.values["k"] == ((1,), (1,), (2,))
    assert found.of("s", "shape") is None and found.of("s", "values") is not None
    again = profile_of(
        model(SHAPED),
        {"N": (4, 4, 4), "L": (1, 1, 1)},
        values={"s": ((1, 1), (2, 2), (4, 4)), "k": ((1,), (1,), (2,)), "w": ((0,), (1,), (1,))},
    )
    assert again == found


@pytest.mark.parametrize(
    ("ranges", "what"),
    [
        (
            "N=4,L=1,k=1,w=[1]",
            "values of s, which decide sizes (at Reshape a): write such as s=[1,1]",
        ),
        ("N=4,L=1,k=1,w=[1],s=[1]", "input s holds 2 values, its range 1"),
        ("N=4,t=[1],k=1,w=[1],s=[1,1]", "input t can have no range of values: it has a dynamic"),
        ("N=4,L=1,k=[1,2],w=[1],s=[1,1]", "input k holds 1 value, its range 2"),
    ],
)
def test_mistakes_in_values(ranges: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        profile(SHAPED, ranges)
    assert what in str(caught.value)


def test_ranges_by_symbol_may_be_incomplete() -> None:
    asked = [parse_profile("a=1x1x2:1x4x2:1x8x2"), parse_profile("M=2")]
    assert symbol_ranges(model(PAIR), asked) == [{"N": (1, 4, 8)}, {"M": (2, 2, 2)}]
    with pytest.raises(UsageError, match="no dim or input called 'K'"):
        symbol_ranges(model(PAIR), [parse_profile("K=2")])


def test_a_fix_compares_at_every_profile(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[B, N] x, float[N] w) => (float[B, N] y) { a = Identity (x)  y = Add (a, w) }"""
    path = tmp_path / "p.yaml"
    path.write_text(
        "target: trt-8.6\nopset: 18\nverify: {sizes: 1}\n"
        "dims: {B: 3}\nprofiles:\n  - N: {min: 16, opt: 17, max: 18}\n"
        "  - x: {min: 3x40, opt: 3x41, max: 3x42}\n"
    )
    report = fix(model(text), pipeline=path).report
    assert report.verification is not None and report.verification.status == "equal"
    sizes = [case.sizes["N"] for case in report.verification.cases]
    assert sizes[1:] == [16, 17, 18, 40, 41, 42] or sizes[1:] == [16, 18, 40, 41, 42]
    direct = fix(
        model(text),
        pipeline=path,
        dims={"x": ((3, 7), (3, 8), (3, 9)), "w": ((7,), (8,), (9,))},
    )
    assert direct.report.verification is not None
    assert {case.sizes["N"] for case in direct.report.verification.cases} >= {8, 9}
    with pytest.raises(UsageError, match="N has one range, not two"):
        fix(model(text), pipeline=path, dims={"x": ((3, 7), (3, 8), (3, 9)), "N": (1, 2, 3)})


def test_ranges_of_dims_that_the_fix_makes_dynamic() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1,8] x) => (float[1,8] y)
    { s = Constant <value_ints = [1, 8]> ()  a = Abs (x)  y = Reshape (a, s) }"""
    made = fix(model(text), target="trt-8.6", dynamic={"x:1": "N"}, dims={"N": (4, 16, 64)})
    assert made.report.trials is not None
    assert {case.sizes["N"] for case in made.report.trials.cases} >= {4, 16, 64}
    with pytest.raises(UsageError, match="no dim or input called 'K'"):
        fix(model(text), target="trt-8.6", dynamic={"x:1": "N"}, dims={"K": (4, 16, 64)})


def test_a_fix_compares_at_the_values_of_shape_tensors(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[N] x, int64[2] s) => (float[A, B] y) { a = Abs (x)  y = Reshape (a, s) }"""
    path = tmp_path / "p.yaml"
    path.write_text(
        "target: trt-8.6\nopset: 18\nverify: {sizes: 1}\nprofiles:\n"
        "  - N: {min: 4, opt: 16, max: 64}\n    s: {min: [2, 2], opt: [4, 4], max: [8, 8]}\n"
        "  - {N: 6, s: [2, 3]}\n"
    )
    report = fix(model(text), pipeline=path).report
    assert report.verification is not None and report.verification.status == "equal"
    cases = report.verification.cases[1:]
    shapes = [c.comparisons[0].n_elements for c in cases]
    assert shapes == [4, 16, 64, 6, 6, 6] or shapes == [4, 16, 64, 6]
    assert all(c.status == "equal" for c in cases)
    # A static shape has no sizes to plan, and its values are fed all the same.
    static = text.replace("float[N]", "float[6]")
    path.write_text("target: trt-8.6\nopset: 18\nprofiles:\n  - s: [2, 3]\n  - s: [6, 1]\n")
    report = fix(model(static), pipeline=path).report
    assert report.verification is not None and report.verification.status == "equal"
    assert sum(c.status == "equal" for c in report.verification.cases) >= 2
