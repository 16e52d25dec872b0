"""The plugins whose sources are installed, and which targets have a use for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal

from onnx_fix.target import known_targets, load_target
from onnx_fix.target.facts import NodeFacts

GROUP = "onnx_fix.plugins"
"""Entry point group of plugin collections: packages that may have ``plugin_sources()``."""

Need = Literal["needed", "optional", "useless"]
"""``needed``: the target refuses the ONNX op itself. ``optional``: it takes the op, and the plugin
too. ``useless``: its parser takes no op for a plugin."""


@dataclass(frozen=True, slots=True)
class PluginSource:
    """A plugin as sources that CMake builds.

    ``replaces`` is a node of the ONNX op that the plugin stands in for, in its most general use,
    and ``node`` the plugin node of the same. ``folder`` holds CMakeLists.txt, which builds a shared
    library called ``library`` for the TensorRT that it finds.
    """

    version: str
    namespace: str
    replaces: NodeFacts
    node: NodeFacts
    folder: Path
    library: str

    @property
    def op(self) -> str:
        """The op type of the node, and the name of the creator."""
        return self.node.op


@dataclass(frozen=True, slots=True)
class Use:
    """Whether a target needs a plugin; ``why`` is what it has against the ONNX op."""

    target: str
    need: Need
    why: str = ""


def shipped() -> list[PluginSource]:
    """The plugins of all installed collections."""
    found: list[PluginSource] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda e: (e.name, e.value)):
        collection = import_module(entry.value)
        if hasattr(collection, "plugin_sources"):
            found += collection.plugin_sources()
    return found


def uses(plugin: PluginSource) -> Iterator[Use]:
    """For every known target, whether it needs the plugin."""
    for name in known_targets():
        target = load_target(name)
        if target.judge(plugin.node).status == "refused":
            yield Use(name, "useless")
            continue
        against = [f for f in target.judge(plugin.replaces).findings if f.refuses]
        yield Use(name, "needed", against[0].why) if against else Use(name, "optional")
