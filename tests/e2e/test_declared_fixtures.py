"""Exports at fixed sizes with nothing but their inputs declared dynamic: found, and freed."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from onnx_fix.cli import app
from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.unfreeze.declared import frozen

FROZEN = Path(__file__).parents[2] / "fixtures" / "frozen"
HELD = {
    "states.dynamo18": {"T": (12, 25), "B": (2, 3)},
    "superglue.legacy17": {"N": (24, 31)},
    "point_matcher.legacy17": {"n0": (24, 31), "n1": (41, 17)},
}
"""Sets, their symbols, and for each the size of the export and another."""


def declared(name: str) -> onnx.ModelProto:
    """The export ``a`` with the inputs of ``free``."""
    model = onnx.load(FROZEN / f"{name}.a.onnx")
    free = onnx.load(FROZEN / f"{name.replace('dynamo18', 'legacy17')}.free.onnx")
    dims = {v.name: v.type.tensor_type.shape for v in free.graph.input}
    for value in model.graph.input:
        value.type.tensor_type.shape.CopyFrom(dims[value.name])
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    return model


@pytest.mark.parametrize("name", HELD)
def test_the_sizes_of_the_export_are_found(name: str) -> None:
    found = frozen(Model(declared(name), None, load_target("rtx-1.7")))
    assert found is not None
    assert dict(found.at) == {symbol: sizes[0] for symbol, sizes in HELD[name].items()}


def test_by_the_command_line(tmp_path: Path) -> None:
    name = "states.dynamo18"
    model, fixed = tmp_path / "model.onnx", tmp_path / "fixed.onnx"
    onnx.save(declared(name), model)
    run = CliRunner().invoke
    said = run(app, ["check", str(model), "--target", "rtx-1.7", "--select", "OF804", "--run"])
    assert "OF804 frozen-dim" in said.output and "fails at T = 24, T = 36" in said.output
    report = tmp_path / "report.json"
    usual = [str(model), "-o", str(tmp_path / "held.onnx"), "--target", "rtx-1.7"]
    unasked = run(app, [*usual, "--report", str(report)])
    assert unasked.exit_code == 0, unasked.output
    assert "warning OF804 frozen-dim" in unasked.output and "--unfreeze" in unasked.output
    (told, *_) = json.loads(report.read_text())["left_of_the_model"]
    assert told["code"] == "OF804" and told["node"] and not told["blocks"]
    made = run(app, [str(model), "-o", str(fixed), "--target", "rtx-1.7", "--unfreeze"])
    assert made.exit_code == 0 and "OF804" not in made.output, made.output
    left = run(app, ["check", str(fixed), "--target", "rtx-1.7", "--select", "OF804"])
    assert "OF804" not in left.output
