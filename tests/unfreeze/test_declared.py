"""Models that declare dynamic dims and hold one size: what is found, and what frees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from onnx.parser import parse_model

import onnx_fix
from onnx_fix.check.finding import CheckFinding
from onnx_fix.check.model_check import CheckContext
from onnx_fix.check.model_checks.frozen_dims import FrozenDims
from onnx_fix.errors import ModelError, UsageError
from onnx_fix.model import Model
from onnx_fix.pipeline import Pipeline
from onnx_fix.target import load_target
from onnx_fix.testing import run_model
from onnx_fix.unfreeze.declared import Frozen, frozen

Array = NDArray[Any]
Value = Array | list[int] | int | float

HEAD = '<ir_version: 8, opset_import: ["" : %d]>\n'
RNG = np.random.default_rng(0)
WEIGHTS = RNG.standard_normal((24, 4)).astype(np.float32)
LONG = RNG.standard_normal((96, 4)).astype(np.float32)
SIZES = ({"T": 24, "U": 37}, {"T": 31, "U": 5}, {"T": 2, "U": 43})


def build(text: str, constants: Mapping[str, Value] | None = None, opset: int = 17) -> ModelProto:
    model = parse_model(HEAD % opset + text)
    used = {name for node in model.graph.node for name in node.input}
    shared: dict[str, Value] = {
        "zero": 0,
        "one": 1,
        "zeros": [0],
        "ones": [1],
        "unit": np.ones((1, 1), np.float32),
    }
    for name, value in {**shared, **(constants or {})}.items():
        if name in used:
            array = value if isinstance(value, np.ndarray) else _stored(value)
            model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def _stored(value: Value) -> Array:
    return np.asarray(value, np.float32 if isinstance(value, float) else np.int64)


def found_in(model: ModelProto) -> Frozen | None:
    return frozen(Model(model, None, load_target("trt-8.6")))


def findings(model: ModelProto, *, run: bool = False) -> list[CheckFinding]:
    context = CheckContext(Model(model, None, load_target("trt-8.6")), run=run)
    return list(FrozenDims().run(context))


def freed(model: ModelProto, **options: object) -> ModelProto:
    """The model after ``--unfreeze`` alone."""
    made = onnx_fix.fix(
        model,
        target="rtx-1.7",
        pipeline=Pipeline(),
        unfreeze=True,
        **options,  # type: ignore[arg-type]
    )
    onnx.checker.check_model(made.model)
    return made.model


def feeds(model: ModelProto, sizes: Mapping[str, int]) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    made: dict[str, Array] = {}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        shape = [sizes[d.dim_param] if d.dim_param else d.dim_value for d in dims]
        if value.type.tensor_type.elem_type == onnx.TensorProto.INT64:
            made[value.name] = rng.integers(0, min(sizes.values()), shape)
        else:
            made[value.name] = rng.standard_normal(shape).astype(np.float32)
    return made


def assert_same(one: ModelProto, other: ModelProto) -> None:
    """Both compute the same at three sizes."""
    for sizes in SIZES:
        fed = feeds(one, sizes)
        for a, b in zip(run_model(one, fed), run_model(other, fed), strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype
            np.testing.assert_allclose(
                np.asarray(a, np.float64), np.asarray(b, np.float64), 1e-5, 1e-6
            )


@dataclass(frozen=True)
class Case:
    """``head`` and a body with frozen constants; ``free`` computes them: n is T, m is U, and nv and
    mv these in vectors."""

    head: str
    body: str
    constants: dict[str, Value]
    free: str
    tensor: str
    says: str
    node: str
    opset: int = 17
    more: dict[str, Value] = field(default_factory=dict)

    def model(self) -> ModelProto:
        return build(f"{self.head} {{ {self.body} }}", {**self.constants, **self.more}, self.opset)

    def reference(self) -> ModelProto:
        wants_two = "[U, 4] z" in self.head
        sizes = "sx = Shape (x) nv = Slice (sx, zeros, ones) n = Squeeze (nv) "
        if wants_two:
            sizes += "sz = Shape (z) mv = Slice (sz, zeros, ones) m = Squeeze (mv) "
        return build(f"{self.head} {{ {sizes} {self.free} {self.body} }}", self.more, self.opset)


X = "g (float[T, 4] x) => (float[a, b] y)"
XZ = "g (float[T, 4] x, float[U, 4] z) => (float[a, b] y)"

CASES = {
    "reshape": Case(
        "g (float[T, 64] x) => (float[a, b, c] y)",
        "y = Reshape (x, s)",
        {"s": [24, 8, 8]},
        "s = Concat <axis = 0> (nv, eights)",
        "s",
        "element 0 of 's' is 24 and would have to be T",
        "y",
        more={"eights": [8, 8]},
    ),
    "expand": Case(
        X,
        "e = Expand (unit, s) y = Concat <axis = 1> (x, e)",
        {"s": [24, 1]},
        "s = Concat <axis = 0> (nv, ones)",
        "s",
        "element 0 of 's' is 24 and would have to be T",
        "e",
    ),
    "tile": Case(
        X,
        "e = Tile (unit, s) y = Add (x, e)",
        {"s": [24, 1]},
        "s = Concat <axis = 0> (nv, ones)",
        "s",
        "element 0 of 's' is 24 and would have to be T",
        "e",
    ),
    "end of a slice": Case(
        X,
        "e = Slice (table, zeros, s) y = Add (x, e)",
        {"s": [24]},
        "s = Identity (nv)",
        "s",
        "element 0 of 's' is 24 and would have to be T",
        "e",
        more={"table": LONG},
    ),
    "range": Case(
        X,
        "r = Range (zero, s, one) f = Cast <to = 1> (r) u = Unsqueeze (f, ones) y = Mul (x, u)",
        {"s": 24},
        "s = Identity (n)",
        "s",
        "'s' is 24 and would have to be T",
        "r",
    ),
    "constant of shape": Case(
        X,
        "e = ConstantOfShape (s) y = Concat <axis = 1> (x, e)",
        {"s": [24, 1]},
        "s = Concat <axis = 0> (nv, ones)",
        "s",
        "element 0 of 's' is 24 and would have to be T",
        "e",
    ),
    "sizes of a resize": Case(
        "g (float[1, 1, 6, 6] f, float[1, 1, T, U] x) => (float[a, b, c, d] y)",
        'r = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", '
        'nearest_mode = "floor"> (f, , , s) y = Add (x, r)',
        {"s": [1, 1, 24, 37]},
        "all = Shape (x) s = Identity (all)",
        "s",
        "elements 2, 3 of 's' are 24, 37 and would have to be T, U",
        "r",
    ),
    "split": Case(
        "g (float[T, 4] x, float[4, 4] v) => (float[a, b] y, float[c, d] q)",
        "k = Concat <axis = 0> (x, v) p, q = Split <axis = 0> (k, s) y = Add (x, p)",
        {"s": [24, 4]},
        "s = Concat <axis = 0> (nv, four)",
        "s",
        "element 0 of 's' is 24 and would have to be T",
        "p",
        more={"four": [4]},
    ),
    "concat of a stored tensor": Case(
        "g (float[T, 4] x) => (float[a, b] y)",
        "y = Concat <axis = 1> (x, c)",
        {"c": np.full((24, 1), 1.5, np.float32)},
        "cs = Concat <axis = 0> (nv, ones) c = Expand (half, cs)",
        "c",
        "dim 0 of 'c' is 24 and would have to be T",
        "y",
        more={"half": np.full((1, 1), 1.5, np.float32)},
    ),
    "positions": Case(
        X,
        "y = Add (x, p)",
        {"p": np.arange(24, dtype=np.float32)[:, None]},
        "r = Range (zero, n, one) f = Cast <to = 1> (r) p = Unsqueeze (f, ones)",
        "p",
        "dim 0 of 'p' is 24 and would have to be T",
        "y",
    ),
    "causal mask": Case(
        "g (float[2, T, T] x) => (float[a, b, c] y)",
        "y = Add (x, p)",
        {"p": np.triu(np.full((24, 24), -1e4, np.float32), 1)},
        "cut = Slice (sx, ones, twos) nn = Concat <axis = 0> (cut, cut) big = Expand (low, nn) "
        "p = Trilu <upper = 1> (big, one)",
        "p",
        "dims 0, 1 of 'p' are 24, 24 and would have to be T",
        "y",
        more={"low": np.full((1, 1), -1e4, np.float32), "twos": [2]},
    ),
    "ones": Case(
        "g (float[T, 4] x, float[U, 4] z) => (float[a, b] y)",
        "t = Transpose (z) k = MatMul (x, t) y = Add (k, p)",
        {"p": np.ones((24, 37), np.float32)},
        "s = Concat <axis = 0> (nv, mv) p = Expand (unit, s)",
        "p",
        "dims 0, 1 of 'p' are 24, 37 and would have to be T, U",
        "y",
    ),
    "depth of one hot": Case(
        "g (float[T, 4] x, int64[U] i) => (float[a, b] y)",
        "h = OneHot (i, s, v) y = MatMul (h, x)",
        {"s": 24},
        "s = Identity (n)",
        "s",
        "'s' is 24 and would have to be T",
        "h",
        more={"v": np.array([0, 1], np.float32)},
    ),
    "k of top k": Case(
        "g (float[T, 4] x, float[64] z) => (float[a, b] y)",
        "t, j = TopK (z, s) u = Unsqueeze (t, ones) y = Concat <axis = 1> (x, u)",
        {"s": [24]},
        "s = Identity (nv)",
        "s",
        "element 0 of 's' is 24 and would have to be T",
        "t",
    ),
    "in an operator set without axes inputs": Case(
        "g (float[T, 64] x) => (float[a, b, c] y)",
        "y = Reshape (x, s)",
        {"s": [24, 8, 8]},
        "s = Concat <axis = 0> (nv, eights)",
        "s",
        "element 0 of 's' is 24 and would have to be T",
        "y",
        opset=11,
        more={"eights": [8, 8]},
    ),
    "sum of two": Case(
        XZ,
        "k = Concat <axis = 0> (x, z) e = Expand (unit, s) y = Mul (k, e)",
        {"s": [61, 4]},
        "nm = Add (nv, mv) s = Concat <axis = 0> (nm, four)",
        "s",
        "element 0 of 's' is 61 and would have to be U + T",
        "e",
        more={"four": [4]},
    ),
}
TIED = "sum of two"
"""Here the numbers of T and U do not follow, and the repair is by the equation alone."""


@pytest.mark.parametrize("name", CASES)
def test_a_frozen_number_is_found(name: str) -> None:
    case = CASES[name]
    (found,) = findings(case.model())
    assert (found.tensor, found.node) == (case.tensor, case.node)
    assert found.why.startswith(case.says)
    assert "T is dim " in found.why and "of input 'x'" in found.why
    assert found.mend == "`onnx-fix MODEL -o FIXED --unfreeze` puts the size back"


@pytest.mark.parametrize("name", CASES)
def test_a_frozen_number_is_freed(name: str) -> None:
    case = CASES[name]
    after = freed(case.model())
    assert_same(case.reference(), after)
    assert findings(after) == []
    if name != TIED:
        assert found_in(after) is None


@pytest.mark.parametrize("name", [n for n in CASES if n != TIED])
def test_it_breaks_where_the_finding_says(name: str) -> None:
    case = CASES[name]
    (found,) = findings(case.model(), run=True)
    assert "onnxruntime runs it at T = 24 and fails at T = 48, T = 72" in found.why


def test_without_run_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnx_fix.verify import trials

    monkeypatch.setattr(trials, "OnnxRuntime", lambda *_: pytest.fail("the model was run"))
    (found,) = findings(CASES["reshape"].model())
    assert found.why.endswith("works for T = 24 only")


BINS: dict[str, Value] = {
    "bin": np.full((1, 1, 1), 1.25, np.float32),
    "s0": [1, 24, 1],
    "s1": [1, 1, 37],
    "s2": [1, 1, 1],
}
COUPLINGS = (
    "b0 = Expand (bin, s0) b1 = Expand (bin, s1) b2 = Expand (bin, s2) "
    "top = Concat <axis = 2> (x, b0) low = Concat <axis = 2> (b1, b2) "
    "k = Concat <axis = 1> (top, low)"
)
SCORES = "g (float[1, T, U] x) => (float[a, b, c] y)"
FREE_BINS = (
    "sh = Shape (x) nv = Slice (sh, ones, twos) mv = Slice (sh, twos, threes) "
    "s0 = Concat <axis = 0> (ones, nv, ones) s1 = Concat <axis = 0> (ones, ones, mv) "
)
ENDS: dict[str, Value] = {"twos": [2], "threes": [3], "s2": [1, 1, 1], "bin": BINS["bin"]}


def test_the_bins_of_an_optimal_transport() -> None:
    """SuperGlue's log_optimal_transport: bins expanded to (b, m, 1), concatenated with scores."""
    model = build(f"{SCORES} {{ {COUPLINGS} y = Exp (k) }}", BINS)
    told = {f.tensor: f for f in findings(model, run=True)}
    assert set(told) == {"s0", "s1"}
    assert told["s0"].why.startswith("element 1 of 's0' is 24 and would have to be T; T is dim 1")
    assert "fails at U = 74, U = 111" in told["s1"].why
    free = build(f"{SCORES} {{ {FREE_BINS} {COUPLINGS} y = Exp (k) }}", ENDS)
    assert_same(free, freed(model))


