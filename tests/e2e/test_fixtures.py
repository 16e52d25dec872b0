"""Every shipped export, fixed for every generation of targets: same numbers, fewer blockers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from by_path import benchmark, sidecars
from numpy.typing import NDArray
from onnx import ModelProto

import onnx_fix
from onnx_fix.api import reference_functions
from onnx_fix.report import Blocker

FIXTURES = Path(__file__).parents[2] / "fixtures"
NAMES = sorted(path.name.removesuffix(".onnx") for path in FIXTURES.glob("*.onnx"))
TARGETS = ("trt-7.2", "trt-8.2", "trt-8.6", "trt-10.3", "rtx-1.7")
SIZES = ("a", "b", "min")

TWINS = {
    "superpoint_dense.legacy13": "superpoint_dense.dynamo18",
    "superpoint_points.legacy17": "superpoint_points.dynamo18",
}
"""Exports that cannot run, and a runnable export of the same network with the same weights."""

FROZEN = {"superpoint_points.legacy17": {"b": {"descriptors"}, "min": {"descriptors"}}}
"""Outputs that hold at the size of the export alone, since the exporter froze the image size."""

Arrays = dict[str, NDArray[Any]]


sidecar = sidecars()
rtx = benchmark("rtx")


def path_of(name: str) -> Path:
    return FIXTURES / f"{name}.onnx"


@cache
def fixed(name: str, target: str) -> onnx_fix.FixResult:
    return onnx_fix.fix(path_of(name), target=target, verify=False)


def feeds_of(name: str, size: str) -> Arrays:
    feeds: Arrays = sidecar.make_feeds(sidecar.Sidecar.of(path_of(name)), size)
    return feeds


def opset_of(model: ModelProto) -> int:
    return next(int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx"))


def session(model: ModelProto) -> ort.InferenceSession:
    """The model in onnxruntime as it stands, with bodies for its plugin nodes."""
    runnable = ModelProto()
    runnable.CopyFrom(model)
    if any(node.domain == "trt.plugins" for node in runnable.graph.node):
        runnable.functions.extend(reference_functions(opset_of(model)))
        runnable.ir_version = max(runnable.ir_version, 8)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 2
    return ort.InferenceSession(
        runnable.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(using: ort.InferenceSession, feeds: Arrays) -> Arrays:
    names = [output.name for output in using.get_outputs()]
    return dict(zip(names, using.run(names, feeds), strict=True))


@cache
def expected(name: str, size: str) -> Arrays:
    """What the network gives at ``size``, from a source that onnx-fix has not touched."""
    source = onnx.load(path_of(TWINS.get(name, name)))
    return run(session(source), feeds_of(name, size))


def assert_close(actual: Arrays, wanted: Arrays, without: Sequence[str] = ()) -> None:
    assert actual.keys() == wanted.keys()
    for output in sorted(wanted.keys() - set(without)):
        got, want = actual[output], wanted[output]
        assert got.dtype == want.dtype, output
        assert got.shape == want.shape, output
        if want.dtype.kind == "f":
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5, err_msg=output)
        else:
            np.testing.assert_array_equal(got, want, err_msg=output)


def refused(blockers: list[Blocker]) -> Counter[str]:
    return Counter(b.op for b in blockers if b.status == "refused")


each_model = pytest.mark.parametrize("name", NAMES)
each_target = pytest.mark.parametrize("target", TARGETS)


def test_the_fixtures_are_here() -> None:
    assert len(NAMES) >= 10
    files = [path for path in FIXTURES.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 7_000_000
    assert all(Path(f"{path_of(name)}.json").is_file() for name in NAMES)


@pytest.mark.parametrize("name", sorted(TWINS))
def test_what_is_called_invalid_is(name: str) -> None:
    """The exporter's fault is still in the fixture, and nothing else was compared by mistake."""
    with pytest.raises(Exception, match="MaxPool"):
        run(session(onnx.load(path_of(name))), feeds_of(name, "a"))


