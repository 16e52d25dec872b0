"""unfreeze-shapes: sizes put back, questions, refusals, and what the user is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto
from typer.testing import CliRunner

import onnx_fix
from onnx_fix.cli import app
from onnx_fix.contract import Exactness
from onnx_fix.errors import ModelError, UsageError, VerificationError
from onnx_fix.testing import run_model
from onnx_fix.unfreeze.request import parse_assume, parse_dynamic

HEADS = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1, 24, 64] x) => (float[1, 24, 64] z)
<int64[4] split = {{1, {n}, 4, 16}}, int64[3] joined = {{1, {n}, 64}}> {{
    y = Reshape (x, split)
    t = Transpose <perm = [0, 2, 1, 3]> (y)
    r = Relu (t)
    u = Transpose <perm = [0, 2, 1, 3]> (r)
    z = Reshape (u, joined)
}}"""

POSITIONS = """<ir_version: 8, opset_import: ["" : 17]>
g (float[2, {n}, 8] x) => (float[2, {n}, 8] z)
<int64[1, {n}, 1] places = {{{places}}}> {{
    f = Cast <to = 1> (places)
    z = Add (x, f)
}}"""

LAST = """<ir_version: 8, opset_import: ["" : 17]>
g (float[{n}, 8] x) => (float[{m}, 8] z)
<int64[1] start = {{0}}, int64[1] end = {{{m}}}, int64[1] axis = {{0}}> {{
    z = Slice (x, start, end, axis)
}}"""

SCALED = """<ir_version: 8, opset_import: ["" : 17]>
g (float[{n}, 8] x) => (float[8] z)
<float count = {{{n}.0}}, int64[1] axis = {{0}}> {{
    s = ReduceSum <keepdims = 0> (x, axis)
    z = Div (s, count)
}}"""

BRANCHES = """<ir_version: 8, opset_import: ["" : 17]>
g (bool flag, float[2, {n}, 6] x) => (float[2, {n}, 6] z)
<int64[3] flat = {{2, 3, {twice}}}, int64[3] back = {{2, {n}, 6}}> {{
    z = If (flag) <then_branch = t () => (float[2, {n}, 6] a) {{
            p = Reshape (x, flat)
            q = Relu (p)
            a = Reshape (q, back)
        }}, else_branch = e () => (float[2, {n}, 6] b) {{ b = Neg (x) }}>
}}"""


def proto(text: str, **numbers: object) -> ModelProto:
    return onnx.parser.parse_model(text.format(**numbers))


def heads(n: int) -> ModelProto:
    return onnx.parser.parse_model(HEADS.format(n=n).replace("24", str(n)))


def positions(n: int) -> ModelProto:
    return proto(POSITIONS, n=n, places=", ".join(map(str, range(n))))


