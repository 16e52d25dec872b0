"""Tables of sines and cosines of positions, from few rows to many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from onnx_fix.contract import Exactness
from onnx_fix.symbolic import size
from onnx_fix.unfreeze.tables import Recipe, Sample, Unknown, recognise

Array = NDArray[Any]


def frequencies(base: float, count: int) -> Array:
    steps = np.arange(0, 2 * count, 2, dtype=np.float32) / np.float32(2 * count)
    return np.float32(1) / np.float32(base) ** steps


def angles(rows: int, base: float, count: int) -> Array:
    positions = np.arange(rows, dtype=np.float32)[:, None]
    return np.asarray(positions * frequencies(base, count)[None], np.float32)


def halves(rows: int, base: float, count: int) -> Array:
    table: Array = np.cos(np.concatenate([angles(rows, base, count)] * 2, axis=1))
    return table


def pairs(rows: int, base: float, count: int) -> Array:
    table: Array = np.sin(np.repeat(angles(rows, base, count), 2, axis=1))
    return table


def in_turn(rows: int, base: float, count: int) -> Array:
    table = np.empty((rows, 2 * count), np.float32)
    table[:, 0::2] = np.sin(angles(rows, base, count))
    table[:, 1::2] = np.cos(angles(rows, base, count))
    return table


def side_by_side(rows: int, base: float, count: int) -> Array:
    whole = angles(rows, base, count)
    return np.concatenate([np.cos(whole), np.sin(whole)], axis=1)


def found(samples: list[Array], count: int) -> Recipe | Unknown:
    return recognise(
        [size("n"), size(2 * count)], [Sample(array, {"n": len(array)}) for array in samples]
    )


@pytest.mark.parametrize("make", [halves, pairs, in_turn, side_by_side])
@pytest.mark.parametrize("base", [10000, 1000, 777])
@pytest.mark.parametrize("count", [4, 16])
@pytest.mark.parametrize("rows", [(24,), (13, 26)])
def test_positions(make: Any, base: float, count: int, rows: tuple[int, ...]) -> None:
    made = found([make(n, base, count) for n in rows], count)
    assert isinstance(made, Recipe), made.reason
    assert made.exactness is Exactness.ROUNDING
    for n in (1, 5, 300):
        expected = make(n, base, count)
        np.testing.assert_allclose(np.asarray(made.make({"n": n}), np.float32), expected, atol=5e-5)


def test_a_slow_wave_takes_many_rows() -> None:
    few = found([halves(12, 5e6, 16)], 16)
    assert isinstance(few, Unknown) and "too slow" in few.reason


def test_few_rows_tell_nothing() -> None:
    assert isinstance(found([halves(7, 10000, 4)], 4), Unknown)


@pytest.mark.parametrize("seed", range(5))
def test_other_frequencies_are_none_of_a_family(seed: int) -> None:
    some = np.random.default_rng(seed).uniform(0.05, 1, 8).astype(np.float32)
    table = np.cos(np.arange(30, dtype=np.float32)[:, None] * some[None])
    assert isinstance(found([table], 4), Unknown)


def test_one_number_off() -> None:
    table = halves(24, 10000, 4)
    table[17, 2] += 1e-4
    assert isinstance(found([table], 4), Unknown)


def test_samples_that_disagree() -> None:
    assert isinstance(found([halves(13, 10000, 4), halves(24, 1000, 4)], 4), Unknown)


def test_a_frequency_that_changes_with_the_length() -> None:
    stretched = halves(26, 10000, 4)
    stretched = np.cos(np.arccos(stretched[:, :1] * 0 + 1) + np.arange(26)[:, None] * 0.4)
    table = np.repeat(stretched, 8, axis=1).astype(np.float32)
    assert isinstance(found([halves(13, 10000, 4), table], 4), Unknown)
