"""Compare two values of one output: how far apart they are, and what would have passed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 22
# numpy counts the floats of ml_dtypes among the raw bytes (kind V).
_EXTENDED = tuple(
    np.dtype(getattr(ml_dtypes, name))
    for name in (
        "bfloat16",
        "float8_e4m3fn",
        "float8_e4m3fnuz",
        "float8_e5m2",
        "float8_e5m2fnuz",
        "float8_e8m0fnu",
        "float4_e2m1fn",
    )
    if hasattr(ml_dtypes, name)
)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Two numbers a (got) and b (expected) agree where ``|a - b| <= atol + rtol * |b|``."""

    rtol: float
    atol: float


EXACT = Tolerance(0.0, 0.0)

_FLOAT64 = Tolerance(1e-7, 1e-9)
_FLOAT32 = Tolerance(1e-4, 1e-5)
_FLOAT16 = Tolerance(1e-2, 1e-3)
_BFLOAT16 = Tolerance(5e-2, 1e-2)
_FLOAT8 = Tolerance(0.25, 0.0625)


def default_tolerance(dtype: np.dtype[np.generic]) -> Tolerance:
    """Return the tolerance for an output of ``dtype``.

    A rewrite may add the same terms in another order. The error of a sum of n terms grows with n
    times the unit roundoff (Higham, Accuracy and Stability of Numerical Algorithms, section 4.2),
    and networks sum some thousand terms, layer after layer: float32 gets about 1000 units roundoff
    relative and 100 absolute. float64 is wider than that, since runtimes go through float32 tables
    and constants. The 16-bit types are stored narrow but summed in float32 by onnxruntime, so
    they differ by a few roundings: about ten units. Integers, bools and strings must be equal.
    """
    if dtype == np.dtype(ml_dtypes.bfloat16):
        return _BFLOAT16
    if dtype in _EXTENDED:
        return _FLOAT8
    if not _is_inexact(dtype):
        return EXACT
    if dtype == np.float16:
        return _FLOAT16
    return _FLOAT32 if dtype in (np.float32, np.complex64) else _FLOAT64


def _is_inexact(dtype: np.dtype[np.generic]) -> bool:
    return dtype.kind in "fc" or dtype in _EXTENDED


def widest(first: Tolerance, second: Tolerance) -> Tolerance:
    """Return a tolerance that passes whatever one of the two does."""
    return Tolerance(max(first.rtol, second.rtol), max(first.atol, second.atol))


