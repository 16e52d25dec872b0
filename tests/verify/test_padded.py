"""An output that has become longer is compared as far as its count says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnx_fix.contract import Padded
from onnx_fix.verify.padded import compare_padded

ROWS = Padded("y", 0, (("c", 5), ("d", 9)))
THREE = np.arange(6.0).reshape(3, 2)


def longer(values: Any, filler: float = -1.0) -> Any:
    return np.concatenate([values, np.full((5 - len(values), 2), filler)])


def counts(c: int, d: int = 3) -> dict[str, object]:
    return {"c": np.asarray(c, np.int64), "d": np.asarray(d, np.int64)}


@pytest.mark.parametrize("filler", [-1.0, 0.0, np.nan])
def test_padding_does_not_count(filler: float) -> None:
    found = compare_padded(ROWS, THREE, longer(THREE, filler), counts(3), None)
    assert found.ok and found.n_elements == 6 and found.note == "3 compared, 2 more are padding"


def test_rows_do() -> None:
    wrong = longer(THREE)
    wrong[2, 1] += 1
    assert not compare_padded(ROWS, THREE, wrong, counts(3), None).ok
    assert not compare_padded(ROWS, THREE, longer(THREE[::-1]), counts(3), None).ok
    assert not compare_padded(ROWS, THREE, longer(THREE).astype(np.float32), counts(3), None).ok


@pytest.mark.parametrize(
    ("said", "of_the_other", "ok"),
    [(3, 3, True), (2, 3, False), (2, 9, True), (0, 9, True), (4, 9, False), (-1, 9, False)],
)
def test_the_count_is_held_to_the_original(said: int, of_the_other: int, ok: bool) -> None:
    found = compare_padded(ROWS, THREE, longer(THREE), counts(said, of_the_other), None)
    assert found.ok == ok
    if said == 2 and ok:
        assert found.note == "the first 2 of 3 compared, 3 more are padding"
    if not ok:
        assert found.note == f"'c' says that {said} of 5 are filled; the original has 3"


def test_more_than_there_is_room_for() -> None:
    many = np.arange(16.0).reshape(8, 2)
    found = compare_padded(ROWS, many, many[:5], counts(5, 8), None)
    assert found.ok and found.note == "the first 5 of 8 compared, 0 more are padding"
    assert not compare_padded(ROWS, many, many[3:], counts(5, 8), None).ok


def test_along_another_axis() -> None:
    columns = Padded("y", 1, (("c", 5),))
    found = compare_padded(columns, THREE.T, longer(THREE).T, {"c": np.asarray(3)}, None)
    assert found.ok and found.n_elements == 6


def test_what_is_no_such_thing() -> None:
    assert not compare_padded(ROWS, THREE, longer(THREE), {}, None).ok
    assert not compare_padded(ROWS, THREE, longer(THREE), {"c": np.asarray(3)}, None).ok
    assert not compare_padded(ROWS, [THREE], [longer(THREE)], counts(3), None).ok
    assert not compare_padded(ROWS, THREE, longer(THREE).reshape(-1), counts(3), None).ok
