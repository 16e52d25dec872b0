"""The planner of Einsum, run on arrays: every plan computes what ``numpy.einsum`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnx_fix.target.facts import Dim
from onnx_fix_passes._einsum_letters import EquationError, bind
from onnx_fix_passes._einsum_plan import PlanError, plan
from onnx_fix_passes._einsum_program import Prices, Program, Step, broadcast

Array = NDArray[np.generic]


def reshaped(x: Array, numbers: Sequence[int]) -> Array:
    """Reshape as ONNX defines it: 0 copies, and -1 cannot be told beside a size of 0."""
    shape = [x.shape[k] if n == 0 else n for k, n in enumerate(numbers)]
    if -1 in shape:
        rest = int(np.prod([n for n in shape if n != -1]))
        if rest == 0:
            raise ValueError("-1 beside a size of 0")
        shape[shape.index(-1)] = x.size // rest
    return x.reshape(shape)


def executed(step: Step, given: list[Array]) -> Array:
    x, n = given[0], step.numbers
    if step.op == "Transpose":
        return np.transpose(x, n)
    if step.op == "Reshape":
        return reshaped(x, n)
    if step.op == "Flatten":
        shape = (int(np.prod(x.shape[: n[0]])), int(np.prod(x.shape[n[0] :])))
        return x.reshape(shape)
    if step.op == "Unsqueeze":
        return np.expand_dims(x, n)
    if step.op == "Squeeze":
        return np.squeeze(x, n)
    if step.op == "Take":
        return np.asarray(np.take(x, n[1], axis=n[0]))
    if step.op == "Pick":
        return np.take(x, np.arange(n[1]) * n[2], axis=n[0])
    if step.op == "ReduceSum":
        return np.asarray(np.sum(x, axis=n or None))
    if step.op == "SumByOnes":
        return np.asarray(np.matmul(x, np.ones(n[0], x.dtype)))
    if step.op == "KeepDiagonal":
        rows = np.arange(x.shape[n[0]]).reshape(-1, *[1] * (n[2] - n[0] - 1))
        columns = np.arange(x.shape[n[1]]).reshape(-1, *[1] * (n[2] - n[1] - 1))
        return np.where(rows == columns, x, np.zeros((), x.dtype))
    if step.op == "Mul":
        return np.asarray(np.multiply(*given))
    assert step.op == "MatMul"
    return np.asarray(np.matmul(*given))


def execute(program: Program, arrays: Sequence[Array]) -> Array:
    """Run a program, checking the shapes that it announces on the way."""
    values = list(arrays)
    for step in program.steps:
        values.append(executed(step, [values[k] for k in step.inputs]))
        announced = program.values[len(values) - 1].dims
        assert len(announced) == values[-1].ndim
        for dim, size in zip(announced, values[-1].shape, strict=True):
            assert not isinstance(dim, int) or dim == size, (step, announced, values[-1].shape)
    return values[program.result]


@dataclass
class Case:
    equation: str
    shapes: list[tuple[int, ...]]
    known: list[tuple[Dim, ...]]
    broadcast: bool


def told_size(size: int, symbol: str, how: int) -> Dim:
    """The size, a symbol that stands for it, or nothing."""
    return (size, size, symbol, symbol, None)[how]


@st.composite
def cases(draw: st.DrawFn, letters: str = "abcdEF", most: int = 4) -> Case:
    """An equation with sizes, and what the planner is told of the sizes."""
    sizes = {c: draw(st.integers(0, 4)) for c in letters}
    outer = [draw(st.integers(0, 3)) for _ in range(2)]
    terms: list[str] = []
    shapes: list[tuple[int, ...]] = []
    known: list[tuple[Dim, ...]] = []
    dotted = False
    broadcast = False
    for _ in range(draw(st.integers(1, most))):
        term = draw(st.lists(st.sampled_from(letters), max_size=4))
        mine = {c: 1 if draw(st.integers(0, 7)) == 0 else sizes[c] for c in set(term)}
        dims = [mine[c] for c in term]
        names = [f"{c}{mine[c]}" for c in term]
        text = "".join(term)
        if draw(st.integers(0, 2)) == 0:
            at = draw(st.integers(0, len(term)))
            rank = draw(st.integers(0, 2))
            inner = [1 if draw(st.integers(0, 5)) == 0 else d for d in outer[2 - rank :]]
            dims[at:at] = inner
            names[at:at] = [f"dot{rank - k}_{d}" for k, d in enumerate(inner)]
            text = f"{text[:at]}...{text[at:]}"
            dotted = True
        broadcast = broadcast or 1 in dims
        terms.append(text)
        shapes.append(tuple(dims))
        told = st.integers(0, 4)
        known.append(
            tuple(told_size(d, name, draw(told)) for d, name in zip(dims, names, strict=True))
        )
    equation = ",".join(terms)
    if draw(st.booleans()):
        used = sorted(set(equation) - set(".,"))
        output = draw(st.permutations(used))[: draw(st.integers(0, len(used)))]
        at = draw(st.integers(0, len(output)))
        dots = "..." if dotted else ""
        equation = f"{equation}->{''.join(output[:at])}{dots}{''.join(output[at:])}"
    return Case(equation, shapes, known, broadcast)


prices = st.builds(
    Prices,
    matmul=st.booleans(),
    half=st.booleans(),
    axes=st.booleans(),
    assume=st.booleans(),
    merge=st.booleans(),
)


@settings(max_examples=400, deadline=None)
@given(cases(), prices, st.integers(0, 2**32 - 1))
def test_every_plan_computes_the_einsum(case: Case, chosen: Prices, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(-9, 10, shape) for shape in case.shapes]
    want = np.einsum(case.equation, *arrays)
    bound = bind(case.equation, [len(shape) for shape in case.shapes])
    try:
        program = plan(bound, case.known, chosen)
    except PlanError as error:
        assert "assume-equal" in str(error) and not chosen.assume
        return
    assert chosen.assume or not program.assumed
    assert chosen.matmul or all(s.op not in ("MatMul", "SumByOnes") for s in program.steps)
    try:
        have = execute(program, arrays)
    except ValueError:
        # Only an assumption that does not hold may fail, and only like this: loudly.
        assert (program.assumed and case.broadcast) or chosen.merge
        return
    assert have.shape == want.shape
    np.testing.assert_array_equal(have, want)


@settings(max_examples=150, deadline=None)
@given(cases(letters="aBc", most=3), st.integers(0, 2**32 - 1))
def test_the_lower_case_text_means_the_same(case: Case, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(-9, 10, shape) for shape in case.shapes]
    text = bind(case.equation, [len(shape) for shape in case.shapes]).text()
    assert text is not None and text == text.lower() and "." not in text and "->" in text
    want = np.einsum(case.equation, *arrays)
    np.testing.assert_array_equal(np.einsum(text, *arrays), want)


def steps(equation: str, *shapes: Sequence[Dim], **options: bool) -> list[str]:
    """The ops of the plan; sizes are symbols named after the labels unless given."""
    terms = equation.split("->")[0].split(",")
    known = shapes or [tuple(c.upper() for c in term) for term in terms]
    program = plan(bind(equation, [len(s) for s in known]), known, Prices(**options))
    return [step.op for step in program.steps]


@pytest.mark.parametrize(
    ("equation", "want"),
    [
        ("ij->ij", ""),
        ("ij->ji", "Transpose"),
        ("ij->", "ReduceSum"),
        ("ij,jk->ik", "MatMul"),
        ("ij,j->i", "MatMul"),
        ("i,ij->j", "MatMul"),
        ("i,i->", "MatMul"),
        ("ij,ij->", "Mul ReduceSum"),
        ("bi,bi->b", "Mul ReduceSum"),
        ("ij,ij->ij", "Mul"),
        ("i,j->ij", "Unsqueeze Mul"),
        ("bij,bjk->bik", "MatMul"),
        ("abk,kc->abc", "MatMul"),
        ("bdn,bdm->bnm", "Transpose MatMul"),
        ("bdhn,bdhm->bhnm", "Transpose Transpose MatMul"),
        ("bhnm,bdhm->bdhn", "Transpose MatMul Transpose"),
        ("bhnm,bhmd->bhnd", "MatMul"),
        ("bhnd,bhmd->bhnm", "Transpose MatMul"),
        ("bqhd,bkhd->bhqk", "Transpose Transpose MatMul"),
        ("bhqk,bkhd->bqhd", "Transpose MatMul Transpose"),
        ("bij,bj->bi", "Unsqueeze MatMul Squeeze"),
        ("ab,bc,cd->ad", "MatMul MatMul"),
    ],
)
def test_the_usual_forms_are_minimal(equation: str, want: str) -> None:
    assert steps(equation) == want.split()


def test_labels_are_merged_where_constant_sizes_say_how() -> None:
    static = steps("bqhd,hdo->bqo", ("B", "Q", 8, 64), (8, 64, 96))
    assert static == ["Reshape", "Reshape", "MatMul"]
    joined = steps("bqd,dho->bqho", ("B", "Q", 32), (32, 4, 8))
    assert joined == ["Reshape", "MatMul", "Reshape"]
    # Nothing beside the merged axes is dynamic, so they may be.
    assert steps("bchw,bdhw->bcd", (1, 8, "H", "W"), (1, 4, "H", "W")).count("Reshape") == 2
    # Flatten multiplies sizes, whatever they are.
    assert steps("chw,dhw->cd").count("Flatten") == 2


def test_labels_are_not_merged_where_an_empty_tensor_would_fail() -> None:
    assert "Reshape" not in steps("bchw,bdhw->bcd")
    assert "ReduceSum" in steps("bchw,bdhw->bcd")
    assert "Reshape" in steps("bchw,bdhw->bcd", merge=True)


def test_two_sizes_in_doubt_are_never_merged() -> None:
    shapes = (("M", "I", "J"), ("K", "L", "N"))
    program = plan(bind("mij,ijn->mn", [3, 3]), shapes, Prices(merge=True))
    assert not {"Reshape", "Flatten"} & {step.op for step in program.steps}
    a, b = np.ones((2, 6, 1)), np.ones((1, 6, 3))
    # Six elements each if they were merged; the labels broadcast instead, or fail.
    with pytest.raises(ValueError):
        execute(program, [a, b])


def test_a_sum_over_size_one_beside_another_size_needs_no_assumption() -> None:
    program = plan(bind("ij,jk->ik", [2, 2]), [("I", 1), ("J", "K")], Prices())
    assert not program.assumed
    a, b = np.arange(3).reshape(3, 1), np.arange(8).reshape(4, 2)
    np.testing.assert_array_equal(execute(program, [a, b]), np.einsum("ij,jk->ik", a, b))


def test_assumptions_are_named() -> None:
    program = plan(bind("ij,jk->ik", [2, 2]), [("I", "N"), (None, "K")], Prices())
    assert program.assumed == ("the sizes of label 'j' (N, ?) are taken as equal",)
    with pytest.raises(PlanError, match=r"'j' \(N and \?\).*assume-equal"):
        plan(bind("ij,jk->ik", [2, 2]), [("I", "N"), (None, "K")], Prices(assume=False))
    with pytest.raises(PlanError, match="'i' names axes of one operand"):
        plan(bind("ii->i", [2]), [("N", "M")], Prices(assume=False))


def test_what_two_sizes_broadcast_to() -> None:
    assert broadcast("N", "N") == "N" and broadcast(3, 3) == 3
    assert broadcast("N", 1) == "N" and broadcast(1, "N") == "N" and broadcast(1, 0) == 0
    # Either may be 1, unless it is a number.
    assert broadcast("N", "M") is None and broadcast(None, "N") is None
    assert broadcast("N", 3) == 3 and broadcast(3, None) == 3


def test_half_precision_sums_inside_a_matmul() -> None:
    assert "MatMul" in steps("bi,bi->b", half=True)


def test_without_axes_inputs_constants_do_their_work() -> None:
    assert steps("bij,bj->bi", ("B", 4, 5), ("B", 5), axes=False) == [
        "Reshape",
        "MatMul",
        "Reshape",
    ]
    assert steps("bij->bi", ("B", 4, 5), axes=False) == ["SumByOnes"]


@pytest.mark.parametrize(
    ("equation", "ranks", "reason"),
    [
        ("ij,jk->ik", [2], "2 terms and the node has 1 inputs"),
        ("ij->k", [2], "output label 'k'"),
        ("ij->ii", [2], "label 'i' twice"),
        ("..i->i", [1], "malformed at '..i'"),
        ("i1->i", [2], "malformed at 'i1'"),
        ("i->j->i", [1], "malformed at 'j->i'"),
        ("...i...->i", [2], "malformed"),
        ("é->é", [1], "malformed"),
        ("ij", [3], "names 2 axes of operand 0, which has 3"),
        ("ij...", [1], "names 2 axes of operand 0, which has 1"),
        ("...i->i", [2], "no ellipsis although"),
        ("...i->...", [None], "rank is not known"),
    ],
)
def test_bad_equations_say_what_is_wrong(
    equation: str, ranks: list[int | None], reason: str
) -> None:
    with pytest.raises(EquationError, match=reason.replace(".", r"\.")):
        bind(equation, ranks)


def test_sizes_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(PlanError, match="'j' has sizes 3 and 4"):
        steps("ij,jk->ik", (2, 3), (4, 5))
    with pytest.raises(PlanError, match="'i' has sizes 1 and 3"):
        steps("ii->i", (1, 3))


def test_blanks_and_implicit_outputs() -> None:
    assert bind(" i j , j k ", [2, 2]).output == ("i", "k")
    assert bind("bA", [2]).output == ("A", "b")
    assert bind("...ij->ij", [2]).output == ("i", "j")
    assert bind("", [0]).output == ()
    assert bind(",i", [0, 1]).output == ("i",)
    assert bind("a...,...b", [2, 3]).output == ("1", "0", "a", "b")
    assert bind("a" * 3, [3]).text() == "aaa->"
    many = "".join(chr(c) for c in [*range(65, 91), *range(97, 98)])
    assert bind(many, [27]).text() is None
