"""One-op models for every op and version that the ONNX schemas know above opset 9.

Three sources, each at exactly the opset of the version that it tests:

- the backend node tests that the onnx package ships, stamped with that opset where the checker
  takes them there;
- the same with the element types that are new at that version;
- models written by hand (`lowering_by_hand.py`) where a version is spelled otherwise.

Each comes as it is, with the inputs that say what to do (axes, pads, shapes ...) as initializers,
and the latter with dynamic dims. Expected outputs are those of onnxruntime and of onnx.reference
at that opset, else those that the node test records.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import onnx
from lowering_by_hand import by_hand
from lowering_judge import RUNTIMES, Feeds, Outputs, first_difference, invalid, opset_of, run
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.lower.table import steps

Step = tuple[str, int]


@dataclass
class Case:
    """A model at the opset ``version`` of ``op``, its feeds, and its outputs by each source."""

    name: str
    op: str
    version: int
    model: ModelProto
    feeds: dict[str, Any]
    expected: dict[str, Outputs] = field(default_factory=dict)

    @property
    def step(self) -> Step:
        """The step of the table that the case tests."""
        return self.op, self.version


_NEW_TYPES_ONLY = "no runtime has a kernel for this version, which brought element types alone"
_DEPRECATED = "the version withdraws the op: there is no valid model"
CANNOT_BE_JUDGED: dict[Step, str] = {
    ("GlobalLpPool", 22): _NEW_TYPES_ONLY,
    ("MaxRoiPool", 22): _NEW_TYPES_ONLY,
    ("Multinomial", 22): _NEW_TYPES_ONLY,
    ("Scatter", 11): _DEPRECATED,
    ("Upsample", 10): _DEPRECATED,
}
"""Steps whose models no runtime runs, and why."""

BELIEVED = {"Attention": "onnx.reference"}
"""Whom to believe where the runtimes disagree: what is masked is minus infinity, and onnxruntime
writes the lowest float."""


# -- node tests ------------------------------------------------------------------------------------


@cache
def node_tests() -> tuple[TestCase, ...]:
    """All backend node tests of the installed onnx."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return tuple(c for c in collect_testcases(None) if c.model is not None)


@cache
def tests_by_op() -> dict[str, list[TestCase]]:
    """The node tests of each op, without those that spell an op by its function body."""
    found: dict[str, list[TestCase]] = defaultdict(list)
    for case in node_tests():
        assert case.model is not None
        if "_expanded" not in case.name and all(not o.domain for o in case.model.opset_import):
            for op in {node.op_type for node in case.model.graph.node}:
                found[op].append(case)
    return found


def as_feed(recorded: Any) -> Any:
    """A recorded value as the runtimes take it."""
    if isinstance(recorded, TensorProto):
        return numpy_helper.to_array(recorded)
    if isinstance(recorded, onnx.SequenceProto):
        return numpy_helper.to_list(recorded)
    if isinstance(recorded, onnx.OptionalProto):
        return numpy_helper.to_optional(recorded)
    return np.asarray(recorded) if isinstance(recorded, np.generic) else recorded


