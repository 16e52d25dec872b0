"""The sizes that a dynamic model is run at."""

from __future__ import annotations

import math

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from onnx_fix.errors import UsageError
from onnx_fix.verify import plan_sizes
from onnx_fix.verify.sizes import MAX_TRIES, alternatives, plan


def model(*shapes: tuple[int | str, ...]) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(f"x{number}", TensorProto.FLOAT, shape)
        for number, shape in enumerate(shapes)
    ]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return helper.make_model(
        helper.make_graph([helper.make_node("Identity", ["x0"], ["y"])], "g", inputs, [out])
    )


@given(st.integers(1, 14), st.integers(1, 6))
def test_medium_sizes_are_odd_and_tell_symbols_apart(symbols: int, count: int) -> None:
    names = [f"s{number}" for number in range(symbols)]
    built = model(*[(name, "b", 3, 7) for name in names])
    sets = plan_sizes(built, count=count)
    assert len(sets) == count
    for number, sizes in enumerate(sets):
        if number == 2:
            assert set(sizes.values()) == {1}
            continue
        assert len(set(sizes.values())) == symbols + 1
        assert all(size % 2 and size not in (1, 3, 7) for size in sizes.values())
    if count > 1:
        assert all(sets[0][name] != sets[1][name] for name in sets[0])
    assert sets == plan_sizes(built, count=count)


def test_sizes_of_the_profile_are_run_and_generated_ones_lie_inside() -> None:
    built = model(("B", 1, "H", "W"))
    dims = {"H": (64, 240, 480), "W": (64, 320, 640)}
    sets = plan_sizes(built, dims, 2)
    assert [(s["H"], s["W"]) for s in sets[2:]] == [(64, 64), (240, 320), (480, 640)]
    for sizes in sets[:2]:
        assert 64 <= sizes["H"] <= 480 and 64 <= sizes["W"] <= 640
        assert sizes["H"] % 2 and sizes["H"] != sizes["W"]


def test_generated_sizes_inside_a_profile_that_begins_at_one_are_not_one() -> None:
    built = model(("T", "B", 24))
    first, second = plan_sizes(built, {"T": (1, 16, 64), "B": (1, 2, 4)}, 2)[:2]
    assert all(1 < sizes["B"] <= 4 and 1 < sizes["T"] <= 64 for sizes in (first, second))
    assert first["B"] != second["B"] and first["T"] != second["T"]


def test_a_profile_of_one_size_keeps_to_it() -> None:
    sets = plan_sizes(model(("N",)), {"N": (8, 8, 8)}, 1)
    assert sets == [{"N": 8}]


def test_a_model_of_fixed_sizes_has_empty_sets() -> None:
    assert plan_sizes(model((2, 3)), None, 3) == [{}, {}]


@pytest.mark.parametrize(
    ("dims", "message"),
    [({"X": (1, 2, 3)}, "dynamic dim 'X'; the model's are: N"), ({"N": (3, 2, 4)}, "3, 2, 4")],
)
def test_a_wrong_profile_is_refused(dims: dict[str, tuple[int, int, int]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_sizes(model(("N",)), dims)


def test_alternatives_are_bounded_new_and_only_for_generated_sets() -> None:
    built = model(("a", "b", "H", "W"), ("c", "d", "e"))
    generated, _, ones, *profile = plan(built, {"H": (32, 64, 96)}, 3)
    found = alternatives(built, generated, {"H": (32, 64, 96)})
    assert 0 < len(found) <= MAX_TRIES
    assert all(32 <= other.sizes["H"] <= 96 for other in found if other.rule[0] == "multiples")
    assert all(other.sizes != generated.sizes for other in found)
    assert alternatives(built, ones) == []
    assert [alternatives(built, sizes) for sizes in profile] == [[]] * 3


def test_many_dims_are_kept_small() -> None:
    built = model(tuple(f"d{k}" for k in range(7)))
    sets = plan_sizes(built)
    assert all(math.prod(sizes.values()) <= 1 << 22 for sizes in sets)
    assert min(sets[0].values()) >= 2
    low = plan_sizes(built, {"d0": (40, 40, 40)}, 1)[0]
    assert low["d0"] == 40 and math.prod(low.values()) <= 1 << 22
    others = [a for planned in plan(built, None, 1) for a in alternatives(built, planned)]
    assert others and all(math.prod(a.sizes.values()) <= 1 << 22 for a in others)
