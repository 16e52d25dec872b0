"""Small networks of random nodes over symbolic sizes, exported at fixed ones.

A program knows the size of every axis as an expression. Exported at some sizes it has numbers in
their places, as exporters write them; so what it computes at other sizes is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnx_fix.symbolic import Size, size
from onnx_fix.unfreeze.emit_sizes import factors

Array = NDArray[Any]
Values = Mapping[str, int]
Pick = Callable[[int], int]
"""A number below the one that is given."""
Dims = tuple[Size, ...]

CONSTANTS: Sequence[int] = (2, 3, 4, 6, 8, 12, 16)
LEAST: Values = {"n": 4, "m": 4, "b": 1}
"""No symbol is smaller."""
_MOST_ELEMENTS = 20_000
_RANK = 5


@dataclass(frozen=True)
class Tensor:
    """A float tensor of the program."""

    name: str
    dims: Dims


@dataclass
class Step:
    """A node whose constants are functions of the sizes."""

    op: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]
    constants: dict[str, Callable[[Values], Array]]
    outputs: int = 1


@dataclass
class Program:
    """Inputs with symbolic sizes, and steps."""

    pick: Pick
    inputs: list[Tensor] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    pool: list[Tensor] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """What was built, for a reader."""
    _names: int = 0

    # -- building ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Declare the inputs."""
        n, m, b = size("n"), size("m"), size("b")
        c = size(self.one_of(CONSTANTS))
        templates: list[Sequence[Dims]] = [
            [(n, c)],
            [(size(1), n, c)],
            [(b, n, c)],
            [(n, m)],
            [(size(1), c, n, m)],
            [(b, size(2), n, m)],
            [(size(2), n, c)],
            [(n, c), (m, c)],
            [(size(1), n, c), (size(1), m, c)],
            [(b, n), (b, m)],
        ]
        for k, dims in enumerate(self.one_of(templates)):
            tensor = Tensor(f"x{k}", dims)
            self.inputs.append(tensor)
            self.pool.append(tensor)

    def one_of(self, options: Sequence[Any]) -> Any:
        """One of several."""
        return options[self.pick(len(options))]

    def grow(self, count: int) -> None:
        """Add steps."""
        for _ in range(count):
            _KINDS[self.pick(len(_KINDS))](self)

    def node(
        self,
        op: str,
        inputs: Sequence[str | Callable[[Values], Array]],
        dims: Dims | None,
        **attributes: Any,
    ) -> Tensor:
        """One node; a function as input is a constant. ``dims`` None: it is no float tensor."""
        names, constants = [], {}
        for given in inputs:
            if isinstance(given, str):
                names.append(given)
            else:
                name = self.fresh("c")
                constants[name] = given
                names.append(name)
        out = self.fresh("t")
        outputs = int(attributes.pop("outputs", 1))
        self.steps.append(Step(op, names, out, attributes, constants, outputs))
        made = Tensor(out, dims or ())
        if dims is not None:
            self.pool.append(made)
            self.said.append(f"{op}({', '.join(names)}) -> {out} {[str(d) for d in dims]}")
        return made

    def fresh(self, kind: str) -> str:
        """A name."""
        self._names += 1
        return f"{kind}{self._names}"

    def tensor(self) -> Tensor:
        """A tensor; more likely a late one."""
        late = self.pool[-3:]
        found: Tensor = self.one_of(late if self.pick(3) else self.pool)
        return found

    def fits(self, dims: Dims) -> bool:
        """Whether a tensor is small enough, and of a rank that everybody takes."""
        at = {"n": 24, "m": 24, "b": 6}
        return len(dims) <= _RANK and prod(d.at(at) for d in dims) <= _MOST_ELEMENTS

    def some_size(self) -> Size:
        """A size that the program has, or one near it."""
        seen = [d for t in self.pool for d in t.dims if d.symbols - {"b"}]
        found: Size = self.one_of(seen or [size("n")])
        return found

    def random(self, *shape: int) -> Array:
        """Weights."""
        seed = self.pick(1 << 16)
        return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)

    # -- the model --------------------------------------------------------------------------------

    def export(self, values: Values) -> ModelProto:
        """The program at fixed sizes."""
        nodes, initializers = [], []
        for step in self.steps:
            for name, make in step.constants.items():
                initializers.append(numpy_helper.from_array(np.asarray(make(values)), name))
            outputs = [step.output, *(f"{step.output}_{k}" for k in range(1, step.outputs))]
            node = helper.make_node(step.op, step.inputs, outputs, name=f"node_{step.output}")
            for name, value in step.attributes.items():
                node.attribute.append(helper.make_attribute(name, value))
            nodes.append(node)
        read = {name for step in self.steps for name in step.inputs}
        ends = [t for t in self.pool if t.name not in read and t not in self.inputs]
        graph = helper.make_graph(
            nodes,
            "program",
            [_port(t.name, t.dims, values) for t in self.inputs],
            [_port(t.name, t.dims, values) for t in ends],
            initializers,
        )
        opset = helper.make_opsetid("", 17)
        return helper.make_model(graph, ir_version=8, opset_imports=[opset])

    def feeds(self, values: Values) -> dict[str, Array]:
        """Numbers for the inputs."""
        random = np.random.default_rng(7)
        shapes = {t.name: [d.at(values) for d in t.dims] for t in self.inputs}
        return {k: random.standard_normal(s).astype(np.float32) for k, s in shapes.items()}

    def dynamic(self) -> dict[str, str]:
        """The dims to be made free, as the pass takes them."""
        return {
            f"{t.name}:{k}": d.symbol
            for t in self.inputs
            for k, d in enumerate(t.dims)
            if d.symbol is not None
        }

    def symbols(self) -> list[str]:
        """The symbols of the inputs."""
        return list(dict.fromkeys(self.dynamic().values()))

    def constants(self, at: Sequence[Values]) -> str:
        """The constants in each export, for a reader."""
        lines = []
        for step in self.steps:
            for name, make in step.constants.items():
                shown = [np.array2string(make(a), threshold=12).replace("\n", "") for a in at]
                lines.append(f"{step.op} {name}: {' | '.join(shown)}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        ports = [f"{t.name} {[str(d) for d in t.dims]}" for t in self.inputs]
        return "\n".join(["", *ports, *self.said])


def _port(name: str, dims: Dims, values: Values) -> Any:
    shape = [d.at(values) for d in dims]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _ints(*values: Size | int) -> Callable[[Values], Array]:
    return lambda at: np.asarray([size(v).at(at) for v in values], np.int64)


def _always(array: Array | np.floating[Any]) -> Callable[[Values], Array]:
    return lambda at: np.asarray(array)


# -- kinds of steps --------------------------------------------------------------------------------


def _reshaped(p: Program, t: Tensor, dims: Dims) -> None:
    """A Reshape, spelled in one of the ways of exporters."""
    way = p.pick(5)
    wanted: list[Size] = list(dims)
    if way == 1:
        wanted[p.pick(len(wanted))] = size(-1)
    elif way == 2:
        for k, d in enumerate(dims[: len(t.dims)]):
            if d == t.dims[k]:
                wanted[k] = size(0)
    elif way == 3 and len(t.dims) and dims[0] == t.dims[0]:
        # Partly dynamic: the first dim from the data.
        shape = p.node("Shape", [t.name], None)
        first = p.node("Gather", [shape.name, _ints(0)], None, axis=0)
        target = p.node("Concat", [first.name, _ints(*dims[1:])], None, axis=0)
        p.node("Reshape", [t.name, target.name], dims)
        return
    p.node("Reshape", [t.name, _ints(*wanted)], dims)


def _merge(p: Program) -> None:
    t = p.tensor()
    if len(t.dims) < 2:
        return
    k = p.pick(len(t.dims) - 1)
    _reshaped(p, t, (*t.dims[:k], t.dims[k] * t.dims[k + 1], *t.dims[k + 2 :]))


def _split(p: Program) -> None:
    t = p.tensor()
    options: list[Dims] = []
    for k, d in enumerate(t.dims):
        pairs: list[tuple[Size, Size]] = []
        if d.number is not None:
            pairs += [
                (size(f), size(d.number // f)) for f in range(2, d.number) if d.number % f == 0
            ]
        else:
            for left in factors(d):
                right = d.exact(left)
                if right is not None and left != d and right != d:
                    pairs += [(left, right), (right, left)]
        options += [(*t.dims[:k], a, b, *t.dims[k + 1 :]) for a, b in pairs]
    options = [o for o in options if p.fits(o)]
    if options:
        _reshaped(p, t, p.one_of(options))


def _ones(p: Program) -> None:
    t = p.tensor()
    k = p.pick(len(t.dims) + 1)
    dims = (*t.dims[:k], size(1), *t.dims[k:])
    if p.fits(dims):
        _reshaped(p, t, dims)


def _transpose(p: Program) -> None:
    t = p.tensor()
    if not t.dims:
        return
    order, left = [], list(range(len(t.dims)))
    while left:
        order.append(left.pop(p.pick(len(left))))
    p.node("Transpose", [t.name], tuple(t.dims[k] for k in order), perm=order)


def _linear(p: Program) -> None:
    t = p.tensor()
    if len(t.dims) < 2 or t.dims[-1].number is None:
        return
    width = p.one_of(CONSTANTS)
    weight = p.random(t.dims[-1].number, width) / 2
    p.node("MatMul", [t.name, _always(weight)], (*t.dims[:-1], size(width)))


def _attention(p: Program) -> None:
    t = p.tensor()
    rank = len(t.dims)
    if rank < 2:
        return
    dims = (*t.dims[:-1], t.dims[-2])
    if not p.fits(dims):
        return
    order = [*range(rank - 2), rank - 1, rank - 2]
    swapped = (*t.dims[:-2], t.dims[-1], t.dims[-2])
    other = p.node("Transpose", [t.name], swapped, perm=order)
    scores = p.node("MatMul", [t.name, other.name], dims)
    p.node("Softmax", [scores.name], dims, axis=-1)


def _table(p: Program) -> None:
    """A baked table beside a tensor."""
    t = p.tensor()
    axes = [k for k, d in enumerate(t.dims) if d.symbols - {"b"}]
    if not axes:
        return
    k = p.one_of(axes)
    length, after = t.dims[k], len(t.dims) - 1 - k
    line: list[Callable[[Values], Array]] = [
        lambda at: np.arange(length.at(at), dtype=np.float32),
        lambda at: np.arange(length.at(at), dtype=np.float32) / np.float32(length.at(at)),
        lambda at: np.linspace(-1, 1, length.at(at), dtype=np.float32),
        lambda at: np.arange(length.at(at), dtype=np.float32)[::-1],
        lambda at: np.full(length.at(at), 1 / length.at(at), np.float32),
        lambda at: np.full(length.at(at), 0.3, np.float32),
        lambda at: (np.arange(length.at(at)) >= 2).astype(np.float32),
        lambda at: (np.arange(length.at(at)) == length.at(at) - 1).astype(np.float32),
        lambda at: np.cos(np.arange(length.at(at), dtype=np.float32)),
        lambda at: np.full(length.at(at), -np.log(np.float32(length.at(at))), np.float32),
    ]
    make = p.one_of(line)
    whole, op = p.pick(2), p.one_of(["Add", "Mul"])

    def table(at: Values) -> Array:
        column = make(at).reshape(-1, *[1] * after)
        return (
            np.ascontiguousarray(np.broadcast_to(column, [d.at(at) for d in t.dims[k:]]))
            if whole
            else column
        )

    p.node(op, [t.name, table], t.dims)


def _mask(p: Program) -> None:
    t = p.tensor()
    if len(t.dims) < 2 or t.dims[-1].number is not None or t.dims[-1] != t.dims[-2]:
        return
    n, k = t.dims[-1], p.one_of([0, 0, 1, -1, 2])
    if p.pick(2):

        def mask(at: Values) -> Array:
            return np.triu(np.full((n.at(at),) * 2, -9, np.float32), k)

        p.node("Add", [t.name, mask], t.dims)
        return

    def chosen(at: Values) -> Array:
        return np.tri(n.at(at), k=k, dtype=bool)

    p.node("Where", [chosen, t.name, _always(np.float32(-9))], t.dims)


def _scalar(p: Program) -> None:
    t = p.tensor()
    s, other = p.some_size(), p.some_size()
    one = np.float32(1)

    def at_float(value: Size, at: Values) -> np.float32:
        return np.float32(value.at(at))

    options: list[Callable[[Values], Any]] = [
        lambda at: at_float(s, at),
        lambda at: one / at_float(s, at),
        lambda at: one / np.sqrt(at_float(s, at)),
        lambda at: np.log(at_float(s, at)),
        lambda at: -np.log(at_float(s + other, at)),
        lambda at: np.log(at_float(s, at)) - np.log(at_float(s + other, at)),
        lambda at: at_float(s, at) / 2,
        lambda at: 2 / at_float(s - 1, at),
        *[_always(np.float32(c)) for c in (8, 6, 0.125, 1 / 6, 12**-0.5, 0.5, 2.5, np.log(2), 5)],
    ]
    shape = p.one_of([(), (1,), (1, 1)])
    make = p.one_of(options)
    if len(shape) <= len(t.dims):

        def value(at: Values) -> Array:
            return np.asarray(make(at), np.float32).reshape(shape)

        p.node(p.one_of(["Add", "Mul"]), [t.name, value], t.dims)


def _slice(p: Program) -> None:
    t = p.tensor()
    if not t.dims:
        return
    k = p.pick(len(t.dims))
    n = t.dims[k]
    options: list[tuple[Size | int, Size | int, Size]] = [
        (0, n // 2, n // 2),
        (1, n, n - 1),
        (0, n - 1, n - 1),
        (0, -1, n - 1),
        (n - 1, n, size(1)),
        (n // 2, n, n - n // 2),
        (0, 2, size(2)),
        (2, 1 << 40, n - 2),
        (-2, 1 << 40, size(2)),
        (0, 4, size(4)),
    ]
    start, end, length = p.one_of(options)
    lowest = n.at(LEAST)
    if lowest < 4 or length.at(LEAST) < 1:
        return
    dims = (*t.dims[:k], length, *t.dims[k + 1 :])
    p.node("Slice", [t.name, _ints(start), _ints(end), _ints(k)], dims)


def _gather(p: Program) -> None:
    t = p.tensor()
    if len(t.dims) < 2:
        return
    k = p.pick(len(t.dims))
    n = t.dims[k]
    if n.symbol == "b":
        return
    rest = t.dims[:k], t.dims[k + 1 :]
    way = p.pick(5)
    if way == 0:

        def last(at: Values) -> Array:
            return np.asarray(n.at(at) - 1, np.int64)

        p.node("Gather", [t.name, last], (*rest[0], *rest[1]), axis=k)
    elif way == 1:

        def back(at: Values) -> Array:
            return np.arange(n.at(at), dtype=np.int64)[::-1].copy()

        p.node("Gather", [t.name, back], t.dims, axis=k)
    elif way == 2:
        p.node("Gather", [t.name, _ints(n - 1)], (*rest[0], size(1), *rest[1]), axis=k)
    elif way == 3 and n.at(LEAST) > 3:
        p.node("Gather", [t.name, _ints(3, 0)], (*rest[0], size(2), *rest[1]), axis=k)
    else:
        p.node("Gather", [t.name, _ints(-1)], (*rest[0], size(1), *rest[1]), axis=k)


def _expand(p: Program) -> None:
    t = p.tensor()
    if not t.dims:
        return
    k = p.pick(len(t.dims))
    one = (*t.dims[:k], size(1), *t.dims[k + 1 :])
    mean = p.node("ReduceMean", [t.name], one, axes=[k], keepdims=1)
    length = p.one_of([t.dims[k], p.some_size(), size(p.one_of(CONSTANTS))])
    dims = (*t.dims[:k], length, *t.dims[k + 1 :])
    if not p.fits(dims):
        return
    way = p.pick(3)
    if way == 0:
        p.node("Expand", [mean.name, _ints(*dims)], dims)
    elif way == 1:
        p.node(
            "Expand", [mean.name, _ints(*[length if j == k else 1 for j in range(len(dims))])], dims
        )
    else:
        repeats = [length if j == k else size(1) for j in range(len(dims))]
        p.node("Tile", [mean.name, _ints(*repeats)], dims)


def _concat(p: Program) -> None:
    t = p.tensor()
    if not t.dims:
        return
    k = p.pick(len(t.dims))
    way = p.pick(4)
    added = p.one_of([size(1), size(2), t.dims[k]])
    dims = (*t.dims[:k], t.dims[k] + added, *t.dims[k + 1 :])
    if not p.fits(dims):
        return
    value = p.one_of([0.0, 1.0, -5.0])
    if way == 0:
        double = (*t.dims[:k], t.dims[k] * 2, *t.dims[k + 1 :])
        p.node("Concat", [t.name, t.name], double, axis=k)
        return

    def table(at: Values) -> Array:
        shape = [d.at(at) for d in (*t.dims[:k], added, *t.dims[k + 1 :])]
        return np.full(shape, value, np.float32)

    pair: list[str | Callable[[Values], Array]]
    pair = [t.name, table] if way == 1 else [table, t.name]
    p.node("Concat", pair, dims, axis=k)


def _reduce(p: Program) -> None:
    t = p.tensor()
    if not t.dims:
        return
    k, keep = p.pick(len(t.dims)), p.pick(2)
    middle = (size(1),) if keep else ()
    op = p.one_of(["ReduceMean", "ReduceMax"])
    dims = (*t.dims[:k], *middle, *t.dims[k + 1 :])
    p.node(op, [t.name], dims, axes=[k], keepdims=keep)


def _pad(p: Program) -> None:
    t = p.tensor()
    if not t.dims:
        return
    k = p.pick(len(t.dims))
    n = t.dims[k]
    added = p.one_of(
        [size(1), size(4), n, *([n // 2, (n + 3) // 4 * 4 - n] if n.symbol != "b" else [])]
    )
    pads = [size(0)] * (2 * len(t.dims))
    pads[k + p.pick(2) * len(t.dims)] = added
    dims = (*t.dims[:k], n + added, *t.dims[k + 1 :])
    if p.fits(dims):
        p.node("Pad", [t.name, _ints(*pads), _always(np.float32(0))], dims)


def _top(p: Program) -> None:
    t = p.tensor()
    if not t.dims:
        return
    k = p.pick(len(t.dims))
    count = p.one_of([t.dims[k] // 2, t.dims[k], size(2), size(4)])
    if t.dims[k].at(LEAST) >= 4:
        dims = (*t.dims[:k], count, *t.dims[k + 1 :])
        p.node("TopK", [t.name, _ints(count)], dims, axis=k, outputs=2)


def _beside(p: Program) -> None:
    """Two tensors that have the same shape, or broadcast."""
    t = p.tensor()
    for other in p.pool[:-1]:
        if other.dims == t.dims and other != t:
            p.node("Add", [t.name, other.name], t.dims)
            return


_KINDS: tuple[Callable[[Program], None], ...] = (
    _merge, _split, _ones, _transpose, _linear, _attention, _table, _mask, _scalar, _slice,
    _gather, _expand, _concat, _reduce, _pad, _top, _beside, _merge, _split, _table, _attention,
)  # fmt: skip
