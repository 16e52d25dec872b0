"""Random feeds: dtypes, shapes, and integers that stay in range."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.parser import parse_model

from onnx_fix.errors import UsageError
from onnx_fix.verify import make_feeds, verify
from onnx_fix.verify.feeds import DTYPES
from onnx_fix.verify.symbols import dim_size, symbols

SEEDS = range(6)


def model(body: str, opset: int = 18, ir: int = 8) -> onnx.ModelProto:
    return parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}]> {body}')


def arrays(body: str, name: str, sizes: dict[str, int] | None = None) -> list[np.ndarray]:
    made = [make_feeds(model(body), sizes or {}, seed)[name] for seed in SEEDS]
    assert all(isinstance(array, np.ndarray) for array in made)
    return [array for array in made if isinstance(array, np.ndarray)]


def spread(found: list[np.ndarray]) -> tuple[int, int]:
    flat = np.concatenate([np.ravel(array) for array in found])
    return int(flat.min()), int(flat.max())


@pytest.mark.parametrize("elem", sorted(DTYPES), ids=TensorProto.DataType.Name)
@pytest.mark.parametrize("shape", [(), (0,), (3, 1, 4)], ids=str)
def test_dtype_and_shape_are_the_declared_ones(elem: int, shape: tuple[int, ...]) -> None:
    x = helper.make_tensor_value_info("x", elem, shape)
    y = helper.make_tensor_value_info("y", elem, shape)
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    made = make_feeds(helper.make_model(graph), {}, 1)["x"]
    assert isinstance(made, np.ndarray)
    assert made.dtype == np.dtype(DTYPES[elem])
    assert made.shape == shape


def test_same_symbol_same_size_and_nameless_dims_are_symbols_of_their_own() -> None:
    built = model("g (float[N,?,3] a, float[N,?] b) => (float y) { y = ReduceSum (a) }")
    assert list(symbols(built)) == ["N", "a[1]", "b[1]"]
    feeds = make_feeds(built, {"N": 5, "a[1]": 7, "b[1]": 9})
    assert [np.shape(feeds[name]) for name in "ab"] == [(5, 7, 3), (5, 9)]


def test_dims_that_are_arithmetic_follow_their_symbols() -> None:
    built = model("g (float[past] a, float[seq] b, float[c] c) => (float[past] y) { y = Neg (a) }")
    built.graph.input[2].type.tensor_type.shape.dim[0].dim_param = "past + 2*seq"
    assert list(symbols(built)) == ["past", "seq"]
    assert np.shape(make_feeds(built, {"past": 3, "seq": 5})["c"]) == (13,)
    built.graph.input[2].type.tensor_type.shape.dim[0].dim_param = "batch-size"
    assert list(symbols(built)) == ["past", "seq", "batch-size"]


@pytest.mark.parametrize(
    ("name", "number"),
    [("H/8", 4), ("-(-H//8)", 5), ("max(H, W)", 35), ("H % W", 2), ("W//(H - 35)", 0), ("3", 3)],
)
def test_the_arithmetic_of_dims_is_that_of_sizes(name: str, number: int) -> None:
    built = model("g (float[H] a, float[W] b, float[c] c) => (float[H] y) { y = Neg (a) }")
    built.graph.input[2].type.tensor_type.shape.dim[0].dim_param = name
    assert list(symbols(built)) == ["H", "W"]
    assert np.shape(make_feeds(built, {"H": 35, "W": 33})["c"]) == (number,)


@pytest.mark.parametrize("name", ["-2", "Nothing", "H.shape", "H//W//", "f(H)"])
def test_names_that_are_no_arithmetic_stay_symbols(name: str) -> None:
    built = model("g (float[H] a, float[c] c) => (float[H] y) { y = Neg (a) }")
    built.graph.input[1].type.tensor_type.shape.dim[0].dim_param = name
    assert list(symbols(built)) == ["H", name]


def test_a_dim_name_is_never_run_as_code() -> None:
    with pytest.raises(UsageError, match="no size is given"):
        dim_size("__import__('os').getcwd()", {"x": 1})


def test_a_missing_size_is_named() -> None:
    built = model("g (float[N,M] x) => (float[N,M] y) { y = Neg (x) }")
    with pytest.raises(UsageError, match=r"dynamic dim 'M' \(given: N\)"):
        make_feeds(built, {"N": 3})


def test_an_input_without_shape_is_refused_by_name() -> None:
    built = model("g (float[N] x) => (float[N] y) { y = Neg (x) }")
    built.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UsageError, match="'x' declares no shape"):
        make_feeds(built, {})


def test_initializers_that_are_listed_as_inputs_are_not_fed() -> None:
    built = model(
        "g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1,2}> { y = Add(x, w) }"
    )
    built.ir_version = 3
    if all(value.name != "w" for value in built.graph.input):
        built.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]))
    assert list(make_feeds(built, {})) == ["x"]


def test_sequences_get_a_list_of_tensors() -> None:
    seq = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, ["n", 2])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0)
    made = make_feeds(helper.make_model(helper.make_graph([node], "g", [seq], [out])), {"n": 3})
    assert [np.shape(item) for item in made["s"]] == [(3, 2), (3, 2)]


def test_equal_arguments_give_equal_feeds_and_seeds_differ() -> None:
    built = model("g (float[N] x, int64[N] i) => (float[N] y) { y = Gather (x, i) }")
    first, again, other = (make_feeds(built, {"N": 9}, seed) for seed in (4, 4, 5))
    for name in ("x", "i"):
        np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(first["x"], other["x"])


# Each: graph, name of the integer input, sizes, and the range its values must span.
INDICES = {
    "gather": ("(float[7,3] x, int64[40] i) => (float[n,3] y) { y = Gather (x, i) }", {}, (0, 6)),
    "gather axis": (
        "(float[7,3] x, int32[40] i) => (float[7,n] y) { y = Gather <axis=-1> (x, i) }",
        {},
        (0, 2),
    ),
    "symbolic axis": (
        "(float[N,3] x, int64[60] i) => (float[n,3] y) { y = Gather (x, i) }",
        {"N": 11},
        (0, 10),
    ),
    "gather elements": (
        "(float[2,5] x, int64[2,40] i) => (float[2,9] y) { y = GatherElements <axis=1> (x, i) }",
        {},
        (0, 4),
    ),
    "gather nd": (
        "(float[4,9] x, int64[60,2] i) => (float[n] y) { y = GatherND (x, i) }",
        {},
        (0, 3),
    ),
    "through layout and casts": (
        "(float[6,3] x, int32[2,30] i) => (float[n,3] y) <int64[1] m = {-1}, int64[1] z = {0}>"
        "{ a = Cast <to=7> (i) b = Transpose (a) c = Reshape (b, m) d = Unsqueeze (c, z)"
        "  e = Squeeze (d, z) f = Concat <axis=0> (e, e) y = Gather (x, f) }",
        {},
        (0, 5),
    ),
    "offset": (
        "(float[9,3] x, int64[60] i) => (float[n,3] y) <int64 two = {2}>"
        "{ j = Add (i, two) y = Gather (x, j) }",
        {},
        (0, 6),
    ),
    "negative offset": (
        "(float[9,3] x, int64[60] i) => (float[n,3] y) <int64 two = {2}>"
        "{ j = Sub (i, two) y = Gather (x, j) }",
        {},
        (2, 10),
    ),
    "scaled": (
        "(float[9,3] x, int64[60] i) => (float[n,3] y) <int64 two = {2}>"
        "{ j = Mul (i, two) y = Gather (x, j) }",
        {},
        (0, 4),
    ),
    "wrapped where negative": (
        "(float[9,3] x, int64[60] i) => (float[n,3] y) <int64 n = {9}, int64 z = {0}>"
        "{ w = Add (i, n) c = Less (i, z) j = Where (c, w, i) y = Gather (x, j) }",
        {},
        (0, 8),
    ),
    "two tables": (
        "(float[9,3] x, float[5,3] t, int64[60] i) => (float[n,3] y)"
        "{ a = Gather (x, i) b = Gather (t, i) y = Add (a, b) }",
        {},
        (0, 4),
    ),
    "computed table": (
        "(float[N,4] x, int64[80] i) => (float[n] y) <int64[1] m = {-1}>"
        "{ f = Reshape (x, m) y = Gather (f, i) }",
        {"N": 3},
        (0, 11),
    ),
    "top k": (
        "(float[4,6] x, int64[1] i) => (float[n,6] y) { y, j = TopK <axis=0> (x, i) }",
        {},
        (1, 4),
    ),
    "mask": (
        "(float[5,30] x, int64[5,30] i) => (float[5,30] y)"
        "{ b = Cast <to=9> (i) n = Neg (x) y = Where (b, x, n) }",
        {},
        (0, 1),
    ),
    "inverted mask": (
        "(float[5,30] x, int64[5,30] i) => (float[5,30] y) <float one = {1}>"
        "{ b = Cast <to=1> (i) n = Sub (one, b) y = Mul (x, n) }",
        {},
        (0, 1),
    ),
    "arithmetic": ("(int64[99] i) => (int64[99] y) { y = Neg (i) }", {}, (-9, 9)),
    "divisor": (
        "(int64[99] a, int64[99] i) => (int64[99] y) { y = Div (a, i) }",
        {},
        (1, 9),
    ),
}


@pytest.mark.parametrize("case", INDICES)
def test_integers_lie_in_the_range_that_their_use_asks(case: str) -> None:
    body, sizes, wanted = INDICES[case]
    found = arrays(f"g {body}", "i", sizes)
    if case == "top k":  # one number per seed: too few to reach both ends
        low, high = spread(found)
        assert wanted[0] <= low <= high <= wanted[1]
    else:
        assert spread(found) == wanted
    built = model(f"g {body}")
    assert verify(built, built, sizes=2).status == "equal"


@pytest.mark.parametrize(
    "body",
    [
        "(float[2,6] x, int64[2] s) => (float[a,b] y) { y = Reshape (x, s) }",
        "(float[1,6] x, int64[3] s) => (float[a,b,c] y) { y = Expand (x, s) }",
        "(float[2,6] x, int64[2] s) => (float[a,b] y) { y = Tile (x, s) }",
        "(int64[3] s) => (float[a,b,c] y) { y = ConstantOfShape (s) }",
        "(int64 s, int64 e, int64 d) => (int64[n] y) { y = Range (s, e, d) }",
        "(float s, float e, float d) => (float[n] y) { y = Range (s, e, d) }",
        "(float[5,6] x, int64[2] s, int64[2] e, int64[2] a, int64[2] d) => (float[n,m] y)"
        "{ y = Slice (x, s, e, a, d) }",
        "(float[3,6] x, int64[2] s) => (float[3,a] y, float[3,b] z)"
        "{ y, z = Split <axis=1> (x, s) }",
        "(float[3,6] x, int64[1] s) => (float[n,m,k] y) { y = Unsqueeze (x, s) }",
        "(float[3,6] x, int64[1] s) => (float[n,m] y) { y = ReduceSum (x, s) }",
        "(float[3,6] x, int64 s) => (float[3,6] y) { y = CumSum (x, s) }",
        "(float[1,1,3,6] x, float[4] s) => (float[a,b,c,d] y)"
        '{ y = Resize <mode="nearest"> (x, , s) }',
        "(float[3,6] x, int64[4] p) => (float[a,b] y) { y = Pad (x, p) }",
    ],
)
def test_counts_shapes_and_axes_give_a_model_that_runs(body: str) -> None:
    built = model(f"g {body}")
    result = verify(built, built, sizes=2)
    assert (result.status, result.evidence) == ("equal", 2), result.reason


def test_scattered_indices_are_distinct_where_there_is_room() -> None:
    body = (
        "(float[20] x, int64[8] i, float[8] u) => (float[20] y) { y = ScatterElements (x, i, u) }"
    )
    for made in arrays(f"g {body}", "i"):
        assert len(set(made.tolist())) == 8


def test_masks_are_padded_at_the_end_only() -> None:
    body = (
        "(float[9,30] x, int64[9,30] i) => (float[9,30] y)"
        "{ b = Cast <to=9> (i) n = Neg (x) y = Where (b, x, n) }"
    )
    for made in arrays(f"g {body}", "i"):
        assert (made[:, 0] == 1).all()
        assert (np.diff(made, axis=1) <= 0).all()


def test_indices_are_followed_into_nested_graphs_and_functions() -> None:
    nested = model(
        """g (float[7,2] x, bool c, int64[40] i) => (float[n,2] y) {
             y = If (c) <then_branch = t () => (float[n,2] a) { a = Gather (x, i) },
                         else_branch = e () => (float[n,2] b) { z = Neg (x) b = Gather (z, i) }>
           }"""
    )
    called = parse_model(
        """<ir_version: 8, opset_import: ["" : 18, "own" : 1]>
           g (float[7,2] x, int64[40] i) => (float[n,2] y) { y = own.pick (x, i) }
           <domain: "own", opset_import: ["" : 18]>
           pick (data, index) => (out) { out = Gather (data, index) }"""
    )
    for built in (nested, called):
        made = [np.asarray(make_feeds(built, {}, seed)["i"]) for seed in SEEDS]
        assert spread(made) == (0, 6)


def test_indices_are_followed_out_of_branches_and_along_loops() -> None:
    branch = model(
        """g (float[7,2] x, bool c, int64[40] i) => (float[n,2] y) {
             j = If (c) <then_branch = t () => (int64[40] a) { a = Identity (i) },
                         else_branch = e () => (int64[40] b) { b = Identity (i) }>
             y = Gather (x, j)
           }"""
    )
    loop = model(
        """g (float[7,2] x, int64[40] i) => (float[n,2] y) <int64 three = {3}, bool yes = {1}> {
             j, y = Loop (three, yes, i) <body = b (int64 k, bool go, int64[40] p)
                       => (bool on, int64[40] q, float[40,2] r)
                       { on = Identity (go) q = Identity (p) r = Gather (x, p) }>
           }"""
    )
    for built in (branch, loop):
        made = [np.asarray(make_feeds(built, {}, seed)["i"]) for seed in SEEDS]
        assert spread(made) == (0, 6)


def test_demands_that_no_value_meets_do_not_stop_the_feeds() -> None:
    body = (
        "(float[9,3] x, float[5,3] t, int64[60] i) => (float[n,3] y) <int64 d = {8}>"
        "{ a = Gather (t, i) j = Sub (i, d) b = Gather (x, j) y = Add (a, b) }"
    )
    low, high = spread(arrays(f"g {body}", "i"))
    assert 0 <= low < high <= 16


def test_a_plugin_node_is_an_index_user_too() -> None:
    built = parse_model(
        """<ir_version: 8, opset_import: ["" : 18, "trt.plugins" : 1]>
           g (float[2,5] x, int64[2,40] i) => (float[2,40] y)
           { y = trt.plugins.GatherElementsPlugin <axis=1> (x, i) }"""
    )
    assert spread([np.asarray(make_feeds(built, {}, seed)["i"]) for seed in SEEDS]) == (0, 4)


def test_external_weights_are_not_needed() -> None:
    built = model("g (int64[40] i) => (float[n,3] y) <float[7,3] w = {0}> { y = Gather (w, i) }")
    weights = built.graph.initializer[0]
    weights.Clear()
    weights.name, weights.data_type = "w", TensorProto.FLOAT
    weights.dims.extend([7, 3])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="nowhere.bin")
    assert spread([np.asarray(make_feeds(built, {}, seed)["i"]) for seed in SEEDS]) == (0, 6)


def test_importing_the_package_leaves_onnxruntime_alone() -> None:
    code = (
        "import sys, onnx_fix.verify; "
        "sys.exit(any(m in sys.modules for m in ('onnxruntime', 'onnxsim', 'onnx.reference')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
