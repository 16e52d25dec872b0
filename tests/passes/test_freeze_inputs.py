"""freeze-inputs: inputs that the user gives values for, in the model, the report, the check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import ModelProto
from typer.testing import CliRunner

import onnx_fix
from onnx_fix.check import check
from onnx_fix.cli import app
from onnx_fix.contract import Exactness, ModelPass, Transformed
from onnx_fix.engine import Engine, Step
from onnx_fix.errors import InternalError, PipelineError, UsageError
from onnx_fix.freezing import parse_freezes, resolve
from onnx_fix.model import Model
from onnx_fix.pipeline import parse_pipeline
from onnx_fix.target import load_target
from onnx_fix.testing import ops, run_model, run_pass
from onnx_fix_passes.freeze_inputs import FreezeInputs

SLICE = """<ir_version: 8, opset_import: ["" : 13]>
g (float[N, 7] x, int64[1] from, int64[1] to, int64[1] axes) => (float[A, B] y) {
    y = Slice (x, from, to, axes) }"""
SHARED = """<ir_version: 8, opset_import: ["" : 13]>
g (float[N] x, float[N] b, int64[M] unused) => (float[N] y) { y = Add (x, b) }"""


def proto(text: str) -> ModelProto:
    return onnx.parser.parse_model(text)


def of_type(kind: str, shape: str) -> ModelProto:
    return proto(
        f'<ir_version: 8, opset_import: ["" : 13]> g ({kind}{shape} x) => ({kind}{shape} y) '
        "{ y = Identity (x) }"
    )


# -- the model -------------------------------------------------------------------------------------


def test_an_input_becomes_a_constant() -> None:
    model = proto(SLICE)
    result = onnx_fix.fix(model, target="trt-7.2", freeze={"axes": [1], "to": np.array([5])})
    assert [v.name for v in result.model.graph.input] == ["x", "from"]
    assert result.ok and result.report.verification is not None
    assert result.report.verification.status == "equal"
    changes = [c for c in result.report.changes if c.pass_name == "freeze-inputs"]
    assert [c.old[0] for c in changes] == [
        "input 'axes' is no more; it is the constant INT64[1] [1]",
        "input 'to' is no more; it is the constant INT64[1] [5]",
    ]
    assert {c.exactness for c in changes} == {Exactness.CONTRACT}
    said = result.report.to_dict()["changes"]
    assert said[0]["what"] == changes[0].old[0] and said[0]["exactness"] == "changes the contract"
    feed: dict[str, Any] = {"x": np.arange(21, dtype=np.float32).reshape(3, 7)}
    (have,) = run_model(result.model, {**feed, "from": np.array([2])})
    np.testing.assert_array_equal(have, feed["x"][:, 2:5])


def test_nothing_happens_by_itself() -> None:
    fixed, results = run_pass(FreezeInputs(), SLICE)
    assert fixed == proto(SLICE) and not any(r.changes for r in results)


def test_a_symbol_has_the_size_of_the_value() -> None:
    value = np.arange(3, dtype=np.float32)
    result = onnx_fix.fix(proto(SHARED), target="trt-7.2", freeze={"b": value})
    (x, _) = result.model.graph.input
    assert [d.dim_value for d in x.type.tensor_type.shape.dim] == [3]
    (y,) = result.model.graph.output
    assert [d.dim_value for d in y.type.tensor_type.shape.dim] == [3]
    assert result.report.verification is not None
    assert result.report.verification.status == "equal"
    assert all("N" not in case.sizes for case in result.report.verification.cases)


def test_an_initializer_that_a_caller_may_feed() -> None:
    model = proto(SHARED)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(3, np.float32), "b"))
    fixed, _ = run_pass(FreezeInputs(freeze={"b": [4, 5, 6]}), model)
    assert [t.name for t in fixed.graph.initializer] == ["b"]
    (have,) = run_model(fixed, {"x": np.zeros(3, np.float32), "unused": np.zeros(2, np.int64)})
    assert have.tolist() == [4, 5, 6]


def test_an_input_that_a_body_reads() -> None:
    model = proto("""<ir_version: 8, opset_import: ["" : 13]>
        g (bool c, float[N] x, int64[1] axes) => (float[A] y) {
            y = If (c) <then_branch = t () => (float[A] a) {
                a = ReduceSum <keepdims = 0> (x, axes) },
                        else_branch = e () => (float[A] b) { b = Identity (x) }> }""")
    result = onnx_fix.fix(model, target="trt-8.6", freeze={"axes": 0})
    assert [v.name for v in result.model.graph.input] == ["c", "x"]
    assert result.report.verification is not None
    assert result.report.verification.status == "equal"


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "bool", "uint8", "double"])
def test_types(kind: str) -> None:
    values = {"bool": [True, False]}.get(kind, [1, 2])
    model = of_type(kind, "[2]")
    (array,) = resolve(model, {"x": values}).values()
    fixed, _ = run_pass(FreezeInputs(freeze={"x": values}), model)
    assert not fixed.graph.input
    tensor = fixed.graph.initializer[0]
    assert tensor.data_type == model.graph.input[0].type.tensor_type.elem_type
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), array)


def test_the_comparison_holds_the_value() -> None:
    """The comparison feeds the value to what was made before the input went, too."""
    from onnx_fix.verify import verify

    model = proto(SLICE)
    held = {"axes": np.array([1]), "to": np.array([5])}
    fixed, _ = run_pass(FreezeInputs(freeze=held), model)
    assert verify(model, fixed, frozen=held).status == "equal"
    assert verify(model, model, frozen=held).status == "equal"
    other, _ = run_pass(FreezeInputs(freeze={**held, "to": [4]}), model)
    assert verify(model, other, frozen=held).status == "differs"
    assert verify(model, fixed).status == "differs"


def test_feeds_of_the_user(tmp_path: Path) -> None:
    feeds = {"x": np.ones((2, 7), np.float32), "from": np.array([0]), "to": np.array([3])}
    np.savez(tmp_path / "a.npz", **feeds)  # type: ignore[arg-type]
    result = onnx_fix.fix(proto(SLICE), target="trt-7.2", freeze={"axes": 1}, inputs=tmp_path)
    assert result.report.verification is not None
    assert result.report.verification.status == "equal"
    np.savez(tmp_path / "b.npz", **feeds, axes=np.array([0]))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="input 'axes' has not the value it is frozen to"):
        onnx_fix.fix(proto(SLICE), target="trt-7.2", freeze={"axes": 1}, inputs=tmp_path)


# -- values ----------------------------------------------------------------------------------------


def test_values_on_the_command_line() -> None:
    given = ["a=[[1,2],[3,4]]", "b=2.5", "c=true", "d=-inf", "e=x=@f/w.npy", "m=[]", "s=(1,2)"]
    assert parse_freezes(given) == {
        "a": [[1, 2], [3, 4]],
        "b": 2.5,
        "c": True,
        "d": float("-inf"),
        "e=x": "@f/w.npy",
        "m": [],
        "s": (1, 2),
    }
    assert parse_freezes(["k=True"]) == {"k": True}
    for wrong in ("k", "=3", "k=", "k=abc", "k={}", "k='a'", "k=[1"):
        with pytest.raises(UsageError):
            parse_freezes([wrong])
    with pytest.raises(UsageError, match="twice"):
        parse_freezes(["k=1", "k=2"])


@pytest.mark.parametrize(
    ("kind", "shape", "value", "reason"),
    [
        ("int64", "[1]", 2.5, "has elements that are no INT64: 2.5"),
        ("int64", "[1]", True, "has elements that are no INT64: True"),
        ("bool", "[1]", 1, "has elements that are no BOOL: 1"),
        ("float", "[2]", ["a", "b"], "has elements that are no FLOAT"),
        ("uint8", "[1]", 300, "is out of the range of UINT8: 300"),
        ("uint8", "[1]", -1, "is out of the range of UINT8: -1"),
        ("float16", "[1]", 1e6, "is out of the range of FLOAT16"),
        ("float", "[2]", [1, [2]], "is ragged"),
        ("float", "[2]", [1, 2, 3], "has shape [3], expected float32 of shape [2]"),
        ("float", "[N, 2]", [1, 2], "has shape [2], expected float32 of shape [N, 2]"),
        ("float", "[2]", 1, "has shape [], expected float32 of shape [2]"),
        ("float", "[N]", np.zeros(2), "is float64, expected float32 of shape [N]"),
    ],
)
def test_values_that_do_not_fit(kind: str, shape: str, value: object, reason: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve(of_type(kind, shape), {"x": value})
    assert "input 'x'" in str(error.value) and reason in str(error.value)


def test_numbers_alone_and_nothing() -> None:
    assert resolve(of_type("int64", "[1, N]"), {"x": 3})["x"].shape == (1, 1)
    assert resolve(of_type("int64", ""), {"x": 3})["x"].shape == ()
    assert resolve(of_type("float", "[0, 3]"), {"x": []})["x"].shape == (0, 3)
    assert resolve(of_type("float", "[N]"), {"x": []})["x"].dtype == np.float32


def test_files(tmp_path: Path) -> None:
    model = of_type("float", "[N]")
    np.save(tmp_path / "w.npy", np.arange(4, dtype=np.float32))
    assert resolve(model, {"x": f"@{tmp_path / 'w.npy'}"})["x"].tolist() == [0, 1, 2, 3]
    np.save(tmp_path / "d.npy", np.arange(4))
    with pytest.raises(UsageError, match=r"d\.npy: the value for input 'x' is int64, expected"):
        resolve(model, {"x": f"@{tmp_path / 'd.npy'}"})
    with pytest.raises(UsageError, match="cannot be read as a numpy file"):
        resolve(model, {"x": f"@{tmp_path / 'none.npy'}"})
    np.savez(tmp_path / "z.npz", a=np.zeros(1))
    with pytest.raises(UsageError, match="holds several arrays"):
        resolve(model, {"x": f"@{tmp_path / 'z.npz'}"})
    np.save(tmp_path / "b.npy", np.ones(2, ml_dtypes.bfloat16))
    brain = of_type("bfloat16", "[2]")
    assert resolve(brain, {"x": f"@{tmp_path / 'b.npy'}"})["x"].dtype == ml_dtypes.bfloat16


def test_inputs_that_cannot_be_frozen() -> None:
    with pytest.raises(UsageError, match="no input 'k' to freeze; it has: x, from, to, axes"):
        onnx_fix.fix(proto(SLICE), target="trt-7.2", freeze={"k": 3})
    with pytest.raises(UsageError, match="is of strings"):
        resolve(of_type("string", "[1]"), {"x": 1})
    text = """<ir_version: 8, opset_import: ["" : 13]> g (seq(float[N]) s, int64 i) => (float[N] y)
        { y = SequenceAt (s, i) }"""
    with pytest.raises(UsageError, match="'s' is no tensor"):
        resolve(proto(text), {"s": [1.0]})
    with pytest.raises(UsageError, match="with N = 3 as in the inputs before it"):
        resolve(proto(SHARED), {"x": [1, 2, 3], "b": [1, 2]})


# -- around ----------------------------------------------------------------------------------------


def test_the_command_line(tmp_path: Path) -> None:
    path, out = tmp_path / "m.onnx", tmp_path / "f.onnx"
    onnx.save(proto(SLICE), path)

    def run(*given: object) -> Any:
        return CliRunner().invoke(app, [str(g) for g in given])

    done = run(path, "-o", out, "-t", "trt-7.2", "--freeze", "axes=[1]", "--report", tmp_path / "r")
    assert done.exit_code == 0, done.output
    assert "input 'axes' is no more" in done.output and "changes the contract" in done.output
    assert [v.name for v in onnx.load(out).graph.input] == ["x", "from", "to"]
    changes = json.loads((tmp_path / "r").read_text())["changes"]
    assert "'axes'" in changes[0]["what"]
    planned = run("plan", path, "-t", "trt-7.2", "--freeze", "axes=1")
    assert planned.exit_code == 0 and "input 'axes' is no more" in planned.output
    for wrong in ("axes", "axes=2.5", "k=3", "axes=@none.npy"):
        assert run(path, "-o", tmp_path / "g.onnx", "--freeze", wrong).exit_code == 2, wrong


def test_a_pipeline_file() -> None:
    text = "version: 1\npasses:\n- pass: freeze-inputs\n  options: {freeze: {axes: [1]}}\n"
    pipeline = parse_pipeline(text, "p.yml", Path())
    result = onnx_fix.fix(proto(SLICE), target="trt-7.2", pipeline=pipeline)
    assert [v.name for v in result.model.graph.input] == ["x", "from", "to"]
    more = onnx_fix.fix(
        proto(SLICE), target="trt-7.2", pipeline=pipeline, freeze={"to": np.array([3])}
    )
    assert [v.name for v in more.model.graph.input] == ["x", "from"]
    again = parse_pipeline(more.pipeline.to_yaml(), "p.yml", Path())
    same = onnx_fix.fix(proto(SLICE), target="trt-7.2", pipeline=again)
    assert same.model == more.model
    with pytest.raises(PipelineError, match="freeze"):
        parse_pipeline(text.replace("{axes: [1]}", "3"), "p.yml", Path())


def test_it_comes_first() -> None:
    """A TopK that is left for its K is fixed when K has a value."""
    text = """<ir_version: 8, opset_import: ["" : 13]> g (float[N] x, int64[1] k) => (float[M] v)
        { v, i = TopK <axis = 0> (x, k) }"""
    assert not onnx_fix.fix(proto(text), target="trt-7.2").ok
    result = onnx_fix.fix(proto(text), target="trt-7.2", freeze={"k": 3}, dims={"N": (3, 5, 9)})
    assert result.ok and ops(result.model) == ["TopK"]
    planned = onnx_fix.plan(proto(text), target="trt-7.2", freeze={"k": 3})
    assert planned.report.ok


def test_the_check_names_it() -> None:
    (found,) = [f for f in check(proto(SLICE), target="trt-7.2").findings if f.op == "Slice"]
    assert "`--freeze axes=...` gives the network input a constant value" in found.mend
    assert found.mended_by is None


def test_the_hint_follows_what_steers(tmp_path: Path) -> None:
    """Through arithmetic to scalars and vectors, not to an image, and into bodies."""
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[2, 7] x, int64[1] a, int64 b, int64[N, 2] image) => (float[A, B] y) {
        SUM y = Slice (x, zero, two, axes) }"""
    zero = "zero = Constant <value = int64[1] {0}> () two = Constant <value = int64[1] {2}> () "

    def hints(how: str) -> list[str]:
        report = onnx_fix.plan(proto(text.replace("SUM", zero + how)), target="trt-8.2").report
        return [b.hint for b in report.refused if b.op == "Slice"]

    both = "`--freeze a=... --freeze b=...` gives the network inputs a constant value"
    assert hints("axes = Add (a, b)") == [both]
    assert hints("s = Shape (image) axes = Gather (s, a)") == [""]
    assert hints("m = ReduceMax <axes = [0, 1], keepdims = 0> (image) axes = Reshape (m, two)") == [
        ""
    ]
    path = tmp_path / "m.onnx"
    onnx.save(proto(SLICE), path)
    out = CliRunner().invoke(app, ["plan", str(path), "-t", "trt-7.2"])
    assert "mend: `--freeze axes=...` gives the network input a constant value" in out.output


def test_the_engine_wants_an_option_for_it() -> None:
    class Takes(ModelPass):
        """Removes an input without being asked."""

        def transform(self, model: ModelProto, target: object) -> Transformed:
            return Transformed(model, ("it went",), exactness=Exactness.CONTRACT)

    model = Model(proto(SLICE), None, load_target("trt-7.2"))
    with pytest.raises(InternalError, match="no option asked for it"):
        Engine(model).run([Step(Takes())])


def test_numbers_of_a_weight_given_as_an_input() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
        g (float[N, 2, 5, 5] x, float[3, 2, 3, 3] w) => (float[N, 3, 3, 3] y) { y = Conv (x, w) }"""
    w = np.random.default_rng(1).standard_normal((3, 2, 3, 3)).astype(np.float32)
    result = onnx_fix.fix(proto(text), target="trt-7.2", freeze={"w": w})
    assert result.ok
    x = np.ones((1, 2, 5, 5), np.float32)
    (want,) = run_model(proto(text), {"x": x, "w": w})
    (have,) = run_model(result.model, {"x": x})
    np.testing.assert_array_equal(have, want)
