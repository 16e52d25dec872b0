"""``GatherElementsPlugin`` in Python: a plugin for prototypes, where no compiler is at hand.

``register(trt)`` adds a creator of the name that the rewriter writes to the plugin registry of
TensorRT 10 or later or of TensorRT-RTX. From then on its parser and builder take the nodes. Parsing
and a build ahead of time run no plugin. What runs one, a build of the classic TensorRT and an
engine, asks for torch or cupy on the GPU. An engine that was built with this plugin holds its name
and the field ``axis``, so the plugin library can run it as well.

This module imports neither TensorRT, nor onnx, nor anything of onnx-fix: processes that hold
TensorRT load it by its path.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

NAME = "GatherElementsPlugin"
VERSION = "1"
NAMESPACE = ""

FRAMEWORKS = ("torch", "cupy")
"""What runs the plugin on a GPU, the first that is installed."""

_ITEMSIZES = {
    "FLOAT": 4, "HALF": 2, "BF16": 2, "INT8": 1, "INT32": 4, "INT64": 8, "BOOL": 1,
}  # fmt: skip
_INDICES = ("INT32", "INT64")
_RTX_LIBRARY = "libtensorrt_rtx.so"

_kept: list[Any] = []
"""The registry does not keep creators alive."""


def register(trt: Any) -> bool:
    """Add the creator to the registry of a TensorRT module; False where one is there already.

    Raises:
        RuntimeError: this TensorRT has no plugins in Python of the third kind, or its parser would
            end the process at the first plugin node.
    """
    if not hasattr(trt, "IPluginV3"):
        raise RuntimeError(
            f"TensorRT {trt.__version__} has no IPluginV3 (TensorRT has it since 10.0): build the "
            "plugin library of onnx-fix and load that"
        )
    registry = trt.get_plugin_registry()
    wanted = (NAME, VERSION, NAMESPACE)
    for known in registry.all_creators:
        if (known.name, known.plugin_version, known.plugin_namespace) == wanted:
            return False
    fault = obstacle(trt.__name__)
    if fault:
        raise RuntimeError(fault)
    creator = creator_class(trt)()
    _kept.append(creator)
    return bool(registry.register_creator(creator, NAMESPACE))


def obstacle(package: str) -> str:
    """Why the parser would end the process at a plugin node; empty where it would not.

    The parser of TensorRT-RTX opens ``libtensorrt_rtx.so`` by this name to add a plugin, and dies
    where there is none: NVIDIA's wheel holds the library as ``libtensorrt_rtx.so.1`` alone.
    """
    if not (package.startswith("tensorrt_rtx") and sys.platform.startswith("linux")):
        return ""
    libs = sys.modules.get("tensorrt_rtx_libs")
    beside = [Path(folder) / _RTX_LIBRARY for folder in getattr(libs, "__path__", ())]
    if any(path.exists() for path in beside):
        return ""
    try:
        ctypes.CDLL(_RTX_LIBRARY)
    except OSError:
        where = beside[0].parent if beside else "the folder of libtensorrt_rtx.so.1"
        return (
            f"the parser of TensorRT-RTX opens {_RTX_LIBRARY} to add a plugin and aborts where "
            f"there is none: make a link of that name to {_RTX_LIBRARY}.1 in {where}, or in a "
            "folder of LD_LIBRARY_PATH"
        )
    return ""


# -- the classes of a TensorRT --------------------------------------------------------------------


def plugin_class(trt: Any) -> Any:
    """The class of the plugin, derived from those of a TensorRT module."""
    bases: tuple[Any, ...] = (
        trt.IPluginV3,
        trt.IPluginV3OneCore,
        trt.IPluginV3OneBuild,
        trt.IPluginV3OneRuntime,
    )

    class GatherElements(*bases):  # type: ignore[misc]
        """One node: data and indices of one rank, and an axis."""

        def __init__(self, axis: int, declared: str = "") -> None:
            for base in bases:
                base.__init__(self)
            self.axis = axis
            self.declared = declared
            """The type that the network gives the data, once TensorRT has asked what that of the
            output is; clones have it, too."""
            self.num_outputs = 1
            self.plugin_name = NAME
            self.plugin_version = VERSION
            self.plugin_namespace = NAMESPACE

        def get_capability_interface(self, _kind: Any) -> Any:
            return self

        def clone(self) -> Any:
            return GatherElements(self.axis, self.declared)

        # -- while an engine is built ---------------------------------------------------------

        def get_output_data_types(self, types: Sequence[Any]) -> list[Any]:
            self.declared = type_name(types[0])
            return [types[0]]

        def get_output_shapes(
            self, inputs: Sequence[Any], _shape_inputs: Any, _builder: Any
        ) -> list[Any]:
            check_ranks(len(inputs[0]), len(inputs[1]), self.axis)
            return [trt.DimsExprs(inputs[1])]

        def supports_format_combination(
            self, place: int, tensors: Sequence[Any], _inputs: int
        ) -> bool:
            descriptions = [tensor.desc for tensor in tensors[: place + 1]]
            if descriptions[place].format != trt.TensorFormat.LINEAR:
                return False
            types = [type_name(d.type) for d in descriptions]
            if not takes(place, types):
                return False
            scales = [d.scale for d in descriptions]
            return place < 2 or types[2] != "INT8" or int8_fits(self.declared, scales[0], scales[2])

        def configure_plugin(self, _inputs: Any, _outputs: Any) -> None:
            return

        def get_workspace_size(self, _inputs: Any, _outputs: Any) -> int:
            return 0

        def get_valid_tactics(self) -> list[int]:
            return []

        def set_tactic(self, _tactic: int) -> None:
            return

        # -- while an engine runs -------------------------------------------------------------

        def on_shape_change(self, _inputs: Any, _outputs: Any) -> None:
            return

        def attach_to_context(self, _context: Any) -> Any:
            return self.clone()

        def get_fields_to_serialize(self) -> Any:
            axis = np.array([self.axis], np.int32)
            return trt.PluginFieldCollection(
                [trt.PluginField("axis", axis, trt.PluginFieldType.INT32)]
            )

        def enqueue(
            self,
            inputs: Sequence[Any],
            outputs: Sequence[Any],
            given: Sequence[int],
            made: Sequence[int],
            _workspace: int,
            stream: int,
        ) -> None:
            tensors = [*inputs, outputs[0]]
            if type_name(tensors[0].type) == "INT8":
                check_scales(tensors[0].scale, tensors[2].scale)
            itemsizes = [_ITEMSIZES[type_name(t.type)] for t in tensors]
            shapes = [tuple(t.dims) for t in tensors]
            gather_on_gpu([*given, made[0]], itemsizes, shapes, self.axis, stream)

    return GatherElements


def creator_class(trt: Any) -> Any:
    """The class of the creator, derived from that of a TensorRT module."""
    plugin = plugin_class(trt)

    class Creator(trt.IPluginCreatorV3One):  # type: ignore[misc, name-defined, unused-ignore]
        """Makes a plugin of the attributes of a node, or of what an engine holds."""

        def __init__(self) -> None:
            trt.IPluginCreatorV3One.__init__(self)
            self.name = NAME
            self.plugin_version = VERSION
            self.plugin_namespace = NAMESPACE
            axis = trt.PluginField("axis", np.array([], np.int32), trt.PluginFieldType.INT32)
            self.field_names = trt.PluginFieldCollection([axis])

        def create_plugin(self, _name: str, fields: Any, _phase: Any) -> Any:
            return plugin(axis_of({field.name: field.data for field in fields}))

    return Creator


def axis_of(fields: Mapping[str, Any]) -> int:
    """The axis among the fields; ONNX has 0 where none is given."""
    given = fields.get("axis")
    return 0 if given is None or len(given) == 0 else int(given[0])


def type_name(dtype: Any) -> str:
    """How a member of ``trt.DataType`` is called."""
    return str(dtype.name)


def takes(place: int, types: Sequence[str]) -> bool:
    """Whether the tensor in a place (data, indices, output) may have its type."""
    if place == 0:
        return types[0] in _ITEMSIZES
    return types[1] in _INDICES if place == 1 else types[2] == types[0]


def int8_fits(declared: str, data: float, output: float) -> bool:
    """Whether data and output may be INT8 with these scales; those not above 0 are not known.

    Elements are copied as they are. Data that the network has as INT8 can be nothing else. Data of
    another type become INT8 where the builder quantizes by itself, with a scale for each tensor:
    then both must be known and be one.
    """
    known = data > 0 and output > 0
    return data == output if known else declared in ("", "INT8")


def check_scales(data: float, output: float) -> None:
    """Raise where an INT8 would stand for another number once it is copied.

    Raises:
        ValueError: both scales are known, and they differ.
    """
    if not int8_fits("INT8", data, output):
        raise ValueError(
            f"{NAME}: INT8 data and output have different scales, {data} and {output}; give them "
            "one dynamic range, or keep this layer out of INT8"
        )


def check_ranks(data: int, indices: int, axis: int) -> None:
    """Raise where the ranks and the axis do not go together.

    Raises:
        ValueError: they do not.
    """
    if data != indices or not -data <= axis < data:
        raise ValueError(
            f"{NAME}: data of rank {data}, indices of rank {indices}, axis {axis}; both must be of "
            "one rank r, and the axis in [-r, r - 1]"
        )


# -- on the GPU -----------------------------------------------------------------------------------


class _Foreign:
    """Memory of somebody else, as the frameworks take it."""

    def __init__(self, pointer: int, itemsize: int, shape: tuple[int, ...], stream: int) -> None:
        kind = "|i1" if itemsize == 1 else f"<i{itemsize}"
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": kind,
            "data": (pointer, False),
            "version": 2,
        }
        self.stream = stream


def framework() -> Any:
    """The module that runs the plugin.

    Raises:
        RuntimeError: none is installed.
    """
    for name in FRAMEWORKS:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise RuntimeError(
        f"{NAME} in Python runs by {' or '.join(FRAMEWORKS)}, and neither can be imported: install "
        "one of them, or load the plugin library of onnx-fix"
    )


def gather_on_gpu(
    pointers: Sequence[int],
    itemsizes: Sequence[int],
    shapes: Sequence[tuple[int, ...]],
    axis: int,
    stream: int,
) -> None:
    """Gather; pointers, sizes of an element and shapes are of data, indices and output.

    Elements are moved as integers of their size, whatever they mean. Indices that are out of range
    are clamped, since a fault on the GPU would end the process.
    """
    if 0 in shapes[2]:
        return
    module = framework()
    tensors = [
        _Foreign(p, size, shape, stream)
        for p, size, shape in zip(pointers, itemsizes, shapes, strict=True)
    ]
    if module.__name__ == "torch":
        with module.cuda.stream(module.cuda.ExternalStream(stream)):
            data, indices, output = (module.as_tensor(t, device="cuda") for t in tensors)
            gather_by_torch(module, data, indices, output, axis)
    else:
        with module.cuda.ExternalStream(stream):
            data, indices, output = (module.asarray(t) for t in tensors)
            output[...] = gather_by_arrays(module, data, indices, axis)


def gather_by_torch(torch: Any, data: Any, indices: Any, output: Any, axis: int) -> None:
    """With tensors of torch."""
    size = data.shape[axis]
    places = indices.to(torch.int64)
    places = torch.where(places < 0, places + size, places).clamp_(0, size - 1)
    torch.gather(data, axis, places, out=output)


def gather_by_arrays(module: Any, data: Any, indices: Any, axis: int) -> Any:
    """With arrays of cupy, or of numpy."""
    axis = axis % data.ndim
    size = data.shape[axis]
    places = module.where(indices < 0, indices + size, indices)
    places = module.clip(places, 0, size - 1).astype(np.int64)
    window = tuple(slice(None) if k == axis else slice(n) for k, n in enumerate(indices.shape))
    return module.take_along_axis(data[window], places, axis=axis)


__all__ = ["FRAMEWORKS", "NAME", "NAMESPACE", "VERSION", "creator_class", "obstacle", "register"]
