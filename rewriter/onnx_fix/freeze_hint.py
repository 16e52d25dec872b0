"""Whether giving inputs of the network their values (``--freeze``) would clear a finding."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from onnx_fix.scope import Scope
from onnx_fix.target import Finding

_MOST_NODES = 32
_MOST_INPUTS = 4
_SIZES_ONLY = frozenset({"Shape", "Size"})


def freeze_hint(scope: Scope, node: gs.Node, finding: Finding) -> str:
    """How to make a tensor constant that must be, in a few words; empty where that is no way.

    It is one where the tensor is a network input, or is computed from nothing but scalars and
    vectors among them: these steer, while an image does not.
    """
    if finding.kind != "input_must_be_constant":
        return ""
    tensor = next((t for t in node.inputs if t.name and t.name == finding.tensor), None)
    if tensor is None:
        return ""
    names = [tensor.name] if _is_network_input(scope, tensor) else _steering(scope, tensor)
    if not names:
        return ""
    options = " ".join(f"--freeze {name}=..." for name in names)
    return f"`{options}` gives the network input{'s'[: len(names) != 1]} a constant value"


def _is_network_input(scope: Scope, tensor: gs.Tensor) -> bool:
    main = scope.model.main
    return scope.model.is_input(tensor) and main.tensors.get(tensor.name) is tensor


def _steering(scope: Scope, tensor: gs.Tensor) -> list[str]:
    """The network inputs that a tensor is computed from, if they are few, and scalars and vectors.

    Sizes of others do not count where they are known.
    """
    names: list[str] = []
    seen: set[int] = set()
    left = [tensor]
    while left:
        current = left.pop()
        if not current.name or id(current) in seen or scope.constness(current) != "runtime":
            continue
        seen.add(id(current))
        node = scope.producer(current)
        if node is not None:
            inner = any(isinstance(v, gs.Graph) for v in node.attrs.values())
            if node.op in _SIZES_ONLY or inner or len(seen) > _MOST_NODES:
                return []
            left += node.inputs
            continue
        steers = _is_network_input(scope, current) and scope.rank(current) in (0, 1)
        if not steers or len(names) == _MOST_INPUTS:
            return []
        names.append(str(current.name))
    return sorted(names)
