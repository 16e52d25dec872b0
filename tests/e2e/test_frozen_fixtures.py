"""The exports at fixed sizes: static, and the same numbers as the exports with dynamic dims."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from by_path import benchmark

from onnx_fix.errors import OnnxFixError

ROOT = Path(__file__).parents[2]
FROZEN = ROOT / "fixtures" / "frozen"
FILES = sorted(path.name.removesuffix(".onnx") for path in FROZEN.glob("*.onnx"))
STATIC = [name for name in FILES if not name.endswith(".free")]
FREE = [name for name in FILES if name.endswith(".free")]
NETWORKS = {
    "anchor_grids",
    "causal_text",
    "point_matcher",
    "rotary_matcher",
    "rotary_text",
    "shifted_windows",
    "skip_unet",
    "states",
    "vit_positions",
}


BENCH = benchmark("unfreeze")


def dims_of(port: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    return tuple(d.dim_param or int(d.dim_value) for d in port.type.tensor_type.shape.dim)


def test_two_exporters_and_two_sizes_of_every_network() -> None:
    expected = {f"{n}.{e}" for n in NETWORKS for e in ("legacy17", "dynamo18")}
    expected |= {"superglue.legacy17", "lightglue.dynamo18"}
    assert {frozen.name for frozen in BENCH.sets()} == expected
    assert all(frozen.has("b") and frozen.reference.is_file() for frozen in BENCH.sets())


@pytest.mark.parametrize("name", STATIC)
def test_no_dim_is_free(name: str) -> None:
    path = FROZEN / f"{name}.onnx"
    model = onnx.load(path)
    onnx.checker.check_model(model)
    described = BENCH.sidecars.Sidecar.of(path)
    assert name.endswith(f".{described.frozen_at}")
    shapes = {port.name: dims_of(port) for port in model.graph.input}
    assert shapes == {n: described.shape(n, described.frozen_at) for n in described.inputs}


@pytest.mark.parametrize("name", FREE)
def test_the_dims_of_free_are_dynamic(name: str) -> None:
    path = FROZEN / f"{name}.onnx"
    model = onnx.load(path)
    onnx.checker.check_model(model)
    described = BENCH.sidecars.Sidecar.of(path)
    assert not described.frozen_at
    found = {
        (port.name, axis)
        for port in model.graph.input
        for axis, d in enumerate(dims_of(port))
        if isinstance(d, str)
    }
    assert found == set(described.free())


@pytest.mark.parametrize("name", STATIC)
def test_static_exports_compute_what_free_computes(name: str) -> None:
    stem, _, ending = name.rpartition(".")
    frozen = BENCH.Frozen(stem)
    ready = BENCH.session(onnx.load(frozen.path(ending)))
    found = BENCH.verdict(ready, frozen, ending)
    assert found.kind == "right", found.note
    sizes = frozen.sidecar.dims.values()
    assert ending != "same" or len({s.same for s in sizes}) == 1


@pytest.mark.parametrize("name", sorted({name.rpartition(".")[0] for name in STATIC}))
def test_the_sizes_of_a_matter(name: str) -> None:
    """With nothing but its inputs declared dynamic, ``a`` is right at ``a`` and nowhere else."""
    frozen = BENCH.Frozen(name)
    score = BENCH.score(BENCH.declared(frozen, "a"), frozen)
    assert score.verdicts["a"].kind == "right"
    assert not score.count("right", ("b", *BENCH.UNSEEN))


@pytest.mark.parametrize("name", [name.removesuffix(".free") for name in FREE])
def test_free_runs_at_every_size_as_other_exporters_have_it(name: str) -> None:
    frozen = BENCH.Frozen(name)
    network = name.partition(".")[0]
    for other in sorted(FROZEN.glob(f"{network}.*.free.onnx")):
        score = BENCH.score(onnx.load(other), frozen)
        assert score.right, (other.name, score.verdicts)


def test_no_two_dims_of_an_export_have_one_size() -> None:
    for frozen in BENCH.sets():
        dims = frozen.sidecar.dims.values()
        for size in ("a", "b", "opt", "max"):
            assert len({getattr(d, size) for d in dims}) == len(dims), (frozen.name, size)
        for d in dims:
            assert len({d.a, d.b, d.opt, d.max, d.min}) == 5, (frozen.name, d)


def test_differences_are_counted_by_reader() -> None:
    """A constant that two nodes read counts twice; one that does not differ is not counted."""
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[N] x) => (float[M] z)
        <int64[1] s = {SIZE}, int64[1] same = {2}, float[1] one = {1.0}>
        { y = Expand (one, s) w = Expand (x, same) v = Expand (w, s) z = Add (y, v) }"""
    one, other = (onnx.parser.parse_model(text.replace("SIZE", n)) for n in ("4", "6"))
    found = BENCH.differences(one, other)
    assert found.alike
    assert found.counts() == {"Expand.1 int64 sizes": 2}
    assert [(p.tolist(), q.tolist()) for p, q in found.constants["Expand.1 int64"]] == [
        ([4], [6]),
        ([4], [6]),
    ]
    assert not BENCH.differences(one, one).constants


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.array([2, 13, 16]), "sizes"),
        (np.array(24), "sizes"),
        (np.array(24.0), "one value"),
        (np.zeros((2, 3, 4)), "one value"),
        (np.array([[-1, -1, -1]]), "one value"),
        (np.arange(24)[:, None], "positions"),
        (np.arange(9) * 2.0 + 0.5, "positions"),
        (np.tril(np.ones((5, 5))), "triangle"),
        (np.where(np.tri(4) == 0, -np.inf, 0)[None], "triangle"),
        (np.repeat([8.0, 16.0, 32.0], [192, 48, 12])[None, :, None], "runs"),
        (np.array([False, True, True]), "runs"),
        (np.arange(12).reshape(3, 4), "table"),
        (np.array([[0.0, 1.0], [1.0, 0.0]]), "table"),
        (np.sin(np.arange(24.0)), "table"),
    ],
)
def test_what_a_constant_looks_like(value: np.ndarray[Any, Any], kind: str) -> None:
    assert BENCH.kind(value) == kind


