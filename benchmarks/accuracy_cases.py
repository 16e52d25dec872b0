"""The models of the accuracy benchmark: ONNX's own node tests and hand-made ones."""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import (
    ModelProto,
    TensorProto,
    TensorShapeProto,
    ValueInfoProto,
    checker,
    helper,
    numpy_helper,
    shape_inference,
)
from rtx_pool import Shapes, Values
from targeted_cases import node_models
from targeted_control import control_models
from targeted_layers import layer_models

OTHER_TYPES = {
    "half": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "int32": TensorProto.INT32,
}
LARGEST_VALUE = 64
"""Elements of an input that may decide shapes; larger ones are data."""


@dataclass(frozen=True)
class Case:
    """One model. ``values`` are those of small inputs, should they decide shapes in a build.

    ``shapes`` are those of inputs with dynamic dims, where they have to go together.
    """

    name: str
    variant: str
    model: bytes
    ops: tuple[str, ...]
    values: Values = field(default_factory=dict)
    shapes: Shapes = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What an answer is remembered under: the model and the values, not the name."""
        said = repr(sorted((k, list(v)) for k, v in self.values.items()))
        if self.variant == "dynamic":
            said += repr(sorted((k, list(v)) for k, v in self.shapes.items()))
        return hashlib.sha256(self.model + said.encode()).hexdigest()[:32]


def node_tests() -> Iterator[Case]:
    """Every backend node test that the installed onnx ships.

    As shipped, every input given at run time; where it has several inputs, with all but the first
    frozen to the recorded data, which tells an op that is refused from an input that has to be
    constant; with every dim of the inputs dynamic; and with other types in place of FLOAT, where
    ONNX allows them.
    """
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    for test in tests:
        if test.model is None:
            continue
        recorded = test.data_sets[0][0] if test.data_sets else ()
        yield one_case(test.name, "as shipped", test.model, recorded)
        frozen = frozen_tail(test.model, recorded)
        if frozen is not None:
            yield one_case(test.name, "inputs frozen", frozen, recorded)
        symbolic = dynamic(test.model)
        if symbolic is not None:
            yield one_case(test.name, "dynamic", symbolic, recorded)
        for name, to in OTHER_TYPES.items():
            other = retyped(test.model, to)
            if other is not None:
                yield one_case(test.name, name, other, recorded)


def frozen_tail(model: ModelProto, recorded: Any) -> ModelProto | None:
    """The model with its inputs from the second on turned into initializers; None where it has no
    second input, or one that is not a tensor."""
    if len(model.graph.input) < 2 or len(recorded) != len(model.graph.input):
        return None
    frozen = ModelProto()
    frozen.CopyFrom(model)
    for port, value in list(zip(model.graph.input, recorded, strict=True))[1:]:
        if isinstance(value, TensorProto):
            tensor = TensorProto()
            tensor.CopyFrom(value)
            tensor.name = port.name
        elif isinstance(value, (np.ndarray, np.generic)):
            tensor = numpy_helper.from_array(np.asarray(value), port.name)
        else:
            return None
        frozen.graph.initializer.append(tensor)
    del frozen.graph.input[1:]
    return frozen


def _shape_of(port: ValueInfoProto) -> TensorShapeProto | None:
    kind = port.type.tensor_type
    return kind.shape if port.type.HasField("tensor_type") and kind.HasField("shape") else None


def dynamic(model: ModelProto) -> ModelProto | None:
    """The model with a symbol for every dim of its inputs; None where there is no dim."""
    changed = ModelProto()
    changed.CopyFrom(model)
    count = 0
    for number, port in enumerate(changed.graph.input):
        shape = _shape_of(port)
        for axis, dim in enumerate(shape.dim if shape is not None else ()):
            dim.dim_param = f"d{number}_{axis}"
            count += 1
    for port in changed.graph.output:
        if port.type.HasField("tensor_type"):
            port.type.tensor_type.ClearField("shape")
    return changed if count else None


def retyped(model: ModelProto, to: int) -> ModelProto | None:
    """The model with another element type for FLOAT in inputs, constants and casts.

    None where it takes no FLOAT, has functions or bodies, or would not be valid.
    """
    changed = ModelProto()
    changed.CopyFrom(model)
    inputs = [p for p in changed.graph.input if p.type.tensor_type.elem_type == TensorProto.FLOAT]
    if not inputs or model.functions:
        return None
    for port in (*inputs, *changed.graph.output):
        if port.type.tensor_type.elem_type == TensorProto.FLOAT:
            port.type.tensor_type.elem_type = to
    kind = helper.tensor_dtype_to_np_dtype(to)
    for node in changed.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                return None
            if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT:
                attribute.i = to
            if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
                with np.errstate(over="ignore", invalid="ignore"):
                    values = numpy_helper.to_array(attribute.t).astype(kind)
                attribute.t.CopyFrom(numpy_helper.from_array(values, attribute.t.name))
    del changed.graph.value_info[:]
    try:
        checker.check_model(changed, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError):
        return None
    return changed


def one_case(name: str, variant: str, model: ModelProto, recorded: Any) -> Case:
    """A case with the recorded inputs that may decide shapes."""
    values: dict[str, list[int | float]] = {}
    shapes: dict[str, list[int]] = {}
    for port, value in zip(model.graph.input, recorded, strict=False):
        if isinstance(value, (np.ndarray, np.generic)):
            shapes[port.name] = list(value.shape)
        small = isinstance(value, (np.ndarray, np.generic)) and value.size <= LARGEST_VALUE
        if small and value.dtype.kind in "iufb":
            whole = port.type.tensor_type.elem_type in (TensorProto.INT32, TensorProto.INT64)
            held = np.asarray(value).reshape(-1)
            values[port.name] = (held.astype(np.int64) if whole else held).tolist()
    return Case(name, variant, model.SerializeToString(), ops_of(model), values, shapes)


def ops_of(model: ModelProto) -> tuple[str, ...]:
    """The op types of the main graph, without doubles, in order."""
    named = (f"{n.domain}::{n.op_type}" if n.domain else n.op_type for n in model.graph.node)
    return tuple(dict.fromkeys(named))


def targeted() -> Iterator[Case]:
    """The hand-made models."""
    for question in (*node_models(), *layer_models(), *control_models()):
        model = question.model()
        yield Case(
            question.name, "targeted", model.SerializeToString(), ops_of(model), question.values
        )
