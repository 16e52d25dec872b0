"""integer-shape-arithmetic: sizes computed with floats come out the same with integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from onnx_fix import fix
from onnx_fix.check import check
from onnx_fix.testing import (
    Feeds,
    as_proto,
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes._size_programs import (
    ENOUGH,
    LARGEST,
    Link,
    NotWhole,
    Program,
    Step,
    by_chain,
    program_of,
)
from onnx_fix_passes.integer_shape_arithmetic import IntegerShapeArithmetic

SIZES = (0, 1, 2, 3, 7, 10, 33, 1000)


def text(body: str, opset: int = 13, more: str = "") -> str:
    """A model whose output is as long as ``n`` says; x is of one dim."""
    return f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g (float[N] x{more}) => (float[M] y) {{ s = Shape (x) {body} y = ConstantOfShape (n) }}"""


def feeds(*sizes: int) -> list[Feeds]:
    return [{"x": np.zeros(n, np.float32)} for n in sizes or SIZES]


def chain(*nodes: str, opset: int = 13, to: int = 7, kind: str = "float") -> str:
    """Shape, Cast, the ops with a constant each (``Mul 1.5``), Cast."""
    number = {"float": 1, "float16": 10, "double": 11}[kind]
    body, last = f"t0 = Cast <to = {number}> (s) ", "t0"
    for k, node in enumerate(nodes, start=1):
        op, _, constant = node.partition(" ")
        if constant:
            value = f"{{{constant}}}"
            if kind == "float16":
                value = f"{{{int(np.float16(constant).view(np.uint16))}}}"
            body += f"k{k} = Constant <value = {kind} {value}> () t{k} = {op} ({last}, k{k}) "
        else:
            body += f"t{k} = {op} ({last}) "
        last = f"t{k}"
    return text(f"{body} n = Cast <to = {to}> ({last})", opset)


def made_of(model: ModelProto | str) -> list[str]:
    fixed, _ = run_pass(IntegerShapeArithmetic(), as_proto(model), target="trt-7.2")
    return [op for op in ops(fixed) if op != "Constant"]


# -- chains ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "made"),
    [
        (("Mul 2.0",), ["Mul"]),
        (("Mul 1.0", "Floor"), []),
        (("Mul 2.0", "Floor"), ["Mul"]),
        (("Mul 0.5", "Floor"), ["Div"]),
        (("Mul 0.5",), ["Div"]),
        (("Mul 1.5", "Floor"), ["Mul", "Div"]),
        (("Mul 0.1", "Floor"), ["Div"]),
        (("Div 3.0", "Floor"), ["Div"]),
        (("Div 32.0", "Ceil", "Mul 32.0"), ["Add", "Div", "Mul"]),
        (("Mul 1.25", "Ceil"), ["Mul", "Add", "Div"]),
        (("Div 3.0", "Round"), ["Mul", "Add", "Div"]),
        (("Mul 3.0", "Round"), ["Mul"]),
        (("Sub 3.0", "Div 2.0", "Floor", "Add 1.0"), ["Add", "Div", "Add"]),
        (("Add 5.0", "Neg", "Neg"), ["Add"]),
        (("Div 2.0", "Floor", "Mul 2.0", "Div 3.0", "Ceil"), ["Div", "Mul", "Add", "Div"]),
    ],
)
def test_chains(nodes: tuple[str, ...], made: list[str]) -> None:
    model = chain(*nodes)
    constants = ops(as_proto(model)).count("Constant")
    small = [n for n in SIZES if "Sub 3.0" not in nodes or n >= 1]
    fixed, _ = run_pass(IntegerShapeArithmetic(), as_proto(model), target="trt-7.2")
    assert [op for op in ops(fixed) if op != "Constant"] == ["Shape", *made, "ConstantOfShape"]
    assert ops(fixed).count("Constant") <= constants
    for feed in feeds(*small):
        assert_same_outputs(as_proto(model), fixed, feed)
    assert check(as_proto(model), target="trt-7.2").verdict == "blocked"
    assert [f.code.code for f in check(fixed, target="trt-7.2").findings if f.blocks] == []


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 19, 21, 23])
def test_operator_sets(opset: int) -> None:
    assert_rewrites(
        IntegerShapeArithmetic(),
        chain("Mul 1.5", "Floor", opset=opset),
        after=["Shape", "Mul", "Div", "ConstantOfShape"],
        feeds=feeds(),
    )


