"""Sizes of dims as products of numbers and symbols, and what nodes ask of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import onnx_graphsurgeon as gs

from onnx_fix.model import Model
from onnx_fix.op_names import BROADCASTING
from onnx_fix.scope import Scope, attribute, is_standard


@dataclass(frozen=True, slots=True)
class Size:
    """A number times powers of symbols: ``T*B/12`` is 1/12 with T and B to the power of 1."""

    number: Fraction
    powers: tuple[tuple[str, int], ...] = ()

    def times(self, other: Size, sign: int = 1) -> Size:
        """The product, or with ``sign`` -1 the quotient."""
        powers = dict(self.powers)
        for symbol, power in other.powers:
            powers[symbol] = powers.get(symbol, 0) + sign * power
        left = tuple(sorted((s, p) for s, p in powers.items() if p))
        return Size(self.number * other.number**sign, left)


@dataclass(frozen=True, slots=True)
class Frozen:
    """``product`` of symbols can only be ``value`` (or 1, where ``or_one``) by a node."""

    symbols: tuple[str, ...]
    value: int
    or_one: bool
    node: gs.Node
    tensor: str

    def holds(self, product: int) -> bool:
        """Whether the node works with this product of the sizes."""
        return product == self.value or (self.or_one and product == 1)


_ONE = Size(Fraction(1))
_SAME_SHAPE = frozenset(
    {
        "Abs",
        "Cast",
        "Ceil",
        "Celu",
        "Clip",
        "Cos",
        "Dropout",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LayerNormalization",
        "LeakyRelu",
        "Log",
        "LogSoftmax",
        "Neg",
        "Not",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Sigmoid",
        "Sign",
        "Sin",
        "Softmax",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Swish",
        "Tanh",
        "ThresholdedRelu",
    }
)


class Sizes:
    """Goes over the main graph once and yields what is frozen.

    Only ``symbols`` count as symbols: those of the inputs. Sizes that inference leaves open (-1 in
    a Reshape whose rest does not divide) follow from the number of elements.
    """

    def __init__(self, model: Model, symbols: Collection[str]) -> None:
        self._model = model
        self._symbols = {s: Size(Fraction(1), ((s, 1),)) for s in symbols}
        self._found: dict[int, tuple[Size | None, ...]] = {}

    def frozen(self) -> Iterator[Frozen]:
        """What each node in turn asks of the symbols."""
        scope = self._model.main
        for node in scope.graph.nodes:
            if not self._model.alive(node) or not is_standard(node):
                continue
            rule = _RULES.get(node.op)
            if rule is not None:
                yield from rule(self, scope, node)
            elif node.op in _SAME_SHAPE and node.inputs and id(node.inputs[0]) in self._found:
                self._found[id(node.outputs[0])] = self._found[id(node.inputs[0])]

    def hides_more(self) -> bool:
        """Whether a Reshape or Expand has a dim under a name that only its annotation knows."""
        for node in self._model.main.nodes("Reshape", "Expand"):
            for dim in self._model.type_of(node.outputs[0]).shape or ():
                named = isinstance(dim, str) and not dim.startswith("unk__")
                if named and dim not in self._symbols:
                    return True
        return False

    def of(self, tensor: gs.Tensor) -> tuple[Size | None, ...] | None:
        """The sizes of a tensor; None in the place of one that is not known."""
        if not tensor.name:
            return None
        if id(tensor) in self._found:
            return self._found[id(tensor)]
        shape = self._model.type_of(tensor).shape
        return None if shape is None else tuple(self._size(d) for d in shape)

    def _size(self, dim: int | str | None) -> Size | None:
        if isinstance(dim, int):
            return Size(Fraction(dim)) if dim > 0 else None
        return self._symbols.get(dim) if dim is not None else None

    def varies(self, tensor: gs.Tensor) -> bool:
        """Whether a symbol of an input stands in the shape of a tensor."""
        if id(tensor) in self._found:
            return True
        shape = self._model.type_of(tensor).shape if tensor.name else None
        return shape is not None and any(isinstance(d, str) and d in self._symbols for d in shape)

    # -- what two sizes say of each other ---------------------------------------------------------

    def equal(
        self, node: gs.Node, tensor: gs.Tensor, a: Size | None, b: Size | None, or_one: bool = False
    ) -> Iterator[Frozen]:
        """What follows if two sizes are to be equal, or one of them 1 where they broadcast."""
        if a is None or b is None or a == b:
            return
        if or_one and (a == _ONE or b == _ONE or (a.powers and b.powers)):
            return
        ratio = a.times(b, -1)
        if not ratio.powers:
            return
        if all(power < 0 for _, power in ratio.powers):
            ratio = _ONE.times(ratio, -1)
        value = 1 / ratio.number
        if any(power != 1 for _, power in ratio.powers) or value.denominator != 1:
            return
        symbols = tuple(symbol for symbol, _ in ratio.powers)
        yield Frozen(symbols, int(value), or_one, node, str(tensor.name))

    # -- ops --------------------------------------------------------------------------------------

    def reshape(self, _: Scope, node: gs.Node) -> Iterator[Frozen]:
        """As many elements leave as enter."""
        if len(node.inputs) < 2:
            return
        before, after = self.of(node.inputs[0]), self.of(node.outputs[0])
        if before is None or after is None:
            return
        entering = _product(before)
        known = _product([size for size in after if size is not None])
        if entering is None or known is None:
            return
        if None not in after:
            yield from self.equal(node, node.inputs[0], entering, known)
        elif after.count(None) == 1:
            rest = entering.times(known, -1)
            shape = self._model.type_of(node.outputs[0]).shape or ()
            if shape[after.index(None)] is None or isinstance(shape[after.index(None)], str):
                full = tuple(rest if size is None else size for size in after)
                self._found[id(node.outputs[0])] = full

    def transpose(self, _: Scope, node: gs.Node) -> Iterator[Frozen]:
        """Carries sizes on."""
        sizes = self._found.get(id(node.inputs[0]))
        if sizes is not None:
            order = attribute(node, "perm", list) or list(range(len(sizes)))[::-1]
            if sorted(order) == list(range(len(sizes))):
                self._found[id(node.outputs[0])] = tuple(sizes[k] for k in order)
        return iter(())

    def broadcasting(self, scope: Scope, node: gs.Node) -> Iterator[Frozen]:
        """Sizes of one place are equal, or 1."""
        tensors = node.inputs if node.op != "Expand" else [node.inputs[0], node.outputs[0]]
        if scope.opset < 7 or not any(self.varies(t) for t in tensors):
            return
        yield from self._broadcast(node, [(t, self.of(t)) for t in tensors])

    def _broadcast(
        self, node: gs.Node, given: Sequence[tuple[gs.Tensor, Sequence[Size | None] | None]]
    ) -> Iterator[Frozen]:
        known = [(t, sizes) for t, sizes in given if sizes is not None]
        for k in range(1, max((len(sizes) for _, sizes in known), default=0) + 1):
            here = [(t, sizes[-k]) for t, sizes in known if len(sizes) >= k]
            number = next(
                (s for _, s in here if s is not None and not s.powers and s != _ONE), None
            )
            for tensor, size in here:
                yield from self.equal(node, tensor, size, number, or_one=True)

    def concat(self, _: Scope, node: gs.Node) -> Iterator[Frozen]:
        """All sizes but those of the axis are equal."""
        axis = attribute(node, "axis", int)
        if axis is None or not any(self.varies(t) for t in node.inputs):
            return
        given = [(t, self.of(t)) for t in node.inputs]
        ranks = {len(sizes) for _, sizes in given if sizes is not None}
        if len(ranks) != 1:
            return
        rank = ranks.pop()
        for k in range(rank):
            if k == axis % rank:
                continue
            here = [(t, sizes[k]) for t, sizes in given if sizes is not None]
            number = next((s for _, s in here if s is not None and not s.powers), None)
            for tensor, size in here:
                yield from self.equal(node, tensor, size, number)

    def matmul(self, _: Scope, node: gs.Node) -> Iterator[Frozen]:
        """The inner sizes are equal, the outer ones broadcast."""
        if not any(self.varies(t) for t in node.inputs[:2]):
            return
        a, b = self.of(node.inputs[0]), self.of(node.inputs[1])
        if not a or not b:
            return
        yield from self.equal(node, node.inputs[0], a[-1], b[-2] if len(b) > 1 else b[0])
        outer = [(node.inputs[0], a[:-2]), (node.inputs[1], b[:-2])]
        yield from self._broadcast(node, outer)

    def gemm(self, _: Scope, node: gs.Node) -> Iterator[Frozen]:
        """The inner sizes are equal."""
        a, b = self.of(node.inputs[0]), self.of(node.inputs[1])
        if a is None or b is None or len(a) != 2 or len(b) != 2:
            return
        inner = a[0] if attribute(node, "transA", int, 0) else a[1]
        other = b[1] if attribute(node, "transB", int, 0) else b[0]
        yield from self.equal(node, node.inputs[0], inner, other)

    def conv(self, _: Scope, node: gs.Node) -> Iterator[Frozen]:
        """The channels are those of the weights, times the groups."""
        x, weights = self.of(node.inputs[0]), self.of(node.inputs[1])
        if x is None or weights is None or len(x) < 3 or len(weights) < 3:
            return
        channels = weights[1]
        groups = attribute(node, "group", int, 1) or 1
        if channels is not None:
            wanted = channels.times(Size(Fraction(groups)))
            yield from self.equal(node, node.inputs[0], x[1], wanted)

    def recurrent(self, _: Scope, node: gs.Node) -> Iterator[Frozen]:
        """Input, weights and initial states agree in batch and features."""
        x = self.of(node.inputs[0])
        batch_first = attribute(node, "layout", int, 0)
        if x is None or len(x) != 3 or batch_first:
            return
        # Input 1 is W [directions, gates, features], 4 sequence_lens [batch], 5 and 6 the states.
        for place, axis, mine in ((1, 2, x[2]), (4, 0, x[1]), (5, 1, x[1]), (6, 1, x[1])):
            tensor = node.inputs[place] if place < len(node.inputs) else None
            sizes = self.of(tensor) if tensor is not None else None
            if sizes is not None and len(sizes) > axis:
                yield from self.equal(node, node.inputs[0], mine, sizes[axis])


def _product(sizes: Sequence[Size | None]) -> Size | None:
    product = _ONE
    for size in sizes:
        if size is None:
            return None
        product = product.times(size)
    return product


def product_of(symbols: Sequence[str], sizes: dict[str, int]) -> int | None:
    """The product of the sizes of symbols; None where one is not given."""
    if any(s not in sizes for s in symbols):
        return None
    return math.prod(sizes[s] for s in symbols)


_RULES: dict[str, Callable[[Sizes, Scope, gs.Node], Iterator[Frozen]]] = {
    "Reshape": Sizes.reshape,
    "Transpose": Sizes.transpose,
    "Expand": Sizes.broadcasting,
    "Concat": Sizes.concat,
    "MatMul": Sizes.matmul,
    "Gemm": Sizes.gemm,
    "Conv": Sizes.conv,
    "GRU": Sizes.recurrent,
    "LSTM": Sizes.recurrent,
    "RNN": Sizes.recurrent,
    **dict.fromkeys(BROADCASTING, Sizes.broadcasting),
}
