"""Hand-made models about control flow, functions, domains and versions."""

from __future__ import annotations

from collections.abc import Iterator

from targeted_cases import Question

ONE_TWO = "float[1] one = {1}, float[1] two = {2}"
THEN = "then_branch = t () => (float{0} p) {{ p = Add(x, one) }}"


def control_models() -> Iterator[Question]:
    """Questions about If, Loop, functions, domains, opsets."""
    yield from _branches()
    yield from _loops()
    yield from _functions()
    yield from _domains()
    yield from _versions()


def _branches() -> Iterator[Question]:
    def choose(name: str, other: str, condition: str = ", bool c", held: str = "") -> Question:
        branch = "then_branch = t () => (float p) { p = Add(x, one) }"
        dims = "[4]" if name == "length_differs" else "[N]"
        return Question(
            f"if_{name}",
            f"g (float{dims} x{condition}) => (float y) <{ONE_TWO}, int64[1] zero = {{0}}{held}>"
            f" {{ y = If(c) <{branch}, else_branch = {other}> }}",
        )

    plain = "e () => (float q) { q = Add(x, two) }"
    yield choose("at_run_time", plain)
    yield choose("constant", plain, condition="", held=", bool c = {1}")
    yield choose("same_output_names", "e () => (float p) { p = Add(x, two) }")
    yield choose("rank_differs", "e () => (float q) { q = Unsqueeze(x, zero) }")
    yield choose("length_differs", "e () => (float q) { q = Concat<axis = 0>(x, x) }")
    yield choose("refused_op_in_branch", "e () => (float q) { q = Det(x) }")


def _loops() -> Iterator[Question]:
    def loop(
        name: str, head: str, collect: bool, ports: str = "", held: str = "", **values: list[int]
    ) -> Question:
        out = ", float[1] s" if collect else ""
        last = " s = Identity(b)" if collect else ""
        body = (
            f"body = f (int64 i, bool c, float[1] a) => (bool d, float[1] b{out})"
            f" {{ d = Identity(c) b = Add(a, one){last} }}"
        )
        made, types = ("y, ys", "float y, float ys") if collect else ("y", "float y")
        return Question(
            f"loop_{name}",
            f"g (float[1] x{ports}) => ({types}) <float[1] one = {{1}}{held}>"
            f" {{ {made} = Loop({head}, x) <{body}> }}",
            values=values,
        )

    five, true = ", int64 m = {5}", ", bool t = {1}"
    yield loop("no_condition_but_read", "m, ", False, held=five)
    yield loop("constant", "m, t", False, held=five + true)
    yield loop("constant_collecting", "m, t", True, held=five + true)
    yield loop("count_at_run_time", "m, t", False, ", int64 m", true, m=[5])
    yield loop("count_at_run_time_collecting", "m, t", True, ", int64 m", true, m=[5])
    yield loop("condition_at_run_time", "m, c0", False, ", bool c0", five)
    yield loop("condition_at_run_time_collecting", "m, c0", True, ", bool c0", five)
    yield loop("while_collecting", ", c0", True, ", bool c0")
    yield Question(
        "loop_growing_state",
        "g (float[1] x) => (float y) <int64 m = {3}, bool t = {1}> { y = Loop(m, t, x)"
        " <body = f (int64 i, bool c, float[K] a) => (bool d, float[L] b)"
        " { d = Identity(c) b = Concat<axis = 0>(a, a) }> }",
    )


