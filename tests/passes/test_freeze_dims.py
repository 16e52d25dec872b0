"""freeze-dims: dynamic dims that the user gives sizes, in the model and in what follows of them."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import ModelProto
from typer.testing import CliRunner

import onnx_fix
from onnx_fix.cli import app
from onnx_fix.contract import Exactness
from onnx_fix.errors import UsageError
from onnx_fix.static_dims import parse_static, sizes_of, with_static
from onnx_fix.testing import ops

TWICE = """<ir_version: 8, opset_import: ["" : 13]>
g (float[B, N, 3] x, float[B, ] w, float[2, K] k) => (float[B, "2*N", 3] y, float[Q] q)
<float["2*N"] inner> {
    y = Concat <axis = 1> (x, x)
    q = Identity (w)
}"""
RANKS = """<ir_version: 8, opset_import: ["" : 16]>
g (float[N, M] x) => (float[A] y) {
    s = Shape (x) k = Constant <value = int64 {1}> () d = Gather (s, k) c = Equal (d, k)
    y = If (c) <then_branch = t () => (float[a] a) {
            ax = Constant <value = int64[1] {1}> () a = Squeeze (x, ax) },
        else_branch = e () => (float[b, c] b) { b = Identity (x) }>
}"""


def proto(text: str) -> ModelProto:
    return onnx.parser.parse_model(text.replace('"2*N"', "twice"))


def twice() -> ModelProto:
    """The first model with a dim that is an expression, which the text form has no word for."""
    model = proto(TWICE)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == "twice":
                dim.dim_param = "2*N"
    return model


def shape(model: ModelProto, name: str) -> list[int | str]:
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    (value,) = [v for v in values if v.name == name]
    dims = value.type.tensor_type.shape.dim
    return [d.dim_value if d.HasField("dim_value") else d.dim_param for d in dims]


# -- which dims are meant --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("static", "sizes"),
    [
        ({"B": 2}, {"B": 2}),
        ({"x:0": 2, "w:0": 2}, {"B": 2}),
        ({"x:-2": 5}, {"N": 5}),
        ({"w:1": 4}, {"w[1]": 4}),
        ({"w[1]": 4}, {"w[1]": 4}),
        ({"x:2": 3}, {}),
    ],
)
def test_places(static: dict[str, int], sizes: dict[str, int]) -> None:
    model = proto(TWICE.replace("float[B, ] w", "float[B, unnamed] w"))
    model.graph.input[1].type.tensor_type.shape.dim[1].ClearField("dim_param")
    assert sizes_of(model, static) == sizes


@pytest.mark.parametrize(
    ("static", "said"),
    [
        ({"b": 2}, "no dim 'b'; did you mean B?"),
        ({"z:0": 2}, "no dim 'z:0'"),
        ({"x:7": 2}, "has 3 dims and no axis 7"),
        ({"x:2": 4}, "x:2 is always 3 in the model, and cannot be 4"),
        ({"B": 2, "x:0": 3}, "B=2 and x:0=3 are one dim, B"),
    ],
)
def test_what_is_no_dim(static: dict[str, int], said: str) -> None:
    model = proto(TWICE.replace("float[B, ] w", "float[B] w"))
    with pytest.raises(UsageError) as error:
        onnx_fix.fix(model, target="trt-10.3", static=static)
    assert said in str(error.value)


def test_a_dim_that_follows_from_others() -> None:
    model = twice_fed()
    with pytest.raises(UsageError, match="follows from other dims; give theirs: N"):
        sizes_of(model, {"w:0": 4})
    assert shape(with_static(model, {"N": 3}), "w") == [6]


def twice_fed() -> ModelProto:
    model = proto(
        '<ir_version: 8, opset_import: ["" : 13]> g (float[N] x, float[M] w) => (float[M] y) '
        "{ d = Concat <axis = 0> (x, x) y = Add (d, w) }"
    )
    for value in (model.graph.input[1], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "2*N"
    return model


@pytest.mark.parametrize("text", ["N", "N=", "=3", "N=0", "N=-1", "N=x", "N=1.5"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="DIM=SIZE is wanted"):
        parse_static([text])


def test_names_may_hold_signs() -> None:
    assert parse_static(["a=b:1=2", "N=3"]) == {"a=b:1": 2, "N": 3}
    with pytest.raises(UsageError, match="twice"):
        parse_static(["N=3", "N=3"])


# -- the model -------------------------------------------------------------------------------------


def test_shapes_have_the_sizes_wherever_the_symbol_stands() -> None:
    model = proto(TWICE.replace("float[B, ] w", "float[B] w"))
    for value in (*model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == "twice":
                dim.dim_param = "2*N"
    result = onnx_fix.fix(model, target="trt-10.3", static={"N": 5, "B": 2})
    assert shape(result.model, "x") == [2, 5, 3] and shape(result.model, "y") == [2, 10, 3]
    assert shape(result.model, "w") == [2] and shape(result.model, "k") == [2, "K"]
    verification = result.report.verification
    assert verification is not None and verification.status == "equal"
    assert {(c.sizes["N"], c.sizes["B"]) for c in verification.cases} == {(5, 2)}
    changes = [c for c in result.report.changes if c.pass_name == "freeze-dims"]
    assert [c.old[0] for c in changes] == ["dim N is 5", "dim B is 2"]
    assert all(c.exactness is Exactness.CONTRACT for c in changes)
    assert shape(model, "x") == ["B", "N", 3]


@pytest.mark.parametrize(("size", "left"), [(1, {"Squeeze"}), (4, {"Identity"})])
def test_conditions_on_sizes_are_decided(size: int, left: set[str]) -> None:
    model = proto(RANKS)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    open_ = onnx_fix.fix(model, target="trt-7.2", verify=False)
    assert "If" in ops(open_.model) and not open_.ok
    (refused,) = open_.report.refused
    assert "`--static N=... --static M=...` makes those of the network inputs" in refused.hint
    fixed = onnx_fix.fix(model, target="trt-7.2", static={"M": size})
    assert fixed.ok and set(ops(fixed.model)) - {"Constant"} == left


def test_constants_that_are_computed_decide_shapes() -> None:
    model = proto("""<ir_version: 8, opset_import: ["" : 13]>
    g (float[N, 4] x) => (float[A, B] y) {
        two = Constant <value = int64[1] {2}> () pair = Concat <axis = 0> (two, two)
        four = Concat <axis = 0> (pair, pair) minus = Neg (four) back = Neg (minus)
        padded = Pad (x, back) s = Shape (padded) k = Constant <value = int64 {0}> ()
        size = Gather (s, k) n = Constant <value = int64 {9}> () c = Equal (size, n)
        y = If (c) <then_branch = t () => (float[a, b] a) { a = Neg (padded) },
            else_branch = e () => (float[c, d, e] b) { z = Constant <value = int64[1] {0}> ()
                b = Unsqueeze (padded, z) }>
    }""")
    fixed = onnx_fix.fix(model, target="trt-7.2", static={"N": 5})
    assert fixed.ok and "If" not in ops(fixed.model)


def test_other_dims_are_compared_at_several_sizes() -> None:
    model = proto("""<ir_version: 8, opset_import: ["" : 13]>
    g (float[B, N] x, float[N] w) => (float[B, N] y) { y = Add (x, w) }""")
    verification = onnx_fix.fix(model, target="trt-10.3", static={"N": 4}).report.verification
    assert verification is not None
    sizes = [(case.sizes["B"], case.sizes["N"]) for case in verification.cases]
    assert len({b for b, _ in sizes}) == 3 and {n for _, n in sizes} == {4}


def test_no_size_helps_where_numbers_decide() -> None:
    model = proto("""<ir_version: 8, opset_import: ["" : 13]>
    g (float[N] x, bool c) => (float[A] y) {
        s = Shape (x) z = ConstantOfShape <value = bool[1] {1}> (s) all = And (z, c)
        k = Constant <value = int64 {0}> () one = Gather (all, k)
        y = If (one) <then_branch = t () => (float[a] a) { a = Neg (x) },
            else_branch = e () => (float[b, d] b) { w = Constant <value = int64[1] {0}> ()
                b = Unsqueeze (x, w) }>
    }""")
    (refused,) = onnx_fix.fix(model, target="trt-7.2", verify=False).report.refused
    assert refused.op == "If" and "--static" not in refused.hint


def test_a_second_time_nothing_is_left_to_do() -> None:
    model = proto(TWICE.replace("float[B, ] w", "float[B] w"))
    once = onnx_fix.fix(model, target="trt-10.3", static={"x:0": 2}).model
    again = onnx_fix.fix(once, target="trt-10.3", static={"x:0": 2})
    assert again.unchanged


def test_with_a_frozen_input() -> None:
    model = proto("""<ir_version: 8, opset_import: ["" : 13]>
    g (float[N] x, float[N] b) => (float[N] y) { y = Add (x, b) }""")
    result = onnx_fix.fix(model, target="trt-10.3", static={"N": 2}, freeze={"b": [1.0, 2.0]})
    assert [v.name for v in result.model.graph.input] == ["x"]
    assert shape(result.model, "x") == [2]


def test_by_the_command_line_and_a_pipeline_file(tmp_path: Path) -> None:
    model, fixed = tmp_path / "model.onnx", tmp_path / "fixed.onnx"
    onnx.save(proto(TWICE.replace("float[B, ] w", "float[B] w")), model)
    run = CliRunner().invoke
    base = [str(model), "-o", str(fixed), "--target", "trt-10.3"]
    made = run(app, [*base, "--static", "B=1", "--static", "x:1=4"])
    assert made.exit_code == 0, made.output
    assert "changes the contract  dim B is 1; dim N is 4" in made.output
    assert "B=1 N=4" in made.output
    wrong = run(app, [*base, "--force", "--static", "batch=1"])
    assert wrong.exit_code == 2 and "no dim 'batch'" in wrong.output
    config = tmp_path / "pipeline.yaml"
    config.write_text("version: 1\npasses:\n- pass: freeze-dims\n  options: {static: {B: 7}}\n")
    made = run(app, [*base, "--force", "-c", str(config)])
    assert made.exit_code == 0 and shape(onnx.load(fixed), "x") == [7, "N", 3]