def stamped(model: ModelProto, opset: int) -> ModelProto | None:
    """The model at another opset, None where the checker does not take it there."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for entry in copy.opset_import:
        if not entry.domain:
            entry.version = opset
    return None if invalid(copy) else copy


def signature(model: ModelProto) -> str:
    """What tells test models apart for a lowering: attributes, arity, types and ranks."""
    parts: list[str] = []
    for node in model.graph.node:
        parts += [node.op_type, *sorted(str(a)[:200] for a in node.attribute)]
        parts.append("".join("1" if i else "0" for i in (*node.input, *node.output)))
    for value in (*model.graph.input, *model.graph.output):
        tensor = value.type.tensor_type
        parts.append(f"{tensor.elem_type}:{len(tensor.shape.dim)}")
    return "|".join(parts)


def spread(cases: Sequence[Case], limit: int | None) -> list[Case]:
    """At most ``limit`` of the cases, evenly over the list."""
    if limit is None or len(cases) <= limit:
        return list(cases)
    return [cases[round(i * (len(cases) - 1) / max(limit - 1, 1))] for i in range(limit)]


def from_node_tests(step: Step, limit: int | None) -> list[Case]:
    """Node tests of an op at one of its versions."""
    op, version = step
    found: dict[str, Case] = {}
    for test in tests_by_op().get(op, ()):
        assert test.model is not None
        if limit is None or (key := signature(test.model)) not in found:
            model = stamped(test.model, version)
            if model is None or not test.data_sets:
                continue
            given, wanted = test.data_sets[0]
            names = [value.name for value in model.graph.input]
            feeds = dict(zip(names, (as_feed(g) for g in given), strict=False))
            recorded = [as_feed(w) for w in wanted]
            same = since(test.model, op) == version
            case = Case(f"{op}-{version}/{test.name}", op, version, model, feeds)
            if same:
                case.expected["recorded"] = recorded
            found[test.name if limit is None else key] = case
    return spread(list(found.values()), limit)


def since(model: ModelProto, op: str) -> int:
    """The version of an op that a model uses."""
    return int(onnx.defs.get_schema(op, opset_of(model), "").since_version)


# -- element types ---------------------------------------------------------------------------------


def new_types(step: Step) -> dict[str, list[int]]:
    """The tensor element types that each type variable of an op got with a version."""
    op, version = step
    schema = onnx.defs.get_schema(op, version, "")
    try:
        older = onnx.defs.get_schema(op, version - 1, "")
    except onnx.defs.SchemaError:
        return {}
    had = {c.type_param_str: set(c.allowed_type_strs) for c in older.type_constraints}
    found = {}
    for constraint in schema.type_constraints:
        texts = set(constraint.allowed_type_strs) - had.get(constraint.type_param_str, set())
        types = [elem_type(text) for text in sorted(texts)]
        if kept := [t for t in types if t not in (None, TensorProto.STRING)]:
            found[constraint.type_param_str] = [t for t in kept if t is not None]
    return found


def elem_type(text: str) -> int | None:
    """The element type of ``tensor(float16)``, None for what is no tensor."""
    if not text.startswith("tensor("):
        return None
    name = text[len("tensor(") : -1].upper()
    return TensorProto.DataType.Value(name) if name in TensorProto.DataType.keys() else None  # noqa: SIM118


def with_types(case: Case) -> Iterator[Case]:
    """A case with the element types that are new at its version."""
    if len(case.model.graph.node) != 1 or case.model.graph.initializer:
        return
    node = case.model.graph.node[0]
    schema = onnx.defs.get_schema(case.op, case.version, "")
    for variable, types in new_types(case.step).items():
        tensors = {
            name
            for names, formals in ((node.input, schema.inputs), (node.output, schema.outputs))
            for at, name in enumerate(names)
            if name and formals and formals[min(at, len(formals) - 1)].type_str == variable
        }
        for dtype in types:
            yield from _typed(case, tensors, dtype)


def _typed(case: Case, tensors: set[str], dtype: int) -> Iterator[Case]:
    """A case with other element types of some tensors, where that is a valid model."""
    model = ModelProto()
    model.CopyFrom(case.model)
    feeds = dict(case.feeds)
    numpy = helper.tensor_dtype_to_np_dtype(dtype)
    for value in (*model.graph.input, *model.graph.output):
        if value.name in tensors:
            if not value.type.HasField("tensor_type"):
                return
            value.type.tensor_type.elem_type = dtype
        if value.name in tensors & feeds.keys():
            array = np.asarray(feeds[value.name])
            if array.dtype.kind in "OSUT":
                return
            with np.errstate(all="ignore"):
                feeds[value.name] = array.astype(np.float64).astype(numpy)
    if not invalid(model):
        name = f"{case.name}/{TensorProto.DataType.Name(dtype).lower()}"
        yield Case(name, case.op, case.version, model, feeds)


# -- variants --------------------------------------------------------------------------------------


def parameters(case: Case) -> list[str]:
    """The inputs that say what to do: optional ones and those of another type than the first."""
    if len(case.model.graph.node) != 1:
        return []
    node, schema = case.model.graph.node[0], onnx.defs.get_schema(case.op, case.version, "")
    optional = onnx.defs.OpSchema.FormalParameterOption.Optional
    found = []
    for at, name in enumerate(node.input):
        formal = schema.inputs[min(at, len(schema.inputs) - 1)]
        other = formal.option == optional or formal.type_str != schema.inputs[0].type_str
        if at and name and other and name != node.input[0]:
            found.append(name)
    return found


def frozen(case: Case) -> Case | None:
    """The case with the inputs that say what to do as initializers, as exporters write them."""
    names = [
        value.name
        for value in case.model.graph.input
        if value.name in parameters(case) and value.type.HasField("tensor_type")
    ]
    if not names or any(name not in case.feeds for name in names):
        return None
    model = ModelProto()
    model.CopyFrom(case.model)
    for value in [v for v in model.graph.input if v.name in names]:
        array = np.asarray(case.feeds[value.name])
        if array.dtype.kind in "OSUT":
            return None
        model.graph.initializer.append(numpy_helper.from_array(array, value.name))
        model.graph.input.remove(value)
    feeds = {name: value for name, value in case.feeds.items() if name not in names}
    expected = dict(case.expected)
    return Case(f"{case.name}/frozen", case.op, case.version, model, feeds, expected)


def dynamic(case: Case) -> Case | None:
    """The case with every dim of its inputs and outputs a symbol."""
    model = ModelProto()
    model.CopyFrom(case.model)
    values: Iterable[ValueInfoProto] = (*model.graph.input, *model.graph.output)
    changed = False
    for value in values:
        for at, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.dim_param = f"{value.name}_{at}"
            changed = True
    if not changed or invalid(model):
        return None
    name = f"{case.name}/dynamic"
    return Case(name, case.op, case.version, model, case.feeds, dict(case.expected))


def unranked(case: Case) -> Case | None:
    """The case with inputs of unknown rank."""
    model = ModelProto()
    model.CopyFrom(case.model)
    for value in (*model.graph.input, *model.graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    if invalid(model):
        return None
    name = f"{case.name}/unranked"
    return Case(name, case.op, case.version, model, case.feeds, dict(case.expected))


def variants(case: Case, *, all_ranks: bool = False) -> list[Case]:
    """The case, and as exporters write it."""
    found = [case]
    still = frozen(case)
    if still is not None:
        found.append(still)
    moving = dynamic(still or case)
    if moving is not None:
        found.append(moving)
    if all_ranks and (loose := unranked(still or case)) is not None:
        found.append(loose)
    return found


# -- all of them -----------------------------------------------------------------------------------


def judged(case: Case) -> bool:
    """Run the original; whether there is anything to compare with."""
    recorded = case.expected.pop("recorded", None)
    for runtime in RUNTIMES:
        outputs = run(case.model, case.feeds, runtime)
        if not isinstance(outputs, str) and as_declared(case.model, outputs):
            case.expected[runtime] = outputs
    trusted = BELIEVED.get(case.op, "")
    if trusted in case.expected and disputed(case):
        case.expected = {trusted: case.expected[trusted]}
    if not case.expected and recorded is not None:
        case.expected["recorded"] = recorded
    return bool(case.expected)


def as_declared(model: ModelProto, outputs: Outputs) -> bool:
    """Whether outputs have the element types that the model says."""
    for value, output in zip(model.graph.output, outputs, strict=True):
        declared = value.type.tensor_type.elem_type
        if isinstance(output, np.ndarray | np.generic) and declared != TensorProto.STRING:
            wanted = helper.tensor_dtype_to_np_dtype(declared) if declared else output.dtype
            if output.dtype != wanted:
                return False
    return True


def disputed(case: Case) -> str:
    """How the two runtimes disagree about the original, empty where they do not."""
    if len(case.expected) < 2:
        return ""
    first, second = list(case.expected.values())[:2]
    return first_difference(first, second)


def cases(
    step: Step, limit: int | None = 4, *, types: bool = True, all_ranks: bool = False
) -> list[Case]:
    """The cases of an op at a version that at least one runtime can run, with expected outputs.

    Args:
        step: The op and version.
        limit: So many node tests at most.
        types: Whether with the element types that are new at the version.
        all_ranks: Whether with inputs of unknown rank, too.
    """
    op, version = step
    hand = [
        Case(f"{op}-{version}/{n}", op, version, m, dict(f)) for n, m, f in by_hand(op, version)
    ]
    base = [*hand, *from_node_tests(step, limit)]
    wanted = [variant for case in base for variant in variants(case, all_ranks=all_ranks)]
    if types and base:
        typed = [c for case in (hand or base)[:1] + base[-1:] for c in with_types(case)]
        wanted += [frozen(case) or case for case in typed]
    found: dict[str, Case] = {}
    for case in wanted:
        if case.name not in found and judged(case):
            found[case.name] = case
    return list(found.values())


def all_cases(limit: int | None = 4, *, types: bool = True, all_ranks: bool = False) -> list[Case]:
    """The cases of all steps."""
    return [c for s in steps() for c in cases(s, limit, types=types, all_ranks=all_ranks)]


def untested(found: Iterable[Case]) -> list[Step]:
    """Steps without a case."""
    have = {case.step for case in found}
    return [step for step in steps() if step not in have]


__all__ = ["CANNOT_BE_JUDGED", "Case", "Feeds", "all_cases", "cases", "node_tests", "untested"]