def test_int32_on_both_ends() -> None:
    body = """i = Cast <to = 6> (s) f = Cast <to = 1> (i) k = Constant <value = float {0.5}> ()
    m = Mul (f, k) r = Floor (m) j = Cast <to = 6> (r) n = Cast <to = 7> (j)"""
    after = ["Shape", "Cast", "Div", "Cast", "ConstantOfShape"]
    assert_rewrites(IntegerShapeArithmetic(), text(body), after=after, feeds=feeds())


def test_a_constant_before_the_size() -> None:
    body = """f = Cast <to = 1> (s) k = Constant <value = float {9.0}> () m = Sub (k, f)
    n = Cast <to = 7> (m)"""
    after = ["Shape", "Mul", "Add", "ConstantOfShape"]
    assert_rewrites(IntegerShapeArithmetic(), text(body), after=after, feeds=feeds(0, 1, 9))


def test_a_constant_that_makes_a_list_of_a_scalar() -> None:
    """A scalar times a list of one element, or of several that differ."""
    for values, made in (("{1.0}", "Mul"), ("{2.0}", "Mul"), ("{0.5}", "Div")):
        body = f"""z = Constant <value = int64 {{0}}> () h = Gather <axis = 0> (s, z)
        f = Cast <to = 1> (h) k = Constant <value = float[1] {values}> () m = Mul (f, k)
        n = Cast <to = 7> (m)"""
        after = ["Shape", "Constant", "Gather", made, "ConstantOfShape"]
        assert_rewrites(IntegerShapeArithmetic(), text(body), after=after, feeds=feeds())


def test_a_scale_for_each_dim() -> None:
    model = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[A, B, C] x) => (float[K, L, M] y) {
      s = Shape (x) f = Cast <to = 1> (s) k = Constant <value = float[3] {1.0, 0.5, 1.5}> ()
      m = Mul (f, k) r = Floor (m) n = Cast <to = 7> (r) y = ConstantOfShape (n) }"""
    shapes = ((1, 2, 3), (5, 7, 9), (0, 1, 1), (3, 1, 0))
    after = ["Shape", "Mul", "Div", "ConstantOfShape"]
    given = [{"x": np.zeros(s, np.float32)} for s in shapes]
    assert_rewrites(IntegerShapeArithmetic(), model, after=after, feeds=given)


def test_half_and_double_precision() -> None:
    reasons = skip_reasons(IntegerShapeArithmetic(), chain("Mul 1.5", "Floor", kind="float16"))
    assert len(reasons) == 1 and "the floats round" in reasons[0]
    after = ["Shape", "Mul", "Div", "ConstantOfShape"]
    model = chain("Mul 1.3", "Floor", kind="double")
    assert_rewrites(IntegerShapeArithmetic(), model, after=after, feeds=feeds(0, 1, 7, 91))


# -- what an exporter writes -----------------------------------------------------------------------


def interpolate(scale: float, opset: int = 11, mode: str = "half_pixel") -> str:
    """interpolate(scale_factor=...) as the legacy exporter of PyTorch writes it."""

    def size(name: str, axis: int) -> str:
        unsqueeze = f"<axes = [0]> (r{name})" if opset < 13 else f"(r{name}, zero)"
        return f"""s{name} = Shape (x) i{name} = Constant <value = int64 {{{axis}}}> ()
        d{name} = Gather <axis = 0> (s{name}, i{name}) f{name} = Cast <to = 1> (d{name})
        k{name} = Constant <value = float {{{scale}}}> () m{name} = Mul (f{name}, k{name})
        c{name} = Cast <to = 1> (m{name}) r{name} = Floor (c{name})
        u{name} = Unsqueeze {unsqueeze}"""

    return f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g (float[N, 3, H, W] x) => (float[P, Q, R, S] y) {{
      zero = Constant <value = int64[1] {{0}}> () two = Constant <value = int64[1] {{2}}> ()
      {size("h", 2)} {size("w", 3)} hw = Concat <axis = 0> (uh, uw) ints = Cast <to = 7> (hw)
      s = Shape (x) nc = Slice (s, zero, two, zero) sizes = Concat <axis = 0> (nc, ints)
      e = Constant <value = float[0] {{}}> ()
      y = Resize <mode = "linear", coordinate_transformation_mode = "{mode}"> (x, e, e, sizes)
    }}"""


