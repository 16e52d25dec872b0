"""64-bit constants before 9.0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import numpy_helper
from onnx.parser import parse_model

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.clamped_integers import ClampedIntegers

Run = Callable[..., list[CheckFinding]]
HEAD = '<ir_version: 8, opset_import: ["" : 13]>\n'


def model(body: str, number: int = 1 << 40) -> str:
    constant = f"k = Constant<value=int64[1]{{{number}}}>() "
    return HEAD + f"g (int64[N] x, bool[N] m) => (int64[M] y) {{ {constant}{body} }}"


COMPUTES = {
    "added": "y = Add(x, k)",
    "modulo": "y = Mod(x, k)",
    "chosen": "y = Where(m, x, k)",
    "a copy": "c = Identity(k) y = Mul(x, c)",
    "cast": "c = Cast<to=1>(k) f = Cast<to=1>(x) z = Mul(f, c) y = Cast<to=7>(z)",
}
HARMLESS = {
    "the end of a slice": "s = Constant<value=int64[1]{0}>() y = Slice(x, s, k, s)",
    "assembled end": "c = Concat<axis=0>(k) s = Constant<value=int64[1]{0}>() y = Slice(x, s, c)",
    "a bound": "y = Min(x, k)",
    "compared": "c = Less(x, k) y = Cast<to=7>(c)",
    "not read": "y = Neg(x)",
}


@pytest.mark.parametrize("case", COMPUTES)
def test_a_number_that_is_computed_with(run: Run, case: str) -> None:
    (found,) = run(ClampedIntegers, model(COMPUTES[case]))
    assert found.severity is Severity.SILENT and str(1 << 40) in found.why
    assert run(ClampedIntegers, model(COMPUTES[case]), "trt-9.0") == []
    assert len(run(ClampedIntegers, model(COMPUTES[case]), "trt-7.2")) == 1


@pytest.mark.parametrize("case", HARMLESS)
def test_where_the_largest_number_will_do(run: Run, case: str) -> None:
    assert run(ClampedIntegers, model(HARMLESS[case])) == []


@pytest.mark.parametrize("number", [2147483647, -2147483648, 0])
def test_the_range_of_int32(run: Run, number: int) -> None:
    assert run(ClampedIntegers, model("y = Add(x, k)", number)) == []


@pytest.mark.parametrize("number", [2147483648, -2147483649])
def test_one_beyond(run: Run, number: int) -> None:
    assert len(run(ClampedIntegers, model("y = Add(x, k)", number))) == 1


def test_other_readers_are_in_doubt(run: Run) -> None:
    (found,) = run(ClampedIntegers, model("y = Expand(x, k)"))
    assert found.severity is Severity.UNKNOWN


def test_initializers_and_their_size(run: Run) -> None:
    def with_weight(value: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> int:
        proto = parse_model(model("y = Add(x, w)"))
        proto.graph.initializer.append(numpy_helper.from_array(value, "w"))
        return len(run(ClampedIntegers, proto))

    assert with_weight(np.array([1, 1 << 33])) == 1
    assert with_weight(np.full(4097, 1 << 33)) == 0
    assert with_weight(np.array([], np.int64)) == 0


def test_inside_a_branch(run: Run) -> None:
    text = HEAD + (
        "g (bool c, int64[2] x) => (int64[2] y) { y = If(c) <then_branch = t () => (int64[2] o)"
        " { k = Constant<value=int64{99999999999}>() o = Sub(x, k) },"
        " else_branch = e () => (int64[2] p) { p = Neg(x) }> }"
    )
    (found,) = run(ClampedIntegers, text)
    assert found.scope == "y/then_branch" and found.node == "o"
