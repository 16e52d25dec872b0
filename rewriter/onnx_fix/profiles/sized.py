"""The sizes of all tensors of a model at one point, without running it.

Shapes are inferred node by node by onnx; small tensors that follow from sizes and constants are
computed on the way (`onnx.reference`), so that a Reshape to a computed shape is followed too.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto
from onnx.checker import ValidationError
from onnx.shape_inference import InferenceError

from onnx_fix.constants import RANDOM, evaluate_proto
from onnx_fix.errors import UsageError
from onnx_fix.functions import bodies_of, every_node, has_bodies, label_of
from onnx_fix.load import opset_of
from onnx_fix.op_names import BROADCASTING
from onnx_fix.scope import STANDARD_DOMAINS
from onnx_fix.verify.feeds import DTYPES
from onnx_fix.verify.symbols import dim_size, fed_inputs, input_dims
from onnx_fix.verify.tracing import without_weights

Array = NDArray[np.generic]

LARGEST_VOLUME = 2**31 - 1
"""Elements that a tensor of TensorRT can have."""

_SMALL = 4096
"""Elements of tensors that are computed, at most."""

_SHOWN = 64
"""Elements of tensors that inference is shown."""

_WIDE: Mapping[str, object] = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}
_LOGICAL = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or"})
_FITS = np.iinfo(np.int32)


@dataclass(frozen=True, slots=True)
class Fault:
    """A node that cannot work at these sizes, with the reason."""

    node: str
    op: str
    message: str


@dataclass(frozen=True, slots=True)
class Wide:
    """A node whose result leaves the range of INT32 while its inputs are within."""

    node: str
    op: str
    value: int
    tensor: str


@dataclass(slots=True)
class Sized:
    """What is known of the tensors of a model at one point."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    values: dict[str, Array] = field(default_factory=dict)
    makers: dict[str, NodeProto] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    wide: list[Wide] = field(default_factory=list)
    unknown: list[NodeProto] = field(default_factory=list)
    """Nodes of whose outputs a size is not known."""
    peak: int = 0
    """Bytes of the tensors that are alive at once, at most, weights left out."""
    weights: int = 0
    """Bytes of the constants."""

    def elements(self, name: str) -> int | None:
        """How many elements a tensor has."""
        shape = self.shapes.get(name)
        return None if shape is None else math.prod(shape)

    def size(self, name: str) -> int:
        """The bytes of a tensor; 0 where its size is not known."""
        count = self.elements(name)
        return 0 if count is None else count * width(self.types.get(name, 0))

    def largest(self) -> tuple[str, int]:
        """The tensor with the most bytes, weights left out, and how many; ('', 0) without one."""
        found = max(self.makers, key=self.size, default="")
        return found, self.size(found) if found else 0


def width(elem_type: int) -> int:
    """Bytes of one element, 0 where it has no width."""
    dtype = DTYPES.get(elem_type)
    return 0 if dtype is None or elem_type == TensorProto.STRING else np.dtype(dtype).itemsize


class Sizer:
    """A model without its weights, ready to be sized at many points."""

    def __init__(self, model: ModelProto) -> None:
        self._inputs = fed_inputs(model)
        self._light = without_weights(model)
        self._opset = opset_of(self._light.opset_import)
        self._imports = [
            onnx.helper.make_opsetid(o.domain, o.version) for o in self._light.opset_import
        ]
        self._weights = sum(_stored_bytes(t) for t in _constants(model.graph))

    @property
    def nodes(self) -> Sequence[NodeProto]:
        """The nodes of the main graph, calls of local functions replaced by their bodies."""
        return self._light.graph.node

    @property
    def opset(self) -> int:
        """The version of the default operator set."""
        return self._opset

    def at(
        self, sizes: Mapping[str, int], values: Mapping[str, Sequence[int]] | None = None
    ) -> Sized:
        """The sizes at a point."""
        found = Sized(weights=self._weights)
        names = {v.name for v in self._inputs}
        for value in self._light.graph.input:
            tensor = value.type.tensor_type
            dims = input_dims(value)
            if value.type.WhichOneof("value") != "tensor_type":
                continue
            found.types[value.name] = tensor.elem_type
            if dims is not None:
                # A size that follows from none of those given leaves the shape open.
                with contextlib.suppress(UsageError):
                    found.shapes[value.name] = tuple(dim_size(d, sizes) for d in dims)
            if value.name in names:
                found.makers[value.name] = NodeProto()
        for name, numbers in (values or {}).items():
            dtype = onnx.helper.tensor_dtype_to_np_dtype(found.types[name])
            shape = found.shapes.get(name, (len(numbers),))
            if math.prod(shape) == len(numbers):
                found.values[name] = np.asarray(numbers, dtype=dtype).reshape(shape)
        _Walk(self._light, self._opset, self._imports, found, set(found.values)).graph(
            self._light.graph
        )
        found.peak = _peak(self._light.graph, found)
        return found


