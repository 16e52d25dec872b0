"""Restrictions that every node of the op runs into, within their opsets and their ``when``."""

from __future__ import annotations

from onnx_fix.target.facts import NodeFacts
from onnx_fix.target.kinds.base import Entry, Evaluator, Hit, Hits, Names


def always(text: str) -> Evaluator:
    """An evaluator that says ``text`` of every node."""

    def evaluate(entry: Entry, node: NodeFacts, names: Names) -> Hits:
        return (Hit(text),)

    return evaluate


def needs_plugin(entry: Entry, node: NodeFacts, names: Names) -> Hits:
    """The importer asks the plugin registry; whether the plugin ships is settled by the target."""
    version = entry.get("plugin_version")
    called = f"plugin {entry['plugin']}" + (f" version {version}" if version else "")
    return (Hit(f"the importer needs {called}"),)