def saved(model: ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


def unfrozen(model: ModelProto | Path, **options: object) -> onnx_fix.api.FixResult:
    return onnx_fix.fix(model, target="rtx-1.7", **options)  # type: ignore[arg-type]


# -- one export ----------------------------------------------------------------------------------


def test_a_reshape_follows_its_input() -> None:
    result = unfrozen(heads(24), dynamic={"x:1": "n"})
    for n in (1, 5, 24, 40):
        x = np.random.default_rng(n).standard_normal((1, n, 64)).astype(np.float32)
        (got,) = run_model(result.model, {"x": x})
        np.testing.assert_array_equal(got, np.maximum(x, 0))
    # Nothing is computed at run time for it: -1 says what is meant.
    assert [n.op_type for n in result.model.graph.node].count("Shape") == 0
    (change, *_) = result.report.changes
    assert change.exactness is Exactness.CONTRACT
    out = result.model.graph.output[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in out] == [1, "n", 64]


def test_positions_are_counted_again() -> None:
    result = unfrozen(positions(24), dynamic={"x:1": "n"})
    x = np.zeros((2, 33, 8), np.float32)
    (got,) = run_model(result.model, {"x": x})
    np.testing.assert_array_equal(got[0, :, 0], np.arange(33))


@pytest.mark.parametrize("flag", [True, False])
def test_a_body_reads_sizes_from_outside(flag: bool) -> None:
    model = proto(BRANCHES, n=12, twice=24)
    result = unfrozen(model, dynamic={"x:1": "n"})
    x = np.random.default_rng(0).standard_normal((2, 20, 6)).astype(np.float32)
    (got,) = run_model(result.model, {"flag": np.asarray(flag), "x": x})
    np.testing.assert_array_equal(got, np.maximum(x, 0) if flag else -x)


def test_what_may_be_a_constant_is_asked_for() -> None:
    with pytest.raises(UsageError, match=r"end\[0\] .*may be n.* or always 24"):
        unfrozen(proto(LAST, n=24, m=24), dynamic={"x:0": "n"})


def test_the_answer_decides() -> None:
    model = proto(LAST, n=24, m=24)
    follows = unfrozen(model, dynamic={"x:0": "n"}, assume={"end[0]": "n"})
    stays = unfrozen(model, dynamic={"x:0": "n"}, assume={"constants": ""})
    x = np.random.default_rng(0).standard_normal((30, 8)).astype(np.float32)
    assert run_model(follows.model, {"x": x})[0].shape == (30, 8)
    assert run_model(stays.model, {"x": x})[0].shape == (24, 8)


def test_a_float_that_was_a_size_is_asked_for() -> None:
    model = proto(SCALED, n=24)
    with pytest.raises(UsageError, match="a number is 24, which may be a constant or n"):
        unfrozen(model, dynamic={"x:0": "n"})
    result = unfrozen(model, dynamic={"x:0": "n"}, assume={"count": "n"})
    x = np.random.default_rng(0).standard_normal((30, 8)).astype(np.float32)
    (got,) = run_model(result.model, {"x": x})
    np.testing.assert_allclose(got.astype(np.float64), x.mean(0), rtol=1e-5)


@pytest.mark.parametrize(
    ("assume", "match"),
    [
        ({"end[0]": "n + 1"}, "that was 25 at the export, not 24"),
        ({"end[0]": "m"}, "no dim is called m"),
        ({"ends[0]": "n"}, r"no number at ends\[0\]"),
        ({"end[0]": "n +"}, "is no size"),
    ],
)
def test_a_wrong_answer_is_said(assume: dict[str, str], match: str) -> None:
    model = proto(LAST, n=24, m=24)
    with pytest.raises(UsageError, match=match):
        unfrozen(model, dynamic={"x:0": "n"}, assume=assume)


def test_another_input_that_must_follow_is_named() -> None:
    model = proto(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 24, 8] x, float[1, 24, 8] y) => (float[1, 24, 8] z) {{ z = Add (x, y) }}"""
    )
    with pytest.raises(ModelError, match="--dynamic y:1=n"):
        unfrozen(model, dynamic={"x:1": "n"})
    result = unfrozen(model, dynamic={"x:1": "n", "y:1": "n"})
    x = np.ones((1, 3, 8), np.float32)
    np.testing.assert_array_equal(run_model(result.model, {"x": x, "y": x})[0], 2 * x)


def test_weights_that_hold_the_size_are_named() -> None:
    model = heads(24)
    table = np.random.default_rng(0).standard_normal((1, 24, 64)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(table, "learned"))
    model.graph.node.append(onnx.helper.make_node("Add", ["z", "learned"], ["w"]))
    model.graph.output[0].name = "w"
    with pytest.raises(ModelError, match="'learned'"):
        unfrozen(model, dynamic={"x:1": "n"})


def test_two_symbols_that_meet_are_refused() -> None:
    model = proto(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[24, 8] x, float[24, 8] y) => (float[24, 8] z) {{ z = Add (x, y) }}"""
    )
    with pytest.raises(ModelError, match=r"needs [nm] and [nm] to be equal"):
        unfrozen(model, dynamic={"x:0": "n", "y:0": "m"})