def _functions() -> Iterator[Question]:
    mine = ("my",)
    call = "g (float[N] x) => (float y) {{ y = my.{0}(x) }}"

    def body(
        name: str, inner: str, ports: str = "a", opset: int = 17, outputs: str = "b", head: str = ""
    ) -> str:
        return (
            f' <domain: "my", opset_import: ["" : {opset}, "my" : 1]> {name}{head} ({ports})'
            f" => ({outputs})"
            f" {{ {inner} }}"
        )

    relu = "b = Relu(a)"
    yield Question("function", call.format("Half") + body("Half", relu), domains=mine)
    yield Question(
        "function_named_like_an_op",
        call.format("LayerNormalization") + body("LayerNormalization", relu),
        domains=mine,
    )
    yield Question(
        "function_relu_that_negates", call.format("Relu") + body("Relu", "b = Neg(a)"), domains=mine
    )
    yield Question(
        "function_parameter",
        "g (float[N] x) => (float y) { y = my.Leaky<alpha = 0.3>(x) }"
        + body("Leaky", "b = LeakyRelu<alpha: float = @alpha>(a)", head=" <alpha>"),
        domains=mine,
    )
    yield Question(
        "function_parameter_missing",
        call.format("Leaky")
        + body("Leaky", "b = LeakyRelu<alpha: float = @alpha>(a)", head=" <alpha>"),
        domains=mine,
    )
    yield Question(
        "function_in_function",
        call.format("Outer") + body("Inner", relu) + body("Outer", "b = my.Inner(a)"),
        domains=mine,
    )
    yield Question(
        "function_with_fewer_inputs",
        call.format("Two") + body("Two", relu, "a, unused"),
        domains=mine,
    )
    yield Question(
        "function_with_an_empty_input",
        "g (float[N] x) => (float y) { y = my.Two(x, ) }" + body("Two", relu, "a, unused"),
        domains=mine,
    )
    yield Question(
        "function_of_an_older_opset",
        "g (float[N,1] x) => (float y) { y = my.Old(x) }"
        + body("Old", "b = Squeeze<axes = [1]>(a)", opset=12),
        domains=mine,
    )
    yield Question(
        "function_called_twice",
        "g (float[N] x) => (float y) { t = my.Half(x) y = my.Half(t) }" + body("Half", relu),
        domains=mine,
    )
    yield Question(
        "function_tensor_named_like_an_outer_one",
        "g (float[N] x) => (float y) { t = Neg(x) u = my.Half(x) y = Add(t, u) }"
        + body("Half", "t = Exp(a) b = Relu(t)"),
        domains=mine,
    )
    yield Question(
        "function_holding_a_refused_op",
        call.format("Bad") + body("Bad", "b = Det(a)"),
        domains=mine,
    )
    yield Question(
        "function_of_two_outputs",
        call.format("Both") + body("Both", "b = Relu(a) c = Neg(a)", outputs="b, c"),
        domains=mine,
    )


def _domains() -> Iterator[Question]:
    yield Question(
        "op_nobody_knows", "g (float[N] x) => (float y) { y = my.NoSuchOp(x) }", domains=("my",)
    )
    yield Question("default_op_nobody_knows", "g (float[N] x) => (float y) { y = NoSuchOp(x) }")
    yield Question(
        "relu_of_another_domain", "g (float[N] x) => (float y) { y = my.Relu(x) }", domains=("my",)
    )
    yield Question(
        "relu_with_a_plugin_namespace",
        'g (float[N] x) => (float y) { y = Relu<plugin_namespace = "zz">(x) }',
    )
    yield Question(
        "unknown_op_with_a_plugin_namespace",
        "g (float[N] x) => (float y)"
        ' { y = my.NoSuchOp<plugin_namespace = "zz", plugin_version = "2">(x) }',
        domains=("my",),
    )


def _versions() -> Iterator[Question]:
    for opset in (7, 8, 9, 13, 18, 20, 21, 22, 23, 24, 25, 26, 27):
        yield Question(
            f"opset_{opset}", "g (float[N] x) => (float y) { y = Relu(x) }", opset, ir=10
        )
    yield Question("ir_99", "g (float[N] x) => (float y) { y = Relu(x) }", ir=99)
    yield Question(
        "domain_called_ai_onnx",
        "g (float[N] x) => (float y) { y = ai.onnx.Relu(x) }",
        domains=("ai.onnx",),
    )
