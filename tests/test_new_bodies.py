"""A pass may make a Loop: its body gets names, types and signatures, and is a scope like others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import ModelProto, TensorProto

from onnx_fix.contract import Body, New, Pass, Port, Rewrite, Skip
from onnx_fix.emit import Emitter
from onnx_fix.engine import Engine, Step
from onnx_fix.errors import InternalError
from onnx_fix.model import Model
from onnx_fix.scope import Scope
from onnx_fix.target import load_target
from onnx_fix.testing import as_proto, assert_same_outputs, ops, run_pass

HEAD = '<ir_version: {}, opset_import: ["" : 17]>'
FLOAT = int(TensorProto.FLOAT)


@dataclass(frozen=True)
class PowToLoop(Pass):
    """Writes Pow (x, 3) as rounds of Mul, and gathers what was there before each."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("Pow"):
            e = Emitter(scope)
            x = e("Mul", node.inputs[0], np.float32(1))
            shape = scope.shape(node.inputs[0]) or ()
            state = Port(gs.Variable("power"), FLOAT, shape)

            def one(
                inner: Emitter, x: gs.Tensor = x, state: Port = state
            ) -> tuple[list[Port], list[Port]]:
                made = inner("Mul", inner("Add", state.tensor, np.float32(0)), x)
                kept = inner("Neg", state.tensor)
                return [Port(made, FLOAT, state.shape)], [Port(kept, FLOAT, state.shape)]

            end, all_ = e.loop(2, [(x, state)], one)
            nothing = e("Mul", e.reduce("ReduceSum", all_, [0]), np.float32(0))
            yield e.rewrite(node, e("Add", end, nothing))


@dataclass(frozen=True)
class NegToMul(Pass):
    """Writes Neg as Mul, wherever it stands."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("Neg"):
            e = Emitter(scope)
            yield e.rewrite(node, e("Mul", node.inputs[0], np.float32(-1)))


MAIN = "g (float[N,3] x) => (float[N,3] y) <float p = {3}> { y = Pow (x, p) }"
BRANCH = """g (bool c, float[N,3] x) => (float[N,3] y) <float p = {3}> {
  y = If (c) <then_branch = t () => (float[N,3] u) { a = Pow (x, p)  u = Pow (a, p) },
              else_branch = e () => (float[N,3] v) { v = Neg (x) }> }"""


def names_of(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (v.name for v in graph.input)
    yield from (t.name for t in graph.initializer)
    for node in graph.node:
        yield from node.output
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from names_of(attribute.g)


@pytest.mark.parametrize("version", [8, 10])
def test_the_numbers_are_right_and_names_are_unique(version: int) -> None:
    for text in (MAIN, BRANCH):
        before = as_proto(HEAD.format(version) + text)
        after, results = run_pass(PowToLoop(), before)
        onnx.checker.check_model(after, full_check=True)
        assert all(r.changes or not r.skipped for r in results)
        names = list(names_of(after.graph))
        assert len(names) == len(set(names))
        x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
        for flag in (True, False):
            feeds = {"x": x} if text is MAIN else {"c": np.asarray(flag), "x": x}
            assert_same_outputs(before, after, feeds, exact=False)


def body_of(model: ModelProto) -> onnx.GraphProto:
    (loop,) = [n for n in model.graph.node if n.op_type == "Loop"]
    return loop.attribute[0].g


def test_constants_lie_outside_and_nodes_are_signed() -> None:
    after, _ = run_pass(PowToLoop(), HEAD.format(10) + MAIN)
    body = body_of(after)
    assert [n.op_type for n in body.node] == ["Identity", "Add", "Mul", "Neg"]
    assert not body.initializer
    held = {t.name for t in after.graph.initializer}
    assert body.node[1].input[1] in held
    assert all(any(p.value == "pow-to-loop" for p in n.metadata_props) for n in body.node)


def test_the_body_is_a_scope_of_which_types_are_known() -> None:
    work = Model(as_proto(HEAD.format(8) + MAIN), None, load_target("trt-7.2"))
    assert work.main.shape(work.main.tensors["y"]) == ("N", 3)
    Engine(work).run([Step(PowToLoop())])
    inner = work.scopes[-1]
    assert inner.kind == "subgraph" and inner.parent is work.main
    (neg,) = inner.nodes("Neg")
    assert inner.shape(neg.inputs[0]) == inner.shape(neg.outputs[0]) == ("N", 3)
    (loop,) = work.main.nodes("Loop")
    assert [work.main.shape(t) for t in loop.outputs] == [("N", 3), (2, "N", 3)]
    assert work.main.judge(loop).status == "supported"


def test_other_passes_work_inside_and_the_loop_can_go_again() -> None:
    before = as_proto(HEAD.format(8) + MAIN)
    after, _ = run_pass([PowToLoop(), NegToMul()], before)
    assert [n.op_type for n in body_of(after).node] == ["Identity", "Add", "Mul", "Mul"]
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    assert_same_outputs(before, after, {"x": x}, exact=False)

    from onnx_fix_passes.unroll_loops import UnrollLoops

    work = Model(before, None, load_target("trt-7.2"))
    Engine(work).run([Step(PowToLoop()), Step(UnrollLoops(everywhere=True))])
    whole = work.to_proto()
    assert "Loop" not in ops(whole)
    assert_same_outputs(before, whole, {"x": x}, exact=False)


@dataclass(frozen=True)
class ReadsLater(Pass):
    """The body reads what a node behind the Loop makes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("Pow"):
            later, out, going = gs.Variable("later"), gs.Variable("out"), gs.Variable("going")
            inside = New("Identity", (going,), (gs.Variable("on"),))
            inner = New("Neg", (later,), (gs.Variable("n"),))
            truth = int(TensorProto.BOOL)
            ports = (Port(gs.Variable("k"), int(TensorProto.INT64), ()), Port(going, truth, ()))
            ends = (Port(inside.outputs[0], truth, ()), Port(inner.outputs[0], FLOAT, (None, 3)))
            e = Emitter(scope)
            times = (e.const(np.asarray(1)), e.const(np.asarray(True)))
            body = Body(ports, (inside, inner), ends)
            loop = New("Loop", times, (out,), {"body": body})
            behind = New("Neg", (node.inputs[0],), (later,))
            yield Rewrite((node,), (loop, behind), ((node.outputs[0], later),))


def test_a_body_reads_only_what_is_there() -> None:
    with pytest.raises(InternalError, match="reads what a later node makes"):
        run_pass(ReadsLater(), HEAD.format(8) + MAIN)
