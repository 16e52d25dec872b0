"""Every kind of finding has one code, with a number of its family and a page of its own."""

from __future__ import annotations

import ast
import inspect
import re

import pytest
from onnx import ModelProto

from onnx_fix import docs
from onnx_fix.check.codes import FAMILIES, NODE_CODES, code_of
from onnx_fix.check.finding import Code
from onnx_fix.check.registry import all_codes, live_codes, model_codes
from onnx_fix.errors import InternalError
from onnx_fix.model import Model
from onnx_fix.target import dispatch, load_target
from onnx_fix.target.data import read
from onnx_fix.target.general import NOT_EVALUATED
from onnx_fix.target.kinds import EVALUATORS

RULES = (
    "refused",
    "unknown_before",
    "max_rank",
    "attribute_refused",
    "operands_alike",
    "constant_refused",
    "float_shape_tensor",
)


def kinds_of_dispatch() -> set[str]:
    """Every kind that the dispatch writes into a finding, from its source."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(inspect.getsource(dispatch))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            named = node.func.attr == "_finding" and isinstance(node.args[1], ast.Constant)
            if named and isinstance(node.args[1], ast.Constant):
                found.add(str(node.args[1].value))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            targets = [t.id for t in node.targets if isinstance(t, ast.Name)]
            if targets == ["kind"]:
                found.add(str(node.value.value))
    return found


def test_the_dispatch_has_the_kinds_that_are_known() -> None:
    assert {"no_importer", "unknown_plugin", "own_plugin"} <= kinds_of_dispatch()
    assert len(kinds_of_dispatch()) == 9


def test_every_kind_has_a_code_and_every_code_a_kind() -> None:
    facts = {f["id"] for f in read("facts")["general"] if f.get("rule") in RULES}
    assert not facts & set(NOT_EVALUATED)
    in_data = {e["kind"] for e in read("restrictions")}
    assert in_data | set(EVALUATORS) | facts | kinds_of_dispatch() == set(NODE_CODES)


def test_what_is_said_of_the_node_tests_has_codes(node_models: dict[str, ModelProto]) -> None:
    seen: set[str] = set()
    for model in node_models.values():
        if model.functions or len(model.graph.node) > 3:
            continue
        for name in ("trt-7.0", "trt-8.0", "trt-8.6", "trt-10.3", "rtx-1.7"):
            work = Model(model, None, load_target(name))
            for node in work.main.graph.nodes:
                seen |= {f.kind for f in work.main.judge(node).findings}
    assert len(seen) > 25
    assert all(code_of(kind).code for kind in seen)


def test_codes_are_unique_and_of_their_family() -> None:
    codes = all_codes()
    assert len({c.code for c in codes}) == len(codes) == len({c.name for c in codes})
    assert [c.code for c in codes] == sorted(c.code for c in codes)
    assert {c.code[2] for c in codes} <= set(FAMILIES)
    assert {c.code[2] for c in NODE_CODES.values()} == set("1234567")
    assert {c.code[2] for c in model_codes()} <= {"8"}
    assert {c.code[2] for c in live_codes()} <= {"9"}


def test_the_family_is_that_of_the_kind() -> None:
    for kind, digit in {
        "no_importer": "1",
        "input_must_be_constant": "2",
        "attribute_allowed_values": "3",
        "dtype_refused": "4",
        "kernel_rank": "5",
        "branch_shapes": "6",
        "data_dependent_shape": "7",
    }.items():
        assert code_of(kind).code.startswith(f"OF{digit}")


@pytest.mark.parametrize("code", all_codes(), ids=lambda c: c.code)
def test_codes_are_written_out(code: Code) -> None:
    assert re.fullmatch(r"OF[1-9]\d\d", code.code)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code.name)
    assert code.summary and "\n" not in code.summary and not code.summary.endswith(".")
    assert len(code.meaning) > 60 and code.meaning.rstrip().endswith(".")
    assert len(code.mend) > 15 and code.mend.rstrip().endswith(".")
    assert f"checks/{code.code}.md" in docs.pages()


def test_a_kind_without_a_code_is_our_fault() -> None:
    with pytest.raises(InternalError, match="no_such_kind"):
        code_of("no_such_kind")
