"""The table of ops that become plugin nodes, and what both compute.

An entry says which op of a model a plugin takes the place of, how the attributes are translated,
what the inputs must be, and a body of ONNX ops that verification runs for either node.
"""

from __future__ import annotations

from onnx_fix.plugin_table.bodies import NodeBody, bodies_of
from onnx_fix.plugin_table.entries import (
    AttributeRule,
    InputRule,
    NotMapped,
    PluginEntry,
    expanded,
    not_mapped,
    shipped,
)
from onnx_fix.plugin_table.translate import NoCounterpart, translated

__all__ = [
    "AttributeRule",
    "InputRule",
    "NoCounterpart",
    "NodeBody",
    "NotMapped",
    "PluginEntry",
    "bodies_of",
    "expanded",
    "not_mapped",
    "shipped",
    "translated",
]