@each_target
@each_model
def test_same_outputs(name: str, target: str) -> None:
    using = session(fixed(name, target).model)
    for size in SIZES:
        without = sorted(FROZEN.get(name, {}).get(size, ()))
        assert_close(run(using, feeds_of(name, size)), expected(name, size), without)


@each_target
@pytest.mark.parametrize("name", sorted(set(NAMES) - TWINS.keys()))
def test_same_values_inside(name: str, target: str) -> None:
    """Tensors that survive by name hold what they held, so that no later step hides a fault."""
    before, after = onnx.load(path_of(name)), fixed(name, target).model
    made = [{o for node in m.graph.node for o in node.output if o} for m in (before, after)]
    shared = sorted(made[0] & made[1] - {o.name for o in before.graph.output})
    assert len(shared) > 5
    first, second = (session(showing(model, shared)) for model in (before, after))
    for size in ("a", "b"):
        feeds = feeds_of(name, size)
        assert_close(run(second, feeds), run(first, feeds))


def showing(model: ModelProto, tensors: Sequence[str]) -> ModelProto:
    """A copy that gives these tensors as outputs too."""
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in tensors)
    return copy


@each_target
@each_model
def test_interface_is_kept(name: str, target: str) -> None:
    before, after = onnx.load(path_of(name)), fixed(name, target).model
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)
    assert after.graph.name == before.graph.name
    assert list(after.metadata_props) == list(before.metadata_props)
    assert list(after.graph.metadata_props) == list(before.graph.metadata_props)
    for field in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        assert getattr(after, field) == getattr(before, field)
    onnx.checker.check_model(after)


@each_target
@each_model
def test_no_new_blockers(name: str, target: str) -> None:
    report = fixed(name, target).report
    before, after = refused(report.before), refused(report.after)
    assert sum(after.values()) <= sum(before.values())
    assert after.keys() <= before.keys(), f"newly refused: {sorted(after.keys() - before.keys())}"
    was_doubtful = {b.op for b in report.before if b.status == "unknown"} | before.keys()
    now_doubtful = {b.op for b in report.after if b.status == "unknown"}
    assert now_doubtful <= was_doubtful, f"newly in doubt: {sorted(now_doubtful - was_doubtful)}"


@each_target
@each_model
def test_twice_is_once(name: str, target: str) -> None:
    once = fixed(name, target).model
    again = onnx_fix.fix(once, target=target, verify=False)
    assert [onnx_fix.report.describe(c) for c in again.report.changes] == []
    assert again.model.SerializeToString(deterministic=True) == once.SerializeToString(
        deterministic=True
    )


@pytest.mark.rtx
@pytest.mark.skipif(not rtx.available(), reason="tensorrt_rtx (the extra `rtx`) is not installed")
@each_model
def test_the_real_parser_agrees(name: str, tmp_path: Path) -> None:
    """Where nothing is left that rtx-1.7 refuses, TensorRT-RTX parses; where something is, not."""
    result = fixed(name, "rtx-1.7")
    path = tmp_path / "fixed.onnx"
    onnx.save(result.model, path)
    verdict = rtx.ask(path, timeout=60)
    assert verdict.parsed == (not result.report.refused), verdict.message
    if not verdict.parsed:
        assert verdict.op in refused(result.report.after)


@pytest.mark.rtx
@pytest.mark.skipif(not rtx.available(), reason="tensorrt_rtx (the extra `rtx`) is not installed")
@each_model
def test_the_real_builder_agrees(name: str, tmp_path: Path) -> None:
    """What rtx-1.7 takes by our report becomes an engine, over the whole profile."""
    result = fixed(name, "rtx-1.7")
    if result.report.refused:
        pytest.skip(f"still refused: {', '.join(refused(result.report.after))}")
    path = tmp_path / "fixed.onnx"
    onnx.save(result.model, path)
    profile = sidecar.Sidecar.of(path_of(name)).profile()
    verdict = rtx.ask(path, profile, build=True, timeout=300)
    assert verdict.built, verdict.message
