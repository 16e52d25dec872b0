"""Differences between two values, and the tolerance that would have passed."""

from __future__ import annotations

import math
from importlib import import_module
from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from onnx_fix.verify import Tolerance, default_tolerance
from onnx_fix.verify.compare import compare, missing

FLOATS = [np.dtype(kind) for kind in (np.float16, np.float32, np.float64)]


@st.composite
def pairs(draw: st.DrawFn) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    dtype = draw(st.sampled_from(FLOATS))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4))
    elements = hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    expected = draw(hnp.arrays(dtype, shape, elements=elements))
    noise = draw(hnp.arrays(np.float64, shape, elements=st.floats(-1e-2, 1e-2)))
    if draw(st.booleans()):
        with np.errstate(all="ignore"):
            actual = (expected.astype(np.float64) * (1 + noise) + noise).astype(dtype)
        return expected, np.nan_to_num(actual)
    return expected, draw(hnp.arrays(dtype, shape, elements=elements))


tolerances = st.builds(
    Tolerance,
    st.sampled_from([0.0, 1e-7, 1e-4, 1e-2, 0.5]),
    st.sampled_from([0.0, 1e-9, 1e-5, 1e-2, 3.0]),
)


@given(pairs(), tolerances)
def test_needed_tolerance_passes_and_nothing_smaller_does(
    pair: tuple[NDArray[np.generic], NDArray[np.generic]], limits: Tolerance
) -> None:
    result = compare("y", *pair, limits)
    expected, actual = (value.astype(np.float64) for value in pair)
    with np.errstate(over="ignore"):
        passes = np.abs(actual - expected) <= limits.atol + limits.rtol * np.abs(expected)
    assert result.ok == bool(passes.all())
    assert result.n_mismatched == np.count_nonzero(~passes)
    rtol, atol = result.tolerance_needed
    if rtol is not None:
        assert compare("y", *pair, Tolerance(rtol, limits.atol)).ok
        if rtol > 1e-300:
            less = Tolerance(rtol * (1 - 1e-9), limits.atol)
            again = compare("y", *pair, less)
            # A step that rounding hides in atol may still pass.
            assert not again.ok or less.atol > 1e5 * rtol * np.abs(expected).min(initial=0)
    else:
        assert not result.ok
    if atol is not None:
        assert compare("y", *pair, Tolerance(limits.rtol, atol)).ok
        if atol > 1e-300:
            less = Tolerance(limits.rtol, atol * (1 - 1e-3))
            again = compare("y", *pair, less)
            assert not again.ok or limits.rtol * np.abs(expected).max(initial=0) > 1e9 * atol
    if result.ok:
        assert (rtol or 0) <= limits.rtol and (atol or 0) <= limits.atol


def test_the_numbers_of_a_known_case() -> None:
    expected = np.array([1.0, 2.0, 0.0, 100.0])
    actual = np.array([1.5, 2.0, 0.25, 101.0])
    result = compare("y", expected, actual, Tolerance(0.1, 0.25))
    assert (result.max_abs, result.max_rel) == (1.0, 1.0)
    assert result.n_mismatched == 1
    assert result.rtol_needed == pytest.approx(0.25)
    assert result.atol_needed == pytest.approx(0.4)


def test_no_rtol_helps_where_zero_is_expected() -> None:
    result = compare("y", np.zeros(2), np.array([0.0, 0.5]))
    assert result.tolerance_needed == (None, 0.5)


def test_equal_is_equal_for_every_dtype() -> None:
    for dtype in (*FLOATS, np.int8, np.uint64, np.bool_, np.complex64, ml_dtypes.bfloat16):
        for shape in ((), (0,), (0, 3), (2, 3)):
            value = np.ones(shape).astype(dtype)
            result = compare("y", value, value.copy())
            assert result.ok and result.tolerance_needed == (0.0, 0.0)
            assert result.n_elements == value.size


