"""A model against several that stand for it, run one after the other."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import ModelProto

from onnx_fix.verify import Verification, verify

WHOLE = """(float[N] x, float[N] w) => (float[N] y, float[N] z) {
  a = Neg (x)  y = Add (a, w)  z = Abs (a) }"""
FIRST = "(float[N] x) => (float[N] a, float[N] z) { a = Neg (x)  z = Abs (a) }"
SECOND = "(float[N] a, float[N] w) => (float[N] y) { y = Add (a, w) }"


def model(body: str) -> ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> main {body}')


def chain(*bodies: str, whole: str = WHOLE) -> Verification:
    return verify(model(whole), [model(b) for b in bodies])


def test_equal() -> None:
    result = chain(FIRST, SECOND)
    assert result.status == "equal" and result.evidence == 3
    assert {c.output for case in result.cases for c in case.comparisons} == {"y", "z"}


def test_paths(tmp_path: Path) -> None:
    paths = []
    for number, body in enumerate((FIRST, SECOND)):
        paths.append(tmp_path / f"{number}.onnx")
        paths[-1].write_bytes(model(body).SerializeToString())
    assert verify(model(WHOLE), paths).ok


def test_other_numbers() -> None:
    result = chain(FIRST, SECOND.replace("Add", "Sub"))
    assert result.status == "differs" and "output 'y'" in result.reason


def test_an_input_that_nobody_feeds() -> None:
    result = chain(FIRST, SECOND.replace("w", "v"))
    assert result.status == "differs" and "has an input 'v'" in result.reason


def test_an_input_that_is_an_output_and_one_that_nobody_reads() -> None:
    whole = "(float[N] x, float[M] w) => (float[N] x, float[N] y) { y = Neg (x) }"
    assert chain("(float[N] x) => (float[N] y) { y = Neg (x) }", whole=whole).ok


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ("float[3] a", "which would be [3]"),
        ("float[N, M] a", "declared is [N, M]"),
    ],
)
def test_sizes_that_are_not_as_declared(declared: str, says: str) -> None:
    result = chain(FIRST, SECOND.replace("float[N] a", declared))
    assert result.status == "differs" and says in result.reason


def test_a_symbol_stands_for_one_size() -> None:
    whole = "(float[N] x) => (float[P] y) { d = Concat <axis = 0> (x, x)  y = Neg (d) }"
    first = "(float[N] x) => (float[M] d) { d = Concat <axis = 0> (x, x) }"
    for name, ok in (("M", True), ("2*N", True), ("N", False)):
        last = model("(float[M] d) => (float[P] y) { y = Neg (d) }")
        last.graph.input[0].type.tensor_type.shape.dim[0].dim_param = name
        assert verify(model(whole), [model(first), last]).ok == ok, name


def test_what_onnxruntime_lacks_the_reference_runs() -> None:
    """onnxruntime has no kernel for Add of bfloat16."""
    whole = "(bfloat16[N] x) => (bfloat16[N] y) { a = Add (x, x)  y = Neg (a) }"
    parts = (
        "(bfloat16[N] x) => (bfloat16[N] a) { a = Add (x, x) }",
        "(bfloat16[N] a) => (bfloat16[N] y) { y = Neg (a) }",
    )
    result = chain(*parts, whole=whole)
    assert {case.oracle for case in result.cases} == {"onnx.reference"}
    assert result.ok
