"""Dims that the inputs declare as free and that the graph holds to one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from onnx import GraphProto, ModelProto, ValueInfoProto

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import evidence_of_probe
from onnx_fix.check.model_checks._sizes import Frozen, Sizes, product_of
from onnx_fix.errors import ModelError
from onnx_fix.functions import graphs_of
from onnx_fix.load import stored_tensors
from onnx_fix.model import Model
from onnx_fix.scope import node_label
from onnx_fix.verify.symbols import symbols
from onnx_fix.weights import element_count, stub_number

_SMALL = 64


class FrozenDims(ModelCheck):
    """Symbols of inputs for which only one size works.

    A node that asks two sizes to be equal (Reshape by the number of elements, Concat, MatMul, Gemm,
    Conv, the recurrent ops) or to broadcast (elementwise ops, Expand), one of them a number and the
    other a symbol of an input, proves it. Shapes that the exporter wrote beside the graph prove
    nothing and are left out. The main graph is looked at, not its subgraphs.
    """

    code: ClassVar[Code] = Code(
        "OF804",
        "frozen-dim",
        "an input declares a dim as free, and the graph works for one size only",
        "The exporter traced the model at one size and wrote that size into a constant (a shape "
        "for Reshape or Expand, a table of positions), so that other sizes fail: onnxruntime at "
        "that node, TensorRT when the engine runs. A profile whose opt size is another one does "
        "not build; one that only reaches beyond builds with the warning that its values are "
        "'not self-consistent'.",
        "Export again so that the size is computed from the input (torch.export: dynamic_shapes, "
        "no int() of a size; legacy: dynamic_axes, sizes from x.shape), or declare the dim as the "
        "number it is.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """One finding for each frozen product of symbols, at the first node that shows it."""
        names = symbols(context.proto)
        if not names:
            return
        sizes = Sizes(context.model, names)
        if next(sizes.frozen(), None) is None and not sizes.hides_more():
            return
        try:
            bare = Model(
                _without_annotations(context.model), context.model.base_dir, context.target
            )
            found = list(Sizes(bare, names).frozen())
        except ModelError:
            # A small external tensor cannot be read; the check of external data says so.
            return
        seen = set()
        for frozen in found:
            if (frozen.symbols, frozen.value) not in seen:
                seen.add((frozen.symbols, frozen.value))
                finding = self._finding(context, frozen)
                if finding is not None:
                    yield finding

    def _finding(self, context: CheckContext, frozen: Frozen) -> CheckFinding | None:
        dims = dict(context.dims)
        lowest, usual, highest = (
            product_of(frozen.symbols, {s: sizes[k] for s, sizes in dims.items()}) for k in range(3)
        )
        if lowest is not None and lowest == highest and frozen.holds(lowest):
            return None
        refused = usual is not None and not frozen.holds(usual)
        product = " * ".join(frozen.symbols)
        only = f"{frozen.value} or 1" if frozen.or_one and frozen.value != 1 else f"{frozen.value}"
        why = f"the inputs declare {product} as free, and it can only be {only} here"
        if refused:
            why += f"; the profile has {usual} as its usual size"
        evidence, source = evidence_of_probe(context)
        return CheckFinding(
            code=self.code,
            severity=Severity.ERROR if refused else Severity.WARNING,
            why=why,
            mend=f"export again with {product} dynamic, or declare it as {only}",
            node=node_label(frozen.node),
            op=frozen.node.op,
            tensor=frozen.tensor,
            evidence=evidence,
            source=source,
        )


def _without_annotations(model: Model) -> ModelProto:
    """The model without heavy data and without the shapes that do not take part in computing."""
    bare = model.skeleton()
    for mine, given in zip(stored_tensors(bare), stored_tensors(model.proto), strict=False):
        same = (mine.name, mine.data_type, mine.dims) == (given.name, given.data_type, given.dims)
        if same and stub_number(mine) is not None and element_count(given) <= _SMALL:
            mine.CopyFrom(given)
    _strip(bare.graph, bare.graph.output)
    for function in bare.functions:
        del function.value_info[:]
    return bare


def _strip(graph: GraphProto, values: Iterable[ValueInfoProto]) -> None:
    del graph.value_info[:]
    for value in values:
        if value.type.WhichOneof("value") == "tensor_type":
            value.type.tensor_type.ClearField("shape")
    for node in graph.node:
        for _, inner in graphs_of(node):
            _strip(inner, (*inner.input, *inner.output))
