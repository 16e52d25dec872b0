"""Findings of nodes: severity, and the pass that clears them, on the shipped exports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.node_findings import node_findings, severity_of
from onnx_fix.contract import PassResult
from onnx_fix.engine import Engine, Step
from onnx_fix.model import Model
from onnx_fix.registry import default_order
from onnx_fix.target import Finding, load_target
from onnx_fix.testing import run_pass

FIXTURES = Path(__file__).parents[2] / "fixtures"
PAIRS = [
    (path.name.removesuffix(".onnx"), target)
    for path in sorted(FIXTURES.glob("*.onnx"))
    for target in ("trt-7.2", "trt-8.2", "trt-8.6", "trt-10.3", "rtx-1.7")
]


def read(name: str) -> ModelProto:
    return onnx.load(FIXTURES / f"{name}.onnx")


def findings(model: ModelProto, target: str) -> list[CheckFinding]:
    return list(node_findings(Model(model, FIXTURES, load_target(target))))


def parsed(nodes: str, more: str = "", functions: str = "") -> ModelProto:
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 13{more}]> g (float[N] x) => (float[M] y) '
        f"{{ {nodes} }} {functions}"
    )


def said_and_done(model: Model) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """For every finding that blocks or may: the pass that is named, and the first after whose run
    it was gone (None: no pass). Without the lowering of the whole model, which is not foretold.
    What only moves, out of a branch or to the next node that reads the tensor, is left out."""
    found = [f for f in node_findings(model) if f.severity is not Severity.WARNING]
    said = {f.key: f.mended_by for f in found}
    place = {f.key: f for f in found}
    done: dict[str, str | None] = dict.fromkeys(said)

    def note(after: Model, result: PassResult) -> None:
        if result.changes:
            left = {f.key: f for f in node_findings(after)}
            others = [f for key, f in left.items() if key not in place]
            moved = {(f.code, f.op) for f in others if result.pass_name == "fold-if"}
            moved |= {(f.code, f.tensor) for f in others if f.tensor}
            for key in said.keys() - left.keys():
                was = place[key]
                if done[key] is None and {(was.code, was.op), (was.code, was.tensor)} & moved:
                    del said[key], done[key]
                else:
                    done[key] = done[key] or result.pass_name

    passes = [cls() for cls in default_order() if cls.name != "lower-opset"]
    Engine(model, after_each=note).run([Step(pass_) for pass_ in passes])
    return said, done


@pytest.mark.parametrize(("name", "target"), PAIRS)
def test_what_the_fix_clears_is_put_down_to_the_right_pass(name: str, target: str) -> None:
    """Both ways: a finding that names a pass goes with that pass, and one that goes names it."""
    said, done = said_and_done(Model(read(name), FIXTURES, load_target(target)))
    assert said == done


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6"])
def test_no_pass_is_named_that_does_not_clear_it(
    node_models: dict[str, ModelProto], target: str
) -> None:
    """Over all node tests of ONNX no claim is false, and hardly any pass is left out."""
    claimed = missed = 0
    for name, proto in node_models.items():
        said, done = said_and_done(Model(proto, None, load_target(target)))
        false = {key: by for key, by in said.items() if by is not None and done[key] is None}
        assert not false, name
        claimed += sum(by is not None for by in said.values())
        missed += sum(done[key] is not None and by is None for key, by in said.items())
    assert claimed > 1000 and missed < 0.01 * claimed, (claimed, missed)


def test_findings_that_a_pass_clears_are_there_at_all() -> None:
    said = {f.mended_by for name, target in PAIRS[::5] for f in findings(read(name), target)}
    assert {"batch-pooling", "clip-to-min-max", "replace-cum-sum", "einsum-to-matmul"} <= said


def test_asking_the_passes_changes_nothing() -> None:
    for name, target in PAIRS[::5]:
        model = Model(read(name), FIXTURES, load_target(target))
        assert list(node_findings(model)) == list(node_findings(model))
        assert model.to_proto() == read(name)


FINDING = Finding("Op", "n", "", "dtype", "parse_error", "", "why", "source", "where")


@pytest.mark.parametrize(
    ("effect", "certain", "severity"),
    [
        ("parse_error", True, Severity.ERROR),
        ("build_error", True, Severity.ERROR),
        ("parse_or_build_error", True, Severity.ERROR),
        ("wrong_result", True, Severity.SILENT),
        ("changes_shape", True, Severity.SILENT),
        ("parse_error", False, Severity.UNKNOWN),
        ("wrong_result", False, Severity.UNKNOWN),
        ("unknown", True, Severity.UNKNOWN),
        ("warning", True, Severity.WARNING),
        ("performance", True, Severity.WARNING),
        ("limits_use", False, Severity.WARNING),
        ("changes_type", True, Severity.WARNING),
        ("conditional", True, Severity.WARNING),
    ],
)
def test_severity(effect: str, certain: bool, severity: Severity) -> None:
    assert severity_of(replace(FINDING, effect=effect, certain=certain)) is severity


def test_a_pass_that_leaves_a_node_says_why() -> None:
    (found,) = findings(parsed("n = NonZero (x) y = Cast <to = 1> (n)"), "trt-7.2")
    assert found.mended_by is None and found.op == "NonZero"
    assert found.mend.startswith("no pass (replace-non-zero leaves it as the model stands: ")
    assert found.message and found.source and found.evidence == "source"


CALL = parsed(
    "y = my.Fused (x)",
    ', "my" : 1',
    '<opset_import: ["" : 13], domain: "my"> Fused (a) => (b) { b = Abs (a) }',
)


def test_a_call_is_fine_where_functions_are_read_and_its_body_is_judged() -> None:
    assert findings(CALL, "trt-10.3") == []
    assert findings(CALL, "trt-8.6") == []  # the check of local functions tells of it
    inner = parsed(
        "y = my.Fused (x)",
        ', "my" : 1',
        '<opset_import: ["" : 13], domain: "my"> Fused (a) => (b) { b = Unique (a) }',
    )
    (found,) = findings(inner, "trt-10.3")
    assert (found.op, found.scope) == ("Unique", "function my::Fused")


def test_an_unknown_op_is_in_doubt_and_has_no_pass() -> None:
    (found,) = findings(parsed("y = my.Other (x)", ', "my" : 1'), "trt-8.6")
    assert found.severity is Severity.UNKNOWN and not found.blocks
    assert found.mended_by is None and "function" not in found.why


def test_nodes_inside_a_branch_are_found_with_their_place() -> None:
    branch = 'float[M] z) { z = Einsum <equation = "i->i"> (x) }'
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13]> g (float[M] x, bool c) => (float[M] y) {{
        [choose] y = If (c) <then_branch = t () => ({branch},
        else_branch = e () => (float[M] w) {{ w = Neg (x) }}> }}"""
    )
    inner = [f for f in findings(model, "trt-7.2") if f.op == "Einsum"]
    assert [(f.scope, f.mended_by) for f in inner] == [("choose/then_branch", "einsum-to-matmul")]


def test_an_unused_node_is_removed_whatever_its_fault() -> None:
    model = parsed("u = Unique (x) y = Abs (x)")
    (found,) = findings(model, "trt-8.6")
    assert found.mended_by == "remove-unused"
    after, _ = run_pass(next(c for c in default_order() if c.name == found.mended_by)(), model)
    assert [n.op_type for n in after.graph.node] == ["Abs"]