def test_bins_that_are_folded_and_their_norm() -> None:
    """The bins as stored tensors, and -log(m + n), which runs at any size and is wrong there."""
    body = "top = Concat <axis = 2> (x, b0) k = Concat <axis = 1> (top, b1) y = Add (k, norm)"
    stored: dict[str, Value] = {
        "b0": np.full((1, 24, 1), 1.25, np.float32),
        "b1": np.full((1, 1, 38), 1.25, np.float32),
        "norm": np.array(-np.log(np.float32(24 + 37)), np.float32),
    }
    model = build(f"{SCORES} {{ {body} }}", stored)
    told = {f.tensor: f.why for f in findings(model)}
    assert told["b0"].startswith("dim 1 of 'b0' is 24 and would have to be T")
    assert told["b1"].startswith("dim 2 of 'b1' is 38 and would have to be U + 1")
    assert "the numbers of 'norm' are those of" in told["norm"]
    free = build(
        f"{SCORES} {{ {FREE_BINS} one1 = Add (mv, ones) e1 = Concat <axis = 0> (ones, ones, one1) "
        "b0 = Expand (bin, s0) b1 = Expand (bin, e1) nm = Add (nv, mv) f = Cast <to = 1> (nm) "
        f"g = Log (f) norm = Neg (g) {body} }}",
        ENDS,
    )
    assert_same(free, freed(model))


