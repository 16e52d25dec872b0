"""Match exports of one network at several sizes, and say which constants differ between them.

The graphs are walked from their outputs. Names of tensors and nodes, the order of nodes, Identity,
and whether a constant is an initializer or a node do not matter. What one exporter run folded and
another did not is computed where constants alone make it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper

from onnx_fix.unfreeze._views import (
    Made,
    View,
    body_view,
    default_of,
    function_view,
    view_of,
)
from onnx_fix.weights import is_external, is_stub, read_tensor

Array = NDArray[np.generic]
Read = Callable[[TensorProto], Array]

_PAIRS = 8
"""How many pairs of nodes are looked at for every node of the first model."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a constant is read: by the node that makes ``output``, as an input or an attribute.

    ``path`` are the bodies and functions on the way there, ``tensor`` is the name of the constant;
    for an attribute it is empty. ``op`` is empty and ``input`` the number of the output where a
    constant is an output of its graph.
    """

    path: tuple[str, ...]
    node: str
    op: str
    output: str
    input: int | None
    tensor: str = ""
    attribute: str = ""

    def __str__(self) -> str:
        who = f"{self.op} node '{self.node or self.output}'" if self.op else "the outputs"
        what = f"attribute {self.attribute}" if self.attribute else f"input {self.input}"
        inside = f" in {'/'.join(self.path)}" if self.path else ""
        return f"{what} of {who}{inside}"


@dataclass(frozen=True, slots=True)
class Difference:
    """A constant that is not the same in all models: its value in each, the first one's first."""

    place: Place
    values: tuple[Array, ...]