@pytest.mark.parametrize(
    ("dynamic", "match"),
    [
        ({"z:0": "n"}, "no input 'z'"),
        ({"x:3": "n"}, "no axis 3"),
        ({"x:1": "n 0"}, "cannot name a dim"),
        ({"x:0": "n"}, "was 1 at the export"),
        ({"x:1": "n", "x:2": "n"}, "cannot both be n"),
    ],
)
def test_a_wrong_request_is_said(dynamic: dict[str, str], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        unfrozen(heads(24), dynamic=dynamic)


# -- several exports -----------------------------------------------------------------------------


def test_another_export_answers(tmp_path: Path) -> None:
    first = saved(proto(SCALED, n=24), tmp_path / "a.onnx")
    second = saved(proto(SCALED, n=31), tmp_path / "b.onnx")
    result = unfrozen(first, dynamic={"x:0": "n"}, also=[second])
    x = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    (got,) = run_model(result.model, {"x": x})
    np.testing.assert_allclose(got.astype(np.float64), x.mean(0), rtol=1e-5)
    verification = result.report.verification
    assert verification is not None and verification.status == "equal"
    assert {case.label.split(":")[0] for case in verification.cases} > {"b.onnx"}
    trials = result.report.trials
    assert trials is not None and trials.status == "equal"
    assert all(case.sizes["n"] not in (24, 31) for case in trials.cases)


def test_what_stays_the_same_is_a_constant(tmp_path: Path) -> None:
    first = saved(proto(LAST, n=24, m=24), tmp_path / "a.onnx")
    other = saved(proto(LAST, n=40, m=24), tmp_path / "b.onnx")
    result = unfrozen(first, dynamic={"x:0": "n"}, also=[other])
    x = np.zeros((30, 8), np.float32)
    assert run_model(result.model, {"x": x})[0].shape == (24, 8)


def test_floor_and_ceiling_are_told_apart_or_asked_for(tmp_path: Path) -> None:
    def halved(n: int, m: int) -> ModelProto:
        return proto(LAST, n=n, m=m)

    first = saved(halved(24, 12), tmp_path / "a.onnx")
    even = saved(halved(32, 16), tmp_path / "b.onnx")
    odd = saved(halved(31, 16), tmp_path / "c.onnx")
    with pytest.raises(UsageError, match=r"n//2"):
        unfrozen(first, dynamic={"x:0": "n"}, also=[even])
    result = unfrozen(first, dynamic={"x:0": "n"}, also=[even, odd], assume={"end[0]": "-(-n//2)"})
    x = np.zeros((9, 8), np.float32)
    assert run_model(result.model, {"x": x})[0].shape == (5, 8)


def test_exports_of_other_networks_are_refused(tmp_path: Path) -> None:
    other = saved(positions(31), tmp_path / "b.onnx")
    with pytest.raises((ModelError, UsageError)):
        unfrozen(heads(24), dynamic={"x:1": "n"}, also=[other])


def test_exports_at_one_size_show_nothing(tmp_path: Path) -> None:
    other = saved(heads(24), tmp_path / "b.onnx")
    with pytest.raises(UsageError, match="in every export"):
        unfrozen(heads(24), dynamic={"x:1": "n"}, also=[other])


def test_another_export_with_other_weights_differs(tmp_path: Path) -> None:
    def scaled(n: int, by: float) -> ModelProto:
        model = heads(n)
        weight = np.full((64,), by, np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
        model.graph.node.append(onnx.helper.make_node("Mul", ["z", "w"], ["s"]))
        model.graph.output[0].name = "s"
        return model

    other = saved(scaled(31, 3.0), tmp_path / "b.onnx")
    with pytest.raises((ModelError, UsageError, VerificationError)):
        unfrozen(scaled(24, 2.0), dynamic={"x:1": "n"}, also=[other])


# -- command line --------------------------------------------------------------------------------


def test_the_command_writes_it_and_tells(tmp_path: Path) -> None:
    first = saved(proto(SCALED, n=24), tmp_path / "a.onnx")
    second = saved(proto(SCALED, n=31), tmp_path / "b.onnx")
    out, report = tmp_path / "out.onnx", tmp_path / "report.json"
    command = [str(first), "-o", str(out), "--target", "rtx-1.7", "--report", str(report)]
    asked = CliRunner().invoke(app, [*command, "--dynamic", "x:0=n"])
    assert asked.exit_code == 2 and not out.exists()
    done = CliRunner().invoke(app, [*command, "--dynamic", "x:0=n", "--also", str(second)])
    assert done.exit_code == 0, done.output
    assert "other sizes: runs at n=" in done.output
    told = json.loads(report.read_text())
    assert told["trials"]["cases"] and told["changes"][0]["exactness"] == "changes the contract"


def test_the_pipeline_file_says_it_too(tmp_path: Path) -> None:
    first = saved(heads(24), tmp_path / "a.onnx")
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text(
        "version: 1\npasses:\n  - pass: unfreeze-shapes\n    options: {dynamic: {'x:1': n}}\n"
    )
    result = onnx_fix.fix(first, target="rtx-1.7", pipeline=pipeline)
    assert result.model.graph.input[0].type.tensor_type.shape.dim[1].dim_param == "n"


def test_texts_are_taken_apart() -> None:
    assert parse_dynamic(["a:b:1=n", "x:-1=m"]) == {"a:b:1": "n", "x:-1": "m"}
    assert parse_assume(["v[0]=n + 1", "constants"]) == {"v[0]": "n + 1", "constants": ""}
    for text in ("x=n", "x:1", "x:a=n", "=n"):
        with pytest.raises(UsageError, match="INPUT:AXIS=SYMBOL"):
            parse_dynamic([text])
    with pytest.raises(UsageError, match="twice"):
        parse_dynamic(["x:1=n", "x:1=m"])
    with pytest.raises(UsageError, match="PLACE=SIZE"):
        parse_assume(["v[0]"])


def test_before_ir_version_4_constants_are_nodes() -> None:
    model = positions(24)
    model.ir_version = 3
    for tensor in model.graph.initializer:
        value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.append(value)
    result = unfrozen(model, dynamic={"x:1": "n"})
    assert [value.name for value in result.model.graph.input] == ["x"]
    onnx.checker.check_model(result.model)
    (got,) = run_model(result.model, {"x": np.zeros((2, 33, 8), np.float32)})
    np.testing.assert_array_equal(got[0, :, 0], np.arange(33))
