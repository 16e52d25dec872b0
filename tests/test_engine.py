"""The engine: what passes propose is applied, named, signed, counted, swept and kept in order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import ModelProto

from onnx_fix.bisect import first_bad
from onnx_fix.contract import Exactness, New, Padded, Pass, Rewrite, Skip
from onnx_fix.emit import Emitter
from onnx_fix.engine import Engine, Step
from onnx_fix.errors import InternalError
from onnx_fix.model import Model
from onnx_fix.scope import Scope
from onnx_fix.target import load_target
from onnx_fix.testing import assert_same_outputs, ops, run_pass

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'


@dataclass(frozen=True)
class DoubleToAdd(Pass):
    """Writes x + x as x * 2 through two nodes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("Add"):
            if node.inputs[0] is not node.inputs[1]:
                yield Skip(node, "its operands differ")
                continue
            emit = Emitter(scope)
            negated = emit("Neg", emit("Mul", node.inputs[0], np.float32(-2)))
            yield emit.rewrite(node, negated)


@dataclass(frozen=True)
class DropNegPair(Pass):
    """Removes two Negs in a row."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("Neg"):
            before = scope.producer(node.inputs[0])
            if before is not None and before.op == "Neg":
                yield Rewrite((node,), (), ((node.outputs[0], before.inputs[0]),))


@dataclass(frozen=True)
class Propose(Pass):
    """Yields whatever a test puts in."""

    make: object = None
    loud: bool = False

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        if scope.kind == "main" and callable(self.make):
            yield from self.make(scope)


def test_new_nodes_are_named_after_and_signed_with_their_origin() -> None:
    fixed, (result, *_) = run_pass(
        DoubleToAdd(), f"{HEAD} g (float[N] x) => (float[N] y) {{ [first] y = Add (x, x) }}"
    )
    assert [n.name for n in fixed.graph.node] == ["first/Mul", "first/Neg"]
    assert fixed.graph.node[0].doc_string == "onnx_fix.pass=double-to-add onnx_fix.from=first"
    assert [t.name for t in fixed.graph.initializer] == ["first/constant"]
    assert list(fixed.graph.node[1].output) == ["y"]
    change = result.changes[0]
    assert (change.number, change.old, change.new_ops) == (1, ("first",), ("Mul", "Neg"))


def test_ir_10_signs_in_the_metadata() -> None:
    fixed, _ = run_pass(
        DoubleToAdd(),
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[N] x) => (float[N] y) { y = Add (x, x) }""",
    )
    props = {p.key: p.value for p in fixed.graph.node[0].metadata_props}
    assert props == {"onnx_fix.pass": "double-to-add", "onnx_fix.from": "y"}
    assert fixed.graph.node[0].doc_string == ""


def test_names_do_not_collide() -> None:
    fixed, _ = run_pass(
        DoubleToAdd(),
        f"""{HEAD} g (float[N] x) => (float[N] y, float[N] z) {{
            ["y/Mul"] z = Neg (x)
            a = Add (x, x)
            y = Add (a, a)
        }}""",
    )
    names = [n.name for n in fixed.graph.node] + [t.name for t in fixed.graph.initializer]
    assert len(set(names)) == len(names)


def test_skips_are_reported_with_their_reason() -> None:
    _, results = run_pass(
        DoubleToAdd(), f"{HEAD} g (float[N] x, float[N] z) => (float[N] y) {{ y = Add (x, z) }}"
    )
    (skip,) = results[-1].skipped
    assert (skip.node, skip.op, skip.reason) == ("y", "Add", "its operands differ")


PAIR = f"""{HEAD} g (float[N] x) => (float[N] y, float[N] z) {{
    a = Neg (x)
    y = Neg (a)
    b = Neg (y)
    c = Neg (b)
    z = Abs (c)
}}"""


def test_a_graph_output_that_becomes_another_tensor_gets_an_identity() -> None:
    before = onnx.parser.parse_model(PAIR)
    fixed, _ = run_pass(DropNegPair(), before)
    assert ops(fixed) == ["Identity", "Abs"]
    assert [v.name for v in fixed.graph.output] == ["y", "z"]
    assert_same_outputs(before, fixed, {"x": np.asarray([1, -2], np.float32)})


