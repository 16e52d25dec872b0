"""Whether giving inputs of the network values (``--freeze``) or sizes (``--static``) would clear a
finding."""

from __future__ import annotations

from collections.abc import Iterator

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
    return all(
        node is not None and seen < _MOST_NODES and not _has_bodies(node)
        for seen, (_, node) in enumerate(_behind(scope, tensor))
    )


def _is_network_input(scope: Scope, tensor: gs.Tensor) -> bool:
    main = scope.model.main
    return scope.model.is_input(tensor) and main.tensors.get(tensor.name) is tensor


def _steering(scope: Scope, tensor: gs.Tensor) -> list[str]:
    """The network inputs that a tensor is computed from, if they are few, and scalars and vectors.

    Sizes of others do not count where they are known.
    """
    names: list[str] = []
    for seen, (current, node) in enumerate(_behind(scope, tensor)):
        if node is not None:
            if node.op in _SIZES_ONLY or _has_bodies(node) or seen >= _MOST_NODES:
                return []
            continue
        steers = _is_network_input(scope, current) and scope.rank(current) in (0, 1)
        if not steers or len(names) == _MOST_INPUTS:
            return []
        names.append(str(current.name))
    return sorted(names)


def _behind(scope: Scope, tensor: gs.Tensor) -> Iterator[tuple[gs.Tensor, gs.Node | None]]:
    """The tensors of the run time that a tensor is computed from, with the nodes that make them;
    what is behind a shape is not looked at."""
    seen: set[int] = set()
    left = [tensor]
    while left:
        current = left.pop()
        if not current.name or id(current) in seen or scope.constness(current) != "runtime":
            continue
        seen.add(id(current))
        node = scope.producer(current)
        yield current, node
        if node is not None and node.op not in _SIZES_ONLY:
            left += node.inputs


def _has_bodies(node: gs.Node) -> bool:
    return any(isinstance(value, gs.Graph) for value in node.attrs.values())
