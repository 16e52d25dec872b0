"""Sizes that are computed as floats: what tells of them, and what does not."""

from __future__ import annotations

import pytest

from onnx_fix.check.finding import CheckFinding
from onnx_fix.check.node_findings import node_findings
from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import as_proto

HEAD = """s = Shape (x) f = Cast <to = 1> (s) k = Constant <value = float {1.5}> ()
m = Mul (f, k) n = Cast <to = 7> (m) one = Constant <value = int64[1] {1}> ()
zero = Constant <value = int64[1] {0}> ()"""


def findings(
    body: str, *, head: str = HEAD, target: str = "trt-7.2", inputs: str = ""
) -> list[CheckFinding]:
    model = f"""<ir_version: 8, opset_import: ["" : 13]>
    g (float[N] x{inputs}) => (y) {{ {head} {body} }}"""
    found = node_findings(Model(as_proto(model), None, load_target(target)))
    return [f for f in found if f.code.code == "OF415"]


@pytest.mark.parametrize(
    ("body", "use"),
    [
        ("y = ConstantOfShape (n)", "input of ConstantOfShape 'y'"),
        ("y = Expand (x, n)", "shape of Expand 'y'"),
        ("y = Reshape (x, n)", "shape of Reshape 'y'"),
        ("y = Tile (x, n)", "repeats of Tile 'y'"),
        ("y = Slice (x, zero, n, zero)", "ends of Slice 'y'"),
        ("y = Slice (x, n, one, zero)", "starts of Slice 'y'"),
        ("e, i = TopK (x, n) y = Neg (e)", "K of TopK 'e'"),
        (
            "q = Squeeze (n) a = Constant <value = int64 {0}> () d = Constant <value = int64 {1}>"
            " () y = Range (a, q, d)",
            "limit of Range 'y'",
        ),
        ("c = Concat <axis = 0> (one, n) y = Expand (x, c)", "shape of Expand 'y'"),
        ("g = Gather (n, zero) h = Max (g, one) y = Expand (x, h)", "shape of Expand 'y'"),
        ("b = Greater (n, one) w = Where (b, n, one) y = Expand (x, w)", "shape of Expand 'y'"),
    ],
)
def test_every_input_that_takes_sizes(body: str, use: str) -> None:
    (finding,) = findings(body)
    assert finding.op == "Cast" and finding.tensor == "m" and finding.blocks
    assert finding.why == f"'m' is FP32 and decides on a shape: {use}"
    assert finding.evidence == "source"


@pytest.mark.parametrize(
    "body",
    [
        "y = Add (n, one)",
        "y = Gather (x, n)",
        "y = Reshape (n, one)",
        "h = Cast <to = 1> (n) y = Mul (x, h)",
    ],
)
def test_numbers_that_decide_on_no_shape(body: str) -> None:
    assert findings(body) == []


@pytest.mark.parametrize(
    ("target", "told"),
    [("trt-7.0", 1), ("trt-8.0", 1), ("trt-8.2", 1), ("trt-8.4", 0), ("trt-11.0", 0)],
)
def test_releases(target: str, told: int) -> None:
    assert len(findings("y = ConstantOfShape (n)", target=target)) == told


def test_the_text_of_the_builder_is_that_of_unary_ops() -> None:
    assert findings("y = ConstantOfShape (n)")[0].message == ""
    head = HEAD.replace("n = Cast <to = 7> (m)", "r = Floor (m) n = Cast <to = 7> (r)")
    (finding,) = findings("y = ConstantOfShape (n)", head=head)
    assert finding.message == "IUnaryLayer cannot be used to compute a shape tensor"


def test_a_float_input_of_the_network() -> None:
    (finding,) = findings(
        "n = Cast <to = 7> (v) y = ConstantOfShape (n)", head="", inputs=", float[1] v"
    )
    assert finding.tensor == "v"


@pytest.mark.parametrize(("scans", "told"), [(True, 1), (False, 0)])
def test_the_trip_count_is_the_length_of_scan_outputs(scans: bool, told: int) -> None:
    given, made, more = ("s0", "s1", ", a") if scans else ("s0", "s1", "")
    body = f"""q = Squeeze (n) t = Constant <value = bool {{1}}> ()
    last{", y" if scans else ""} = Loop (q, t, x) <body = b (int64 i, bool c, float[N] {given})
      => (bool d, float[N] {made}{more}) {{ d = Identity (c) {made} = Neg ({given})
      {"a = Abs (s0)" if scans else ""} }}> {"" if scans else "y = Neg (last)"}"""
    found = findings(body)
    assert [f.why.rpartition(": ")[2] for f in found] == ["trip count of Loop 'last'"] * told


def test_constants_are_left_to_folding() -> None:
    head = "k = Constant <value = float[1] {2.5}> () m = Floor (k) n = Cast <to = 7> (m)"
    assert findings("y = ConstantOfShape (n)", head=head) == []