def test_rewrites_reach_into_subgraphs_and_functions() -> None:
    before = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 17, "my" : 1]>
    main (bool c, float[N] x) => (float[N] y) {
      d = my.f (x)
      y = If (c) <
        then_branch = one () => (float[N] t) { t = Add (d, d) },
        else_branch = two () => (float[N] e) { e = Abs (d) }
      >
    }
    <domain: "my", opset_import: ["" : 17]> f (a) => (b) { b = Add (a, a) }
    """)
    fixed, results = run_pass(DoubleToAdd(), before)
    assert [c.scope for r in results for c in r.changes] == ["y/then_branch", "function my::f"]
    assert [n.op_type for n in fixed.functions[0].node] == ["Constant", "Mul", "Neg"]
    for c in (True, False):
        feeds = {"c": np.asarray(c), "x": np.asarray([1, -2], np.float32)}
        assert_same_outputs(before, fixed, feeds)


def test_what_lost_its_reader_goes_and_what_was_unread_before_stays() -> None:
    def proposals(scope: Scope) -> Iterator[Rewrite]:
        (node,) = scope.nodes("Mul")
        yield Rewrite((node,), (), ((node.outputs[0], scope.tensors["x"]),))

    fixed, _ = run_pass(
        Propose(make=proposals),
        f"""{HEAD} g (float[N] x) => (float[N] y) <float[1] w = {{1}}, float[1] other = {{1}}> {{
            dead = Abs (x)
            one = Neg (w)
            two = Neg (one)
            m = Mul (x, two)
            y = Exp (m)
        }}""",
        rounds=1,
    )
    assert ops(fixed) == ["Abs", "Exp"]
    assert [t.name for t in fixed.graph.initializer] == ["other"]


def test_a_pattern_in_the_wrong_order_is_sorted() -> None:
    def proposals(scope: Scope) -> Iterator[Rewrite]:
        # Reads a tensor that is made after the node that is replaced.
        first, _, later = (n for n in scope.nodes())
        emit = Emitter(scope)
        yield emit.rewrite(first, emit("Sub", later.outputs[0], scope.tensors["x"]))

    before = f"""{HEAD} g (float[N] x) => (float[N] y, float[N] z) {{
        a = Abs (x)
        y = Exp (a)
        z = Neg (x)
    }}"""
    fixed, _ = run_pass(Propose(make=proposals), before, rounds=1)
    assert ops(fixed) == ["Neg", "Sub", "Exp"]


def broken(kind: str, scope: Scope) -> Iterator[Rewrite]:
    node = next(iter(scope.nodes()))
    emit = Emitter(scope)
    if kind == "loses":
        emit("Neg", node.inputs[0])
        yield emit.rewrite(node, [])
    elif kind == "circle":
        last = list(scope.nodes())[-1]
        yield emit.rewrite(node, emit("Neg", last.outputs[0]))
    elif kind == "later":
        late = gs.Variable("late")
        out = gs.Variable("out")
        yield Rewrite(
            (node,),
            (New("Neg", (late,), (out,)), New("Abs", (scope.tensors["x"],), (late,))),
            ((node.outputs[0], out),),
        )
    else:
        yield emit.rewrite(
            node, emit("Neg", node.inputs[0]), exactness=Exactness.CONTRACT, asked_by="loud"
        )


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("loses", "loses 'a', which is still read"),
        ("circle", "in a circle"),
        ("later", "reads what a later node makes"),
        ("contract", "changes the contract, and no option asked for it"),
    ],
)
def test_invalid_proposals_are_our_fault(kind: str, message: str) -> None:
    before = f"{HEAD} g (float[N] x) => (float[N] y) {{ a = Abs (x)  y = Exp (a) }}"
    with pytest.raises(InternalError, match=message):
        run_pass(Propose(make=lambda scope: broken(kind, scope)), before, rounds=1)


def test_a_change_of_contract_needs_its_option() -> None:
    before = f"{HEAD} g (float[N] x) => (float[N] y) {{ a = Abs (x)  y = Exp (a) }}"
    asked = Propose(make=lambda scope: broken("contract", scope), loud=True)
    _, results = run_pass(asked, before, rounds=1)
    assert results[0].changes[0].exactness is Exactness.CONTRACT


def test_outputs_are_added_only_by_a_change_of_contract_in_the_main_graph() -> None:
    before = f"{HEAD} g (float[N] x) => (float[N] y) {{ a = Abs (x)  y = Exp (a) }}"

    def counted(scope: Scope, exactness: Exactness) -> Iterator[Rewrite]:
        for node in scope.nodes("Abs"):
            emit = Emitter(scope)
            count = emit("Size", node.inputs[0])
            yield emit.rewrite(
                node,
                emit("Neg", node.inputs[0]),
                exactness=exactness,
                asked_by="loud",
                adds=[("x", count)],
                padded=[Padded("y", 0, (("x", 7),))],
            )

    with pytest.raises(InternalError, match="changes the outputs of the model without saying so"):
        run_pass(Propose(make=lambda s: counted(s, Exactness.EXACT), loud=True), before)
    asked = Propose(make=lambda s: counted(s, Exactness.CONTRACT), loud=True)
    fixed, results = run_pass(asked, before)
    # The name was taken, so the output has another, and the change says which.
    (change,) = [c for r in results for c in r.changes]
    assert change.padded == (Padded("y", 0, (("x_1", 7),)),)
    assert [o.name for o in fixed.graph.output] == ["y", "x_1"]
    assert fixed.graph.output[0].type.tensor_type.shape.dim[0].dim_value == 7
    assert fixed.graph.output[1].type.tensor_type.elem_type == onnx.TensorProto.INT64


def test_passes_that_undo_each_other_are_stopped() -> None:
    def swap(scope: Scope) -> Iterator[Rewrite]:
        for node in scope.nodes("Abs", "Neg"):
            emit = Emitter(scope)
            op = "Neg" if node.op == "Abs" else "Abs"
            yield emit.rewrite(node, emit(op, node.inputs[0]))

    with pytest.raises(InternalError, match="undo each other"):
        run_pass(Propose(make=swap), f"{HEAD} g (float[N] x) => (float[N] y) {{ y = Abs (x) }}")


def many(count: int) -> ModelProto:
    nodes = [onnx.helper.make_node("Add", [f"t{k}", f"t{k}"], [f"t{k + 1}"]) for k in range(count)]
    graph = onnx.helper.make_graph(
        nodes,
        "many",
        [onnx.helper.make_tensor_value_info("t0", 1, ["N"])],
        [onnx.helper.make_tensor_value_info(f"t{count}", 1, ["N"])],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])


def test_the_limit_stops_after_so_many_changes_and_bisection_finds_one() -> None:
    proto = many(40)

    def changed(limit: int) -> ModelProto:
        model = Model(proto, None, load_target("trt-7.2"))
        Engine(model, limit=limit).run([Step(DoubleToAdd())])
        return model.to_proto()

    assert ops(changed(3)).count("Mul") == 3
    planted = 23
    assert first_bad(40, lambda n: ops(changed(n)).count("Mul") >= planted) == planted


def test_filters_leave_nodes_out_with_a_reason() -> None:
    model = Model(many(3), None, load_target("trt-7.2"))
    step = Step(DoubleToAdd(), lambda node: bool(node.outputs[0].name != "t2"))
    results = Engine(model).run([step])
    assert [c.old[0] for c in results[0].changes] == ["t1", "t3"]
    assert [s.reason for s in results[0].skipped] == ["left out by the pipeline file"]


def test_the_cost_grows_linearly_with_the_nodes() -> None:
    def seconds(count: int) -> float:
        proto = many(count)
        start = time.perf_counter()
        model = Model(proto, None, load_target("trt-7.2"))
        Engine(model).run([Step(DoubleToAdd())])
        model.to_proto()
        return time.perf_counter() - start

    seconds(200)
    small, large = min(seconds(1000) for _ in range(3)), min(seconds(8000) for _ in range(2))
    # Linear is a factor of 8, quadratic one of 64; the wide margin allows for a busy machine.
    assert large < 24 * small, (small, large)


def test_runs_are_deterministic() -> None:
    runs = {run_pass(DoubleToAdd(), PAIR)[0].SerializeToString(deterministic=True) for _ in "abc"}
    assert len(runs) == 1
