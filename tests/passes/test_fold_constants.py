"""fold-constants: what helps the target becomes an initializer, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnx_fix.engine import Engine, Step
from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import assert_rewrites, assert_same_outputs, ops, run_pass, skip_reasons
from onnx_fix_passes.fold_constants import FoldConstants

HEAD = '<ir_version: 8, opset_import: ["" : 13]>'
BOUND = f"""{HEAD} g (float[N] x) => (float[N] y) <float a = {{2}}> {{
    b = Neg (a)
    c = Abs (b)
    y = Clip (x, b, c)
}}"""
FEEDS = [{"x": np.linspace(-4, 4, n, dtype=np.float32)} for n in (9, 1, 0)]


def test_an_input_that_must_be_constant_is_folded() -> None:
    fixed = assert_rewrites(FoldConstants(), BOUND, after=["Clip"], feeds=FEEDS)
    values = [numpy_helper.to_array(t).item() for t in fixed.graph.initializer]
    assert sorted(values) == [-2.0, 2.0]


def test_a_target_that_computes_bounds_is_left_alone() -> None:
    assert skip_reasons(FoldConstants(), BOUND, target="trt-10.3") == []
    assert_rewrites(
        FoldConstants(everywhere=True), BOUND, after=["Clip"], feeds=FEEDS, target="trt-10.3"
    )


def test_a_refused_node_over_constants_goes() -> None:
    text = f"""{HEAD} g (float[N] x) => (float[N] y) <float[3] a = {{1, 2, 3}}, int64 z = {{0}}> {{
        s = CumSum (a, z)
        t = ReduceMax <keepdims = 0> (s)
        y = Mul (x, t)
    }}"""
    fixed = assert_rewrites(FoldConstants(), text, after=["ReduceMax", "Mul"], feeds=FEEDS)
    assert [list(numpy_helper.to_array(t)) for t in fixed.graph.initializer] == [[1, 3, 6]]


def test_an_identity_of_an_initializer_is_passed_by_without_reading_it(tmp_path: Path) -> None:
    text = f"""{HEAD} g (float[B, 2, H, W] x) => (float[B, 3, P, Q] y) {{
        b = Identity (a)
        c = Identity (b)
        y = Conv (x, c)
    }}"""
    proto = onnx.parser.parse_model(text)
    weight = proto.graph.initializer.add()
    weight.name, weight.data_type = "a", TensorProto.FLOAT
    weight.data_location = TensorProto.EXTERNAL
    weight.dims.extend([3, 2, 3, 3])
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "not-there.bin"
    model = Model(proto, tmp_path, load_target("trt-7.2"))
    Engine(model).run([Step(FoldConstants())])
    fixed = model.to_proto()
    assert ops(fixed) == ["Conv"]
    assert list(fixed.graph.node[0].input) == ["x", "a"]


def test_the_shape_of_a_static_tensor_is_a_constant() -> None:
    text = f"""{HEAD} g (float[2, 5] x) => (float[P, Q] y) <int64 z = {{0}}> {{
        s = Shape (x)
        i = Gather <axis = 0> (s, z)
        f = Cast <to = 1> (i)
        y = Clip (x, f)
    }}"""
    feeds = [{"x": np.arange(10, dtype=np.float32).reshape(2, 5)}]
    assert_rewrites(FoldConstants(), text, after=["Clip"], feeds=feeds)


def test_the_rank_is_known_where_the_sizes_are_not() -> None:
    text = f"""{HEAD} g (float[N, M] x) => (float[P, Q] y) {{
        s = Shape (x)
        r = Size (s)
        f = Cast <to = 1> (r)
        y = Clip (x, f)
    }}"""
    feeds = [{"x": np.arange(10, dtype=np.float32).reshape(2, 5)}]
    fixed = assert_rewrites(FoldConstants(), text, after=["Clip"], feeds=feeds)
    assert [numpy_helper.to_array(t).item() for t in fixed.graph.initializer] == [2.0]


def test_what_depends_on_a_dynamic_dim_stays() -> None:
    text = f"""{HEAD} g (float[N, 5] x) => (float[N, 5] y) <int64 z = {{0}}> {{
        s = Shape (x)
        i = Gather <axis = 0> (s, z)
        f = Cast <to = 1> (i)
        y = Clip (x, f)
    }}"""
    assert skip_reasons(FoldConstants(everywhere=True), text) == []


def test_everything_folds_on_request_but_random_numbers() -> None:
    text = f"""{HEAD} g (float[N] x) => (float[N] y, float[1] r) <float[1] a = {{2}}> {{
        b = Neg (a)
        c = Identity (b)
        r = RandomNormal <shape = [1]> ()
        d = Add (c, b)
        y = Add (x, d)
    }}"""
    fixed, _ = run_pass(FoldConstants(everywhere=True), text)
    assert ops(fixed) == ["RandomNormal", "Add"]
    assert [numpy_helper.to_array(t).tolist() for t in fixed.graph.initializer] == [[-4.0]]


def test_a_constant_output_keeps_its_name() -> None:
    text = f"""{HEAD} g (float[N] x) => (float[N] y, float[1] k) <float[1] a = {{2}}> {{
        k = Neg (a)
        y = Add (x, k)
    }}"""
    fixed = assert_rewrites(
        FoldConstants(everywhere=True), text, after=["Identity", "Add"], feeds=FEEDS
    )
    assert fixed.graph.node[0].output[0] == "k"


@pytest.mark.parametrize("limit_mib", [0.001, 16.0])
def test_large_tensors_are_not_made(limit_mib: float) -> None:
    text = f"""{HEAD} g (float[N] x) => (float[N] y) <int64[1] n = {{1000}}> {{
        w = ConstantOfShape <value: tensor = float[1] {{2.0}}> (n)
        m = ReduceMax <keepdims = 0> (w)
        y = Clip (x, m)
    }}"""
    pass_ = FoldConstants(limit_mib=limit_mib)
    if limit_mib > 1:
        assert_rewrites(pass_, text, after=["Clip"], feeds=FEEDS)
    else:
        assert skip_reasons(pass_, text) == ["'w' may be larger than limit_mib = 0.001"]


def test_bodies_and_functions() -> None:
    text = """<ir_version: 10, opset_import: ["" : 17, "my" : 1]>
    main (bool c, float[N] x) => (float[N] y) <float a = {2}> {
      d = my.f (x)
      y = If (c) <
        then_branch = one () => (float[N] t) { n = Neg (a)  t = Clip (d, n) },
        else_branch = two () => (float[N] e) { e = Neg (d) }
      >
    }
    <domain: "my", opset_import: ["" : 17]>
    f (p) => (q) { k = Constant <value = float {3.0}> ()  l = Neg (k)  q = Clip (p, l) }"""
    before, _ = run_pass([], text)
    fixed, results = run_pass(FoldConstants(), before)
    assert [c.scope for r in results for c in r.changes] == ["y/then_branch", "function my::f"]
    for c in (True, False):
        for feeds in FEEDS:
            assert_same_outputs(before, fixed, {"c": np.asarray(c), **feeds})


def test_an_initializer_that_a_caller_may_feed_is_not_folded() -> None:
    proto: ModelProto = onnx.parser.parse_model(BOUND)
    proto.graph.input.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, []))
    assert skip_reasons(FoldConstants(everywhere=True), proto) == []


def test_a_range_over_constants_folds_by_its_length() -> None:
    text = f"""{HEAD} g (float[2, 5] x) => (float[2, 5] y) <int64 z = {{0}}, int64 o = {{1}}> {{
        s = Shape (x)
        n = Gather <axis = 0> (s, o)
        r = Range (z, n, o)
        m = ReduceMax <keepdims = 0> (r)
        f = Cast <to = 1> (m)
        y = Clip (x, f)
    }}"""
    feeds = [{"x": np.arange(10, dtype=np.float32).reshape(2, 5)}]
    assert_rewrites(FoldConstants(), text, after=["Clip"], feeds=feeds)