@dataclass(frozen=True, slots=True)
class Aligned:
    """The models have the same structure. ``differences`` stand in the order of the first one.

    There is one for each reader of a constant: what is one constant in the first model may be two
    in another. ``unread`` counts the constants of which only type and shape were compared.
    """

    differences: tuple[Difference, ...]
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The models are built otherwise; the reason names the first place."""

    reason: str
    place: Place | None = None


def align(
    a: ModelProto, others: Sequence[ModelProto], *, read: Sequence[Read] | None = None
) -> Aligned | Mismatch:
    """Match a model with exports of the same network at other sizes.

    ``read`` gives for each model, ``a`` first, what reads its tensors; needed for external data.
    """
    readers = list(read) if read is not None else [_read] * (1 + len(others))
    found: list[dict[Place, tuple[Array, Array]]] = []
    unread = 0
    for other, reader in zip(others, readers[1:], strict=True):
        pair = _Pair(a, other, readers[0], reader)
        mismatch = pair.walk()
        if mismatch is not None:
            return mismatch
        found.append(pair.differences)
        unread = max(unread, pair.unread)
    places = sorted({p for f in found for p in f}, key=lambda p: _rank(view_of(a), p))
    differences = []
    for place in places:
        own = next(f[place][0] for f in found if place in f)
        rest = tuple(f[place][1] if place in f else own for f in found)
        differences.append(Difference(place, (own, *rest)))
    return Aligned(tuple(differences), unread)


def _read(tensor: TensorProto) -> Array:
    return read_tensor(tensor, None)


def _rank(view: View, place: Place) -> tuple[tuple[str, ...], int, int, str]:
    number = view.order.get(place.output, len(view.nodes))
    return place.path, number, -1 if place.input is None else place.input, place.attribute


@dataclass(frozen=True, slots=True)
class _Use:
    """One reading of a tensor: the places in both models, and the names there."""

    place: Place
    views: tuple[View, View]
    names: tuple[str, str]


class _Pair:
    """Two models, walked together."""

    def __init__(self, a: ModelProto, b: ModelProto, read_a: Read, read_b: Read) -> None:
        self.models = a, b
        self.read = read_a, read_b
        self.differences: dict[Place, tuple[Array, Array]] = {}
        self.noted: dict[Place, Array | None] = {}
        self.unread = 0
        self.mismatches: list[tuple[int, Mismatch]] = []
        self.same: dict[tuple[int, int], bool] = {}
        self.done: set[tuple[int, int]] = set()
        self.functions: list[dict[tuple[str, str, str], View]] = [
            {
                (f.domain, f.name, getattr(f, "overload", "")): function_view(m, f)
                for f in m.functions
            }
            for m in (a, b)
        ]
        self.todo: list[_Use] = []

    def walk(self) -> Mismatch | None:
        """Walk from the outputs; the first mismatch in the order of the first model."""
        views = view_of(self.models[0]), view_of(self.models[1])
        names = [sorted(v.inputs) for v in views]
        if names[0] != names[1]:
            return Mismatch(f"the inputs are {', '.join(names[0])} in one, {', '.join(names[1])}")
        self._body(views, None)
        most = _PAIRS * (
            len(views[0].nodes) + sum(len(f.nodes) for f in self.functions[0].values())
        )
        while self.todo:
            self._use(self.todo.pop())
            if len(self.done) > most + 1000:
                return Mismatch("the models share so little that their nodes cannot be matched")
        return min(self.mismatches, key=lambda m: m[0])[1] if self.mismatches else None

    def _body(self, views: tuple[View, View], place: Place | None) -> None:
        counts = len(views[0].outputs), len(views[1].outputs)
        if counts[0] != counts[1]:
            self._differ(place, f"there are {counts[0]} outputs in one, {counts[1]} in another")
            return
        for k, names in enumerate(zip(views[0].outputs, views[1].outputs, strict=True)):
            here = Place(views[0].path, "", "", "", k, names[0])
            self.todo.append(_Use(here, views, names))

    def _differ(self, place: Place | None, why: str, order: int = 0) -> None:
        where = f"{place}: " if place is not None else ""
        self.mismatches.append((order, Mismatch(f"the exports differ at {where}{why}", place)))

    # -- tensors ----------------------------------------------------------------------------------

    def _use(self, use: _Use) -> None:
        if not use.names[0] or not use.names[1]:
            if use.names[0] or use.names[1]:
                self._differ(use.place, "only one of the exports has it", self._order(use))
            return
        first, second = (v.made(n) for v, n in zip(use.views, use.names, strict=True))
        if first is None or second is None:
            self._differ(use.place, "nothing makes it", self._order(use))
        elif first.tensor is not None and second.tensor is not None:
            self._constants(use, first.tensor, second.tensor)
        elif first.node is not None and second.node is not None and _alike(first, second):
            self._nodes(first, second)
        elif first.node is None and second.node is None and not (first.tensor or second.tensor):
            main = first.view.parent is None and not first.view.path
            same = first.name == second.name if main else first.number == second.number
            if not same or first.view.path != second.view.path:
                self._differ(
                    use.place,
                    f"it is {first.name} in one, {second.name} in another",
                    self._order(use),
                )
        else:
            self._folded(use, first, second)

    def _order(self, use: _Use) -> int:
        return use.views[0].order.get(use.place.output, len(use.views[0].nodes))

    def _folded(self, use: _Use, first: Made, second: Made) -> None:
        """What one of them computes from constants and the other has ready."""
        values = [
            read(m.tensor) if m.tensor is not None else m.view.value(m)
            for m, read in zip((first, second), self.read, strict=True)
        ]
        if values[0] is None or values[1] is None:
            kinds = [_kind(m) for m in (first, second)]
            self._differ(
                use.place, f"it is {kinds[0]} in one, {kinds[1]} in another", self._order(use)
            )
            return
        self._record(use.place, values[0], values[1], self._order(use))

    def _constants(self, use: _Use, first: TensorProto, second: TensorProto) -> None:
        key = id(first), id(second)
        if key not in self.same:
            self.same[key] = self._equal(first, second)
        if self.same[key]:
            self._note(use.place, None, self._order(use))
        else:
            self._record(use.place, self.read[0](first), self.read[1](second), self._order(use))

    def _record(self, place: Place, first: Array, second: Array, order: int) -> None:
        if _identical(first, second):
            self._note(place, None, order)
        else:
            self._note(place, second, order)
            self.differences[place] = first, second

    def _note(self, place: Place, other: Array | None, order: int) -> None:
        """Keep what the second model has at a place, None for the same; it is to be one thing."""
        before = self.noted.setdefault(place, other)
        if before is other or (
            before is not None and other is not None and _identical(before, other)
        ):
            return
        self._merged(place, order)

    def _merged(self, place: Place, order: int) -> None:
        self._differ(
            place,
            "one export has one node where the other has several with different constants; "
            "export again with sizes that are all different",
            order,
        )

    def _equal(self, first: TensorProto, second: TensorProto) -> bool:
        """Whether two tensors have the same bytes."""
        if first.data_type != second.data_type or list(first.dims) != list(second.dims):
            return False
        if is_stub(first) or is_stub(second):
            self.unread += 1
            return True
        inline = not is_external(first) and not is_external(second)
        if inline and first.raw_data and second.raw_data:
            return bool(first.raw_data == second.raw_data)
        return _identical(self.read[0](first), self.read[1](second))

    # -- nodes ------------------------------------------------------------------------------------

    def _nodes(self, first: Made, second: Made) -> None:
        a, b = first.node, second.node
        assert a is not None and b is not None
        if (id(a), id(b)) in self.done:
            return
        self.done.add((id(a), id(b)))
        order = first.view.order.get(a.output[0], 0)
        views = first.view, second.view
        if len(a.input) != len(b.input):
            both = _inputs(a), _inputs(b)
            if both[0] != both[1]:
                self._differ(_place(views[0], a, None), "the numbers of inputs differ", order)
                return
        for k, names in enumerate(zip(a.input, b.input, strict=False)):
            self.todo.append(_Use(_place(views[0], a, k), views, names))
        self._attributes(views, a, b, order)
        keys = [(n.domain, n.op_type, getattr(n, "overload", "")) for n in (a, b)]
        called = [f.get(k) for f, k in zip(self.functions, keys, strict=True)]
        if called[0] is not None and called[1] is not None:
            pair = id(called[0]), id(called[1])
            if pair not in self.done:
                self.done.add(pair)
                self._body((called[0], called[1]), _place(views[0], a, None))

    def _attributes(self, views: tuple[View, View], a: NodeProto, b: NodeProto, order: int) -> None:
        both = [{x.name: x for x in n.attribute} for n in (a, b)]
        for name in sorted({*both[0], *both[1]}):
            pair = [
                own.get(name) or default_of(m, n, name)
                for own, m, n in zip(both, self.models, (a, b), strict=True)
            ]
            place = _place(views[0], a, None, name)
            first, second = pair
            if first is None or second is None:
                self._differ(place, "only one of the exports has it", order)
            elif first.type != second.type or first.ref_attr_name != second.ref_attr_name:
                self._differ(place, "it is of another kind", order)
            elif first.type == AttributeProto.GRAPH:
                path = (*views[0].path, f"{a.name or a.output[0]}.{name}")
                bodies = (
                    body_view(self.models[0], first.g, views[0], path),
                    body_view(self.models[1], second.g, views[1], path),
                )
                self._body(bodies, place)
            else:
                numbers = [_numbers(x) for x in (first, second)]
                if numbers[0] is None or numbers[1] is None:
                    if _bare(first) != _bare(second):
                        self._differ(place, "it has another value", order)
                else:
                    self._record(place, numbers[0], numbers[1], order)


def _place(view: View, node: NodeProto, number: int | None, attribute: str = "") -> Place:
    output = next((o for o in node.output if o), "")
    tensor = node.input[number] if number is not None else ""
    return Place(view.path, node.name, node.op_type, output, number, tensor, attribute)


def _alike(first: Made, second: Made) -> bool:
    a, b = first.node, second.node
    assert a is not None and b is not None
    domains = ["" if n.domain == "ai.onnx" else n.domain for n in (a, b)]
    same = a.op_type == b.op_type and domains[0] == domains[1]
    return same and first.number == second.number


def _inputs(node: NodeProto) -> int:
    """How many inputs there are, empty ones at the end apart."""
    return max((k + 1 for k, name in enumerate(node.input) if name), default=0)


def _kind(made: Made) -> str:
    if made.tensor is not None:
        return "a constant"
    return f"made by {made.node.op_type}" if made.node is not None else f"the input {made.name}"


def _numbers(attribute: AttributeProto) -> Array | None:
    """The numbers in an attribute; None where it holds something else."""
    if attribute.ref_attr_name:
        return None
    if attribute.type in (AttributeProto.INT, AttributeProto.INTS):
        return np.asarray(helper.get_attribute_value(attribute), np.int64)
    if attribute.type in (AttributeProto.FLOAT, AttributeProto.FLOATS):
        return np.asarray(helper.get_attribute_value(attribute), np.float32)
    if attribute.type == AttributeProto.TENSOR:
        return read_tensor(attribute.t, None)
    return None


def _bare(attribute: AttributeProto) -> bytes:
    copy = AttributeProto()
    copy.CopyFrom(attribute)
    copy.doc_string = ""
    return copy.SerializeToString(deterministic=True)


def _identical(first: Array, second: Array) -> bool:
    same = first.dtype == second.dtype and first.shape == second.shape
    return bool(same and first.tobytes() == second.tobytes())