@pytest.mark.parametrize("scale", [2.0, 0.5, 1.5, 0.7])
@pytest.mark.parametrize("opset", [11, 13])
def test_an_exported_interpolate(scale: float, opset: int) -> None:
    model = as_proto(interpolate(scale, opset))
    before = check(as_proto(model), target="trt-7.2")
    assert before.verdict == "blocked"
    assert {f.mended_by for f in before.findings if f.code.code == "OF415"} == {
        "integer-shape-arithmetic"
    }
    result = fix(model, target="trt-7.2", verify=False)
    assert [f.code.code for f in check(result.model, target="trt-7.2").findings if f.blocks] == []
    assert not {"Floor", "Cast"} & set(ops(result.model))
    for height, width in ((2, 3), (7, 4), (10, 30), (33, 2), (3, 57)):
        x = np.random.default_rng(height).random((1, 3, height, width), np.float32)
        assert_same_outputs(model, result.model, {"x": x})


def test_what_later_releases_take_stays() -> None:
    model = as_proto(interpolate(1.5))
    for target in ("trt-8.4", "trt-8.6", "trt-10.3", "rtx-1.7"):
        assert skip_reasons(IntegerShapeArithmetic(), model, target=target) == []
        assert "OF415" not in {f.code.code for f in check(model, target=target).findings}
    for target in ("trt-7.0", "trt-8.0", "trt-8.2"):
        assert "OF415" in {f.code.code for f in check(model, target=target).findings}


def test_numbers_that_are_no_sizes_stay() -> None:
    """The same chain, whose result is added to data or returned."""
    model = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[N] x, int64[N] d) => (int64[M] y, int64[K] n) {
      s = Shape (x) f = Cast <to = 1> (s) k = Constant <value = float {1.5}> ()
      m = Mul (f, k) n = Cast <to = 7> (m) y = Add (n, d) }"""
    assert skip_reasons(IntegerShapeArithmetic(), model) == []
    assert check(as_proto(model), target="trt-7.2").verdict == "ready"


def test_casts_alone_stay() -> None:
    """The parser takes such casts out by itself."""
    for kind in (1, 10, 11):
        body = f"f = Cast <to = {kind}> (s) z = Concat <axis = 0> (f, f) n = Cast <to = 7> (z)"
        model = as_proto(text(body).replace("float[M] y", "float[M, L] y"))
        assert skip_reasons(IntegerShapeArithmetic(), model) == []
        assert "OF415" not in {f.code.code for f in check(model, target="trt-7.2").findings}


def test_two_chains_one_after_the_other() -> None:
    body = """f = Cast <to = 1> (s) k = Constant <value = float {0.5}> () m = Mul (f, k)
    r = Floor (m) i = Cast <to = 7> (r) g = Cast <to = 1> (i) d = Div (g, k) c = Ceil (d)
    n = Cast <to = 7> (c)"""
    after = ["Shape", "Div", "Mul", "ConstantOfShape"]
    assert_rewrites(IntegerShapeArithmetic(), text(body), after=after, feeds=feeds())


def test_moves_between_the_ops() -> None:
    """Whole numbers are moved first; numbers that are not get the rest of the ops before."""
    model = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[A, B] x) => (float[K, L] y) {
      s = Shape (x) f = Cast <to = 1> (s) k = Constant <value = float {0.5}> ()
      one = Constant <value = float[1] {7.0}> () i = Constant <value = int64[1] {1}> ()
      b = Gather <axis = 0> (f, i) m = Mul (b, k) z = Concat <axis = 0> (m, one) r = Ceil (z)
      n = Cast <to = 7> (r) y = ConstantOfShape (n) }"""
    fed = [{"x": np.zeros(s, np.float32)} for s in ((1, 2), (5, 7), (0, 3), (3, 0))]
    after = ["Shape", "Constant", "Gather", "Add", "Div", "Concat", "ConstantOfShape"]
    assert_rewrites(IntegerShapeArithmetic(), model, after=after, feeds=fed)
    rest = "j = Constant <value = int64[1] {0}> () h = Gather <axis = 0> (n, j)"
    later = model.replace("y = Const", f"{rest} y = Const").replace("(n) }", "(h) }")
    later = later.replace("float[K, L] y", "float[K] y")
    assert "Floor" not in made_of(later) and "Ceil" not in made_of(later)


