"""Engines of the real TensorRT-RTX, built ahead of time: no GPU is needed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shlex
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import pytest

from onnx_fix.api import fix
from onnx_fix.building import BuildSettings, Progress, build
from onnx_fix.errors import ModelError, UsageError
from onnx_fix.profiles import Profile, profile_of
from onnx_fix.save import save

pytestmark = [
    pytest.mark.rtx,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None,
        reason="tensorrt_rtx is not installed (extra `rtx`)",
    ),
]

HEAD = '<ir_version: 8, opset_import: ["" : 17]> '
TINY = "g (float[N,4] x) => (float[N,4] y) { t = Relu(x) y = Softmax(t) }"


def write(tmp_path: Path, text: str = TINY, name: str = "m.onnx") -> Path:
    path = tmp_path / name
    onnx.save(onnx.parser.parse_model(HEAD + text), path)
    return path


def profiles(path: Path, *dims: dict[str, tuple[int, int, int]]) -> list[Profile]:
    return [profile_of(onnx.load(path, load_external_data=False), one) for one in dims]


def left(tmp_path: Path) -> set[str]:
    return set(os.listdir(tmp_path))


def valid(engine: Path) -> bool:
    """Whether TensorRT-RTX takes the file for an engine, as far as can be told without a GPU."""
    import tensorrt_rtx as trt

    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    _, diagnostics = runtime.get_engine_validity(engine.read_bytes())
    return not diagnostics & int(trt.EngineInvalidityDiagnostics.MALFORMED_ENGINE)


def test_a_dynamic_model_becomes_an_engine(tmp_path: Path) -> None:
    model = write(tmp_path)
    before = model.read_bytes()
    told: list[Progress] = []
    result = build(
        model,
        tmp_path / "e.plan",
        target="rtx-1.7",
        profiles=profiles(model, {"N": (1, 4, 8)}, {"N": (8, 16, 32)}),
        settings=BuildSettings(compute_capabilities=("8.6", "8.9"), workspace=2**28),
        progress=told.append,
    )
    assert result.ok and result.exit_code == 0 and result.status == "built"
    assert left(tmp_path) == {"m.onnx", "e.plan", "e.plan.json"}
    assert model.read_bytes() == before
    engine = tmp_path / "e.plan"
    data = engine.read_bytes()
    assert len(data) == result.engine_bytes > 1000
    assert result.peak_bytes > 10 * 2**20
    record = json.loads((tmp_path / "e.plan.json").read_text())
    assert record == result.to_dict()
    assert record["model"]["sha256"] == hashlib.sha256(before).hexdigest()
    assert record["engine"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert record["builder"]["package"] == "tensorrt_rtx"
    assert record["builder"]["version"].startswith("1.7")
    assert record["target"] == "rtx-1.7"
    assert [p[0]["max"] for p in record["profiles"]] == [[8, 4], [32, 4]]
    assert record["precision"] == {"asked": "as-is", "built": "as-is"}
    assert "--profile x=1x4:4x4:8x4 --profile x=8x4:16x4:32x4" in shlex.join(record["command"])
    assert any(p.depth == 0 and p.done and p.step == p.steps for p in told)
    assert {p.depth for p in told} >= {0, 1}


def test_the_file_is_an_engine(tmp_path: Path) -> None:
    model = write(tmp_path)
    build(model, tmp_path / "e.plan", profiles=profiles(model, {"N": (1, 4, 8)}))
    assert valid(tmp_path / "e.plan")
    (tmp_path / "no.plan").write_bytes(b"no engine" * 100)
    assert not valid(tmp_path / "no.plan")


def test_a_static_model_needs_no_profile(tmp_path: Path) -> None:
    model = write(tmp_path, "g (float[3] x) => (float[3] y) { y = Exp(x) }")
    assert build(model, tmp_path / "e.plan").ok


def test_the_values_of_a_shape_tensor(tmp_path: Path) -> None:
    model = write(tmp_path, "g (float[1] x, int64[1] s) => (float[M] y) { y = Expand(x, s) }")
    proto = onnx.load(model)
    suited = profile_of(proto, {}, values={"s": ((1,), (4,), (8,))})
    assert build(model, tmp_path / "e.plan", profiles=[suited]).ok
    with pytest.raises(UsageError, match="values of s"):
        build(model, tmp_path / "f.plan")


def test_external_data_are_hashed(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(HEAD + "g (float[N,4] x) => (float[N,4] y) { y = Mul(x, w) }")
    weights = np.arange(4, dtype=np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    onnx.save(
        proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    model = tmp_path / "m.onnx"
    result = build(model, tmp_path / "e.plan", profiles=profiles(model, {"N": (1, 4, 8)}))
    digest = hashlib.sha256((tmp_path / "w.bin").read_bytes()).hexdigest()
    assert result.external_sha256 == {"w.bin": digest}
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelError, match=r"w\.bin"):
        build(model, tmp_path / "f.plan", profiles=profiles(model, {"N": (1, 4, 8)}))


@pytest.mark.parametrize(
    ("text", "dims", "words", "exit_code"),
    [
        ("g (float[N] x) => (float[N] y) { y = Nowhere(x) }", {}, "no importer", 1),
        (
            "g (float[N] x) => (float[N] y) <float[3] w = {1,2,3}> { y = Add(x, w) }",
            {},
            "do not broadcast",
            1,
        ),
        (
            "g (float[N,4] x) => (float[3,M] y) <int64[2] s = {3,-1}> { y = Reshape(x, s) }",
            {"N": (4, 5, 7)},
            "does not work out",
            1,
        ),
    ],
)
def test_a_refusal_is_explained_and_leaves_nothing(
    tmp_path: Path, text: str, dims: dict[str, Any], words: str, exit_code: int
) -> None:
    model = write(tmp_path, text)
    suited = profiles(model, dims or {"N": (4, 5, 6)})
    result = build(model, tmp_path / "e.plan", profiles=suited)
    assert (result.status, result.exit_code) == ("refused", exit_code)
    assert words in json.dumps(result.to_dict()["explanations"])
    assert any("sizes do not fit" in n for n in result.notes) == (words != "no importer")
    assert result.to_dict()["engine"] is None
    assert left(tmp_path) == {"m.onnx"}


def test_a_profile_that_cannot_run_is_warned_of(tmp_path: Path) -> None:
    model = write(
        tmp_path,
        "g (float[1,1,H,8] x, float[1,1,5,5] w) => (float[1,1,A,4] y) { y = Conv(x, w) }",
    )
    result = build(model, tmp_path / "e.plan", profiles=profiles(model, {"H": (2, 8, 16)}))
    assert result.ok
    assert [e.severity for e in result.explanations] == ["warning"]
    assert "kMIN" in result.explanations[0].found


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_precision_that_it_has_no_flag_for_is_not_ignored(tmp_path: Path, precision: Any) -> None:
    model = write(tmp_path)
    suited = profiles(model, {"N": (1, 4, 8)})
    settings = BuildSettings(precision=precision)
    result = build(model, tmp_path / "e.plan", profiles=suited, settings=settings)
    assert (result.status, result.exit_code) == ("unsupported", 2)
    assert "Convert the model itself" in result.last.detail
    assert len(result.attempts) == 1
    assert left(tmp_path) == {"m.onnx"}


def test_fp32_of_a_half_precision_model_is_not_ignored_either(tmp_path: Path) -> None:
    half = write(tmp_path, "g (float16[3] x) => (float16[3] y) { y = Exp(x) }", "half.onnx")
    single = write(tmp_path, "g (float[3] x) => (float[3] y) { y = Exp(x) }")
    settings = BuildSettings(precision="fp32")
    result = build(half, tmp_path / "h.plan", settings=settings)
    assert result.status == "unsupported" and "16-bit" in result.last.detail
    assert build(single, tmp_path / "s.plan", settings=settings).ok
    assert build(half, tmp_path / "h.plan").ok


def test_a_gpu_that_it_does_not_build_for(tmp_path: Path) -> None:
    model = write(tmp_path)
    settings = BuildSettings(compute_capabilities=("9.0",))
    result = build(
        model, tmp_path / "e.plan", profiles=profiles(model, {"N": (1, 2, 3)}), settings=settings
    )
    assert result.status == "unsupported" and "8.6" in result.last.detail


def test_a_timing_cache_is_said_to_do_nothing(tmp_path: Path) -> None:
    model = write(tmp_path)
    result = build(
        model,
        tmp_path / "e.plan",
        profiles=profiles(model, {"N": (1, 2, 3)}),
        settings=BuildSettings(timing_cache=tmp_path / "cache", optimization_level=1),
    )
    assert result.ok and "no timing cache" in result.last.notes[0]
    assert not (tmp_path / "cache").exists()


def test_the_profile_must_suit_the_model(tmp_path: Path) -> None:
    model = write(tmp_path, "g (float[N,M] x, float[M,K] y) => (float[N,K] z) { z = MatMul(x,y) }")
    with pytest.raises(UsageError, match=r"N.*M.*K"):
        build(model, tmp_path / "e.plan")
    other = write(tmp_path, TINY, "other.onnx")
    with pytest.raises(UsageError):
        build(model, tmp_path / "e.plan", profiles=profiles(other, {"N": (1, 2, 3)}))


def test_an_engine_is_built_by_its_own_release(tmp_path: Path) -> None:
    model = write(tmp_path)
    with pytest.raises(UsageError, match=r"trt-8\.6 is built by that very release.*RTX 1\.7"):
        build(model, tmp_path / "e.plan", target="trt-8.6")


def test_a_limit_of_time_or_memory_is_held(tmp_path: Path) -> None:
    model = write(tmp_path)
    suited = profiles(model, {"N": (1, 4, 8)})
    for settings, status in (
        (BuildSettings(memory_limit=2**20), "out of memory"),
        (BuildSettings(time_limit=0.01), "timed out"),
    ):
        result = build(model, tmp_path / "e.plan", profiles=suited, settings=settings)
        assert (result.status, result.exit_code) == (status, 5)
        assert left(tmp_path) == {"m.onnx"}


def test_a_model_that_changes_meanwhile_is_told(tmp_path: Path) -> None:
    model = write(tmp_path)
    changed = threading.Event()

    def change(_progress: Progress) -> None:
        if not changed.is_set():
            changed.set()
            model.write_bytes(model.read_bytes() + b"\n\0")

    with pytest.raises(ModelError, match="changed while"):
        build(
            model, tmp_path / "e.plan", profiles=profiles(model, {"N": (1, 2, 3)}), progress=change
        )
    assert left(tmp_path) == {"m.onnx"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["superpoint_dense.dynamo18", "superglue_match.legacy13", "lightglue_match.dynamo18"],
)
def test_the_matching_models_become_engines(tmp_path: Path, fixtures: Path, name: str) -> None:
    source = fixtures / f"{name}.onnx"
    sidecar = json.loads((fixtures / f"{name}.onnx.json").read_text())
    dims = {d: (r["min"], r["opt"], r["max"]) for d, r in sidecar["dims"].items()}
    fixed = fix(source, target="rtx-1.7", verify=False)
    save(fixed.model, tmp_path / "fixed.onnx", files=fixed.files, source=source)
    result = build(
        tmp_path / "fixed.onnx",
        tmp_path / "e.plan",
        profiles=[profile_of(fixed.model, dims)],
        settings=BuildSettings(compute_capabilities=("8.6", "8.9")),
    )
    assert result.ok, result.to_dict()
    assert valid(tmp_path / "e.plan")
    assert result.profiles[0].inputs[0].max != result.profiles[0].inputs[0].min
