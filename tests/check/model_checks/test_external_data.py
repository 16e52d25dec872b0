"""Weights in other files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import ModelProto, TensorProto
from onnx.parser import parse_model

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.external_data import OUTSIDE_FOLDER, ExternalData

Run = Callable[..., list[CheckFinding]]


def external(
    location: str, length: int | None = 8, offset: int = 0, dims: tuple[int, ...] = (2,)
) -> ModelProto:
    model = parse_model(
        '<ir_version: 8, opset_import: ["" : 13]> g (float[2] x) => (float[2] y)'
        " <float[2] w = {1, 2}> { y = Add(x, w) }"
    )
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.ClearField("raw_data")
    del tensor.dims[:]
    tensor.dims.extend(dims)
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": str(offset)}
    if length is not None:
        entries["length"] = str(length)
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "w.bin").write_bytes(bytes(12))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(bytes(8))
    return tmp_path


@pytest.mark.parametrize(
    "model",
    [
        external("w.bin"),
        external("w.bin", None, 4),
        external("w.bin", 8, 4),
        external("sub/w.bin"),
        external("./w.bin"),
    ],
)
def test_data_that_is_there(run: Run, folder: Path, model: ModelProto) -> None:
    assert run(ExternalData, model, base_dir=folder) == []


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (external("no.bin"), "is not there"),
        (external("sub"), "is not there"),
        (external(""), "is not there"),
        (external("w.bin", 8, 5), "ends after 12 bytes"),
        (external("w.bin", None, 8), "ends after 12 bytes"),
        (external("w.bin", 4), "4 bytes where 8 are needed"),
        (external("w.bin", 8, 0, (3,)), "8 bytes where 12 are needed"),
    ],
)
def test_data_that_is_not(run: Run, folder: Path, model: ModelProto, why: str) -> None:
    (found,) = run(ExternalData, model, base_dir=folder)
    assert found.code is ExternalData.code and found.severity is Severity.ERROR
    assert why in found.why and found.tensor == "w"


@pytest.mark.parametrize("location", ["../w.bin", "/w.bin", "sub/../../w.bin", "C:\\w.bin"])
def test_outside_the_folder(run: Run, folder: Path, location: str) -> None:
    (found,) = run(ExternalData, external(location), "rtx-1.7", base_dir=folder)
    assert found.code is OUTSIDE_FOLDER and found.severity is Severity.ERROR
    (found,) = run(ExternalData, external(location), "trt-8.6", base_dir=folder)
    assert found.severity is Severity.UNKNOWN


def test_a_model_in_memory(run: Run) -> None:
    (found,) = run(ExternalData, external("w.bin"))
    assert found.severity is Severity.UNKNOWN and "path of the model" in found.mend


def test_many_tensors_of_one_file_are_one_finding(run: Run, folder: Path) -> None:
    model = external("no.bin")
    for k in range(20):
        tensor = model.graph.initializer.add()
        tensor.CopyFrom(model.graph.initializer[0])
        tensor.name = f"w{k}"
    (found,) = run(ExternalData, model, base_dir=folder)
    assert "'w', 'w0', 'w1', 'w2', 'w3' and 16 more" in found.why


def test_types_of_less_than_a_byte(run: Run, folder: Path) -> None:
    model = external("w.bin", 2, 0, (3,))
    model.graph.initializer[0].data_type = TensorProto.INT4
    assert run(ExternalData, model, base_dir=folder) == []
    model = external("w.bin", 3, 0, (3,))
    model.graph.initializer[0].data_type = TensorProto.INT4
    assert len(run(ExternalData, model, base_dir=folder)) == 1
