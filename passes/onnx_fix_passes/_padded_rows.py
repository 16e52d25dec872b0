"""Where the rows of a node of bounded size go, and whether padding leaves them right."""

from __future__ import annotations

import math
from collections.abc import Iterable

import onnx_graphsurgeon as gs

from onnx_fix.order import reads
from onnx_fix.scope import Scope, attribute, has_unresolved, is_standard
from onnx_fix_passes._cum_sum_ones import EXACT_COUNT
from onnx_fix_passes._non_zero_points import KEEPS_SHAPE, axes_of, numbers, points
from onnx_fix_passes._row_sizes import SIZES, Element, Rows, RowSizes, Source

_ELEMENTWISE = KEEPS_SHAPE | {
    "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "BitwiseAnd", "BitwiseNot",
    "BitwiseOr", "BitwiseXor", "CastLike", "Celu", "Cosh", "Gelu", "GreaterOrEqual", "HardSwish",
    "IsInf", "IsNaN", "LessOrEqual", "Mish", "Mod", "PRelu", "Shrink", "Sinh", "Softsign", "Sum",
    "Swish", "Tan", "ThresholdedRelu", "Xor",
}  # fmt: skip


_SHAPE_AT = {"ConstantOfShape": 0, "Expand": 1, "Reshape": 1}
"""The input that is the shape of the output; a size anywhere else is taken for a number."""


class _Obstacle(Exception):
    """Why padding cannot be followed through a node."""


