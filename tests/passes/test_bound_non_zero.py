"""BoundNonZero: a fixed number of columns, padding, and a count that says where it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from live_parser import rtx
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    RuntimeException,
)

import onnx_fix
from onnx_fix.contract import Change, Exactness
from onnx_fix.errors import ModelError, OptionError, UsageError, VerificationError
from onnx_fix.pipeline import configure, parse_pipeline
from onnx_fix.report import summarise
from onnx_fix.testing import as_proto, ops, run_model, run_pass, skip_reasons
from onnx_fix.verify import verify
from onnx_fix_passes.bound_non_zero import BoundNonZero
from onnx_fix_passes.lower_opset import LowerOpset
from onnx_fix_passes.replace_cum_sum import ReplaceCumSum

PADDINGS = ("repeat-last", "minus-one", "zero")
RANDOM = np.random.default_rng(11)
LETTERS = "ABCDE"


def bound(most: int, padding: Any = "repeat-last", name: str = "*") -> BoundNonZero:
    return BoundNonZero(max_count={name: most}, padding=padding)


def header(opset: int = 13) -> str:
    return f'<ir_version: 8, opset_import: ["" : {opset}]>'


def changes(model: ModelProto | str, pass_: BoundNonZero, target: str = "trt-7.2") -> list[Change]:
    _, results = run_pass(pass_, model, target=target)
    return [c for r in results for c in r.changes]


def named(model: ModelProto, feeds: dict[str, Any]) -> dict[str, NDArray[Any]]:
    return dict(zip((o.name for o in model.graph.output), run_model(model, feeds), strict=True))


def fixed(model: str, pass_: BoundNonZero, target: str = "trt-7.2") -> ModelProto:
    made, _ = run_pass(pass_, model, target=target)
    onnx.checker.check_model(made, full_check=True)
    assert "NonZero" not in ops(made)
    again, results = run_pass(pass_, made, target=target)
    assert again == made and not any(r.changes for r in results)
    return made


def padded(row: NDArray[Any], most: int, padding: str) -> NDArray[Any]:
    """What a bounded NonZero must give in place of ``row``, columns along the last axis."""
    kept = row[..., :most]
    if padding == "minus-one":
        last = np.full_like(row[..., :0], 0, shape=(*row.shape[:-1], 1)) - 1
    elif padding == "zero" or kept.shape[-1] == 0:
        last = np.zeros((*row.shape[:-1], 1), row.dtype)
    else:
        last = kept[..., -1:]
    return np.concatenate([kept, np.repeat(last, most - kept.shape[-1], axis=-1)], axis=-1)


# -- the coordinates themselves -------------------------------------------------------------------


def mask_model(rank: int, dims: str, kind: str = "bool", opset: int = 13) -> str:
    return f"{header(opset)} g ({kind}[{dims}] m) => (int64[{rank},N] n) {{ n = NonZero (m) }}"


@st.composite
def masks(draw: st.DrawFn) -> NDArray[np.bool_]:
    shape = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    share = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    seed = draw(st.integers(0, 2**16))
    return np.random.default_rng(seed).random(tuple(shape)) < share


@settings(max_examples=60, deadline=None)
@given(
    mask=masks(),
    most=st.integers(1, 12) | st.sampled_from([200, 700]),
    padding=st.sampled_from(PADDINGS),
    static=st.booleans(),
    kind=st.sampled_from(["bool", "float", "int64", "int32"]),
    opset=st.sampled_from([11, 13, 18]),
)
def test_any_mask(
    mask: NDArray[np.bool_], most: int, padding: str, static: bool, kind: str, opset: int
) -> None:
    static = static and mask.size > 0
    dims = ",".join(str(d) if static else LETTERS[k] for k, d in enumerate(mask.shape))
    model = fixed(mask_model(mask.ndim, dims, kind, opset), bound(most, padding))
    dtype = {"bool": np.bool_, "float": np.float32, "int64": np.int64, "int32": np.int32}[kind]
    feed: NDArray[Any] = mask.astype(dtype)
    if kind == "float":
        odd = np.where(RANDOM.random(mask.shape) < 0.3, np.nan, -0.25)
        feed = np.where(mask, odd, 0).astype(np.float32)
    result = named(model, {"m": feed})
    want = np.stack(np.nonzero(mask)).astype(np.int64)
    np.testing.assert_array_equal(result["n"], padded(want, most, padding))
    assert result["n_count"] == min(want.shape[1], most) and result["n_count"].shape == ()
    assert result["n_count"].dtype == np.int64


@pytest.mark.parametrize("most", [1, 5, 40])
@pytest.mark.parametrize("padding", PADDINGS)
def test_where_top_k_is_too_small_every_element_is_compared(
    most: int, padding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx_fix_passes import _compaction

    monkeypatch.setattr(_compaction, "form", lambda *_: "compare")
    model, _ = run_pass(bound(most, padding), mask_model(2, "4,5"))
    assert "CumSum" in ops(model) and "TopK" not in ops(model)
    lowered, _ = run_pass([LowerOpset(), ReplaceCumSum()], model)
    assert "CumSum" not in ops(lowered)
    for share in (0.0, 0.3, 1.0):
        mask = RANDOM.random((4, 5)) < share
        want = np.stack(np.nonzero(mask)).astype(np.int64)
        for made in (model, lowered):
            result = named(made, {"m": mask})
            np.testing.assert_array_equal(result["n"], padded(want, most, padding))
            assert result["n_count"] == min(want.shape[1], most)


def test_more_than_top_k_can_give() -> None:
    mask = RANDOM.random(4500) < 0.95
    made = fixed(mask_model(1, "4500"), bound(4000))
    assert "CumSum" in ops(made)
    want = np.stack(np.nonzero(mask))
    result = named(made, {"m": mask})
    np.testing.assert_array_equal(result["n"], padded(want, 4000, "repeat-last"))
    reasons = skip_reasons(bound(4000), mask_model(1, "N"))
    assert reasons == [
        "trt-7.2 has no TopK of 4000, and comparing as many with every element takes too much "
        "memory: ask for less"
    ]


def test_the_last_element_of_an_image() -> None:
    """Positions beyond 2**16 and up to the last one are told apart."""
    mask = np.zeros((480, 640), np.bool_)
    mask[0, 0] = mask[255, 639] = mask[479, 638] = mask[479, 639] = True
    for dims in ("480,640", "H,W"):
        result = named(fixed(mask_model(2, dims), bound(6)), {"m": mask})
        want = padded(np.stack(np.nonzero(mask)), 6, "repeat-last")
        np.testing.assert_array_equal(result["n"], want)


def test_opset_9_has_no_range() -> None:
    made = fixed(mask_model(2, "3,4", opset=9), bound(5))
    mask = RANDOM.random((3, 4)) < 0.3
    want = padded(np.stack(np.nonzero(mask)), 5, "repeat-last")
    np.testing.assert_array_equal(named(made, {"m": mask})["n"], want)
    assert skip_reasons(bound(5), mask_model(2, "H,W", opset=9)) == [
        "numbering its elements needs Range and CumSum: export with operator set 11"
    ]


@pytest.mark.parametrize("most", [2, 3, 7])
def test_the_backend_node(node_cases: list[TestCase], most: int) -> None:
    (case,) = [c for c in node_cases if c.name == "test_nonzero_example"]
    assert case.model is not None and case.data_sets
    made, _ = run_pass(bound(most), case.model)
    # The output was declared with the size that it has in this one case.
    assert made.graph.output[0].type.tensor_type.shape.dim[1].dim_value == most
    for inputs, outputs in case.data_sets:
        result = run_model(made, {"condition": np.asarray(inputs[0])})
        np.testing.assert_array_equal(result[0], padded(outputs[0], most, "repeat-last"))
        assert int(result[1]) == min(outputs[0].shape[1], most)


# -- what is done with them -----------------------------------------------------------------------

CONSUMERS = {
    "GatherND": ("i = Transpose <perm = [1, 0]> (n)  y = GatherND (x, i)", "float[K] y"),
    "Gather of a column": (
        "i = Transpose <perm = [1, 0]> (n)  c = Gather <axis = 1> (i, one)"
        "  t = Transpose <perm = [1, 0]> (x)  y = Gather (t, c)",
        "float[K,A] y",
    ),
    "Split": (
        "r, c = Split <axis = 0> (n)  a = Squeeze (r, zeros)  b = Squeeze (c, zeros)"
        "  s = Add (a, b)  y = Cast <to = 1> (s)",
        "float[K] y",
    ),
    "flat position": (
        "r = Gather <axis = 0> (n, zero)  c = Gather <axis = 0> (n, one)  h = Shape (x)"
        "  wide = Gather (h, one)  p = Mul (r, wide)  q = Add (p, c)  f = Reshape (x, flat)"
        "  y = Gather (f, q)",
        "float[K] y",
    ),
    "position that may be negative": (
        "c = Gather <axis = 0> (n, one)  d = Sub (c, four)  f = Reshape (x, flat)"
        "  y = Gather (f, d)",
        "float[K] y",
    ),
    "GatherND at a computed place": (
        "i = Transpose <perm = [1, 0]> (n)  d = Sub (i, three)  y = GatherND (x, d)",
        "float[K] y",
    ),
    "shapes": (
        "i = Transpose <perm = [1, 0]> (n)  v = GatherND (x, i)  h = Shape (v)"
        "  e = Expand (half, h)  z = ConstantOfShape (h)  a = Mul (v, e)  b = Add (a, z)"
        "  s = Concat <axis = 0> (single, h)  y = Reshape <allowzero = 1> (b, s)",
        "float[1,K] y",
    ),
    "products": (
        "i = Transpose <perm = [1, 0]> (n)  f = Cast <to = 1> (i)  m2 = MatMul (f, w)"
        "  t = Transpose <perm = [1, 0]> (f)  m3 = MatMul (w2, t)"
        "  u = Transpose <perm = [1, 0]> (m3)  a = Concat <axis = 1> (m2, u)"
        "  p = Softmax <axis = 1> (a)  y = ReduceMax <axes = [1], keepdims = 0> (p)",
        "float[K] y",
    ),
    "a mask of the rows": (
        "i = Transpose <perm = [1, 0]> (n)  c = Gather <axis = 1> (i, zero)  b = Less (c, two)"
        "  n2 = NonZero (b)  j = Transpose <perm = [1, 0]> (n2)  k = GatherND (i, j)"
        "  v = GatherND (x, i)  s = GatherND (v, j)  l = Unsqueeze (s, ones)"
        "  kf = Cast <to = 1> (k)  y = Mul (kf, l)",
        "float[K,2] y",
    ),
    "rows of rows by Gather": (
        "i = Transpose <perm = [1, 0]> (n)  c = Gather <axis = 1> (i, one)  b = Less (c, two)"
        "  n2 = NonZero (b)  j = Squeeze (n2, zeros)  k = Gather (i, j)  y = Cast <to = 1> (k)",
        "float[K,2] y",
    ),
}


def consumer(name: str, dims: str = "A,B") -> str:
    body, out = CONSUMERS[name]
    return f"""{header(14)} g (float[{dims}] x) => ({out})
      <float half = {{0.5}}, int64 zero = {{0}}, int64 one = {{1}}, int64 two = {{2}},
       int64 three = {{3}}, int64 four = {{4}}, int64[1] zeros = {{0}}, int64[1] ones = {{1}},
       int64[1] single = {{1}}, int64[1] flat = {{-1}}, float[2,3] w = {{1, 2, 3, 4, 5, 6}},
       float[3,2] w2 = {{1, 2, 3, 4, 5, 6}}> {{
        m = Greater (x, half)
        n = NonZero (m)
        {body}
    }}"""


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("name", CONSUMERS)
def test_consumers(name: str, padding: str) -> None:
    before = consumer(name)
    for most in (3, 30):
        pass_ = bound(most, padding)
        found = changes(before, pass_)
        assert [c.exactness for c in found] == [Exactness.CONTRACT]
        (pad,) = found[0].padded
        made = fixed(before, pass_)
        shapes = [(4, 5), (5, 4), (4, 4)]
        for shape in shapes:
            for share in (0.0, 0.2, 0.6, 1.0):
                # At least four wide, so that the places that are computed exist.
                x = np.where(RANDOM.random(shape) < share, 0.9, 0.1)
                x = (x + RANDOM.random(shape) / 20).astype(np.float32)
                check_prefix(as_proto(before), made, {"x": x}, pad)


def check_prefix(before: ModelProto, made: ModelProto, feeds: dict[str, Any], pad: Any) -> None:
    want, have = named(before, feeds), named(made, feeds)
    old, new = want[pad.output], have[pad.output]
    count = int(have[pad.counts[0][0]])
    full = any(int(have[name]) == most for name, most in pad.counts)
    size = old.shape[pad.axis]
    assert count == size or (count < size and full)
    assert new.shape[pad.axis] == pad.counts[0][1]
    part = (slice(None),) * pad.axis + (slice(count),)
    np.testing.assert_allclose(new[part], old[part], rtol=1e-6)


def test_a_mask_of_rows_is_bounded_by_them_unless_named() -> None:
    before = consumer("a mask of the rows")
    first = changes(before, BoundNonZero(max_count={"n": 4}))[0]
    assert first.padded[0].counts == (("y_count", 4), ("n_count", 4))
    both = changes(before, BoundNonZero(max_count={"n": 4, "n2": 2}))[0]
    assert both.padded[0].counts == (("y_count", 2), ("n_count", 4))
    x = np.full((4, 5), 0.1, np.float32)
    x[0, 0] = x[3, 3] = x[3, 4] = 0.9
    made = fixed(before, BoundNonZero(max_count={"n": 4}, padding="zero"))
    # Padding of the first is at row 0, which the second would select: it does not count.
    assert named(made, {"x": x})["y_count"] == 1 and named(made, {"x": x})["n_count"] == 3


def test_compress_selects_by_itself() -> None:
    """Compress lists nothing: a NonZero that feeds it numbers alone is none of its business."""
    model = f"""{header()} g (float[A] x, bool[A] m) => (float[K] y, int64[1,L] n)
      {{ y = Compress <axis = 0> (x, m)  n = NonZero (m) }}"""
    made = fixed(model, bound(3))
    x, m = np.arange(5, dtype=np.float32), np.array([0, 1, 0, 1, 0], np.bool_)
    result = named(made, {"x": x, "m": m})
    np.testing.assert_array_equal(result["y"], [1, 3])
    np.testing.assert_array_equal(result["n"], [[1, 3, 3]])


def test_two_that_have_nothing_to_do_with_each_other() -> None:
    model = f"""{header()} g (bool[A] a, bool[B] b) => (int64[1,K] n, int64[1,L] k)
      {{ n = NonZero (a)  k = NonZero (b) }}"""
    assert len(changes(model, bound(3))) == 2
    assert len(changes(model, bound(3, name="k"))) == 1
    made, _ = run_pass(BoundNonZero(max_count={"k": 2, "*": 5}), model)
    dims = [o.type.tensor_type.shape.dim for o in made.graph.output]
    assert [d[1].dim_value for d in dims[:2]] == [5, 2]
    assert [o.name for o in made.graph.output] == ["n", "k", "n_count", "k_count"]


# -- any chain of ops -----------------------------------------------------------------------------


class Chain:
    """A graph that grows by random nodes behind a NonZero; only ranks are kept book of."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes = [
            helper.make_node("Greater", ["x", "half"], ["m"]),
            helper.make_node("NonZero", ["m"], ["n"]),
            helper.make_node("Transpose", ["n"], ["i"], perm=[1, 0]),
            helper.make_node("GatherND", ["x", "i"], ["v"]),
            helper.make_node("Cast", ["i"], ["c"], to=1),
        ]
        self.constants = [numpy_helper.from_array(np.asarray(0.5, np.float32), "half")]
        self.ranks = {"v": 1, "c": 2}

    def ints(self, *values: int) -> str:
        name = f"k{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name

    def add(self, op: str, inputs: list[str], rank: int, **attrs: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attrs))
        if rank >= 0:
            self.ranks[name] = rank
        return name

    def pick(self, least: int = 0) -> str:
        fitting = [t for t, r in self.ranks.items() if r >= least]
        return str(self.rng.choice(fitting[-4:]))

    def grow(self) -> None:
        kind = int(self.rng.integers(0, 16))
        t = self.pick(1)
        rank = self.ranks[t]
        axis = int(self.rng.integers(0, rank))
        if kind == 0:
            self.add("Transpose", [t], rank, perm=[int(p) for p in self.rng.permutation(rank)])
        elif kind == 1:
            self.add("Unsqueeze", [t, self.ints(axis)], rank + 1)
        elif kind == 2:
            self.add("Softmax", [t], rank, axis=axis)
        elif kind == 3:
            keep = int(self.rng.integers(0, 2))
            self.add("ReduceMax", [t], rank - 1 + keep, axes=[axis], keepdims=keep)
        elif kind == 4:
            self.add("Add", [t, self.pick()], max(rank, 2))
            other = self.nodes[-1].input[1]
            self.ranks[self.nodes[-1].output[0]] = max(rank, self.ranks[other])
        elif kind == 5:
            self.add("Gather", [t, self.ints(0)], rank, axis=axis)
        elif kind == 6:
            self.add("Concat", [t, t], rank, axis=axis)
        elif kind == 7:
            wanted = [[-1], [1, -1], [-1, 2], [-1, 1], [2, -1]][int(self.rng.integers(0, 5))]
            self.add("Reshape", [t, self.ints(*wanted)], len(wanted))
        elif kind == 8:
            ends = self.ints(int(self.rng.integers(1, 3)))
            self.add("Slice", [t, self.ints(0), ends, self.ints(axis)], rank)
        elif kind == 9:
            size = self.add("Shape", [t], -1)
            self.add("Expand", ["half", size], rank)
        elif kind == 10:
            size = self.add("Shape", [self.pick(1)], -1)
            number = self.add("Cast", [size], -1, to=1)
            self.add("Div", [t, self.add("ReduceMax", [number], -1, keepdims=0)], rank)
        elif kind == 11:
            a = self.pick(2)
            if self.ranks[a] == 2:
                self.add("MatMul", [a, self.add("Transpose", [a], -1, perm=[1, 0])], 2)
        elif kind == 12:
            flags = self.add("Less", [t, "half"], -1)
            found = self.add("NonZero", [flags], -1)
            places = self.add("Transpose", [found], -1, perm=[1, 0])
            self.add("GatherND", [t, places], 1)
        elif kind == 13:
            rows = self.add("Less", ["v", "seven"], -1)
            places = self.add("Squeeze", [self.add("NonZero", [rows], -1), self.ints(0)], -1)
            self.add("Gather", [t, places], rank, axis=axis)
        elif kind == 14:
            index = self.add("Gather", ["i", self.ints(1)], -1, axis=1)
            flat = self.add("Reshape", [index, self.ints(-1)], -1)
            self.add("Gather", ["x", flat], 2, axis=int(self.rng.integers(0, 2)))
        else:
            self.add("Sigmoid", [t], rank)

    def model(self) -> ModelProto:
        self.constants.append(numpy_helper.from_array(np.asarray(0.75, np.float32), "seven"))
        last = list(self.ranks)[-1]
        dims = [f"O{k}" for k in range(self.ranks[last])]
        graph = helper.make_graph(
            self.nodes,
            "chain",
            [helper.make_tensor_value_info("x", 1, ["A", "B"])],
            [helper.make_tensor_value_info(last, 1, dims)],
            self.constants,
        )
        opsets = [helper.make_opsetid("", 14)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.integers(1, 6),
    most=st.sampled_from([3, 40]),
    padding=st.sampled_from(PADDINGS),
)
def test_any_chain_is_right_as_far_as_the_count_says_or_left(
    seed: int, steps: int, most: int, padding: str
) -> None:
    chain = Chain(seed)
    for _ in range(steps):
        chain.grow()
    before = chain.model()
    feeds = []
    for shape, share in (((4, 4), 0.4), ((5, 3), 0.8), ((3, 4), 0.1)):
        x = np.where(chain.rng.random(shape) < share, 0.6, 0.1) + chain.rng.random(shape) / 3
        feeds.append({"x": x.astype(np.float32)})
    try:
        made, results = run_pass(bound(most, padding), before)
        runs = [(feed, named(before, feed)) for feed in feeds]
    except (ModelError, Fail, InvalidArgument, InvalidGraph, RuntimeException):
        assume(False)
        return
    found = [c for r in results for c in r.changes]
    if not found:
        return
    pads = [p for c in found for p in c.padded]
    for feed, want in runs:
        try:
            have = named(made, feed)
        except InvalidArgument as error:
            # A mask without elements has nothing that padding can be gathered from.
            assume("index = 0" not in str(error) and "idx=0" not in str(error))
            raise
        for name, value in want.items():
            mine = [p for p in pads if p.output == name]
            if mine:
                check_prefix(before, made, feed, mine[0])
            else:
                np.testing.assert_allclose(have[name], value, rtol=1e-6)