class _Walk:
    def __init__(
        self,
        model: ModelProto,
        opset: int,
        imports: list[onnx.OperatorSetIdProto],
        found: Sized,
        varying: set[str],
    ) -> None:
        self._model = model
        self._opset = opset
        self._imports = imports
        self._versions = {o.domain: o.version for o in imports}
        self._found = found
        self._varying = varying
        """Tensors of known values that follow from sizes, constants apart."""

    def graph(self, graph: GraphProto) -> None:
        """Go over the nodes of a graph."""
        found = self._found
        for tensor in graph.initializer:
            found.types[tensor.name] = tensor.data_type
            found.shapes[tensor.name] = tuple(tensor.dims)
            if math.prod(tensor.dims) <= _SMALL and not tensor.HasField("data_location"):
                found.values[tensor.name] = onnx.numpy_helper.to_array(tensor)
        for node in graph.node:
            self._node(node)

    def _node(self, node: NodeProto) -> None:
        found = self._found
        if has_bodies(node):
            self._nested(node)
        else:
            self._check_count(node)
            self._infer(node)
            self._check_volume(node)
            self._compute(node)
        for name in node.output:
            if name:
                found.makers[name] = node
        if any(o and o not in found.shapes for o in node.output):
            found.unknown.append(node)

    def _nested(self, node: NodeProto) -> None:
        """An If whose condition is known is the branch that it takes; other bodies are not run."""
        found = self._found
        chosen = found.values.get(node.input[0]) if node.op_type == "If" else None
        if chosen is None or chosen.size != 1:
            return
        wanted = "then_branch" if chosen.reshape(-1)[0] else "else_branch"
        body = next(a.g for a in node.attribute if a.name == wanted)
        self.graph(body)
        for outer, inner in zip(node.output, body.output, strict=False):
            if inner.name in found.shapes:
                found.shapes[outer] = found.shapes[inner.name]
            if inner.name in found.types:
                found.types[outer] = found.types[inner.name]
            if inner.name in found.values:
                found.values[outer] = found.values[inner.name]
            if inner.name in self._varying:
                self._varying.add(outer)

    def _infer(self, node: NodeProto) -> None:
        found = self._found
        given = [name for name in node.input if name]
        if any(name not in found.types for name in given):
            return
        try:
            version = self._versions.get(node.domain, self._opset)
            schema = onnx.defs.get_schema(node.op_type, version, node.domain)
        except onnx.defs.SchemaError:
            return
        types = {name: _type(found.types[name], found.shapes.get(name)) for name in given}
        data = {
            name: onnx.numpy_helper.from_array(found.values[name], name)
            for name in given
            if name in found.values and found.values[name].size <= _SHOWN
        }
        try:
            made = onnx.shape_inference.infer_node_outputs(
                schema, node, types, data, opset_imports=self._imports
            )
        except (InferenceError, ValidationError, RuntimeError, ValueError) as error:
            if all(name in found.shapes for name in given):
                self._fault(node, _said(str(error)))
            return
        self._broadcast(node)
        for name, kind in made.items():
            if kind.WhichOneof("value") != "tensor_type":
                continue
            tensor = kind.tensor_type
            if tensor.elem_type:
                found.types[name] = tensor.elem_type
            if tensor.HasField("shape") and all(
                d.HasField("dim_value") and d.dim_value >= 0 for d in tensor.shape.dim
            ):
                found.shapes[name] = tuple(d.dim_value for d in tensor.shape.dim)

    def _broadcast(self, node: NodeProto) -> None:
        """The sizes of an elementwise op, which inference lacks for some in older sets."""
        found = self._found
        if node.domain not in STANDARD_DOMAINS or node.op_type not in BROADCASTING:
            return
        shapes = [found.shapes.get(name) for name in node.input]
        known = [shape for shape in shapes if shape is not None]
        if len(known) == len(shapes):
            with contextlib.suppress(ValueError):
                found.shapes[node.output[0]] = np.broadcast_shapes(*known)
        if node.op_type in _LOGICAL:
            found.types[node.output[0]] = TensorProto.BOOL

    def _fault(self, node: NodeProto, message: str) -> None:
        """Note a fault, the first of its node."""
        last = self._found.faults[-1].node if self._found.faults else ""
        if last != label_of(node):
            self._found.faults.append(Fault(label_of(node), node.op_type, message))

    def _check_volume(self, node: NodeProto) -> None:
        """As many elements leave a Reshape as enter it; inference does not look."""
        found = self._found
        if node.domain not in STANDARD_DOMAINS or node.op_type != "Reshape":
            return
        before, after = found.elements(node.input[0]), found.elements(node.output[0])
        if before is None or after is None or before == after:
            return
        wanted = found.values.get(node.input[1]) if len(node.input) > 1 else None
        to = "" if wanted is None else f" by {[int(v) for v in wanted.reshape(-1)]}"
        self._fault(
            node,
            f"{list(found.shapes[node.input[0]])} has {before} elements, and "
            f"{list(found.shapes[node.output[0]])}{to} has {after}",
        )

    def _check_count(self, node: NodeProto) -> None:
        """A TopK takes no more than there are; inference does not say how many."""
        found = self._found
        if node.domain not in STANDARD_DOMAINS or node.op_type != "TopK" or len(node.input) < 2:
            return
        count, shape = found.values.get(node.input[1]), found.shapes.get(node.input[0])
        axis = next((int(a.i) for a in node.attribute if a.name == "axis"), -1)
        if count is None or count.size != 1 or not shape or not -len(shape) <= axis < len(shape):
            return
        most = int(np.asarray(count).reshape(-1)[0])
        if most > shape[axis]:
            self._fault(node, f"K is {most}, and axis {axis} has {shape[axis]} elements")

    def _compute(self, node: NodeProto) -> None:
        """The value of a small tensor, and whether it leaves INT32 on the way."""
        found = self._found
        if node.domain not in STANDARD_DOMAINS or node.op_type in RANDOM:
            return
        if node.op_type in ("Shape", "Size"):
            shape = found.shapes.get(node.input[0])
            if shape is None:
                return
            cut = {a.name: a.i for a in node.attribute}
            dims = np.asarray(shape, dtype=np.int64)[cut.get("start", 0) : cut.get("end")]
            is_size = node.op_type == "Size"
            value = np.asarray(math.prod(shape), dtype=np.int64) if is_size else dims
            self._keep(node, node.output[0], value, value, [])
            return
        given = [name for name in node.input if name]
        if any(name not in found.values for name in given):
            return
        sizes = [found.elements(o) for o in node.output if o]
        if any(size is None or size > _SMALL for size in sizes):
            return
        feeds = {name: found.values[name] for name in given}
        results = evaluate_proto(node, feeds, self._opset, max(self._model.ir_version, 8))
        for name, made in zip((o for o in node.output if o), results, strict=False):
            if made.size > _SMALL:
                continue
            exact = _exact(node, [feeds[n] for n in given], made)
            self._keep(node, name, made, exact, given)

    def _keep(
        self, node: NodeProto, name: str, value: Array, exact: Array, given: Sequence[str]
    ) -> None:
        found = self._found
        found.values[name] = value
        found.shapes[name] = value.shape
        if name not in found.types:
            found.types[name] = int(onnx.helper.np_dtype_to_tensor_dtype(value.dtype))
        if not given and node.op_type not in ("Shape", "Size"):
            return
        if given and not any(n in self._varying for n in given):
            return
        self._varying.add(name)
        read = [found.values[n] for n in given]
        if not _fits(exact) and all(_fits(v) for v in read):
            worst = max((int(v) for v in exact.reshape(-1)), key=abs)
            found.wide.append(Wide(label_of(node), node.op_type, worst, name))


