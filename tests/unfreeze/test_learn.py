"""What a number is, from its values at several sizes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_fix.symbolic import Size, parse_size, size
from onnx_fix.unfreeze.learn import Learned, fits, learn

Values = dict[str, int]


def learned(text: str, at: list[Values], **options: object) -> Learned:
    truth = parse_size(text)
    return learn([truth.at(a) for a in at], at, **options)  # type: ignore[arg-type]


N = [{"n": 48}, {"n": 147}, {"n": 493}, {"n": 1000}]
HW = [{"h": 123, "w": 167}, {"h": 480, "w": 331}, {"h": 331, "w": 640}]


@pytest.mark.parametrize(
    "text",
    [
        "5",
        "n",
        "n + 1",
        "n - 7",
        "3*n",
        "n//2 - 2",
        "n*n",
        "8*(n//8) + 1",
        "2*n + 5",
        "n//8",
        "(n + 7)//8",
        "7*((n + 6)//7)",
    ],
)
def test_one_symbol(text: str) -> None:
    found = learned(text, N)
    assert found.size == parse_size(text), found
    assert found.reason == "" and not found.ambiguous


@pytest.mark.parametrize(
    "text",
    [
        "h*w",
        "h + w",
        "h - w",
        "h//8*(w//8)",
        "h//8*(w//8) + 1",
        "(h//16 + 1)*(w//16 + 1)",
        "h//8*(w//8) + h//16*(w//16) + h//32*(w//32)",
        "3*(h//32)*(w//32)",
        "h//8*(w//4)",
        "(h + 7)//8*((w + 7)//8) + (h + 15)//16*((w + 15)//16) + (h + 31)//32*((w + 31)//32)",
    ],
)
def test_two_symbols(text: str) -> None:
    assert learned(text, HW).size == parse_size(text)


def test_ambiguous_says_where_they_differ() -> None:
    found = learn([6, 8], [{"n": 48}, {"n": 64}])
    assert found.ambiguous and found.size is None
    assert {size("n") // 8, (size("n") + 7) // 8} <= set(found.candidates)
    assert found.apart is not None
    assert len({c.at(found.apart) for c in found.candidates}) > 1
    assert "export again at n=" in found.reason
    assert str(found.candidates[0]) in found.reason


def test_the_preferred_win() -> None:
    at = [{"n": 48}, {"n": 64}]
    assert learn([6, 8], at, preferred=["n", size("n") // 8]).size == size("n") // 8
    both = learn([6, 8], at, preferred=[size("n") // 8, (size("n") + 7) // 8])
    assert both.ambiguous and len(both.candidates) == 2
    # Two ways to write the same are one.
    ways = [(size("n") + 7) // 8, size("n") - 7 * size("n") // 8]
    assert learn([6, 8], at, preferred=ways).size == ways[0]
    assert learn([6, 9], [{"n": 48}, {"n": 65}], preferred=["n"]).ambiguous


def test_sizes_that_lie_close_are_not_enough() -> None:
    assert learn([8, 9], [{"n": 8}, {"n": 9}]).ambiguous


def test_one_export_is_never_enough() -> None:
    assert learn([48], [{"n": 48}]).ambiguous


def test_nothing_fits() -> None:
    found = learn([1, 5, 2], HW)
    assert not found.candidates and "no expression" in found.reason
    assert learn([], []).candidates == ()


def test_fits() -> None:
    assert fits("n", [48, 147], N[:2])
    assert not fits("n", [48, 62], N[:2])
    assert not fits("k", [48, 61], N[:2])
    assert not fits(size("n") // (size("n") - 48), [1, 1], N[:2])


def test_no_symbols() -> None:
    assert learn([3], [{}]).size == size(3)


QUOTIENTS = st.tuples(st.sampled_from([1, 2, 4, 7, 8, 16, 32]), st.booleans())


def quotient(name: str, how: tuple[int, bool]) -> Size:
    return (size(name) + (how[0] - 1) * how[1]) // how[0]


BASES = st.one_of(
    st.integers(0, 9).map(size),
    st.tuples(st.sampled_from(["h", "w"]), QUOTIENTS).map(lambda t: quotient(*t)),
    QUOTIENTS.map(lambda q: quotient("h", q) * quotient("w", q)),
    QUOTIENTS.map(lambda q: quotient("h", q) * quotient("h", q)),
    QUOTIENTS.map(lambda q: quotient("h", q) - quotient("w", q)),
)
MEMBERS = st.tuples(BASES, st.integers(1, 4), st.integers(-3, 3)).map(lambda t: t[0] * t[1] + t[2])
SIZES = st.fixed_dictionaries({"h": st.integers(1, 400), "w": st.integers(1, 400)})


@settings(max_examples=30, deadline=None)
@given(MEMBERS, SIZES, SIZES)
def test_it_is_never_sure_and_wrong(truth: Size, one: Values, two: Values) -> None:
    at = [one, two]
    found = learn([truth.at(a) for a in at], at)
    assert found.candidates
    assert all(fits(c, [truth.at(a) for a in at], at) for c in found.candidates)
    if found.size is not None:
        for h in range(1, 500, 7):
            for w in range(1, 500, 31):
                values = {"h": h, "w": w}
                assert found.size.at(values) == truth.at(values), (found, truth)


@settings(max_examples=30, deadline=None)
@given(MEMBERS)
def test_enough_exports_settle_it(truth: Size) -> None:
    at = [
        {"h": 37 * k % 311 + 90, "w": 53 * k % 401 + 100} for k in (1, 2, 3, 5, 7, 11, 13, 17, 19)
    ]
    found = learn([truth.at(a) for a in at], at)
    probes = [{"h": h, "w": w} for h in range(1, 400, 13) for w in range(1, 400, 17)]
    values = [truth.at(p) for p in probes]
    assert any(fits(c, values, probes) for c in found.candidates), found


@settings(max_examples=30, deadline=None)
@given(MEMBERS, SIZES)
def test_exporting_where_it_says_narrows_it(truth: Size, first: Values) -> None:
    at = [first]
    for _ in range(12):
        found = learn([truth.at(a) for a in at], at)
        if found.apart is None:
            break
        at.append(dict(found.apart))
    assert found.size is not None
    assert fits(found.size, [truth.at(a) for a in HW], HW)
