"""unname-dims: names of dims that are none, in what is assumed, in the model and in the engine."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto
from typer.testing import CliRunner

import onnx_fix
from onnx_fix.check import check
from onnx_fix.cli import app
from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.verify.symbols import symbols


def model(*names: str) -> ModelProto:
    """An image of three channels whose dims are called so, and its negative."""
    dims = ", ".join(f"d{k}" for k in range(len(names)))
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 13]> g (float[{dims}] x) => (float[{dims}] y) '
        "{ y = Neg (x) }"
    )
    for value in (proto.graph.input[0], proto.graph.output[0]):
        for dim, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
            dim.dim_param = name
    return proto


def names(proto: ModelProto) -> list[str]:
    return [d.dim_param for d in proto.graph.input[0].type.tensor_type.shape.dim]


@pytest.mark.parametrize("name", ["?", "None", "*", "-1"])
@pytest.mark.parametrize("target", ["trt-8.5", "trt-10.3", "rtx-1.7"])
def test_the_name_goes(name: str, target: str) -> None:
    before = model("N", name, name)
    result = onnx_fix.fix(before, target=target)
    assert names(result.model) == ["N", "", ""] and names(before) == ["N", name, name]
    (change,) = result.report.changes
    assert change.old[0] == f"x:1, x:2: no longer called '{name}'"
    verification = result.report.verification
    assert verification is not None and verification.status == "equal"
    assert any(case.sizes["x[1]"] != case.sizes["x[2]"] for case in verification.cases)
    assert onnx_fix.fix(result.model, target=target).unchanged


@pytest.mark.parametrize(
    ("target", "dims"),
    [
        ("trt-8.4", ("N", "?", "?")),
        ("trt-7.2", ("N", "?", "?")),
        ("trt-10.3", ("N", "H", "H")),
        ("trt-10.3", ("N", "?", "W")),
    ],
)
def test_what_is_left_alone(target: str, dims: tuple[str, ...]) -> None:
    assert onnx_fix.fix(model(*dims), target=target).unchanged


def test_dims_of_that_name_are_not_taken_as_equal() -> None:
    proto = model("N", "?", "?")
    assert list(symbols(proto)) == ["N", "x[1]", "x[2]"]
    scope = Model(proto, None, load_target("trt-7.2")).main
    assert scope.shape(scope.graph.outputs[0]) == ("N", None, None)


def test_check_tells_of_it() -> None:
    found = check(model("N", "?", "?"), target="trt-10.3").findings
    (finding,) = [f for f in found if f.code.code == "OF818"]
    assert "'x:1', 'x:2' are all called '?'" in finding.why
    assert finding.mended_by == "unname-dims"
    for proto, target in ((model("N", "?", "W"), "trt-10.3"), (model("N", "?", "?"), "trt-8.4")):
        assert all(f.code.code != "OF818" for f in check(proto, target=target).findings)


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="the extra rtx is not installed")
def test_the_builder_wants_one_size_of_them(tmp_path: Path) -> None:
    before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
    onnx.save(model("N", "?", "?"), before)
    run = CliRunner().invoke
    made = run(app, [str(before), "-o", str(after), "--target", "rtx-1.7"])
    assert made.exit_code == 0, made.output
    asked = ["-t", "auto", "--compute-capability", "8.6", "-p", "x=1x48x96:1x48x192:1x48x192"]
    refused = run(app, ["build", str(before), "-o", str(tmp_path / "a.plan"), *asked])
    assert refused.exit_code == 1 and "Input dimensions with this name" in refused.output
    built = run(app, ["build", str(after), "-o", str(tmp_path / "b.plan"), *asked])
    assert built.exit_code == 0, built.output
