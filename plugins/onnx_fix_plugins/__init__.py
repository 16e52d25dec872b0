"""The TensorRT plugins that onnx-fix ships: one package each."""

from __future__ import annotations

from pathlib import Path

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


def python_plugins() -> dict[str, Path]:
    """The ops with a plugin in Python, and its module.

    The module imports neither TensorRT nor onnx. Its ``register(trt)`` adds the creator to the
    registry of a TensorRT module, and says whether it did.
    """
    return {gather_elements.OP: Path(gather_elements.__file__).with_name("tensorrt_plugin.py")}


__all__ = ["gather_elements", "plugin_sources", "python_plugins", "reference_functions"]