def _fits(value: Array) -> bool:
    """Whether integers are within INT32; other types always are."""
    if value.dtype.kind not in "iu":
        return True
    numbers = np.asarray(value, dtype=np.int64)
    return bool(((numbers >= _FITS.min) & (numbers <= _FITS.max)).all())


def _exact(node: NodeProto, given: Sequence[Array], made: Array) -> Array:
    """The result of integer arithmetic in 64 bits, where the node computes with fewer."""
    if made.dtype != np.int32:
        return made
    wide = [np.asarray(v, dtype=np.int64) for v in given]
    if node.op_type in _WIDE and len(wide) == 2:
        op = _WIDE[node.op_type]
        assert isinstance(op, np.ufunc)
        return np.asarray(op(*wide))
    if node.op_type == "ReduceProd" and made.size == 1:
        return np.asarray(wide[0].prod()).reshape(made.shape)
    return made


def _type(elem_type: int, shape: tuple[int, ...] | None) -> TypeProto:
    return onnx.helper.make_tensor_type_proto(elem_type, shape)


def _said(text: str) -> str:
    """What inference says, in one line without its own prefixes."""
    text = " ".join(text.split())
    for mark in ("[ShapeInferenceError] ", "[TypeInferenceError] "):
        text = text.replace(mark, "")
    return text if len(text) <= 300 else text[:299] + "…"


def _constants(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from (a.t for a in node.attribute if a.type == AttributeProto.TENSOR)
        for body in bodies_of(node):
            yield from _constants(body)


def _stored_bytes(tensor: TensorProto) -> int:
    return math.prod(tensor.dims) * width(tensor.data_type)


def _peak(graph: GraphProto, found: Sized) -> int:
    """Bytes alive at once where a tensor is let go of after its last reader."""
    last: dict[str, int] = {}
    for number, node in enumerate(graph.node):
        for name in _read_by(node):
            last[name] = number
    for value in graph.output:
        last[value.name] = len(graph.node)
    alive = {name: found.size(name) for name, n in found.makers.items() if not n.op_type}
    now = peak = sum(alive.values())
    for number, node in enumerate(graph.node):
        for name in node.output:
            if name and name not in alive:
                alive[name] = found.size(name)
                now += alive[name]
        peak = max(peak, now)
        for name in {*_read_by(node), *node.output}:
            if name in alive and last.get(name, number) <= number:
                now -= alive.pop(name)
    return peak


def _read_by(node: NodeProto) -> Iterator[str]:
    for _, inner in every_node([node]):
        yield from inner.input