@pytest.mark.parametrize(
    ("expected", "actual", "distance"),
    [
        (np.int64(2**53), np.int64(2**53 + 1), 1),
        (np.int64(-(2**63)), np.int64(2**63 - 1), 2**64),
        (np.uint64(2**64 - 1), np.uint64(2**64 - 2), 1),
        (np.uint64(0), np.uint64(2**64 - 1), 2**64 - 1),
        (np.uint8(0), np.uint8(255), 255),
        (np.bool_(True), np.bool_(False), 1),
    ],
)
def test_integers_are_exact_and_do_not_overflow(
    expected: np.generic, actual: np.generic, distance: int
) -> None:
    result = compare("y", np.array([expected]), np.array([actual]), Tolerance(1.0, 1e30))
    assert not result.ok
    assert result.max_abs == float(distance)
    assert compare("y", np.array([expected]), np.array([expected])).ok


def test_integers_may_be_given_a_tolerance() -> None:
    pair = np.array([10, 20]), np.array([11, 20])
    assert compare("y", *pair, Tolerance(0, 1), exact_integers=False).ok


@pytest.mark.parametrize(
    ("actual", "field"),
    [
        (np.array([1, 2, np.nan, np.inf], np.float32), "nan_equal"),
        (np.array([np.nan, 2, 3, -np.inf], np.float32), "inf_equal"),
        (np.array([np.nan, 2, 3, 1e30], np.float32), "inf_equal"),
        (np.array([np.nan, 2, 3, np.inf], np.float64), "dtype_equal"),
        (np.array([[np.nan, 2, 3, np.inf]], np.float32), "shape_equal"),
    ],
)
def test_patterns_dtype_and_shape_count(actual: NDArray[np.generic], field: str) -> None:
    expected = np.array([np.nan, 2, 3, np.inf], np.float32)
    result = compare("y", expected, actual, Tolerance(1e9, 1e9))
    assert not result.ok
    flags = {name: getattr(result, name) for name in
             ("nan_equal", "inf_equal", "dtype_equal", "shape_equal")}  # fmt: skip
    assert [name for name, equal in flags.items() if not equal] == [field]
    assert result.tolerance_needed == (None, None)
    assert compare("y", expected, expected.copy()).ok


def test_strings_sequences_maps_and_optionals() -> None:
    words = np.array(["a", "b"], dtype=object)
    assert compare("y", words, words.astype(str)).ok
    assert compare("y", words, np.array(["a", "c"], dtype=object)).n_mismatched == 1
    one, two = np.ones(2, np.float32), np.ones(2, np.float32) * 2
    assert compare("y", [one, two], [one, two]).ok
    assert compare("y", [], []).ok
    assert compare("y", [one, two], [one, one]).note == "differs in y[1]"
    assert not compare("y", [one], [one, two]).shape_equal
    assert compare("y", [{"a": 1.0}], [{"a": 1.0}]).ok
    assert not compare("y", {"a": 1.0}, {"b": 1.0}).ok
    assert compare("y", None, None).ok
    for other in (one, [one]):
        assert not compare("y", None, other).ok and not compare("y", other, None).ok
    assert not compare("y", [one], one).ok
    assert not missing("y", "gone").ok


def test_more_elements_than_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("onnx_fix.verify.compare"), "_CHUNK", 3)
    expected = np.arange(1, 11, dtype=np.float32)
    actual = expected.copy()
    actual[[0, 9]] += np.float32(0.5)
    result = compare("y", expected, actual)
    assert (result.n_mismatched, result.max_abs, result.n_elements) == (2, 0.5, 10)
    assert result.rtol_needed == pytest.approx((0.5 - 1e-5) / 1)


def test_default_tolerances_widen_with_the_unit_roundoff() -> None:
    kinds = (np.int64, np.float64, np.float32, np.float16, ml_dtypes.bfloat16)
    limits = [default_tolerance(np.dtype(kind)) for kind in kinds]
    assert limits[0] == Tolerance(0.0, 0.0)
    assert all(a.rtol < b.rtol and a.atol < b.atol for a, b in pairwise(limits))
    assert math.isclose(limits[2].rtol, 1000 * np.finfo(np.float32).eps, rel_tol=0.2)
