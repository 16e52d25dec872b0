"""The steps that only added types: the schemas agree, and types that came later are refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import ModelProto
from onnx.defs import OpSchema

from onnx_fix.lower import lower
from onnx_fix.lower.rules.same import RULES
from onnx_fix.lower.table import table

Check = Callable[..., ModelProto]
Refusal = Callable[[str, int], str]


def shape_of(schema: OpSchema) -> object:
    """All of a schema but its text and its element types."""
    attributes = {
        a.name: (a.type, a.required, a.default_value.SerializeToString(deterministic=True))
        for a in schema.attributes.values()
    }
    formals = [
        [(p.name, p.option, p.is_homogeneous, p.min_arity) for p in side]
        for side in (schema.inputs, schema.outputs)
    ]
    arity = (schema.min_input, schema.max_input, schema.min_output, schema.max_output)
    return attributes, formals, arity


@pytest.mark.parametrize("step", sorted(RULES))
def test_schemas_differ_in_types_only(step: tuple[str, int]) -> None:
    op, version = step
    above, below = (onnx.defs.get_schema(op, v, "") for v in (version, version - 1))
    assert above.since_version == version > below.since_version
    assert shape_of(above) == shape_of(below)


@pytest.mark.parametrize("step", sorted(RULES))
def test_types_only_widen(step: tuple[str, int]) -> None:
    op, version = step
    above, below = (onnx.defs.get_schema(op, v, "") for v in (version, version - 1))
    narrowed = {
        t
        for new, old in zip(
            [*above.inputs, *above.outputs], [*below.inputs, *below.outputs], strict=True
        )
        for t in old.types - new.types
    }
    # Erf 13 dropped the integers that no runtime ever computed.
    assert not narrowed or op == "Erf"


def test_the_list_is_part_of_the_table() -> None:
    assert RULES.items() <= table().items()


def test_steps_whose_texts_say_something_else_are_not_listed() -> None:
    """Equal schemas, but another meaning: these have rules of their own."""
    assert not RULES.keys() & {("Mod", 28), ("Gather", 11), ("OneHot", 11), ("Softmax", 11)}
    assert not RULES.keys() & {("MaxPool", 22), ("AveragePool", 22), ("TopK", 11), ("Pad", 19)}


def test_a_node_of_an_old_type_is_left_alone(check: Check) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    text = '<ir_version: 8, opset_import: ["": 22]> g (float[N,3] x) => (float[N,3] y) {y = Sin(x)}'
    check(text, 9, [{"x": x}, {"x": x[:0]}], want=["Sin"])


@pytest.mark.parametrize("op", ["Sin", "Softplus", "Elu"])
def test_bfloat16_goes_through_float32_where_cast_takes_it(op: str, check: Check) -> None:
    text = f"""<ir_version: 10, opset_import: ["": 22]> g (float[N] x) => (float[N] y) {{
        b = Cast<to = 16>(x)
        c = {op}(b)
        y = Cast<to = 1>(c)
    }}"""
    x = np.linspace(-3, 3, 7, dtype=np.float32)
    check(text, 21, [{"x": x}], want=["Cast", "Cast", op, "Cast", "Cast"], rtol=1e-2)


@pytest.mark.parametrize(
    ("kind", "body", "opset", "reason"),
    [
        ("bfloat16", "y = Neg(x)", 12, "no bfloat16 before opset 13"),
        ("float8e4m3fn", "y = Identity(x)", 18, "no float8e4m3fn before opset 19"),
        ("int4", "y = Transpose(x)", 20, "no int4 before opset 21"),
    ],
)
def test_types_that_came_later_are_refused(
    kind: str, body: str, opset: int, reason: str, refusal: Refusal
) -> None:
    text = f'<ir_version: 10, opset_import: ["": 21]> g ({kind}[N] x) => ({kind}[N] y) {{{body}}}'
    assert reason in refusal(text, opset)


def test_strings_are_not_compared_below_19(refusal: Refusal) -> None:
    text = (
        '<ir_version: 9, opset_import: ["": 19]> g (string[N] x) => (bool[N] y) {y = Equal(x, x)}'
    )
    assert "string" in refusal(text, 18)


def test_an_unknown_type_passes_where_only_exotic_types_came() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 13, "other": 1]>
        g (float[N] x) => (float[N] y) {
            u = other.Op(x)
            y = Neg(u)
        }"""
    )
    assert lower(model, 12).refusals == ()


def test_an_unknown_type_is_refused_where_others_came() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 14, "other": 1]>
        g (float[N] x) => (float[N] y) {
            u = other.Op(x)
            y = Identity(u)
            v = other.Op(y)
        }"""
    )
    del model.graph.output[0]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info("v"))
    assert "not known" in lower(model, 13).refusals[0].reason
