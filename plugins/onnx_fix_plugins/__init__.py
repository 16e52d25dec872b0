"""The TensorRT plugins that onnx-fix ships: one package each."""

from __future__ import annotations

from onnx import FunctionProto

from onnx_fix.plugin_libraries import PluginSource
from onnx_fix_plugins import gather_elements


def reference_functions(opset: int) -> list[FunctionProto]:
    """What every plugin node computes, as ONNX functions that verification runs in its place.

    ``opset`` is the version of the default operator set that the model imports. The functions are
    for a model in memory: a file that TensorRT reads must not hold them, since releases from 9.0
    on may take a function in place of the plugin.
    """
    return [gather_elements.function_body(opset)]


def plugin_sources() -> list[PluginSource]:
    """The plugins whose libraries are built from sources of this package."""
    return [gather_elements.source()]


__all__ = ["gather_elements", "plugin_sources", "reference_functions"]
