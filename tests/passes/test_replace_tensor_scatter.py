"""replace-tensor-scatter: updates of a cache at the place of each batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.test_case import TestCase
from recorded import assert_recorded

from onnx_fix.testing import assert_same_outputs, ops, run_pass, run_reference, skip_reasons
from onnx_fix_passes.replace_tensor_scatter import ReplaceTensorScatter

PASS = ReplaceTensorScatter()
ALWAYS = ReplaceTensorScatter(everywhere=True)


def scatter(cache: str, update: str, attributes: str, indices: bool = True) -> str:
    more, given = (", int64[B] at", ", at") if indices else ("", "")
    return f"""<ir_version: 12, opset_import: ["" : 24]>
    g (float[{cache}] cache, float[{update}] update{more}) => (float[{cache}] y) {{
      y = TensorScatter {attributes} (cache, update{given})
    }}"""


def feed(cache: tuple[int, ...], axis: int, length: int, at: list[int] | None) -> dict[str, Any]:
    random = np.random.default_rng(5)
    sizes = list(cache)
    sizes[axis] = length
    found: dict[str, Any] = {
        "cache": random.standard_normal(cache).astype(np.float32),
        "update": random.standard_normal(sizes).astype(np.float32),
    }
    if at is not None:
        found["at"] = np.array(at)
    return found


@pytest.mark.parametrize(
    ("cache", "axis", "length", "attributes"),
    [
        ((2, 3, 5, 4), -2, 2, '<mode = "circular">'),
        ((2, 3, 5, 4), 2, 5, '<mode = "circular", axis = 2>'),
        ((2, 3, 5, 4), 1, 2, '<axis = 1, mode = "circular">'),
        ((2, 5, 4), -2, 1, '<mode = "circular">'),
        ((2, 5), -1, 3, '<mode = "circular", axis = -1>'),
        ((2, 5, 4), 1, 2, "<axis = 1>"),
    ],
)
@pytest.mark.parametrize("dynamic", [True, False])
def test_places(
    cache: tuple[int, ...], axis: int, length: int, attributes: str, dynamic: bool
) -> None:
    sizes = list(cache)
    sizes[axis] = length
    texts = [", ".join(map(str, given)) for given in (cache, sizes)]
    if dynamic:
        texts = [", ".join(f"{n}{k}" for k in range(len(cache))) for n in "cu"]
    model = onnx.parser.parse_model(scatter(texts[0], texts[1], attributes))
    fixed, _ = run_pass(ALWAYS, model, target="rtx-1.7")
    assert ops(fixed)[-1] == "ScatterElements" and "TensorScatter" not in ops(fixed)
    for at in ([0, 3], [4, 2]) if "circular" in attributes else ([0, 3], [1, 0]):
        assert_same_outputs(model, fixed, feed(cache, axis, length, at), reference=True)


def test_without_indices_and_without_batches() -> None:
    model = onnx.parser.parse_model(scatter("A, 5, 4", "A, n, 4", "", indices=False))
    fixed, _ = run_pass(PASS, model, target="rtx-1.7")
    for batch in (2, 1):
        given = feed((batch, 5, 4), 1, 3, None)
        assert_same_outputs(model, fixed, given, reference=True)
    given = feed((0, 5, 4), 1, 3, None)
    assert run_reference(fixed, given)[0].shape == (0, 5, 4)


def test_refusals() -> None:
    four = scatter("B, 2, 5, 4", "B, 2, 1, 4", "")
    assert skip_reasons(PASS, four, target="rtx-1.7") == []
    first = scatter("B, 5, 4", "A, 5, 4", "<axis = 0>", indices=False)
    (reason,) = skip_reasons(PASS, first, target="rtx-1.7")
    assert "along the batch axis" in reason
    (reason,) = skip_reasons(PASS, four.replace("float[", "double["), target="trt-7.2")
    assert "does not take 'cache' for its type" in reason
    function = """<ir_version: 12, opset_import: ["" : 24, "my" : 1]>
    g (float[2, 3, 4] c, float[2, 1, 4] u, int64[2] at) => (float[2, 3, 4] y) {
      y = my.f <a = 1> (c, u, at) }
    <opset_import: ["" : 24], domain: "my"> f <a> (c, u, at) => (b) {
      b = TensorScatter <axis: int = @a> (c, u, at) }"""
    (reason,) = skip_reasons(ALWAYS, function, target="rtx-1.7")
    assert "is not known" in reason or "parameter" in reason


def test_bodies() -> None:
    text = """<ir_version: 12, opset_import: ["" : 24]>
    g (bool c, float[2, 3] x, float[2, 1] u, int64[2] at) => (float[2, 3] y) {
      y = If (c) <
        then_branch = one () => (float[2, 3] t) { t = TensorScatter <axis = 1> (x, u, at) },
        else_branch = two () => (float[2, 3] e) { e = Neg (x) }
      >
    }"""
    fixed, results = run_pass(PASS, text, target="rtx-1.7")
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch"}
    given = {**feed((2, 3), 1, 1, [2, 0]), "c": np.array(True)}
    given["x"], given["u"] = given.pop("cache"), given.pop("update")
    want = given["x"].copy()
    want[[0, 1], [2, 0]] = given["u"][:, 0]
    np.testing.assert_array_equal(run_reference(fixed, given)[0], want)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    changed, left = assert_recorded(PASS, node_cases, "rtx-1.7", "TensorScatter", reference=True)
    assert sorted(changed) == ["test_tensorscatter_3d", "test_tensorscatter_circular"]
    assert list(left.values()) == [[]]
