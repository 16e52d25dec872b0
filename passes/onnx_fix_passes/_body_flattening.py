"""A body without If, Loop and Scan, where what they do is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnx
import onnx_graphsurgeon as gs
from onnx import GraphProto, NodeProto, numpy_helper

from onnx_fix.emit import Emitter
from onnx_fix.functions import has_bodies
from onnx_fix_passes._body_folding import Folding
from onnx_fix_passes._body_rounds import (
    MARK,
    Array,
    Known,
    Limits,
    Rounds,
    Shape,
    Unresolved,
)
from onnx_fix_passes._from_protos import Read, attributes

MOST_NESTED = 24
"""How deep control flow may be nested."""


@dataclass(frozen=True)
class Flat:
    """The nodes that are left of a body, its constants by name, the names of its outputs, and what
    is known of shapes and types."""

    nodes: Sequence[NodeProto]
    constants: Mapping[str, Array]
    outputs: Sequence[str]
    shape: Callable[[str], Shape | None]
    dtype: Callable[[str], int]


def flattened(
    body: GraphProto,
    opset: int,
    given: dict[str, Array],
    *,
    limits: Limits | None = None,
    exact: bool = False,
    read: Read = numpy_helper.to_array,
) -> Flat:
    """Fold a body, and write out its control flow, and that inside it.

    Raises:
        Unresolved: what a node with an inner graph does is known at run time only, or it is long.
    """
    rounds = Rounds(opset, limits or Limits())
    outputs = [value.name for value in body.output]
    work, values = body, given
    for _ in range(MOST_NESTED):
        folding = Folding(work, opset, values, exact=exact)
        outputs = [folding.name(name) for name in outputs]
        known = Known(folding.constants.get, folding.shape, folding.dtype, folding.evaluated, read)
        nodes: list[NodeProto] = []
        reasons: list[Unresolved] = []
        found = done = 0
        for node in folding.nodes:
            if not has_bodies(node):
                nodes.append(node)
                continue
            found += 1
            try:
                nodes += rounds.resolve(node, known)
                done += 1
            except Unresolved as why:
                reasons.append(why)
                nodes.append(node)
        if not found:
            return Flat(folding.nodes, folding.constants, outputs, folding.shape, folding.dtype)
        if not done:
            raise reasons[0]
        work = GraphProto(name=body.name)
        work.node.extend(nodes)
        work.input.extend(body.input)
        work.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(outputs))
        values = {**folding.constants, **rounds.constants}
    raise Unresolved(f"its graphs are nested more than {MOST_NESTED} deep")


class Emission:
    """Emits the nodes of a flat body; ``tensors`` says what stands for the names outside of it.

    With ``omits`` a name that nothing stands for is an input that the node leaves out.
    """

    def __init__(
        self,
        e: Emitter,
        flat: Flat,
        tensors: dict[str, gs.Tensor],
        read: Read = numpy_helper.to_array,
        *,
        omits: bool = False,
    ) -> None:
        self._e = e
        self._omits = omits
        self._flat = flat
        self._tensors = tensors
        for made in flat.nodes:
            outputs = e.many(
                made.op_type,
                len(made.output),
                *map(self.tensor, made.input),
                domain=made.domain,
                **attributes(made, read),
            )
            tensors.update(zip(made.output, outputs, strict=True))
        tensors.pop("", None)

    def tensor(self, name: str) -> gs.Tensor | None:
        """What stands for a name of the body; None for an omitted one.

        Raises:
            Unresolved: nothing stands for it.
        """
        if name and name not in self._tensors and name in self._flat.constants:
            self._tensors[name] = self._e.const(self._flat.constants[name])
        found = self._tensors.get(name)
        if name and found is None and not self._omits:
            raise Unresolved(f"nothing makes '{name.partition(MARK)[0]}'")
        return found if found is not None and found.name else None
