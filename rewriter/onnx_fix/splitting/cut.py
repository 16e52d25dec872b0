"""Choose the nodes to cut at: those that the user names, or those that the target refuses."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from onnx import ModelProto, NodeProto

from onnx_fix.contract import Change
from onnx_fix.errors import UsageError
from onnx_fix.functions import every_node, label_of
from onnx_fix.report import Blocker
from onnx_fix.sign import came_from
from onnx_fix.splitting.network import Network


def named(network: Network, names: Sequence[str]) -> list[int]:
    """The nodes that go by some names: their own, or that of a tensor that they make.

    Raises:
        UsageError: no node has the name, several have, it stands in a body, or no output depends
            on it.
    """
    return sorted({_named(network, name) for name in names})


def _named(network: Network, name: str) -> int:
    found = [k for k, node in enumerate(network.nodes) if str(node.name) == name]
    if len(found) > 1:
        outputs = ", ".join(f"'{next(iter(network.makes(k)), '')}'" for k in found[:5])
        raise UsageError(
            f"{len(found)} nodes are called '{name}'; name one by a tensor that it makes: {outputs}"
        )
    if not found and name in network.maker:
        found = [network.maker[name]]
    if not found:
        raise UsageError(_nobody(network, name))
    if found[0] not in network.live:
        raise UsageError(
            f"no output of the model depends on '{name}', so there is nothing to cut; "
            "onnx-fix fix leaves it out"
        )
    return found[0]


def _nobody(network: Network, name: str) -> str:
    for number, inner in _inside(network):
        if name == inner.name or name in inner.output:
            return _in_a_body(network, number, f"{inner.op_type} '{name}'")
    body = [network.label(k) for k in sorted(network.live) if came_from(network.proto(k)) == name]
    if body:
        nodes = ", ".join(f"'{label}'" for label in body[:8]) + (", ..." if len(body) > 8 else "")
        return (
            f"'{name}' calls a local function, which is inlined; cut at one of its nodes: {nodes}"
        )
    known = [label for k in sorted(network.live) if (label := network.label(k))]
    known += [n for k in sorted(network.live) for n in network.makes(k)]
    near = list(dict.fromkeys(difflib.get_close_matches(name, known, n=3)))
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"the model has no node called '{name}'{hint}"


def _in_a_body(network: Network, number: int, what: str) -> str:
    outer = network.nodes[number]
    label = network.label(number)
    return (
        f"{what} stands in a body of {outer.op} '{label}', and a body cannot be cut in two: what "
        f"runs before and after it would have to run as often as the body does. --at '{label}' "
        f"lets the host run the whole {outer.op}"
    )


def _inside(network: Network) -> Iterator[tuple[int, NodeProto]]:
    """The nodes in bodies, each with the node of the main graph that it belongs to."""
    for number in range(len(network.nodes)):
        for path, node in every_node([network.proto(number)]):
            if path:
                yield number, node


def refused(
    network: Network,
    blockers: Sequence[Blocker],
    changes: Sequence[Change],
    fixed: ModelProto,
) -> list[int]:
    """The nodes of the model that refused nodes of its rewritten form come from.

    Args:
        network: The model as it was.
        blockers: The nodes of the rewritten model that the target refuses.
        changes: How the one came from the other.
        fixed: The rewritten model.

    Raises:
        UsageError: a node stands in a body, or it cannot be told where it comes from.
    """
    origins = _Origins(network, changes, fixed)
    return sorted({number for blocker in blockers for number in origins.of(blocker)})


class _Origins:
    def __init__(self, network: Network, changes: Sequence[Change], fixed: ModelProto) -> None:
        self._network = network
        self._labels: dict[str, list[int]] = {}
        for number in range(len(network.nodes)):
            self._labels.setdefault(network.label(number), []).append(number)
        self._from: dict[str, str] = {}
        self._makes: dict[str, list[str]] = {}
        for node in fixed.graph.node:
            self._makes.setdefault(label_of(node), []).extend(node.output)
            signed = came_from(node)
            if signed is not None:
                self._from[label_of(node)] = signed
        for change in changes:
            if change.old and change.old_ops:
                self._from.update((new, change.old[0]) for new in change.new)

    def of(self, blocker: Blocker) -> list[int]:
        """The node of the original that a refused one comes from; several where they share a name
        that nothing tells apart, none where no output depends on it."""
        network = self._network
        what = f"{blocker.op} '{blocker.node}'"
        if blocker.scope:
            for number in sorted(network.live):
                if f"{blocker.scope}/".startswith(f"{network.label(number)}/"):
                    raise UsageError(_in_a_body(network, number, what))
            raise UsageError(f"{what} stands in {blocker.scope}, which cannot be cut in two")
        label, seen = blocker.node, set[str]()
        while label not in self._labels and label in self._from and label not in seen:
            seen.add(label)
            label = self._from[label]
        if label in self._labels:
            found = self._labels[label]
            same = [k for k in found if network.nodes[k].op == blocker.op] or found
            return [k for k in same if k in network.live]
        for name in self._makes.get(blocker.node, ()):
            if network.maker.get(name) in network.live:
                return [network.maker[name]]
        raise UsageError(
            f"{what} was made by a pass, and it cannot be told from which node of the model; name "
            "that node with --at"
        )
