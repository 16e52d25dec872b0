"""At which sizes a model that holds some breaks, shown by running it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from onnx_fix.check.model_check import CheckContext
from onnx_fix.load import opset_of, stored_tensors
from onnx_fix.model import Model
from onnx_fix.plugin_bodies import plugin_bodies
from onnx_fix.scope import node_label
from onnx_fix.unfreeze.declared import Frozen, Held
from onnx_fix.verify.sizes import plan_sizes
from onnx_fix.verify.source import ModelSource
from onnx_fix.verify.trials import MOST_ELEMENTS, Trial, elements, trials
from onnx_fix.weights import element_count

SECONDS = 20.0
"""For all runs of a model together."""

MOST_WEIGHTS = 1 << 28
"""Elements of stored tensors; larger models are not run."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The sizes of one symbol at which a model was run: those that went well, and those not."""

    symbol: str
    fine: tuple[int, ...]
    failed: tuple[int, ...]

    def __str__(self) -> str:
        said = []
        if self.fine:
            said.append(f"runs it at {self._sizes(self.fine)}")
        if self.failed:
            said.append(f"fails at {self._sizes(self.failed)}")
        return f"onnxruntime {' and '.join(said)}"

    def _sizes(self, sizes: Sequence[int]) -> str:
        return ", ".join(f"{self.symbol} = {size}" for size in sizes)


def broken_at(context: CheckContext, found: Frozen) -> dict[str, Broken]:
    """For each symbol that is held, the sizes that onnxruntime runs the model at.

    Tried are the size of the export and two others, the other symbols staying as they were.
    """
    if sum(element_count(t) for t in stored_tensors(context.proto)) > MOST_WEIGHTS:
        return {}
    bodies = plugin_bodies(opset_of(context.proto.opset_import))
    source = ModelSource.of(context.proto, context.model.base_dir, bodies)
    base = {**plan_sizes(context.proto, count=1)[0], **found.at}
    wanted = [(name, sizes) for name in found.at for sizes in _around(source, base, name)]
    ran = trials(source, [base, *(sizes for _, sizes in wanted)], SECONDS)
    return {name: told for name in found.at if (told := _told(name, base, ran)) is not None}


def _told(name: str, base: Mapping[str, int], ran: Sequence[Trial]) -> Broken | None:
    fine: list[int] = []
    failed: list[int] = []
    for trial in ran:
        if {**trial.sizes, name: base[name]} == base:
            (failed if trial.error else fine).append(trial.sizes[name])
    return Broken(name, tuple(fine), tuple(failed)) if fine or failed else None


def _around(source: ModelSource, base: Mapping[str, int], name: str) -> Iterator[dict[str, int]]:
    """Two other sizes of a symbol; multiples, so that nothing else is in the way."""
    number = base[name]
    larger = [{**base, name: factor * number} for factor in (2, 3)]
    if elements(source, larger[-1]) <= MOST_ELEMENTS:
        yield from larger
    else:
        yield from ({**base, name: number // part} for part in (2, 4) if number // part > 1)


def ops_by_label(model: Model) -> dict[str, str]:
    """The ops of all nodes, by label."""
    return {node_label(n): str(n.op) for scope in model.scopes for n in scope.graph.nodes}


def sizes_in(held: Held, usual: Mapping[str, int]) -> str:
    """The usual sizes of a profile, as far as they matter."""
    return ", ".join(f"{name} = {usual[name]}" for name in sorted(held.symbols) if name in usual)
