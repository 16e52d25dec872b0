"""Integer expressions over sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_fix.errors import UsageError
from onnx_fix.symbolic import Size, largest, parse_size, size, smallest

NAMES = ("a", "b", "n0")
VALUES = st.fixed_dictionaries({name: st.integers(0, 300) for name in NAMES})


def _expressions() -> st.SearchStrategy[tuple[Size, str]]:
    """A size, and the same in Python."""
    leaves = st.sampled_from(NAMES).map(lambda n: (size(n), n)) | st.integers(-9, 20).map(
        lambda i: (size(i), f"({i})")
    )

    def more(inner: st.SearchStrategy[tuple[Size, str]]) -> st.SearchStrategy[tuple[Size, str]]:
        pairs = st.tuples(inner, inner)
        return (
            pairs.map(lambda p: (p[0][0] + p[1][0], f"({p[0][1]} + {p[1][1]})"))
            | pairs.map(lambda p: (p[0][0] - p[1][0], f"({p[0][1]} - {p[1][1]})"))
            | pairs.map(lambda p: (p[0][0] * p[1][0], f"({p[0][1]} * {p[1][1]})"))
            | pairs.map(lambda p: (largest(p[0][0], p[1][0]), f"max({p[0][1]}, {p[1][1]})"))
            | pairs.map(lambda p: (smallest(p[0][0], p[1][0]), f"min({p[0][1]}, {p[1][1]})"))
            | st.tuples(inner, st.integers(1, 12)).map(
                lambda p: (p[0][0] // p[1], f"({p[0][1]} // {p[1]})")
            )
            | st.tuples(inner, st.integers(1, 12)).map(
                lambda p: (p[0][0] % p[1], f"({p[0][1]} % {p[1]})")
            )
        )

    return st.recursive(leaves, more, max_leaves=8)


@given(_expressions(), VALUES)
def test_it_computes_what_python_computes(both: tuple[Size, str], values: dict[str, int]) -> None:
    expression, text = both
    assert expression.at(values) == eval(text, {}, dict(values))


@given(_expressions())
def test_its_text_reads_back(both: tuple[Size, str]) -> None:
    expression, text = both
    assert parse_size(str(expression)) == expression
    assert parse_size(text) == expression


@given(_expressions(), _expressions(), VALUES)
def test_replacing_a_symbol_is_computing_with_its_value(
    both: tuple[Size, str], put: tuple[Size, str], values: dict[str, int]
) -> None:
    replaced = both[0].replaced({"a": put[0]})
    assert replaced.at(values) == both[0].at({**values, "a": put[0].at(values)})


@given(_expressions(), _expressions())
def test_a_factor_comes_out_exactly(a: tuple[Size, str], b: tuple[Size, str]) -> None:
    if b[0] != 0:
        assert (a[0] * b[0]).exact(b[0]) == a[0]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("(n + n)//2", "n"),
        ("(8*n + 3)//8", "n"),
        ("(n//2)//4", "n//8"),
        ("((n - 1)//2 + 1 - 1)//2 + 1", "(n - 1)//4 + 1"),
        ("(4*n + 6)//8", "(2*n + 3)//4"),
        ("2*n - n - n", "0"),
        ("(a*b)//b", "a"),
        ("max(n, n + 1)", "n + 1"),
        ("-(-n//8)", "-((-n)//8)"),
    ],
)
def test_one_form_for_the_same_size(text: str, shown: str) -> None:
    assert parse_size(text) == parse_size(shown)


def test_the_unit_of_comparison_is_the_value() -> None:
    assert size(3) == 3 and hash(size(3)) == hash(3)
    assert size("n") != 3 and size("n").symbol == "n" and size("n").number is None
    assert (size("n") * 2 + "m").symbols == {"n", "m"}
    assert size("n").exact(2) is None and size(6).exact(0) is None
    assert (size("n") // "m").at({"n": 7, "m": 2}) == 3


@pytest.mark.parametrize("text", ["", "n +", "f(n)", "n // 0", "1.5", "max(n)", "n if n else 1"])
def test_what_is_no_size_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="is no size"):
        parse_size(text)
