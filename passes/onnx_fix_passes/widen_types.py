"""The pass ``widen-types``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from onnx_fix.contract import (
    Exactness,
    Mends,
    ModelPass,
    New,
    Retyped,
    Rewrite,
    Skip,
    Stage,
    Transformed,
)
from onnx_fix.functions import Calls, bodies_of, spelled
from onnx_fix.inlining import inline
from onnx_fix.model import Model
from onnx_fix.scope import Scope
from onnx_fix.target import Target
from onnx_fix_passes._wide_nodes import Writer, stub_or_small
from onnx_fix_passes._wide_steps import Names, Steps
from onnx_fix_passes._wide_types import name_of
from onnx_fix_passes._wide_values import Group, Values

_SHOWN = 3
_BY_BITS = (
    (TensorProto.UINT32, TensorProto.INT32),
    (TensorProto.UINT64, TensorProto.INT64),
)


@dataclass(frozen=True)
class WidenTypes(ModelPass):
    """Carry values of an element type that the target lacks in a wider one.

    INT2 to INT16 and UINT2 to UINT16 become INT32, UINT32 and UINT64 become INT64, and floats that
    the target does not know become FLOAT. The values stay the same: where a sum, a product or a
    conversion can leave the range of the narrow type, the wide result is brought back as the narrow
    one would have started again at the other end. Moves, comparisons, minima and maxima cost
    nothing. UINT64 is carried by its bits in INT64, and so is UINT32 in INT32 where the target
    computes INT64 as INT32; conversions of them from and to floats are left alone.

    Values that nodes tie together change together, in bodies of If and Loop too. Inputs and outputs
    of the network keep their types, with a Cast behind or before them; where the target does not
    take the type there either, the option `retype_io` is needed. Local functions are written out.

    Before:
        a = Cast <to = INT16> (x)
        b = Add (a, a)
        y = Cast <to = FLOAT> (b)
    After:
        w = Cast <to = INT32> (x)
        a = the wrap of w: Add, Mod and Add
        s = Add (a, a)
        b = the wrap of s
        y = Cast <to = FLOAT> (b)
    Exact:
        Yes for integers, and for floats that are only moved, compared and converted. BFLOAT16
        computed in FLOAT rounds less. DOUBLE computed in FLOAT rounds more, so it is done where an
        option asks for it only. Left alone: INT64 as the carrier where the target computes it as
        INT32; rounding to FLOAT8E8M0; quantization and products of 8-bit integers.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("bf16_fp8", "*", "no input or output of the network is of BF16 or FP8"),
        Mends("double_refused", "*", "doubles are moved and compared alone"),
        Mends("dtype_refused", "Cast", "no input or output of the network is of that type"),
        Mends("io_types_refused", "*", "no input or output of the network is of that type"),
        Mends("no_importer", "BitCast", "the numbers are integers of a type that the target lacks"),
        Mends("no_importer", "CastLike", "it converts from or to a type that the target lacks"),
        Mends("no_importer", "BitShift", "the numbers are of a type that the target lacks"),
        Mends("uint8_io", "*", "no node computes with the quantized numbers themselves"),
    )

    retype_io: bool = False
    """Change the type of network inputs and outputs whose type the target does not take, to the
    type that carries their values: the caller feeds and gets the same numbers in it (UINT64: the
    same bits in INT64). DOUBLE becomes FLOAT with them, and what lies between is computed in it."""

    doubles: bool = False
    """Compute DOUBLE in FLOAT, with its precision, where the target does not take DOUBLE."""

    def due(self, model: Model) -> bool:
        """Whether the target refuses a value for its type."""
        return bool(self._groups(model))

    def forecast(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """The nodes of the groups that change, and those that keep a group as it is."""
        groups = self._groups(scope.model)
        # A node between two groups keeps what the target has against the one that stays.
        kept = {id(node) for g in groups if g.obstacles for _, node in g.nodes}
        for group in groups:
            for obstacle in group.obstacles:
                if obstacle.node is not None and obstacle.scope is scope:
                    yield Skip(obstacle.node, obstacle.reason)
            for where, node in () if group.obstacles else group.nodes:
                if where is scope and id(node) not in kept:
                    yield Rewrite((node,), (New(node.op, tuple(node.inputs), ()),), ())

    def transform(self, model: ModelProto, target: Target) -> Transformed:
        """The model with the values in types that the target takes."""
        calls = Calls.of(model)
        flat, inlined = inline(calls, calls.order, self.name) if calls.order else (model, {})
        proto = ModelProto()
        proto.CopyFrom(flat)
        view = Model(proto, None, target)
        groups = self._groups(view)
        skipped = tuple(o.skipped() for g in groups for o in g.obstacles)
        chosen = [g for g in groups if not g.obstacles]
        if not chosen:
            return Transformed(model, (), skipped)
        retyped = _Edit(view, proto, chosen, self.name).run()
        rounds = any(not g.exact for g in chosen)
        exactness = Exactness.ROUNDING if rounds else Exactness.EXACT
        asked_by = None
        if retyped or any(g.carrier.was == TensorProto.DOUBLE and not g.exact for g in chosen):
            exactness, asked_by = Exactness.CONTRACT, "retype_io" if retyped else "doubles"
        told = (f"{spelled(key)} inlined ({n} times)" for key, n in inlined.items())
        lines = (*told, *map(_line, chosen), *map(_retyped_line, retyped))
        return Transformed(proto, lines, skipped, exactness, retyped, asked_by)

    def _groups(self, model: Model) -> list[Group]:
        return Values(model, retype_io=self.retype_io, doubles=self.doubles).groups()


def _line(group: Group) -> str:
    names = sorted(str(t.name) for t in group.tensors.values())
    shown = ", ".join(f"'{n}'" for n in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    was, to = name_of(group.carrier.was), name_of(group.carrier.to)
    return f"{was} carried in {to}: {shown}{more}"


def _retyped_line(one: Retyped) -> str:
    was, now = name_of(one.was), name_of(one.now)
    if one.is_input:
        by_bits = (one.was, one.now) in _BY_BITS
        how = "the same bits" if by_bits else "the same numbers"
        return f"input '{one.name}' is {now} in place of {was}: feed {how} in it"
    return f"output '{one.name}' is {now} in place of {was}"


class _Edit:
    """The edits of one model."""

    def __init__(
        self, model: Model, proto: ModelProto, groups: list[Group], pass_name: str
    ) -> None:
        self._model = model
        self._proto = proto
        self._groups = groups
        self._pass_name = pass_name
        self._carriers = {key: g.carrier for g in groups for key in g.tensors}
        self._names = Names.of(proto.graph)
        self._renamed: dict[int, str] = {}

    def run(self) -> tuple[Retyped, ...]:
        """Write the model, and say which inputs and outputs have another type."""
        ends = [(g, t) for g in self._groups for t in (*g.inputs, *g.outputs)]
        for group, tensor in ends:
            if id(tensor) in group.cast_ends and id(tensor) not in self._renamed:
                base = f"{tensor.name}/{name_of(group.carrier.to)}"
                self._renamed[id(tensor)] = self._names.fresh(base)
        self._graph(self._model.main, self._proto.graph)
        return tuple(
            Retyped(str(t.name), is_input, group.carrier.was, group.carrier.to)
            for group in self._groups
            for tensors, is_input in ((group.inputs, True), (group.outputs, False))
            for t in tensors
            if id(t) not in group.cast_ends
        )

    def _graph(self, scope: Scope, graph: GraphProto) -> None:
        steps = Steps(scope, graph, self._names, self._pass_name)
        writer = Writer(scope, steps, self._carriers, self._renamed)
        if scope is self._model.main:
            self._cast_inputs(scope, steps)
        for node, proto in zip(scope.graph.nodes, list(graph.node), strict=True):
            inner = self._model.inner_scopes(node)
            for inside, body in zip(inner, bodies_of(proto) if inner else (), strict=True):
                self._graph(inside, body)
            writer.write(node, proto)
        if scope is self._model.main:
            self._cast_outputs(steps)
        self._types(scope, graph)
        nodes = [NodeProto.FromString(n.SerializeToString()) for n in steps.all()]
        del graph.node[:]
        graph.node.extend(nodes)

    def _cast_inputs(self, scope: Scope, steps: Steps) -> None:
        for group in self._groups:
            for tensor in group.inputs:
                if id(tensor) in group.cast_ends:
                    steps.begin(NodeProto(), str(tensor.name))
                    to = group.carrier.to
                    steps.add("Cast", str(tensor.name), out=self._renamed[id(tensor)], to=to)

    def _cast_outputs(self, steps: Steps) -> None:
        for group in self._groups:
            for tensor in group.outputs:
                passed = any(t is tensor for t in group.inputs)
                if id(tensor) in group.cast_ends and not passed:
                    steps.begin(NodeProto(), str(tensor.name))
                    was = group.carrier.was
                    steps.add("Cast", self._renamed[id(tensor)], out=str(tensor.name), to=was)

    def _types(self, scope: Scope, graph: GraphProto) -> None:
        """The declared types and the initializers of a graph."""
        for values in (graph.value_info, graph.input, graph.output):
            for value in values:
                tensor = scope.tensors.get(value.name)
                if tensor is not None and id(tensor) not in self._renamed:
                    carrier = self._carriers.get(id(tensor))
                    if carrier is not None:
                        value.type.tensor_type.elem_type = carrier.to
        for stored in graph.initializer:
            tensor = scope.tensors.get(stored.name)
            carrier = None if tensor is None else self._carriers.get(id(tensor))
            if carrier is not None:
                name = self._renamed.get(id(tensor), str(stored.name))
                stub_or_small(stored, carrier)
                stored.name = name