class Flow(RowSizes):
    """Follows the rows of bounded nodes through one scope, in execution order.

    They are NonZero, and NonMaxSuppression where it is asked for. ``asked`` says how many rows each
    may have, by node. A NonZero whose mask lies along the rows of
    another one has no more than that one, so it is bounded too.
    """

    def __init__(self, scope: Scope, asked: dict[int, int]) -> None:
        super().__init__(scope)
        self._asked = asked
        self.obstacles: dict[int, str] = {}
        for node in scope.graph.nodes:
            if scope.model.alive(node):
                self._visit(node)
        order = {id(t): k for k, t in enumerate(scope.graph.outputs)}
        for source in self.sources.values():
            source.outputs.sort(key=lambda pair: order.get(id(pair[0]), 0))

    def groups(self) -> list[list[Source]]:
        """The sources that hang together, in execution order."""
        first: dict[int, int] = {}
        found: dict[int, list[Source]] = {}
        for key, source in self.sources.items():
            parent = source.parent
            first[key] = key if parent is None else first[id(parent.source.node)]
            found.setdefault(first[key], []).append(source)
        return list(found.values())

    # -- one node ---------------------------------------------------------------------------------

    def _visit(self, node: gs.Node) -> None:
        scope = self._scope
        if node.op == "NonZero" and is_standard(node):
            self._start(node)
            return
        if id(node) in self._asked:
            self._start_boxes(node)
            return
        owners = self._owners(reads(node))
        if not owners:
            return
        try:
            if not is_standard(node) or any(isinstance(v, gs.Graph) for v in node.attrs.values()):
                raise _Obstacle("which is not looked into")
            if has_unresolved(node, *node.attrs):
                raise _Obstacle("whose attributes are parameters of a function")
            if node.op == "NonMaxSuppression":
                raise _Obstacle("which ranks its rows")
            rows = self._follow(node)
        except _Obstacle as obstacle:
            for owner in owners:
                text = f"{node.op} '{scope.label(node)}' reads it, {obstacle}"
                self.obstacles.setdefault(owner, text)
            return
        for out in node.outputs:
            if rows is not None and out.name:
                self._rows[id(out)] = rows
                if scope.is_output(out):
                    rows.source.outputs.append((out, rows.axis))
            elif out.name and scope.is_output(out):
                for owner in self._owners([out]):
                    text = f"'{out.name}' is an output and holds the number of selected elements"
                    self.obstacles.setdefault(owner, text)

    def _start(self, node: gs.Node) -> None:
        rows = self._rows.get(id(node.inputs[0]))
        if id(node) not in self._asked and rows is None:
            return
        most = self._asked.get(id(node))
        if most is None and rows is not None:
            sizes = self.dims(node.inputs[0])
            known = [d for d in sizes or () if isinstance(d, int)]
            most = math.prod(known) if sizes is not None and len(known) == len(sizes) else 0
        source = self.sources[id(node)] = Source(node, most or 0, rows)
        rank = self._scope.rank(node.inputs[0])
        if not rank:
            why = "is not known" if rank is None else "is 0"
            self.obstacles[id(node)] = f"the rank of its input {why}"
        elif not most:
            self.obstacles[id(node)] = "the sizes of its input are not known; give its size, too"
        out = node.outputs[0]
        self._rows[id(out)] = Rows(source, 1)
        if self._scope.is_output(out):
            source.outputs.append((out, 1))

    def _start_boxes(self, node: gs.Node) -> None:
        """A NonMaxSuppression, whose rows are its first axis."""
        for owner in self._owners(reads(node)):
            text = f"{node.op} '{self._scope.label(node)}' reads it, which ranks its rows"
            self.obstacles.setdefault(owner, text)
        source = self.sources[id(node)] = Source(node, self._asked[id(node)])
        out = node.outputs[0]
        self._rows[id(out)] = Rows(source, 0)
        if self._scope.is_output(out):
            source.outputs.append((out, 0))

    def _size(self, node: gs.Node, tensor: gs.Tensor) -> list[Element]:
        found = self.elements(tensor)
        if found is None:
            raise _Obstacle("and the shape that it makes is not known")
        return found

    # -- ops --------------------------------------------------------------------------------------

    def _follow(self, node: gs.Node) -> Rows | None:
        """Where the rows lie in the outputs; None where the outputs are sizes."""
        mine = [self._rows.get(id(t)) for t in node.inputs]
        if node.op == "Shape":
            return None
        rule = _RULES.get(node.op)
        if not any(mine) and node.op in SIZES and self.elements(node.outputs[0]) is not None:
            return None
        if not any(mine) and node.op not in ("ConstantOfShape", "Expand"):
            raise _Obstacle("which computes with the number of selected elements")
        shape_at = _SHAPE_AT.get(node.op)
        for place, tensor in enumerate(node.inputs):
            if mine[place] is None and place != shape_at and self._owners([tensor]):
                raise _Obstacle("which computes with the number of selected elements")
        if rule is not None:
            return rule(self, node, mine)
        if node.op in _ELEMENTWISE:
            return self._elementwise(node)
        if node.op.startswith("Reduce") or node.op in ("ArgMax", "ArgMin"):
            return self._reduced(node, self._only(node, mine, 0))
        raise _Obstacle("and what padding does to it is not known")

    def _only(self, node: gs.Node, mine: list[Rows | None], place: int) -> Rows:
        """The rows of one input, where no other input has any."""
        rows = mine[place] if place < len(mine) else None
        if rows is None or sum(r is not None for r in mine) != 1:
            raise _Obstacle("and not by the input that padding can be followed through")
        return rows

    def _rank(self, tensor: gs.Tensor) -> int:
        rank = self._scope.rank(tensor)
        if rank is None:
            raise _Obstacle("and ranks around it are not known")
        return rank

    def _elementwise(self, node: gs.Node) -> Rows:
        divided = node.op in ("Div", "Mod") and id(node.inputs[1]) in self._rows
        if divided and self._scope.dtype(node.inputs[1]) not in EXACT_COUNT:
            raise _Obstacle("which divides integers by it, and padding may be zero")
        whole = max(self._rank(t) for t in node.inputs if t.name)
        found: Rows | None = None
        for tensor in node.inputs:
            rows = self._rows.get(id(tensor))
            if rows is None:
                continue
            axis = rows.axis + whole - self._rank(tensor)
            if found is not None and (found.axis != axis or found.source is not rows.source):
                raise _Obstacle("together with rows that are others")
            found = Rows(rows.source, axis)
        assert found is not None
        self._broadcasts(node.inputs, whole, found)
        return found

    def _broadcasts(self, tensors: Iterable[gs.Tensor], whole: int, rows: Rows) -> None:
        """Raise unless tensors without rows are the same for all rows."""
        for tensor in tensors:
            if not tensor.name or id(tensor) in self._rows:
                continue
            shape = self._scope.shape(tensor)
            if shape is None:
                raise _Obstacle("and ranks around it are not known")
            axis = rows.axis - (whole - len(shape))
            if axis >= 0 and shape[axis] != 1:
                raise _Obstacle("with another tensor whose size along the rows is not 1")

    def _reduced(self, node: gs.Node, rows: Rows) -> Rows:
        rank = self._rank(node.inputs[0])
        if node.op in ("ArgMax", "ArgMin"):
            axes: list[int] | None = [attribute(node, "axis", int, 0) or 0]
        else:
            axes = axes_of(self._scope, node)
        if not axes:
            raise _Obstacle("which reduces over all rows")
        gone = {a % rank for a in axes}
        if rows.axis in gone:
            raise _Obstacle("which reduces over the rows, padding included")
        if attribute(node, "keepdims", int, 1) != 0:
            return rows
        return Rows(rows.source, rows.axis - sum(a < rows.axis for a in gone))

    def transpose(self, node: gs.Node, mine: list[Rows | None]) -> Rows:
        rows = self._only(node, mine, 0)
        rank = self._rank(node.inputs[0])
        perm = attribute(node, "perm", list) or list(range(rank))[::-1]
        return Rows(rows.source, perm.index(rows.axis))

    def along(self, node: gs.Node, mine: list[Rows | None]) -> Rows:
        """Ops along one axis that is not that of the rows: Split, TopK, Softmax and the like."""
        rows = self._only(node, mine, 0)
        rank = self._rank(node.inputs[0])
        default = {"Split": 0, "Hardmax": -1, "LayerNormalization": -1}.get(node.op, -1)
        axis = (attribute(node, "axis", int, default) or 0) % rank
        if node.op in ("Softmax", "LogSoftmax", "Hardmax") and self._scope.opset < 13:
            axis = (attribute(node, "axis", int, 1) or 0) % rank
            if rows.axis >= axis:
                raise _Obstacle("which works along the rows")
        if node.op == "LayerNormalization" and rows.axis >= axis:
            raise _Obstacle("which works along the rows")
        if rows.axis == axis:
            raise _Obstacle("which works along the rows")
        return rows

    def slice(self, node: gs.Node, mine: list[Rows | None]) -> Rows:
        rows, rank = self._only(node, mine, 0), self._rank(node.inputs[0])
        starts = numbers(self._scope, node, 1, "starts")
        axes = numbers(self._scope, node, 3, "axes", list(range(len(starts or [0] * rank))))
        if axes is None or rows.axis in {a % rank for a in axes}:
            raise _Obstacle("which cuts the rows")
        return rows

    def squeeze(self, node: gs.Node, mine: list[Rows | None]) -> Rows:
        rows, rank = self._only(node, mine, 0), self._rank(node.inputs[0])
        axes = axes_of(self._scope, node)
        if axes is None or rows.axis in {a % rank for a in axes}:
            raise _Obstacle("which drops every dimension of 1, and the rows may be one")
        return Rows(rows.source, rows.axis - sum(a % rank < rows.axis for a in axes))

    def unsqueeze(self, node: gs.Node, mine: list[Rows | None]) -> Rows:
        rows, axes = self._only(node, mine, 0), axes_of(self._scope, node)
        if axes is None:
            raise _Obstacle("and its axes are not constant")
        rank = self._rank(node.inputs[0]) + len(axes)
        new = {a % rank for a in axes}
        kept = [a for a in range(rank) if a not in new]
        return Rows(rows.source, kept[rows.axis])

    def concat(self, node: gs.Node, mine: list[Rows | None]) -> Rows:
        rank, axis = self._rank(node.inputs[0]), attribute(node, "axis", int, 0) or 0
        first = mine[0]
        if first is None or any(r != first for r in mine):
            raise _Obstacle("together with rows that are others")
        if axis % rank == first.axis:
            raise _Obstacle("which joins rows to rows")
        return first

    def gather(self, node: gs.Node, mine: list[Rows | None]) -> Rows:
        scope, (data, index) = self._scope, (mine[0], mine[1])
        rank = self._rank(node.inputs[0])
        axis = (attribute(node, "axis", int, 0) or 0) % rank
        if index is None:
            assert data is not None
            if data.axis == axis:
                raise _Obstacle("which picks single rows")
            moved = self._rank(node.inputs[1]) - 1 if data.axis > axis else 0
            return Rows(data.source, data.axis + moved)
        found = points(scope, node.inputs[1])
        if data is not None and (data.axis != axis or not self._picks(found, data, index)):
            raise _Obstacle("which mixes rows of two kinds")
        index.source.gathers.append(node)
        return Rows(index.source, axis + index.axis)

    def gather_nd(self, node: gs.Node, mine: list[Rows | None]) -> Rows:
        data, index = mine
        if index is None or attribute(node, "batch_dims", int, 0) != 0:
            raise _Obstacle("which picks single rows")
        if index.axis == self._rank(node.inputs[1]) - 1:
            raise _Obstacle("which takes rows for coordinates")
        last = (self._scope.shape(node.inputs[1]) or (None,))[-1]
        if not isinstance(last, int) or self._scope.rank(node.inputs[0]) is None:
            raise _Obstacle("and ranks around it are not known")
        found = points(self._scope, node.inputs[1])
        if data is not None and (data.axis != 0 or not self._picks(found, data, index)):
            raise _Obstacle("which mixes rows of two kinds")
        index.source.gathers.append(node)
        return Rows(index.source, index.axis)

    def _picks(self, found: object, data: Rows, index: Rows) -> bool:
        """Whether coordinates select among the rows that their own mask lies along."""
        parent = index.source.parent
        if parent is None or parent.source is not data.source:
            return False
        columns = getattr(found, "columns", None)
        return columns is not None and tuple(columns)[:1] == (parent.axis,)

    def reshape(self, node: gs.Node, mine: list[Rows | None]) -> Rows:
        rows = self._only(node, mine, 0)
        shape = self._scope.shape(node.inputs[0])
        wanted = self._size(node, node.inputs[1])
        if shape is None or any(d == 0 for d in wanted):
            raise _Obstacle("and the shape that it makes is not known")
        before = [d for d in shape[: rows.axis] if d != 1]
        after = [d for d in shape[rows.axis + 1 :] if d != 1]
        places = [k for k, d in enumerate(wanted) if d is rows.source or d == -1]
        if len(places) != 1:
            raise _Obstacle("and the shape that it makes is not known")
        lead, tail = wanted[: places[0]], wanted[places[0] + 1 :]
        sides = [(_product(lead), _product(before)), (_product(tail), _product(after))]
        if any(a is None or a != b for a, b in sides):
            raise _Obstacle("which may join rows with other dimensions")
        return Rows(rows.source, places[0])

    def expand(self, node: gs.Node, mine: list[Rows | None]) -> Rows:
        rank, wanted = self._rank(node.inputs[0]), self._size(node, node.inputs[1])
        whole = max(rank, len(wanted))
        sized = [
            Rows(d, k + whole - len(wanted)) for k, d in enumerate(wanted) if isinstance(d, Source)
        ]
        found = set(sized)
        if mine[0] is not None:
            axis = mine[0].axis + whole - rank
            place = axis - (whole - len(wanted))
            if place >= 0 and wanted[place] != 1 and wanted[place] is not mine[0].source:
                raise _Obstacle("to a size that is not that of the rows")
            found.add(Rows(mine[0].source, axis))
        if len(found) != 1:
            raise _Obstacle("together with rows that are others")
        rows = found.pop()
        self._broadcasts(node.inputs[:1], whole, rows)
        return rows

    def constant_of_shape(self, node: gs.Node, mine: list[Rows | None]) -> Rows:
        wanted = self._size(node, node.inputs[0])
        places = [k for k, d in enumerate(wanted) if isinstance(d, Source)]
        if any(mine) or len(places) != 1:
            raise _Obstacle("together with rows that are others")
        source = wanted[places[0]]
        assert isinstance(source, Source)
        return Rows(source, places[0])

    def matmul(self, node: gs.Node, mine: list[Rows | None]) -> Rows:
        ranks = [self._rank(t) for t in node.inputs]
        place = 0 if mine[0] is not None else 1
        rows = self._only(node, mine, place)
        if ranks[place] < 2 or ranks[1 - place] < 2:
            raise _Obstacle("and a vector takes part")
        from_end = ranks[place] - rows.axis
        if from_end != 2 - place and (from_end <= 2 or ranks[1 - place] > 2):
            raise _Obstacle("which sums over the rows, padding included")
        return Rows(rows.source, max(ranks) - from_end)

    def gemm(self, node: gs.Node, mine: list[Rows | None]) -> Rows:
        rows = self._only(node, mine, 0)
        if rows.axis != (1 if attribute(node, "transA", int, 0) else 0):
            raise _Obstacle("which sums over the rows, padding included")
        self._broadcasts(node.inputs[2:], 2, Rows(rows.source, 0))
        return Rows(rows.source, 0)

    def grid_sample(self, node: gs.Node, mine: list[Rows | None]) -> Rows:
        rows = self._only(node, mine, 1)
        if not 1 <= rows.axis < self._rank(node.inputs[1]) - 1:
            raise _Obstacle("which takes rows for images or coordinates")
        return Rows(rows.source, rows.axis + 1)


def _product(dims: Iterable[object]) -> int | None:
    """The product of sizes, None where one is not known."""
    whole = 1
    for dim in dims:
        if not isinstance(dim, int):
            return None
        whole *= dim
    return whole


_RULES = {
    "Concat": Flow.concat,
    "ConstantOfShape": Flow.constant_of_shape,
    "Expand": Flow.expand,
    "Gather": Flow.gather,
    "GatherND": Flow.gather_nd,
    "Gemm": Flow.gemm,
    "GridSample": Flow.grid_sample,
    "Hardmax": Flow.along,
    "LayerNormalization": Flow.along,
    "LogSoftmax": Flow.along,
    "MatMul": Flow.matmul,
    "Reshape": Flow.reshape,
    "Slice": Flow.slice,
    "Softmax": Flow.along,
    "Split": Flow.along,
    "Squeeze": Flow.squeeze,
    "TopK": Flow.along,
    "Transpose": Flow.transpose,
    "Unsqueeze": Flow.unsqueeze,
}
