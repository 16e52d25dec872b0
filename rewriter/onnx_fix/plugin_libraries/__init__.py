"""Libraries of TensorRT plugins: what they bring, where they are needed, how they are built."""

from __future__ import annotations

from onnx_fix.plugin_libraries.building import CompileError, Request, build
from onnx_fix.plugin_libraries.shipped import PluginSource, Use, shipped, uses
from onnx_fix.plugin_libraries.store import (
    BuiltLibrary,
    built_for,
    built_in,
    built_of,
    default_folder,
    noted,
)

__all__ = [
    "BuiltLibrary",
    "CompileError",
    "PluginSource",
    "Request",
    "Use",
    "build",
    "built_for",
    "built_in",
    "built_of",
    "default_folder",
    "noted",
    "shipped",
    "uses",
]
