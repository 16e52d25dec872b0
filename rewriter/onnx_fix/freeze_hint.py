"""Whether giving inputs of the network values (``--freeze``) or sizes (``--static``) would clear a
finding."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from onnx_fix.scope import Scope
from onnx_fix.target import Finding
from onnx_fix.verify.symbols import symbols

_MOST_NODES = 32
_MOST_INPUTS = 4
_SIZES_ONLY = frozenset({"Shape", "Size"})


def freeze_hint(scope: Scope, node: gs.Node, finding: Finding) -> str:
    """How to make a tensor constant that must be, in a few words; empty where that is no way.

    It is one where the tensor is a network input, or is computed from nothing but scalars and
    vectors among them: these steer, while an image does not. Or it is computed from nothing but
    sizes.
    """
    if finding.kind != "input_must_be_constant":
        return ""
    tensor = next((t for t in node.inputs if t.name and t.name == finding.tensor), None)
    if tensor is None:
        return ""
    names = [tensor.name] if _is_network_input(scope, tensor) else _steering(scope, tensor)
    if not names:
        return _size_hint(scope, tensor)
    options = " ".join(f"--freeze {name}=..." for name in names)
    return f"`{options}` gives the network input{'s'[: len(names) != 1]} a constant value"


def _size_hint(scope: Scope, tensor: gs.Tensor) -> str:
    """The dims of the network inputs whose sizes would make a tensor constant."""
    if not _is_of_sizes(scope, tensor):
        return ""
    free = symbols(scope.model.proto)
    dims = [
        name if name.isidentifier() else f"{places[0].input}:{places[0].axis}"
        for name, places in free.items()
    ]
    if not 0 < len(dims) <= _MOST_INPUTS:
        return "`--static DIM=SIZE` makes dims of the network inputs numbers" if dims else ""
    options = " ".join(f"--static {dim}=..." for dim in dims)
    return f"it is computed from sizes, and `{options}` makes those of the network inputs numbers"


def _is_of_sizes(scope: Scope, tensor: gs.Tensor) -> bool:
    """Whether a tensor is computed from shapes and constants alone."""
    seen: set[int] = set()
    left = [tensor]
    while left:
        current = left.pop()
        if not current.name or id(current) in seen or scope.constness(current) != "runtime":
            continue
        seen.add(id(current))
        node = scope.producer(current)
        if node is None or len(seen) > _MOST_NODES:
            return False
        if any(isinstance(v, gs.Graph) for v in node.attrs.values()):
            return False
        if node.op not in _SIZES_ONLY:
            left += node.inputs
    return True


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