def test_a_silent_number_alone_is_not_seen() -> None:
    """Nothing contradicts it: the model runs at every size, and no export at another one is there
    to show that the number changes."""
    for body, constants in (
        ("y = Add (x, norm)", {"norm": np.array(-np.log(np.float32(24)), np.float32)}),
        ("y, j = TopK <axis = 0> (x, s)", {"s": [24]}),
        ("y = Slice (x, zeros, s)", {"s": [24]}),
        ("r = Range (zero, s, one) y = Cast <to = 1> (r)", {"s": 24}),
    ):
        outputs = "float[a] y" if "Range" in body else "float[a, b] y"
        more = ", int64[c, d] j" if "TopK" in body else ""
        text = f"g (float[T, 4] x) => ({outputs}{more}) {{ {body} }}"
        assert found_in(build(text, constants)) is None


def test_a_silent_number_beside_one_that_is_not() -> None:
    """Reshape shows that T was 24; so the end of the Slice may be T, and one has to say."""
    text = (
        "g (float[T, 64] x, float[U, 4] z) => (float[a, b, c] y, float[d, e] w) "
        "{ y = Reshape (x, s) w = Slice (z, zeros, k) }"
    )
    model = build(text, {"s": [24, 8, 8], "k": [24]})
    first, second = findings(model)
    assert "once --assume says" in first.mend
    assert "k[0] (24, read by w) may be T or always 24" in second.why
    with pytest.raises(UsageError, match=r"k\[0\] \(24, read by w\) may be T"):
        freed(model)
    for assume, end in (({"k[0]": "T"}, 31), ({"constants": ""}, 24)):
        after = freed(model, assume=assume)
        got = run_model(after, feeds(after, {"T": 31, "U": 43}))
        assert [g.shape for g in got] == [(31, 8, 8), (end, 4)]