# -- what it declines -----------------------------------------------------------------------------

REFUSALS = {
    "sum": ("l = Gather <axis = 0> (n, zero)  y = ReduceSum <keepdims = 0> (l)", "int64 y"),
    "rows": ("y = ReduceMax <axes = [1], keepdims = 0> (n)", "int64[2] y"),
    "number": (
        "h = Shape (n)  k = Gather (h, one)  y = Mul (k, three)",
        "int64 y",
    ),
    "size": ("h = Shape (n)  y = Gather (h, one)", "int64 y"),
    "mean by hand": (
        "i = Transpose <perm = [1, 0]> (n)  v = GatherND (x, i)  h = Shape (v)"
        "  k = Cast <to = 1> (h)  y = Div (v, k)",
        "float[K] y",
    ),
    "number expanded": (
        "i = Transpose <perm = [1, 0]> (n)  h = Shape (n)  l = Gather (h, ones)  y = Expand (l, l)",
        "int64[K] y",
    ),
    "cut elsewhere": (
        "h = Shape (n)  l = Gather (h, ones)  y = Slice (n, zeros, l, zeros)",
        "int64[R,K] y",
    ),
    "divided": ("y = Div (n, n)", "int64[2,K] y"),
    "first": ("y = Gather <axis = 1> (n, zero)", "int64[2] y"),
    "cut": ("y = Slice (n, zeros, ones, ones)", "int64[2,K] y"),
    "joined": ("y = Concat <axis = 1> (n, n)", "int64[2,K] y"),
    "flattened": ("y = Reshape (n, flat)", "int64[K] y"),
    "along": (
        "f = Cast <to = 1> (n)  y = Softmax <axis = 1> (f)",
        "float[2,K] y",
    ),
    "unknown op": ("i = Transpose <perm = [1, 0]> (n)  y = Tile (i, twice)", "int64[K,2] y"),
    "product": (
        "f = Cast <to = 1> (n)  i = Transpose <perm = [1, 0]> (f)  y = MatMul (f, i)",
        "float[2,2] y",
    ),
    "branch": (
        "y = If (c) <then_branch = t () => (int64[2,K] p) { p = Identity (n) },"
        " else_branch = e () => (int64[2,K] q) { q = Neg (n) }>",
        "int64[2,K] y",
    ),
}
REASONS = {
    "sum": "ReduceSum 'y' reads it, which reduces over all rows",
    "rows": "ReduceMax 'y' reads it, which reduces over the rows, padding included",
    "number": "Mul 'y' reads it, which computes with the number of selected elements",
    "size": "'y' is an output and holds the number of selected elements",
    "mean by hand": "Div 'y' reads it, which computes with the number of selected elements",
    "number expanded": "Expand 'y' reads it, which computes with the number of selected elements",
    "cut elsewhere": "Slice 'y' reads it, which computes with the number of selected elements",
    "divided": "Div 'y' reads it, which divides integers by it, and padding may be zero",
    "first": "Gather 'y' reads it, which picks single rows",
    "cut": "Slice 'y' reads it, which cuts the rows",
    "joined": "Concat 'y' reads it, which joins rows to rows",
    "flattened": "Reshape 'y' reads it, which may join rows with other dimensions",
    "along": "Softmax 'y' reads it, which works along the rows",
    "unknown op": "Tile 'y' reads it, and what padding does to it is not known",
    "product": "MatMul 'y' reads it, and not by the input that padding can be followed through",
    "branch": "If 'y' reads it, which is not looked into",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    body, out = REFUSALS[name]
    model = f"""{header()} g (float[A,B] x, bool c) => ({out}, int64[2,L] z)
      <float half = {{0.5}}, int64 zero = {{0}}, int64 one = {{1}}, int64 three = {{3}},
       int64[1] zeros = {{0}}, int64[1] ones = {{1}}, int64[1] flat = {{-1}},
       int64[2] twice = {{1, 2}}> {{
        m = Greater (x, half)  n = NonZero (m)  z = Identity (n)  {body}
    }}"""
    assert skip_reasons(bound(5), model) == [REASONS[name]]


def test_a_chain_is_bounded_as_a_whole_or_not_at_all() -> None:
    model = f"""{header()} g (float[A] x) => (int64[1,K] n2, float s) <float half = {{0.5}}> {{
        m = Greater (x, half)  n = NonZero (m)  i = Transpose (n)  v = GatherND (x, i)
        s = ReduceSum <keepdims = 0> (v)
        b = Greater (v, half)  n2 = NonZero (b) }}"""
    assert skip_reasons(bound(5), model) == ["ReduceSum 's' reads it, which reduces over all rows"]


def test_ranks() -> None:
    model = f"{header()} g (bool m) => (int64[R,K] n) {{ n = NonZero (m) }}"
    proto = as_proto(model)
    assert skip_reasons(bound(5), proto) == ["the rank of its input is 0"]
    hidden = f"""{header()} g (bool[A] m, int64[R] s) => (int64[R,K] n)
      {{ r = Reshape (m, s)  n = NonZero (r) }}"""
    assert skip_reasons(bound(5), hidden) == ["the rank of its input is not known"]
    assert skip_reasons(bound(5), mask_model(2, "0,3")) == [
        "its input has no elements, so that there is nothing to pad with"
    ]
    assert skip_reasons(bound(5), mask_model(2, "4096,8192")) == [
        "its input has 33554432 elements, and float32 tells 16777216 positions apart"
    ]


def test_a_body_can_give_the_model_no_count() -> None:
    model = f"""{header()} g (bool c, bool[A] m) => (int64[1,K] y) {{
      y = If (c) <then_branch = t () => (int64[1,K] p) {{ p = NonZero (m) }},
                  else_branch = e () => (int64[1,K] q) {{ d = Not (m)  q = NonZero (d) }}> }}"""
    reason = "it stands in a subgraph or function, which gives the model no count"
    assert skip_reasons(bound(5), model) == [reason, reason]


def test_an_exact_form_is_preferred() -> None:
    model = f"""{header()} g (float[A] x) => (float s) <float half = {{0.5}}> {{
        m = Greater (x, half)  n = NonZero (m)  i = Transpose (n)  v = GatherND (x, i)
        s = ReduceSum <keepdims = 0> (v) }}"""
    assert changes(model, bound(5)) == []
    result = onnx_fix.fix(as_proto(model), target="trt-7.2", max_count={"*": 5})
    assert "NonZero" not in ops(result.model) and result.ok
    assert not any(c.exactness is Exactness.CONTRACT for c in result.report.changes)


def test_never_unasked() -> None:
    model = mask_model(2, "A,B")
    for pass_ in (BoundNonZero(), BoundNonZero(padding="zero"), bound(3, name="other")):
        assert changes(model, pass_) == []
    result = onnx_fix.fix(as_proto(model), target="trt-7.2")
    assert "NonZero" in ops(result.model) and not result.ok


def test_options() -> None:
    with pytest.raises(OptionError, match="greater than or equal to 1"):
        configure(BoundNonZero, {"max_count": {"n": 0}})
    with pytest.raises(UsageError, match="no NonZero or NonMaxSuppression called 'z'; it has: n"):
        onnx_fix.fix(as_proto(mask_model(1, "A")), target="trt-7.2", max_count={"z": 3})
    text = "version: 1\npasses:\n- pass: bound-non-zero\n  options: {max_count: {n: 3}}\n"
    pipeline = parse_pipeline(text, "p.yaml", Path())
    result = onnx_fix.fix(as_proto(mask_model(1, "A")), target="trt-8.6", pipeline=pipeline)
    assert "TopK" in ops(result.model)
    assert parse_pipeline(result.pipeline.to_yaml(), "p.yaml", Path()).passes == pipeline.passes


# -- whole models ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.2", "trt-10.3"])
@pytest.mark.parametrize("most", [10, 60, 500])
def test_superpoint(fixtures: Path, target: str, most: int) -> None:
    path = fixtures / "superpoint_points.dynamo18.onnx"
    result = onnx_fix.fix(path, target=target, max_count={"*": most})
    assert "NonZero" not in ops(result.model)
    assert result.ok, [(b.op, b.node) for b in result.report.refused]
    (change,) = [c for c in result.report.changes if c.pass_name == "bound-non-zero"]
    assert {p.output for p in change.padded} == {"keypoints", "scores", "descriptors"}
    assert "is padding" in change.note or "padding: repeat-last" in change.note
    assert result.report.verification is not None and result.report.verification.ok
    assert "are padding" in summarise(result.report.verification)
    told = result.report.to_dict()["changes"]
    assert any(c["padded"] and c["exactness"] == "changes the contract" for c in told)
    before = onnx.load(path)
    for height, width in ((64, 96), (96, 64), (128, 160)):
        image = RANDOM.random((1, 1, height, width), np.float32)
        old, new = named(before, {"image": image}), named(result.model, {"image": image})
        count, seen = int(new["keypoints_count"]), int(new["val_54_count"])
        assert seen <= most and count <= seen
        if seen < most:
            assert count == len(old["scores"]) > 0
        for name in ("keypoints", "scores", "descriptors"):
            assert len(new[name]) == most
            np.testing.assert_allclose(
                new[name][:count], old[name][:count], rtol=1e-4, atol=1e-5, err_msg=name
            )


@pytest.mark.rtx
@pytest.mark.skipif(not rtx.available(), reason="tensorrt_rtx (the extra `rtx`) is not installed")
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("target", ["trt-7.2", "rtx-1.7"])
def test_the_real_builder_takes_it(target: str, padding: str, tmp_path: Path) -> None:
    path = tmp_path / "fixed.onnx"
    for name in ("GatherND", "shapes", "position that may be negative", "a mask of the rows"):
        for dims in ("A,B", "7,9"):
            made, _ = run_pass(bound(5, padding), consumer(name, dims), target=target)
            onnx.save(onnx_fix.fix(made, target=target, verify=False).model, path)
            verdict = rtx.ask(path, build=True, timeout=120)
            assert verdict.parsed and verdict.built, (name, dims, verdict.message)


def test_the_old_export_of_superpoint(fixtures: Path) -> None:
    """Its three NonZero nodes; the other export says what is right at the size it was made for."""
    result = onnx_fix.fix(
        fixtures / "superpoint_points.legacy17.onnx",
        target="trt-7.2",
        max_count={"*": 1000},
        dims={"H": (96, 96, 96), "W": (128, 128, 128)},
        verify=False,
    )
    assert "NonZero" not in ops(result.model) and result.ok
    other = onnx.load(fixtures / "superpoint_points.dynamo18.onnx")
    image = RANDOM.random((1, 1, 96, 128), np.float32)
    old, new = named(other, {"image": image}), named(result.model, {"image": image})
    count = int(new["keypoints_count"])
    assert count == int(new["scores_count"]) == len(old["scores"]) > 0
    for name in ("keypoints", "scores"):
        np.testing.assert_allclose(new[name][:count], old[name], rtol=1e-4, atol=1e-5)


def test_verification_sees_a_wrong_count_and_wrong_rows() -> None:
    """The comparison is one that can fail: counts, rows and the size are all looked at."""
    before = as_proto(consumer("GatherND", "6,6"))
    made, results = run_pass(bound(50), before)
    pads = [p for r in results for c in r.changes for p in c.padded]
    assert verify(before, made, padded=pads).ok
    assert verify(before, made).status == "differs"
    for op, fault in (("ReduceSum", "ReduceMax"), ("Greater", "Less")):
        broken = ModelProto()
        broken.CopyFrom(made)
        next(n for n in broken.graph.node if n.op_type == op and "/" in n.output[0]).op_type = fault
        result = verify(before, broken, padded=pads)
        assert result.status == "differs", op
    shuffled = ModelProto()
    shuffled.CopyFrom(made)
    node = next(n for n in shuffled.graph.node if n.op_type == "GatherND")
    node.input[0] = "negated"
    negate = onnx.helper.make_node("Neg", ["x"], ["negated"])
    shuffled.graph.node.insert(0, negate)
    found = verify(before, shuffled, padded=pads)
    assert found.status == "differs" and "elements differ" in found.reason


def test_a_wrong_result_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnx_fix_passes import _compaction

    kept = _compaction._coordinates

    def reversed_(*given: Any) -> Any:
        e = given[1]
        return e("Sub", kept(*given), kept(*given))

    monkeypatch.setattr(_compaction, "_coordinates", reversed_)
    with pytest.raises(VerificationError, match="bound-non-zero"):
        onnx_fix.fix(as_proto(mask_model(1, "30")), target="trt-7.2", max_count={"*": 40})
