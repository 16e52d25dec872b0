"""Dims that the inputs declare as free and that the graph holds to one size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import evidence_of_probe
from onnx_fix.check.model_checks._held_sizes import Broken, broken_at, ops_by_label, sizes_in
from onnx_fix.errors import ModelError
from onnx_fix.op_names import BROADCASTING
from onnx_fix.scope import node_label
from onnx_fix.unfreeze.declared import Frozen, Held, frozen, told, works

_OPEN = 8
"""Numbers of which one finding tells that they may be sizes."""


class FrozenDims(ModelCheck):
    """Numbers that hold a symbol of an input to one size.

    Sizes are followed from the inputs to every node, into If, Loop and Scan as well. A number that
    must equal a size for a node to run holds that size. Shapes that the exporter wrote beside the
    graph prove nothing. What has no such node (the end of a Slice that is shorter anyway, a
    logarithm of a size) is told of where another number shows what the size was at the export.
    """

    code: ClassVar[Code] = Code(
        "OF804",
        "frozen-dim",
        "an input declares a dim as free, and the graph works for one size only",
        "The exporter traced the model at one size and wrote that size into a constant (a shape "
        "for Reshape or Expand, the end of a Slice, a table of positions), so that other sizes "
        "fail: onnxruntime at that node, TensorRT when the engine runs. A profile whose opt size "
        "is another one does not build; one that only reaches beyond builds with the warning that "
        "its values are 'not self-consistent'. `onnx-fix check --run` shows at which sizes "
        "onnxruntime fails.",
        "`onnx-fix MODEL -o FIXED --unfreeze` puts the size back where that is certain. Otherwise "
        "export again so that the size is computed from the input (torch.export: dynamic_shapes, "
        "no int() of a size; legacy: dynamic_axes, sizes from x.shape), or declare the dim as the "
        "number it is.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """One finding for each operand that holds sizes, and one for what may hold them too."""
        try:
            found = frozen(context.model)
        except ModelError:
            # A small external tensor cannot be read; the check of external data says so.
            return
        if found is None:
            return
        broken = broken_at(context, found) if context.run else {}
        ops = ops_by_label(context.model)
        told_of = []
        for held in found.held:
            severity = _severity(context, found, held, ops)
            if severity is not None:
                told_of.append(self._of(context, found, held, broken, severity))
        yield from told_of
        if told_of:
            yield from self._by_value(context, found)
            yield from self._doubtful(context, found)

    def _of(
        self,
        context: CheckContext,
        found: Frozen,
        held: Held,
        broken: Mapping[str, Broken],
        severity: Severity,
    ) -> CheckFinding:
        parts = [told(held), _whence(found, held)]
        if held.kind != "equation":
            parts.append(f"works for {works(held.numbers, found.most)} only")
        why = "; ".join(part for part in parts if part)
        usual = {name: sizes[1] for name, sizes in context.dims.items()}
        if severity is Severity.ERROR:
            sizes = sizes_in(held, usual)
            why += f", and the profile has {sizes} as its usual size"
        shown = [str(broken[name]) for name in sorted(held.symbols) if name in broken]
        why += "".join(f"; {text}" for text in shown)
        return self._finding(context, held, why, self._mend(found, held), severity)

    def _mend(self, found: Frozen, held: Held) -> str:
        if held.reason:
            freed = " and ".join(dict.fromkeys(str(value) for _, value, _ in held.numbers))
            numbers = ", ".join(dict.fromkeys(str(number) for _, _, number in held.numbers))
            return f"{held.reason}; export again with {freed} dynamic, or declare it as {numbers}"
        if held.symbols & found.stuck:
            return "something else holds that size as well, which cannot be put right: export again"
        if found.doubtful:
            return (
                "`onnx-fix MODEL -o FIXED --unfreeze` puts the size back, once --assume says what "
                "the numbers are that may be sizes or not"
            )
        return "`onnx-fix MODEL -o FIXED --unfreeze` puts the size back"

    def _by_value(self, context: CheckContext, found: Frozen) -> Iterator[CheckFinding]:
        """Tensors whose numbers are made from the sizes of the export."""
        for table, recipe in found.by_value():
            held = Held("table", table.node, table.index, table.tensor, ())
            why = f"the numbers of '{table.tensor}' are those of {recipe} at {_at(found)}"
            mend = "`onnx-fix MODEL -o FIXED --unfreeze` computes it from the sizes"
            yield self._finding(context, held, why, mend, Severity.WARNING)

    def _doubtful(self, context: CheckContext, found: Frozen) -> Iterator[CheckFinding]:
        """The numbers that may be sizes, all in one finding."""
        lines = found.doubtful
        if not lines:
            return
        more = f"; and {len(lines) - _OPEN} more" if len(lines) > _OPEN else ""
        held = Held("number", None, -1, "", ())
        yield self._finding(
            context,
            held,
            f"at {_at(found)}, which was the export, these may derive from a size or may not: "
            f"{'; '.join(lines[:_OPEN])}{more}",
            "say what they are with --unfreeze: --assume 'PLACE=SIZE', or --assume constants for "
            "all; or export again",
            Severity.WARNING,
        )

    def _finding(
        self, context: CheckContext, held: Held, why: str, mend: str, severity: Severity
    ) -> CheckFinding:
        evidence, source = evidence_of_probe(context)
        node = held.node
        return CheckFinding(
            code=self.code,
            severity=severity,
            why=why,
            mend=mend,
            scope="" if node is None else context.model.scope_of(node).path,
            node="" if node is None else node_label(node),
            op="" if node is None else node.op,
            tensor=held.tensor,
            evidence=evidence,
            source=source,
        )


def _at(found: Frozen) -> str:
    return ", ".join(f"{name} = {number}" for name, number in found.at.items())


def _whence(found: Frozen, held: Held) -> str:
    """Where the symbols come from: the first dim that declares each."""
    first: dict[str, str] = {}
    for (name, axis), symbol in found.where.items():
        if symbol in held.symbols:
            first.setdefault(symbol, f"{symbol} is dim {axis} of input '{name}'")
    return ", ".join(first.values())


def _severity(
    context: CheckContext, found: Frozen, held: Held, ops: Mapping[str, str]
) -> Severity | None:
    """How bad it is for the profile; None where the profile has the sizes that are held."""
    broadcasts = held.asked_by and all(
        ops.get(label) in BROADCASTING | {"Expand"} for label in held.asked_by
    )
    usual, fits = Severity.WARNING, True
    for _, value, number in held.numbers:
        if not value.symbols <= set(context.dims):
            fits = False
            continue
        at = [value.at({n: sizes[k] for n, sizes in context.dims.items()}) for k in range(3)]
        bound = value.symbols <= found.most
        right = [a == number or (bound and a < number) or (broadcasts and a == 1) for a in at]
        usual = usual if right[1] else Severity.ERROR
        fits = fits and all(right) and (bound or at[0] == at[2])
    return None if fits and held.numbers else usual
