"""Whether the builder has an implementation for an Attention."""

from __future__ import annotations

from onnx_fix.target.facts import Dim, NodeFacts
from onnx_fix.target.kinds.base import NOTHING, Entry, Hit, Hits, Names
from onnx_fix.target.values import attribute, given, integer

_HEADS = range(16, 257, 8)
"""Sizes of a head that the fused kernel takes."""


def fused_attention(entry: Entry, node: NodeFacts, names: Names) -> Hits:
    """A fused kernel takes the node, or it is of a form that the builder takes apart.

    Source: builds of TensorRT-RTX 1.7 for compute capability 8.9 with heads of 8 to 512, FP32,
    FP16 and BF16, masks, causal and grouped queries. One query at a time builds with some numbers
    of heads and not with others, so nothing is said of it.
    """
    query, key = given(node, 0), given(node, 1)
    if query is None or key is None:
        return NOTHING
    if query.shape is None or key.shape is None or not query.dtype:
        return (Hit("the type or the shape of Q or K is not known", query.name, certain=False),)
    size, length = _head(query.shape, node), _length(query.shape)
    half = names.get(query.dtype) in ("FP16", "BF16")
    if half and size in _HEADS and length != 1:
        return NOTHING
    if not isinstance(length, int) or length == 1 or (half and not isinstance(size, int)):
        text = f"with {length} queries and heads of {size} there may be no implementation"
        return (Hit(text, query.name, certain=False),)
    kind = names.get(query.dtype, "")
    text = f"no kernel for {kind} with heads of {size} elements"
    plain = _is_plain(node, query.shape)
    return (Hit(text, query.name, certain=not plain),)


def _head(query: tuple[Dim, ...], node: NodeFacts) -> Dim:
    if len(query) != 3:
        return query[-1] if query else None
    heads = integer(attribute(node, "q_num_heads"))
    return query[2] // heads if isinstance(query[2], int) and heads else None


def _length(query: tuple[Dim, ...]) -> Dim:
    return query[-2] if len(query) > 1 else None


def _is_plain(node: NodeFacts, query: tuple[Dim, ...]) -> bool:
    """Of rank 3, with as many heads for keys as for queries, no mask and not causal."""
    heads = [attribute(node, name) for name in ("q_num_heads", "kv_num_heads")]
    return (
        len(query) == 3
        and heads[0] == heads[1]
        and attribute(node, "is_causal", 0) == 0
        and given(node, 3) is None
    )


def no_kernel(entry: Entry, node: NodeFacts, names: Names) -> Hits:
    """No node of the op builds; ``rule``: only those that a rule picks."""
    if "rule" not in entry:
        return (Hit("the builder has no implementation"),)
    return _RULES[entry["rule"]](entry, node, names)


_RULES = {"fused_attention": fused_attention}