def test_bodies() -> None:
    model = """<ir_version: 10, opset_import: ["" : 17]>
    main (bool c, float[A] x) => (float[K] y) {
      s = Shape (x) f = Cast <to = 1> (s)
      y = If (c) <
        then_branch = one () => (float[L] t) {
          k = Constant <value = float {1.5}> () m = Mul (f, k) n = Cast <to = 7> (m)
          t = ConstantOfShape (n) },
        else_branch = two () => (float[M] e) {
          s2 = Shape (x) f2 = Cast <to = 1> (s2) k2 = Constant <value = float {0.5}> ()
          m2 = Mul (f2, k2) n2 = Cast <to = 7> (m2) e = ConstantOfShape (n2) }
      > }"""
    fixed, results = run_pass(IntegerShapeArithmetic(), as_proto(model), target="trt-8.2")
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    assert not any(r.skipped for r in results)
    for n in (0, 1, 6):
        for c in (True, False):
            assert_same_outputs(
                as_proto(model), fixed, {"c": np.asarray(c), "x": np.zeros(n, np.float32)}
            )


def test_the_body_of_a_loop() -> None:
    model = """<ir_version: 10, opset_import: ["" : 17]>
    main (int64 trips, float[A] x) => (float[K] y) {
      go = Constant <value = bool {1}> ()
      y = Loop (trips, go, x) <body = b (int64 i, bool c, float[B] v) => (bool d, float[C] w) {
        d = Identity (c) s = Shape (v) f = Cast <to = 1> (s) k = Constant <value = float {1.5}> ()
        m = Mul (f, k) r = Ceil (m) n = Cast <to = 7> (r) w = ConstantOfShape (n) }> }"""
    fixed, results = run_pass(IntegerShapeArithmetic(), as_proto(model), target="trt-8.2")
    assert sum(len(r.changes) for r in results) == 1
    for trips in (0, 1, 4):
        feed = {"trips": np.asarray(trips), "x": np.zeros(3, np.float32)}
        assert_same_outputs(as_proto(model), fixed, feed)


def test_the_numbers_are_verified_by_fix() -> None:
    result = fix(as_proto(interpolate(0.5)), target="trt-7.2")
    assert "integer-shape-arithmetic" in {c.pass_name for c in result.report.changes}


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        (("Mul 1.3", "Floor"), "the floats round, and differ from whole numbers at 90"),
        (("Mul 0.3333", "Floor"), "the constant 0.333299994 is no simple fraction"),
        (("Mul 0.75", "Round"), "Round takes halves to the even number"),
        (("Sub 3.0", "Div 2.0"), "what it cuts to a whole number may be negative"),
        (("Neg", "Div 2.0", "Floor"), "falls with the size and may be negative"),
        (("Div 0.0", "Floor"), "it divides by a size, or by zero"),
        (("Sqrt",), "Sqrt does not give whole numbers"),
        (("Mul 2100.0", "Div 2099.0", "Floor"), "the floats round"),
        (("Mul 2.0", "Mul 2048.0", "Floor"), "integers of 32 bits overflow on the way at 524288"),
        (
            ("Sub 9.0", "Floor", "Div 2.0", "Floor", "Mul 0.5", "Ceil"),
            "may be negative: it is at 0",
        ),
        (("Pow 2.0",), "Pow does not give whole numbers"),
    ],
)
def test_refusals(nodes: tuple[str, ...], reason: str) -> None:
    reasons = skip_reasons(IntegerShapeArithmetic(), chain(*nodes))
    assert len(reasons) == 1 and reason in reasons[0]