def test_a_number_of_points_left_in_a_logarithm_is_seen() -> None:
    """What mends the shapes alone runs at every size, with the numbers of ``a`` in its floats."""
    frozen = BENCH.Frozen("point_matcher.legacy17")
    static, model = (onnx.load(frozen.path(ending)) for ending in ("a", "free"))
    values = BENCH.constants(static)
    left = [values[node.input[0]] for node in static.graph.node if node.op_type == "Log"]
    logs = [node for node in model.graph.node if node.op_type == "Log"]
    assert [float(value) for value in left] == [65.0, 41.0, 24.0]
    for number, (node, value) in enumerate(zip(logs, left, strict=True)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, f"left{number}"))
        node.input[0] = f"left{number}"
    verdicts = BENCH.score(model, frozen).verdicts
    assert {size for size, found in verdicts.items() if found.kind == "right"} == {"a"}
    assert all(found.kind != "fails" for found in verdicts.values())


def test_a_fix_is_run_or_its_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str]]] = []

    def fix(model: str, *, target: str, dynamic: dict[str, str], also: list[str]) -> Any:
        path = Path(model)
        asked.append((path.name, [Path(other).name for other in also]))
        assert dynamic == {"ids:0": "B", "ids:1": "N"}
        if not also:
            raise OnnxFixError("the 13 is open")
        return SimpleNamespace(model=onnx.load(path.with_name(path.name.replace(".a.", ".free."))))

    monkeypatch.setattr(BENCH.onnx_fix, "fix", fix)
    rows = list(BENCH.ran([BENCH.Frozen("rotary_text.legacy17")], "trt-10.3"))
    assert asked == [
        ("rotary_text.legacy17.a.onnx", []),
        ("rotary_text.legacy17.a.onnx", ["rotary_text.legacy17.b.onnx"]),
    ]
    assert any("| fix of a |" in row and "refused: the 13 is open" in row for row in rows)
    assert "| rotary_text.legacy17 | fix of a, b | = | = | = | = | = | B =, N = |  |" in rows
    assert "| fix of a | 1 | 0 | 0, 0, 0 | 1 |" in rows
    assert "| fix of a, b | 1 | 1 | 3, 0, 0 | 0 |" in rows


def test_a_wrong_model_is_called_wrong() -> None:
    frozen = BENCH.Frozen("states.legacy17")
    model = onnx.load(frozen.path("free"))
    for tensor in model.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if value.dtype == np.float32:
            moved = value * np.float32(1.01)
            tensor.CopyFrom(onnx.numpy_helper.from_array(moved, tensor.name))
    score = BENCH.score(model, frozen)
    assert score.count("wrong") == len(frozen.sizes)
    assert not score.right