@dataclass(frozen=True, slots=True)
class Comparison:
    """How one output of the rewritten model compares with the original's.

    Errors are taken over the elements that are finite on both sides. ``max_rel`` divides by the
    expected magnitude, or by ``atol`` where that is larger, so that noise around zero does not
    count as a large relative error. ``rtol_needed`` is the smallest rtol that would have passed at
    the ``atol`` used, ``atol_needed`` the smallest atol at the ``rtol`` used; None where no such
    tolerance exists (another shape, NaN on one side, a zero expected beyond ``atol``).
    """

    output: str
    dtype: str
    expected_dtype: str
    shape: tuple[int, ...] | None
    expected_shape: tuple[int, ...] | None
    dtype_equal: bool
    shape_equal: bool
    nan_equal: bool
    inf_equal: bool
    n_elements: int
    n_mismatched: int
    max_abs: float
    max_rel: float
    rtol: float
    atol: float
    rtol_needed: float | None
    atol_needed: float | None
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing differs by more than the tolerance."""
        return (
            self.dtype_equal
            and self.shape_equal
            and self.nan_equal
            and self.inf_equal
            and self.n_mismatched == 0
        )

    @property
    def tolerance_needed(self) -> tuple[float | None, float | None]:
        """``(rtol_needed, atol_needed)``."""
        return self.rtol_needed, self.atol_needed


def compare(
    output: str,
    expected: object,
    actual: object,
    tolerance: Tolerance | None = None,
    *,
    exact_integers: bool = True,
) -> Comparison:
    """Compare one output of two runs.

    Args:
        output: The name of the output, for the report.
        expected: What the original gave: an array or scalar, a list (sequence), a dict (map),
            None (empty optional).
        actual: What the rewritten model gave.
        tolerance: For inexact types; `default_tolerance` of the expected dtype where None.
        exact_integers: Whether integers and bools must be equal whatever ``tolerance`` says.
    """
    if isinstance(expected, list) and isinstance(actual, list):
        return _compare_items(output, expected, actual, tolerance, exact_integers)
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        return _compare_maps(output, expected, actual, tolerance, exact_integers)
    if expected is None and actual is None:
        return _verdict(output, "none", "none", None, None)
    if any(value is None or isinstance(value, (list, Mapping)) for value in (expected, actual)):
        kinds = _kind(actual), _kind(expected)
        return _verdict(output, *kinds, None, None, note=f"{kinds[0]} instead of {kinds[1]}")
    wanted, got = np.asarray(expected), np.asarray(actual)
    names = _dtype_name(got), _dtype_name(wanted)
    blank = _verdict(output, *names, got.shape, wanted.shape)
    if not (blank.shape_equal and blank.dtype_equal):
        return blank
    if wanted.dtype.kind in "OUS":
        return _compare_strings(blank, wanted, got)
    limits = tolerance or default_tolerance(wanted.dtype)
    if exact_integers and not _is_inexact(wanted.dtype):
        limits = EXACT
    return _compare_numbers(blank, wanted, got, limits)


def missing(output: str, note: str) -> Comparison:
    """Return the failed comparison of an output that only one of the models has."""
    return _verdict(output, "none", "tensor", None, None, note=note)


def _kind(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return "sequence"
    return "map" if isinstance(value, Mapping) else "tensor"


def _dtype_name(array: NDArray[np.generic]) -> str:
    return "string" if array.dtype.kind in "OUS" else array.dtype.name


def _verdict(
    output: str,
    dtype: str,
    expected_dtype: str,
    shape: tuple[int, ...] | None,
    expected_shape: tuple[int, ...] | None,
    note: str = "",
) -> Comparison:
    equal = dtype == expected_dtype and shape == expected_shape
    needed = 0.0 if equal else None
    return Comparison(
        output, dtype, expected_dtype, shape, expected_shape,
        dtype == expected_dtype, shape == expected_shape, True, True,
        0, 0, 0.0, 0.0, 0.0, 0.0, needed, needed, note,
    )  # fmt: skip


def _compare_items(
    output: str,
    expected: Sequence[object],
    actual: Sequence[object],
    tolerance: Tolerance | None,
    exact_integers: bool,
) -> Comparison:
    blank = _verdict(output, "sequence", "sequence", (len(actual),), (len(expected),))
    if len(expected) != len(actual):
        return blank
    parts = [
        compare(f"{output}[{number}]", wanted, got, tolerance, exact_integers=exact_integers)
        for number, (wanted, got) in enumerate(zip(expected, actual, strict=True))
    ]
    if not parts:
        return blank
    rtols, atols = [p.rtol_needed for p in parts], [p.atol_needed for p in parts]
    bad = [part.output for part in parts if not part.ok]
    return replace(
        blank,
        dtype_equal=all(part.dtype_equal for part in parts),
        shape_equal=all(part.shape_equal for part in parts),
        nan_equal=all(part.nan_equal for part in parts),
        inf_equal=all(part.inf_equal for part in parts),
        n_elements=sum(part.n_elements for part in parts),
        n_mismatched=sum(part.n_mismatched for part in parts),
        max_abs=max(part.max_abs for part in parts),
        max_rel=max(part.max_rel for part in parts),
        rtol=max(part.rtol for part in parts),
        atol=max(part.atol for part in parts),
        rtol_needed=None if None in rtols else max(r for r in rtols if r is not None),
        atol_needed=None if None in atols else max(a for a in atols if a is not None),
        note=f"differs in {', '.join(bad[:4])}" if bad else "",
    )


def _compare_maps(
    output: str,
    expected: Mapping[object, object],
    actual: Mapping[object, object],
    tolerance: Tolerance | None,
    exact_integers: bool,
) -> Comparison:
    if expected.keys() != actual.keys():
        return replace(
            _verdict(output, "map", "map", (len(actual),), (len(expected),)),
            n_elements=len(expected),
            n_mismatched=len(expected.keys() ^ actual.keys()),
            rtol_needed=None,
            atol_needed=None,
            note="other keys",
        )
    keys = list(expected)
    wanted, got = [expected[key] for key in keys], [actual[key] for key in keys]
    compared = _compare_items(output, wanted, got, tolerance, exact_integers)
    return replace(compared, dtype="map", expected_dtype="map")


def _compare_strings(
    blank: Comparison, expected: NDArray[np.generic], actual: NDArray[np.generic]
) -> Comparison:
    wrong = int(np.count_nonzero(expected.astype(str) != actual.astype(str)))
    needed = None if wrong else 0.0
    return replace(
        blank,
        n_elements=expected.size,
        n_mismatched=wrong,
        rtol_needed=needed,
        atol_needed=needed,
    )


@dataclass(slots=True)
class _Running:
    """What is known after some of the elements."""

    mismatched: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    rtol: float = 0.0
    atol: float = 0.0
    nan_equal: bool = True
    inf_equal: bool = True


def _compare_numbers(
    blank: Comparison,
    expected: NDArray[np.generic],
    actual: NDArray[np.generic],
    limits: Tolerance,
) -> Comparison:
    """Go through the elements in pieces, so that the temporaries stay small."""
    running = _Running()
    flat_expected, flat_actual = expected.reshape(-1), actual.reshape(-1)
    with np.errstate(all="ignore"):
        for start in range(0, expected.size, _CHUNK):
            piece = slice(start, start + _CHUNK)
            _add(running, flat_expected[piece], flat_actual[piece], limits)
    reachable = running.nan_equal and running.inf_equal
    return replace(
        blank,
        nan_equal=running.nan_equal,
        inf_equal=running.inf_equal,
        n_elements=expected.size,
        n_mismatched=running.mismatched,
        max_abs=running.max_abs,
        max_rel=running.max_rel,
        rtol=limits.rtol,
        atol=limits.atol,
        rtol_needed=running.rtol if reachable and math.isfinite(running.rtol) else None,
        atol_needed=running.atol if reachable and math.isfinite(running.atol) else None,
    )


def _add(
    running: _Running,
    expected: NDArray[np.generic],
    actual: NDArray[np.generic],
    limits: Tolerance,
) -> None:
    if expected.dtype.kind in "biu":
        difference, magnitude = _integer_difference(expected, actual)
    else:
        wide = np.complex128 if expected.dtype.kind == "c" else np.float64
        wanted, got = expected.astype(wide), actual.astype(wide)
        same_nan = np.isnan(wanted) == np.isnan(got)
        # An infinity must meet the same infinity; for complex numbers also in each part.
        infinite = (np.isinf(wanted) | np.isinf(got)) & ~np.isnan(wanted) & ~np.isnan(got)
        same_inf = ~infinite | (wanted == got)
        running.nan_equal &= bool(same_nan.all())
        running.inf_equal &= bool(same_inf.all())
        finite = np.isfinite(wanted) & np.isfinite(got)
        running.mismatched += int(np.count_nonzero(~same_nan | ~same_inf))
        wanted, got = wanted[finite], got[finite]
        difference, magnitude = np.abs(got - wanted), np.abs(wanted)
    if not difference.size:
        return
    running.mismatched += int(np.count_nonzero(_beyond(difference, magnitude, limits)))
    running.max_abs = max(running.max_abs, float(difference.max()))
    apart = difference > 0
    if apart.any():
        difference, magnitude = difference[apart], magnitude[apart]
        relative = difference / np.maximum(magnitude, limits.atol)
        running.max_rel = max(running.max_rel, float(relative.max()))
        running.rtol = max(running.rtol, _needed_rtol(difference, magnitude, limits.atol))
        running.atol = max(running.atol, _needed_atol(difference, magnitude, limits.rtol))


def _integer_difference(
    expected: NDArray[np.generic], actual: NDArray[np.generic]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return |a - b| and |b|; the difference is taken in 64 bits modulo, so it cannot overflow."""
    if expected.dtype.kind == "b":
        expected, actual = expected.astype(np.uint8), actual.astype(np.uint8)
    wide = np.uint64 if expected.dtype.kind == "u" else np.int64
    wanted, got = expected.astype(wide), actual.astype(wide)
    larger, smaller = np.maximum(wanted, got), np.minimum(wanted, got)
    difference = larger.view(np.uint64) - smaller.view(np.uint64)
    return difference.astype(np.float64), np.abs(wanted.astype(np.float64))


def _beyond(
    difference: NDArray[np.float64], magnitude: NDArray[np.float64], limits: Tolerance
) -> NDArray[np.bool_]:
    return ~(difference <= limits.atol + limits.rtol * magnitude)


def _needed_rtol(
    difference: NDArray[np.float64], magnitude: NDArray[np.float64], atol: float
) -> float:
    over = difference > atol
    if not over.any():
        return 0.0
    difference, magnitude = difference[over], magnitude[over]
    rtol = float(((difference - atol) / magnitude).max())
    # The quotient is rounded: step up until the test, which rounds otherwise, passes too.
    while math.isfinite(rtol) and _beyond(difference, magnitude, Tolerance(rtol, atol)).any():
        rtol = max(math.nextafter(rtol, math.inf), rtol * (1 + 2**-52))
    return rtol


def _needed_atol(
    difference: NDArray[np.float64], magnitude: NDArray[np.float64], rtol: float
) -> float:
    atol = max(0.0, float((difference - rtol * magnitude).max()))
    while math.isfinite(atol) and _beyond(difference, magnitude, Tolerance(rtol, atol)).any():
        atol = max(math.nextafter(atol, math.inf), atol * (1 + 2**-52))
    return atol