@pytest.mark.parametrize(
    ("body", "more", "reason"),
    [
        (
            "f = Cast <to = 1> (s) m = Mul (f, f) n = Cast <to = 7> (m)",
            "",
            "Mul computes with two sizes that are floats",
        ),
        (
            "f = Cast <to = 1> (v) k = Constant <value = float {0.5}> () m = Mul (f, k) "
            "n = Cast <to = 7> (m)",
            ", int64[1] v",
            "nothing shows that 'v' is not negative",
        ),
        ("n = Cast <to = 7> (v)", ", float[1] v", "'v' does not come from sizes"),
        (
            "f = Cast <to = 1> (s) r = Floor (f) b = Cast <to = 9> (r) n = Cast <to = 7> (b)",
            "",
            "it casts to another type than INT32 and INT64",
        ),
        (
            "f = Cast <to = 1> (s) k = Constant <value = float {0.5}> () m = Mul (f, k) "
            "q = Concat <axis = 0> (m, f) w = Constant <value = float[2] {1.0, 2.0}> () "
            "p = Mul (q, w) z = Constant <value = int64[1] {0}> () h = Gather (p, z) "
            "n = Cast <to = 7> (h)",
            "",
            "Concat gives numbers that are not whole to several constants",
        ),
        (
            "f = Cast <to = 16> (s) r = Floor (f) n = Cast <to = 7> (r)",
            "",
            "'r' is no float of 16, 32 or 64 bits",
        ),
    ],
)
def test_other_refusals(body: str, more: str, reason: str) -> None:
    reasons = skip_reasons(IntegerShapeArithmetic(), text(body, more=more))
    assert len(reasons) == 1 and reason in reasons[0]


def test_numbers_without_a_known_sign_are_only_multiplied() -> None:
    body = """f = Cast <to = 1> (v) k = Constant <value = float {-2.0}> () m = Mul (f, k)
    n = Cast <to = 7> (m)"""
    given = [{"x": np.zeros(1, np.float32), "v": np.asarray([v])} for v in (-3, 0)]
    after = ["Mul", "ConstantOfShape"]
    assert_rewrites(
        IntegerShapeArithmetic(),
        text(body, more=", int64[1] v").replace("s = Shape (x)", ""),
        after=after,
        feeds=given,
    )


# -- programs --------------------------------------------------------------------------------------

FLOAT = np.dtype(np.float32)


def links(*nodes: tuple[str, float | None]) -> tuple[Link, ...]:
    return (Link("Cast", FLOAT), *(Link(op, FLOAT, number) for op, number in nodes))


def test_a_division_is_exact_up_to_the_limit_of_floats() -> None:
    """The quotient of two whole numbers below 2**24, rounded to FLOAT, passes no whole number."""
    for divisor in (3, 7, 10, 1000):
        program = program_of(links(("Div", float(divisor)), ("Floor", None)))
        assert program == Program((Step(1, 0, divisor), Step(1, 0, 1)), LARGEST)


def test_the_limit_is_the_last_number_that_agrees() -> None:
    scaled = links(("Mul", 1.5), ("Floor", None))
    program = program_of(scaled)
    assert ENOUGH < program.limit < LARGEST
    numbers = np.arange(program.limit - 999, program.limit + 2)
    same = by_chain(numbers, scaled) == numbers * 3 // 2
    assert same[:-1].all() and not same[-1]


_NUMBERS = st.sampled_from([0.25, 0.5, 0.75, 1.25, 1.5, 2.0, 3.0, 7.0, 8.0, 32.0, 0.1, 0.6])
_LINKS = st.one_of(
    st.tuples(st.sampled_from(["Mul", "Div", "Add", "Sub"]), _NUMBERS),
    st.tuples(st.sampled_from(["Floor", "Ceil", "Round"]), st.none()),
)


@settings(max_examples=20, deadline=None)
@given(st.lists(_LINKS, min_size=1, max_size=5), st.integers(0, 200))
def test_families(nodes: Sequence[tuple[str, float | None]], size: int) -> None:
    """What is rewritten gives the sizes that onnxruntime computes with floats."""
    named = [op if number is None else f"{op} {number}" for op, number in nodes]
    model = as_proto(chain(*named).replace("y = ConstantOfShape (n)", "z = ConstantOfShape (n)"))
    model.graph.output[0].CopyFrom(_output("n"))
    fixed, results = run_pass(IntegerShapeArithmetic(), model, target="trt-7.2")
    assert len(results[0].changes) + len(results[0].skipped) == 1
    model.graph.node.pop()
    fixed.graph.node.pop()
    for n in (0, 1, 2, 3, size):
        assert_same_outputs(model, fixed, {"x": np.zeros(n, np.float32)})


def _output(name: str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, [1])


def test_a_chain_that_is_not_whole_says_so() -> None:
    with pytest.raises(NotWhole, match="a constant is not finite"):
        program_of(links(("Mul", float("inf"))))
