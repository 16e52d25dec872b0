"""Say on a node which pass made it, and from which node."""

from __future__ import annotations

from onnx import NodeProto

PASS_KEY = "onnx_fix.pass"
FROM_KEY = "onnx_fix.from"

_METADATA_SINCE = 10
"""NodeProto.metadata_props exists since IR version 10; before that the doc string says it."""


def came_from(node: NodeProto) -> str | None:
    """The node that a signed node was made from, as its signature says it; None for others."""
    for entry in node.metadata_props:
        if entry.key == FROM_KEY:
            return str(entry.value)
    for line in node.doc_string.split("\n"):
        if line.startswith(f"{PASS_KEY}=") and f" {FROM_KEY}=" in line:
            return line.partition(f" {FROM_KEY}=")[2]
    return None


def sign(node: NodeProto, *, pass_name: str, came_from: str, ir_version: int) -> None:
    """Sign a node; what an earlier pass wrote there is replaced, also in the other way."""
    kept = [p for p in node.metadata_props if p.key not in (PASS_KEY, FROM_KEY)]
    del node.metadata_props[:]
    node.metadata_props.extend(kept)
    lines = [line for line in node.doc_string.split("\n") if not line.startswith(f"{PASS_KEY}=")]
    text = [line for line in lines if line]
    if ir_version < _METADATA_SINCE:
        node.doc_string = "\n".join([*text, f"{PASS_KEY}={pass_name} {FROM_KEY}={came_from}"])
        return
    if len(lines) < len(node.doc_string.split("\n")):
        node.doc_string = "\n".join(text)
    for key, value in ((PASS_KEY, pass_name), (FROM_KEY, came_from)):
        entry = node.metadata_props.add()
        entry.key, entry.value = key, value