def test_the_end_of_a_slice_is_a_bound() -> None:
    """A Slice gives less where there is less: the model works up to the number."""
    text = f"{X} {{ e = Slice (x, zeros, s) y = Add (x, e) }}"
    model = build(text, {"s": [24]})
    (found,) = findings(model)
    assert "works for T <= 24 only" in found.why
    for dims, severe in (((1, 20, 24), None), ((1, 20, 40), "warning"), ((1, 30, 40), "error")):
        context = CheckContext(Model(model, None, load_target("trt-8.6")), dims={"T": dims})
        assert [f.severity.value for f in FrozenDims().run(context)] == ([severe] if severe else [])
    assert_same(build(f"{X} {{ y = Add (x, x) }}"), freed(model))


HELD: dict[str, tuple[str, str, dict[str, Value], str, str]] = {
    "weights": (X, "y = Mul (x, w)", {"w": WEIGHTS}, "T can only be 24", "follow no rule"),
    "two factors": (
        "g (float[T, 60] x) => (float[a, b, c] y)",
        "y = Reshape (x, s)",
        {"s": [12, 12, 5]},
        "T can only be 12",
        "several numbers",
    ),
    "a product": (
        "g (float[T, U, 4] x) => (float[a, b] y)",
        "y = Reshape (x, s)",
        {"s": [12, 4]},
        "T*U can only be 12",
        "several numbers",
    ),
    "parts of one": (
        "g (float[T, 4] x) => (float[a, b] y, float[c, d] q)",
        "y, q = Split <axis = 0> (x, s)",
        {"s": [12, 12]},
        "T can only be 24",
        "several numbers",
    ),
    "a batch of one": (
        "g (float[T, U, 4] x) => (float[a, b, c] y)",
        "y = Concat <axis = 1> (x, w)",
        {"w": WEIGHTS.reshape(1, 24, 4)},
        "T can only be 1",
        "follow no rule",
    ),
    "an attribute": (
        "g (float[T, 4] x) => (float[a, b] y)",
        "e = Slice <starts = [0], ends = [24]> (w) y = Mul (x, e)",
        {"w": LONG},
        "attribute ends[0] is 24 and would have to be T",
        "newer operator set",
    ),
    "another input": (
        "g (float[T, 4] x, float[24, 4] z) => (float[a, b] y)",
        "y = Concat <axis = 1> (x, z)",
        {},
        "input 'z' declares 24 for dim 0, which has to be T",
        "--dynamic z:0=SYMBOL",
    ),
}


