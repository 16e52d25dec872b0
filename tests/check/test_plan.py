"""What is foretold of the planner's passes together is what the fix then does."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import ModelProto

from onnx_fix import fix
from onnx_fix.check import check, plan
from onnx_fix.check.finding import CheckFinding
from onnx_fix.testing import as_proto

FIXTURES = Path(__file__).parents[2] / "fixtures"

AXES = """<ir_version: 10, opset_import: ["" : 18]>
g (float[N, 4] x) => (float[N, 1, 1] y) <int64[1] a = {1}, int64[1] b = {2}> {
    [norm] n = ReduceL2 (x, a)
    [view] y = Unsqueeze (n, b)
}"""


def named(model: ModelProto | str, target: str) -> list[CheckFinding]:
    return [f for f in check(as_proto(model), target=target).findings if f.mended_by]


def test_what_only_an_older_operator_set_clears_is_said() -> None:
    found = {f.node: f.mended_by for f in named(AXES, "trt-7.2")}
    assert found == {"norm": "lower-opset", "view": "lower-opset"}
    assert fix(as_proto(AXES), target="trt-7.2").ok


def test_a_model_that_cannot_be_lowered_is_promised_nothing() -> None:
    text = AXES.replace(": 18", ": 20").replace("float[N, 4] x", "float[N, 4] x, uint8[K] k")
    text = text.replace("(float[N, 1, 1] y)", "(float[N, 1, 1] y, uint8[H, W, 3] z)")
    text = text.replace("[view]", "[file] z = ImageDecoder (k) [view]")
    result = check(as_proto(text), target="trt-7.2")
    blocking = {f.node: f.mended_by for f in result.findings if f.blocks}
    assert blocking.keys() == {"norm", "file", "view"}
    assert set(blocking.values()) == {None}
    assert not fix(as_proto(text), target="trt-7.2", verify=False).ok


def test_a_node_that_stays_refused_is_promised_nothing() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18]>
    g (float[N, 4] x) => (float[N, 1] y, float[M, 4] u) <int64[1] a = {1}> {
        [norm] y = ReduceL2 (x, a)
        [unique] u = Unique <axis = 0> (x)
    }"""
    found = {f.node: f.mended_by for f in check(as_proto(text), target="trt-7.2").findings}
    assert found["norm"] == "lower-opset" and found["unique"] is None


def test_a_large_model_is_not_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MOST_NODES", 1)
    assert named(AXES, "trt-7.2") == []
    mends = [f.mend for f in check(as_proto(AXES), target="trt-7.2").findings if f.blocks]
    assert any("`onnx-fix plan" in mend for mend in mends)


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.2", "trt-8.6", "trt-10.3"])
@pytest.mark.parametrize("name", sorted(p.stem for p in FIXTURES.glob("*.onnx")))
def test_what_is_promised_of_real_models_is_kept(name: str, target: str) -> None:
    path = FIXTURES / f"{name}.onnx"
    said = check(path, target=target)
    result = fix(path, target=target, verify=False)
    left = {(b.scope, b.node) for b in result.report.after}
    promised = {(f.scope, f.node) for f in said.findings if f.mended_by == "lower-opset"}
    assert not promised & left
    if not left and not result.report.whole:
        assert all(f.mended_by for f in said.findings if f.blocks and f.code.code < "OF8")


def test_no_promise_over_the_node_tests_is_broken(node_models: dict[str, ModelProto]) -> None:
    promised = 0
    for name, proto in node_models.items():
        found = [f for f in named(proto, "trt-7.2") if f.mended_by == "lower-opset"]
        if not found:
            continue
        promised += 1
        after = check(fix(proto, target="trt-7.2", verify=False).model, target="trt-7.2")
        nodes = {(f.scope, f.node) for f in found}
        assert not [f for f in after.findings if f.blocks and (f.scope, f.node) in nodes], name
    assert promised > 100
