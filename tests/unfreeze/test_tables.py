"""A table that was baked at one size is made again at others, with numpy and by nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from onnx_fix.contract import Exactness
from onnx_fix.errors import UsageError
from onnx_fix.symbolic import parse_size
from onnx_fix.testing import run_model
from onnx_fix.unfreeze.emit_sizes import Nodes
from onnx_fix.unfreeze.tables import Recipe, Sample, Unknown, recognise

Array = NDArray[Any]
Make = Callable[..., Array]
Values = Mapping[str, int]

NAMES = ("n", "m", "h", "w")
ONE: Sequence[Values] = ({"n": 13, "m": 17, "h": 96, "w": 160},)
TWO: Sequence[Values] = (*ONE, {"n": 21, "m": 14, "h": 160, "w": 128})
OTHERS: Sequence[Values] = (
    {"n": 40, "m": 7, "h": 128, "w": 96},
    {"n": 5, "m": 31, "h": 224, "w": 512},
)


def emitted(recipe: Recipe, values: Values, opset: int = 17) -> Array:
    """What the nodes give for these sizes."""
    nodes = Nodes(opset, {name: ("x", k) for k, name in enumerate(NAMES)})
    name = recipe.emit(nodes)
    dtype = helper.np_dtype_to_tensor_dtype(recipe.make(values).dtype)
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.BOOL, list(NAMES))],
        [helper.make_tensor_value_info("y", dtype, [None] * len(recipe.dims))],
    )
    nodes.insert(graph)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", opset)])
    onnx.checker.check_model(model, full_check=True)
    (got,) = run_model(model, {"x": np.zeros([values[n] for n in NAMES], np.bool_)})
    return got


def study(
    dims: str, make: Make, at: Sequence[Values], known: Sequence[str] = ()
) -> Recipe | Unknown:
    sizes = [parse_size(d) for d in dims.split(",") if d]
    samples = [Sample(make(**v), v) for v in at]
    return recognise(sizes, samples, known=[parse_size(k) for k in known])


def check(dims: str, make: Make, at: Sequence[Values] = ONE, known: Sequence[str] = ()) -> Recipe:
    """It is recognised, and is the same at other sizes as well, by numpy and by nodes."""
    recipe = study(dims, make, at, known)
    assert isinstance(recipe, Recipe), recipe
    assert recipe.exactness is Exactness.EXACT
    for values in (*at, *OTHERS):
        want, made = make(**values), recipe.make(values)
        for have in (made, emitted(recipe, values)):
            assert have.dtype == want.dtype and have.shape == want.shape
            np.testing.assert_array_equal(have, want)
    return recipe


def refused(dims: str, make: Make, at: Sequence[Values] = ONE, known: Sequence[str] = ()) -> str:
    found = study(dims, make, at, known)
    assert isinstance(found, Unknown), str(found)
    return found.reason


def f32(x: object) -> Array:
    return np.asarray(x, np.float32)


def grid(h: int, w: int, s: int) -> Array:
    y, x = np.meshgrid(np.arange(h // s), np.arange(w // s), indexing="ij")
    return np.stack([x, y], -1).reshape(-1, 2)


def levels(h: int, w: int) -> Array:
    return f32(np.concatenate([(grid(h, w, s) + 0.5) * s for s in (8, 16, 32)]))


PYRAMID = "h//8*(w//8) + h//16*(w//16) + h//32*(w//32)"


# -- what is recognised ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -np.inf, 1.5, np.nan, 1e-6])
def test_fills(value: float) -> None:
    check("1,n,m", lambda n, m, **_: np.full((1, n, m), value, np.float32))


def test_fills_of_other_types() -> None:
    check("n,4", lambda n, **_: np.full((n, 4), True))
    check("n", lambda n, **_: np.full(n, 3, np.int32))
    check("n", lambda n, **_: np.full(n, 0.5, np.float16))
    check("n,m", lambda n, m, **_: np.full((n, m), -1, np.int64))


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.float32, np.float16, np.float64])
def test_aranges(dtype: type) -> None:
    check("n", lambda n, **_: np.arange(n).astype(dtype))
    check("1,n,1", lambda n, **_: (2 + 3 * np.arange(n)).astype(dtype).reshape(1, n, 1))
    check("n,m", lambda n, m, **_: np.broadcast_to(np.arange(m).astype(dtype), (n, m)))


def test_an_arange_that_ends_at_zero() -> None:
    check("n", lambda n, **_: np.arange(n)[::-1].copy(), TWO)
    check("n", lambda n, **_: 1 - np.arange(n))


@pytest.mark.parametrize("step", [0.1, 0.5, 1 / 3, 0.0625, 2.7])
@pytest.mark.parametrize("start", [0.0, 0.3, -1.7])
def test_even_floats(step: float, start: float) -> None:
    def make(n: int, **_: int) -> Array:
        return np.arange(n).astype(np.float32) * np.float32(step) + np.float32(start)

    check("n", make)


def test_centres() -> None:
    check("n", lambda n, **_: (np.arange(n, dtype=np.float32) + np.float32(0.5)) * np.float32(8))
    check("n", lambda n, **_: (np.arange(n, dtype=np.float32) + np.float32(0.5)) / np.float32(7))


def test_normalised_positions() -> None:
    half, two, one = np.float32(0.5), np.float32(2), np.float32(1)

    def centres(n: int, **_: int) -> Array:
        return (np.arange(n, dtype=np.float32) + half) / np.float32(n)

    check("n", centres, TWO)

    def ends(n: int, **_: int) -> Array:
        return np.arange(n, dtype=np.float32) / np.float32(n - 1) * two - one

    assert "several rules fit" in refused("n", ends, TWO)  # Both are odd: n//2 would do as well.
    check("n", ends, [TWO[0], {**TWO[1], "n": 20}])
    check("n", lambda n, **_: np.arange(n, dtype=np.float32) / np.float32(n), TWO)
    check("n", lambda n, m, **_: np.arange(n, dtype=np.float32) / np.float32(m), TWO, ["m"])
    # The divisor may be the constant 13.
    assert "export" in refused("n", centres)


def test_linspace_as_frameworks_compute_it() -> None:
    def make(n: int, **_: int) -> Array:
        step = np.float32(2) / np.float32(n - 1)
        up = np.float32(-1) + step * np.arange(n, dtype=np.float32)
        down = np.float32(1) - step * np.arange(n - 1, -1, -1).astype(np.float32)
        return np.where(np.arange(n) < n // 2, up, down).astype(np.float32)

    check("n", make, TWO)


def test_tables_of_starts_and_steps() -> None:
    frequencies = f32(10000.0 ** (-np.arange(32) / 32))
    check("n,32", lambda n, **_: np.arange(n, dtype=np.float32)[:, None] * frequencies)
    offsets = np.arange(64) ** 2
    check("1,n,64", lambda n, **_: (np.arange(n)[:, None] * 5 + offsets)[None])


def test_positions_by_channel() -> None:
    check("1,n,2", lambda n, **_: np.stack([np.arange(n), np.full(n, 1)], -1)[None])

    def make(h: int, w: int, **_: int) -> Array:
        y, x = np.meshgrid(np.arange(h // 8), np.arange(w // 8), indexing="ij")
        return f32(np.stack([x, y], 0)[None])

    check("1,2,h//8,w//8", make)


def test_flattened_grids() -> None:
    check("h//8*(w//8),2", lambda h, w, **_: grid(h, w, 8))
    check("h//8*(w//8)", lambda h, w, **_: np.arange((h // 8) * (w // 8)))
    check("1,h//8*(w//8),2", lambda h, w, **_: f32((grid(h, w, 8)[None] + 0.5) * 8))


def test_grids_with_more_than_one_anchor_a_place() -> None:
    check("3*(h//16)*(w//16),2", lambda h, w, **_: np.repeat(grid(h, w, 16), 3, axis=0))
    check("3*(h//16)*(w//16),2", lambda h, w, **_: np.tile(grid(h, w, 16), (3, 1)))


def test_a_grid_with_a_border() -> None:
    check("(n + 1)*(m + 1)", lambda n, m, **_: np.repeat(np.arange(n + 1), m + 1))


def test_levels_one_after_the_other() -> None:
    check(PYRAMID + ",2", lambda h, w, **_: levels(h, w))

    def strides(h: int, w: int, **_: int) -> Array:
        return f32(np.concatenate([np.full((len(grid(h, w, s)), 1), s) for s in (8, 16, 32)]))

    check(PYRAMID + ",1", strides, TWO)


def test_levels_whose_sizes_fold_into_one() -> None:
    def make(n: int, m: int, **_: int) -> Array:
        return levels(32 * n, 32 * m)

    assert refused("21*n*m,2", make, known=["16*n*m", "4*n*m", "n*m"])


def test_levels_with_a_border() -> None:
    def make(n: int, m: int, **_: int) -> Array:
        return np.concatenate([grid(n + 1, m + 1, 1), grid(n // 2 + 1, m // 2 + 1, 1)])

    known = ["(n + 1)*(m + 1)", "(n//2 + 1)*(m//2 + 1)"]
    check(f"{known[0]} + {known[1]},2", make, known=known)


def test_a_token_before_the_others() -> None:
    check("n + 1", lambda n, **_: np.concatenate([[7], np.zeros(n, np.int64)]))
    check("n + 1", lambda n, **_: f32(np.concatenate([np.arange(n) * 3, [-1]])), TWO)


def test_triangles_and_diagonals() -> None:
    check("1,1,n,n", lambda n, **_: np.tril(np.ones((n, n), np.bool_))[None, None])
    check("n,n", lambda n, **_: np.triu(np.full((n, n), -np.inf, np.float32), 1))
    check("n,n", lambda n, **_: np.eye(n, dtype=np.float32))
    check("n,n", lambda n, **_: ~np.eye(n, dtype=np.bool_))
    check("n,n", lambda n, **_: np.abs(np.subtract.outer(np.arange(n), np.arange(n))) <= 2)
    check("n,n", lambda n, **_: np.tril(np.ones((n, n), np.int64), -1))
    check("n,m", lambda n, m, **_: np.tril(np.ones((n, m), np.bool_), m - n), TWO)


def test_blocks_of_a_mask() -> None:
    check("n,n", lambda n, **_: np.equal.outer(np.arange(n) // 4, np.arange(n) // 4))


def test_distances() -> None:
    def apart(n: int) -> Array:
        return np.subtract.outer(np.arange(n), np.arange(n))

    check("n,n", lambda n, **_: apart(n))
    check("n,n", lambda n, **_: np.abs(apart(n)))
    check("n,n", lambda n, **_: f32(np.abs(apart(n))))
    check("n,n", lambda n, **_: np.clip(apart(n), -3, 4) + 3)
    check("n,m", lambda n, m, **_: np.clip(np.arange(m) - np.arange(n)[:, None], -5, 5))
    slopes = f32(2.0 ** -np.arange(1, 9) * 1.1)[:, None, None]
    check("8,n,n", lambda n, **_: -slopes * np.abs(apart(n)).astype(np.float32))


def shifted(h: int, w: int, ws: int, shift: int) -> Array:
    """The attention mask of shifted windows."""
    region = np.zeros((h, w), np.int64)
    count = 0
    cuts = [slice(0, -ws), slice(-ws, -shift), slice(-shift, None)]
    for rows in cuts:
        for columns in cuts:
            region[rows, columns] = count
            count += 1
    windows = region.reshape(h // ws, ws, w // ws, ws).transpose(0, 2, 1, 3).reshape(-1, ws * ws)
    return f32(np.where(windows[:, None] != windows[:, :, None], -100, 0))


@pytest.mark.parametrize("at", [ONE, TWO])
def test_shifted_windows(at: Sequence[Values]) -> None:
    check("n*m,16,16", lambda n, m, **_: shifted(4 * n, 4 * m, 4, 2), at)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: 1 / np.float32(n + 40),
        lambda n: np.log(np.float32(n + 40)),
        lambda n: -np.log(np.float32(n + 40)),
        lambda n: 1 / np.sqrt(np.float32(n + 40)),
        lambda n: np.sqrt(np.float32(n + 40)),
    ],
)
def test_functions_of_a_size(make: Callable[[int], float]) -> None:
    recipe = study("", lambda n, **_: f32(make(n)), ONE, ["n + 40"])
    assert isinstance(recipe, Recipe), recipe
    for values in OTHERS:
        for have in (recipe.make(values), emitted(recipe, values)):
            assert abs(have.item() / float(make(values["n"])) - 1) < 2e-7


def test_numbers_of_a_balanced_assignment() -> None:
    def make(n: int, m: int, **_: int) -> Array:
        norm = -np.log(f32(n + m))
        return f32([[norm] * n + [np.log(f32(m)) + norm]])

    for at in (ONE, TWO):
        recipe = study("1,n + 1", make, at, ["m"])
        assert isinstance(recipe, Recipe), recipe
        assert recipe.exactness is Exactness.ROUNDING and not recipe.assumed
        for values in OTHERS:
            for have in (recipe.make(values), emitted(recipe, values)):
                assert np.abs(have - make(**values)).max() < 2e-6


def test_a_parameter_is_not_mixed_with_numbers_made_from_sizes() -> None:
    def make(n: int, **_: int) -> Array:
        return f32([-np.log(f32(n))] * n + [0.31264])

    assert "0.3126" in refused("n + 1", make) and "made from sizes too" in refused("n + 1", make)
    recipe = study("n + 1", make, TWO)
    assert isinstance(recipe, Recipe) and not recipe.assumed
    fill = check("n", lambda n, **_: np.full(n, 0.31264, np.float32))
    assert fill.assumed == (float(np.float32(0.31264)),)


@pytest.mark.parametrize("name", ["cos", "sin", "half", "pairs"])
@pytest.mark.parametrize("base", [100.0, 10000.0, 500000.0])
def test_rotary_and_sinusoidal_tables(name: str, base: float) -> None:
    speeds = f32(base) ** -(f32(np.arange(0, 16, 2)) / f32(16))

    def make(n: int, **_: int) -> Array:
        angle = np.arange(n, dtype=np.float32)[:, None] * speeds
        both = np.sin(angle), np.cos(angle)
        if name == "half":
            return np.concatenate(both, -1)
        if name == "pairs":
            return np.stack(both, -1).reshape(n, 16)
        return np.tile(both[name == "cos"], 2)[None, None]

    dims = "n,16" if name in ("half", "pairs") else "1,1,n,16"
    recipe = study(dims, make, ONE)
    assert isinstance(recipe, Recipe), recipe
    assert recipe.exactness is Exactness.ROUNDING
    for values in (*OTHERS, {**ONE[0], "n": 300}):
        for have in (recipe.make(values), emitted(recipe, values)):
            want = make(**values)
            assert have.shape == want.shape and np.abs(have - want).max() < 3e-5


def test_few_numbers_that_are_sizes() -> None:
    check("2", lambda h, w, **_: f32([w, h]), TWO)
    check("1,4", lambda h, w, **_: np.array([[1, 3, h // 8, w // 8]]), TWO, ["h//8", "w//8"])


# -- what is not -----------------------------------------------------------------------------------


def test_weights_are_no_table() -> None:
    noise = np.random.default_rng(0).normal(size=(64, 48)).astype(np.float32)
    reason = refused("n,48", lambda n, **_: noise[:n])
    assert "a table of 13x48 numbers that follow no rule in the sizes" in reason
    assert "was it computed from weights?" in reason
    assert refused("n", lambda n, **_: noise[0, :n])
    assert refused("n,m", lambda n, m, **_: noise[:n, :m])
    assert refused("h//8*(w//8)", lambda **_: noise.reshape(-1)[: 12 * 20])


@pytest.mark.parametrize("n", [1, 2])
def test_short_axes_tell_nothing(n: int) -> None:
    reason = refused("n", lambda n, **_: np.arange(n), [{"n": n}])
    assert "too few to see a rule" in reason


def test_no_elements_tell_nothing() -> None:
    assert "no export has any" in refused("n", lambda n, **_: np.arange(n), [{"n": 0}])
    check("n", lambda n, **_: np.arange(n), [{"n": 0, "m": 1, "h": 1, "w": 1}, *ONE])


def test_a_number_that_equals_a_size() -> None:
    reason = refused("n", lambda n, **_: np.full(n, n))
    assert "is 13, which may be a constant or n" in reason
    assert refused("n", lambda n, **_: np.arange(n) + n)
    assert refused("", lambda **_: f32(13.0), known=["n"])
    check("n", lambda n, **_: np.full(n, n), TWO)
    check("n", lambda n, **_: np.arange(n) + n, TWO)
    check("n", lambda n, **_: np.full(n, 13), TWO)


def test_a_square_grid_hides_its_order() -> None:
    square = [{"n": 6, "m": 6}]
    reason = refused("n*m", lambda n, m, **_: np.tile(np.arange(n), m), square)
    assert "several rules fit" in reason and "export again at" in reason


def test_a_step_that_equals_one_over_the_length() -> None:
    at = [{"n": 16}]
    assert refused("n", lambda n, **_: np.arange(n, dtype=np.float32) / np.float32(n), at)


def test_three_positions_tell_too_little() -> None:
    ends = f32([-1, 0, 1])
    assert "three positions" in refused("n", lambda **_: ends, [{"n": 3}])


def test_half_of_an_axis() -> None:
    reason = refused("n", lambda n, **_: (np.arange(n) >= 6).astype(np.int64))
    assert "another export" in reason
    check("n", lambda n, **_: (np.arange(n) >= n - 3).astype(np.int64), TWO)


def test_a_rectangle_hides_nothing_but_equal_sizes_do() -> None:
    equal = [{"n": 9, "m": 9}]
    reason = refused("n,m", lambda n, m, **_: np.tril(np.ones((n, m), np.bool_)), equal)
    assert "the diagonal" in reason


def test_samples_that_disagree() -> None:
    assert "where the sizes say" in refused("n,2", lambda n, **_: np.zeros((n, 3)))
    made = recognise(
        [parse_size("n")],
        [Sample(np.zeros(3), {"n": 3}), Sample(np.zeros(4, np.int64), {"n": 4})],
    )
    assert isinstance(made, Unknown) and "of type" in made.reason
    assert isinstance(recognise([], []), Unknown)
    assert "no rule" in refused("n", lambda n, **_: np.zeros(n, np.complex64))


@pytest.mark.parametrize("opset", [11, 13, 21, 25])
def test_every_operator_set(opset: int) -> None:
    found = [
        study("h//8*(w//8),2", lambda h, w, **_: grid(h, w, 8), ONE),
        study("n,n", lambda n, **_: np.eye(n, dtype=np.float32), ONE),
        study("n*m,4,4", lambda n, m, **_: shifted(2 * n, 2 * m, 2, 1), ONE),
        study("n", lambda n, **_: 4 - np.arange(n), ONE),
    ]
    for recipe in found:
        assert isinstance(recipe, Recipe), recipe
        np.testing.assert_array_equal(emitted(recipe, ONE[0], opset), recipe.make(ONE[0]))


def test_old_operator_sets() -> None:
    recipe = check("n", lambda n, **_: np.arange(n))
    assert recipe.opset == 11
    with pytest.raises(UsageError, match="Range"):
        emitted(recipe, ONE[0], opset=10)
    fill = check("n", lambda n, **_: np.zeros(n, np.float32))
    assert fill.opset == 9
    np.testing.assert_array_equal(emitted(fill, ONE[0], opset=9), np.zeros(13, np.float32))


# -- families --------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    st.integers(-5, 5), st.integers(-9, 9), st.integers(-9, 9), st.sampled_from(["i8", "i4", "f4"])
)
def test_integers_over_a_grid(start: int, down: int, across: int, kind: str) -> None:
    def make(n: int, m: int, **_: int) -> Array:
        i, j = np.ogrid[:n, :m]
        made: Array = (start + down * i + across * j).astype(kind)
        return made

    found = study("n,m", make, TWO)
    assert isinstance(found, Recipe), found
    for values in OTHERS:
        np.testing.assert_array_equal(found.make(values), make(**values))


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 20), st.integers(3, 20), st.integers(0, 10**6))
def test_random_numbers_are_never_recognised(n: int, m: int, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=(n, m)).astype(np.float32)
    found = recognise([parse_size("n"), parse_size("m")], [Sample(noise, {"n": n, "m": m})])
    assert isinstance(found, Unknown)


FROM_SIZES = ["n", "n - 1", "1 - n", "m", "m - n", "n*m", "n//2"]
TERMS = st.sampled_from(["0", "1", "-1", "2", "7", *FROM_SIZES])
SIZES = st.tuples(st.integers(9, 30), st.integers(3, 20)).map(
    lambda t: {"n": t[0], "m": t[0] + t[1]}
)


KINDS = ["counted", "flat", "mask", "from", "divided", "centres", "blocks", "cut", "last"]


def built(kind: str, start: int, step: int, n: int, m: int) -> Array:
    """A table of n x m numbers, some of which are made from sizes."""
    i, j = np.arange(n)[:, None], np.arange(m)[None]
    zero = np.zeros((n, m), np.int64)
    size = max(abs(start), 1)
    made: Mapping[str, Callable[[], Array]] = {
        "counted": lambda: start + step * i + zero,
        "flat": lambda: start + m * i + j,
        "mask": lambda: (j - i >= start).astype(np.float32),
        "from": lambda: (i + zero >= abs(start)).astype(np.int64),
        "divided": lambda: f32(i + zero) / f32(size),
        "centres": lambda: (f32(i + zero) + f32(0.5)) / f32(max(abs(step), 1)) + f32(start),
        "blocks": lambda: (i // size == j // size).astype(np.float32),
        "cut": lambda: np.clip(j - i, -abs(start), abs(step)),
        "last": lambda: np.where(i == n - 1, start, step) + zero,
    }
    return made[kind]()


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(
        ["counted", "flat", "mask", "from", "divided", "centres", "blocks", "cut", "last"]
    ),
    TERMS,
    TERMS,
    SIZES,
    SIZES,
    st.booleans(),
)
def test_it_is_never_sure_and_wrong(
    kind: str, start: str, step: str, one: Values, two: Values, both: bool
) -> None:
    def make(n: int, m: int) -> Array:
        values = {"n": n, "m": m}
        return built(kind, parse_size(start).at(values), parse_size(step).at(values), n, m)

    at = [one, two] if both else [one]
    # Numbers up to 2 are taken for constants.
    assume(all(abs(parse_size(t).at(v)) > 2 for t in FROM_SIZES for v in at))
    # What lies outside of a table leaves no trace in it.
    for v in at:
        first, second = (abs(parse_size(t).at(v)) for t in (start, step))
        assume(kind not in ("from", "mask", "cut", "blocks") or first < min(v["n"], v["m"]) - 1)
        assume(kind != "cut" or second < v["m"] - 1)
    found = study("n,m", make, at, FROM_SIZES)
    if isinstance(found, Recipe):
        for n, m in ((31, 37), (8, 50), (41, 60)):
            want, made = make(n, m), found.make({"n": n, "m": m})
            assert made.shape == want.shape and np.allclose(made, want, rtol=1e-5), str(found)