@pytest.mark.parametrize("name", HELD)
def test_what_cannot_be_freed_is_said_and_left(name: str) -> None:
    head, body, constants, says, reason = HELD[name]
    model = build(f"{head} {{ {body} }}", constants, opset=9 if name == "an attribute" else 17)
    (found,) = findings(model)
    assert found.why.startswith(says) and reason in found.mend
    with pytest.raises(ModelError, match="cannot be made dynamic") as error:
        freed(model)
    assert says in str(error.value)


def test_one_symbol_is_freed_while_another_is_held() -> None:
    text = (
        "g (float[T, 64] x, float[U, 4] z) => (float[a, b, c] y, float[d, e] w) "
        "{ y = Reshape (x, s) w = Mul (z, k) }"
    )
    model = build(text, {"s": [20, 8, 8], "k": WEIGHTS})
    result = onnx_fix.fix(model, target="rtx-1.7", pipeline=Pipeline(), unfreeze=True)
    (left,) = {s.reason for p in result.report.results for s in p.skipped}
    assert left.startswith("U can only be 24: the numbers of 'k' follow no rule")
    got = run_model(result.model, feeds(result.model, {"T": 31, "U": 24}))
    assert got[0].shape == (31, 8, 8)


def test_an_input_becomes_dynamic_with_it() -> None:
    head, body, *_ = HELD["another input"]
    after = freed(build(f"{head} {{ {body} }}"), dynamic={"z:0": "T"})
    got = run_model(after, {"x": LONG[:31], "z": LONG[:31]})
    assert got[0].shape == (31, 8)


def test_in_a_loop_and_an_if() -> None:
    text = (
        "g (float[T, 64] x, bool p) => (float[a, b] y) { y = If (p) <"
        "then_branch = t () => (float[c, d] u) { r = Reshape (x, s) u = Reshape (r, f) },"
        "else_branch = e () => (float[h, i] v) { v = Neg (x) }> }"
    )
    model = build(text)
    for name, value in (("s", [24, 8, 8]), ("f", [24, 64])):
        model.graph.initializer.append(numpy_helper.from_array(_stored(value), name))
    found = findings(model)
    assert {(f.tensor, f.node) for f in found} == {("s", "r"), ("f", "u")}
    after = freed(model)
    x = RNG.standard_normal((31, 64)).astype(np.float32)
    (got,) = run_model(after, {"x": x, "p": np.array(True)})
    np.testing.assert_array_equal(got, x)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64])
def test_tables_of_other_types(dtype: type[np.generic]) -> None:
    kind = {np.float16: "float16", np.float64: "double", np.int64: "int64"}[dtype]
    table = np.arange(24)[:, None].astype(dtype)
    model = build(f"g ({kind}[T, 4] x) => ({kind}[a, b] y) {{ y = Add (x, p) }}", {"p": table})
    after = freed(model)
    x = np.ones((31, 4), dtype)
    (got,) = run_model(after, {"x": x})
    np.testing.assert_array_equal(got, np.arange(31)[:, None].astype(dtype) + x)


@pytest.mark.parametrize(
    "text",
    [
        "g (float[T, 4] x, float[U, 4] z) => (float[a, 4] y) { y = Add (x, z) }",
        "g (float[T, 8] x) => (float[a, 2, 4] y) { y = Reshape (x, heads) }",
        "g (float[T, U, 8] x) => (float[a, b, c] y) { y = Reshape (x, split) }",
        "g (float[T, 4] x) => (float[5, 4] y) { y = Slice (x, zeros, five) }",
        "g (float[24, 4] x) => (float[24, 4] y) { y = Add (x, p) }",
    ],
)
def test_what_holds_nothing_is_left_alone(text: str) -> None:
    constants: dict[str, Value] = {
        "heads": [-1, 2, 4],
        "split": [12, -1, 8],
        "five": [5],
        "p": np.zeros((24, 4), np.float32),
    }
    model = build(text, constants)
    assert found_in(model) is None
    result = onnx_fix.fix(model, target="rtx-1.7", pipeline=Pipeline(), unfreeze=True)
    assert result.unchanged


def test_unnamed_dims_are_symbols_too() -> None:
    model = CASES["reshape"].model()
    model.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    (found,) = findings(model, run=True)
    assert "would have to be x[0]" in found.why and "fails at x[0] = 48" in found.why
    after = freed(model)
    assert run_model(after, {"x": np.ones((31, 64), np.float32)})[0].shape == (31, 8, 8)
    assert not after.graph.input[0].type.tensor_type.shape.dim[0].dim_param
