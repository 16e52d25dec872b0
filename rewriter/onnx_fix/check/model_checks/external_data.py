"""Weights in other files: missing, too short, or out of reach."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import ClassVar

from onnx import TensorProto

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import evidence_of_probe, is_rtx, listed
from onnx_fix.load import stored_tensors
from onnx_fix.weights import external_location, is_external

OUTSIDE_FOLDER = Code(
    "OF812",
    "external-data-outside-folder",
    "weights lie outside the model's folder",
    "ONNX asks that external data lies below the folder of the model file. onnx, onnxruntime and "
    "onnx-fix refuse other places, and TensorRT-RTX 1.7 refuses '../' and reads absolute paths as "
    "relative ones. What older releases do was not looked at.",
    "Save the model again with its data beside it: onnx.save(model, path, "
    "save_as_external_data=True).",
)

_BITS = {
    **dict.fromkeys(("INT4", "UINT4", "FLOAT4E2M1"), 4),
    **dict.fromkeys(("UINT2", "INT2"), 2),
    **dict.fromkeys(("FLOAT", "INT32", "UINT32"), 32),
    **dict.fromkeys(("DOUBLE", "INT64", "UINT64", "COMPLEX64"), 64),
    **dict.fromkeys(("FLOAT16", "BFLOAT16", "INT16", "UINT16"), 16),
    **dict.fromkeys(("BOOL", "INT8", "UINT8", "FLOAT8E4M3FN", "FLOAT8E5M2"), 8),
}
"""Bits of an element in raw data; types that are not named here are not measured."""


class ExternalData(ModelCheck):
    """Sizes of the data files against what the tensors ask; no weight is read."""

    code: ClassVar[Code] = Code(
        "OF811",
        "external-data-missing",
        "weights that lie in another file are not there, or not all of them",
        "The tensor names a file beside the model, with an offset and a length. The file is not "
        "there, ends before the last byte asked for, or the length is not that of the tensor's "
        "shape and type. The parser fails to import the initializer.",
        "Copy the data file beside the model whole (it may be a pointer of Git LFS), or save the "
        "model again.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """One finding for each file and fault, with the first of its tensors."""
        found: dict[tuple[str, Code, str], list[str]] = {}
        sizes: dict[Path, int | None] = {}
        for tensor in stored_tensors(context.proto):
            if is_external(tensor):
                code, why = self._fault(tensor, context.model.base_dir, sizes)
                if why:
                    key = (external_location(tensor), code, why)
                    found.setdefault(key, []).append(tensor.name)
        for (location, code, why), names in found.items():
            yield self._finding(context, code, location, why, names)

    def _fault(
        self, tensor: TensorProto, base_dir: Path | None, sizes: dict[Path, int | None]
    ) -> tuple[Code, str]:
        location = external_location(tensor)
        parts = PurePosixPath(location.replace("\\", "/"))
        if parts.is_absolute() or PureWindowsPath(location).drive or ".." in parts.parts:
            return OUTSIDE_FOLDER, "lies outside the folder of the model"
        if base_dir is None:
            return self.code, "cannot be looked for: the model was given without its folder"
        path = base_dir / parts
        if not location or path not in sizes:
            sizes[path] = path.stat().st_size if location and path.is_file() else None
        size = sizes[path]
        if size is None:
            return self.code, "is not there"
        entries = {e.key: e.value for e in tensor.external_data}
        offset, length = (_number(entries.get(k)) for k in ("offset", "length"))
        needed = _bytes(tensor)
        if needed is not None and length is not None and length != needed:
            return self.code, f"is to give '{tensor.name}' {length} bytes where {needed} are needed"
        if (offset or 0) + (length if length is not None else needed or 0) > size:
            return self.code, f"ends after {size} bytes, before the data of some tensors"
        return self.code, ""

    def _finding(
        self, context: CheckContext, code: Code, location: str, why: str, names: list[str]
    ) -> CheckFinding:
        evidence, source = evidence_of_probe(context)
        in_memory = context.model.base_dir is None
        unknown = in_memory or (code is OUTSIDE_FOLDER and not is_rtx(context))
        message = "Failed to import initializer" if is_rtx(context) and not unknown else ""
        return CheckFinding(
            code=code,
            severity=Severity.UNKNOWN if unknown else Severity.ERROR,
            why=f"the file '{location}' {why}; tensors: {listed(names)}",
            mend="pass the path of the model file" if in_memory else code.mend,
            tensor=names[0],
            message=message,
            evidence=evidence,
            source=source,
        )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _bytes(tensor: TensorProto) -> int | None:
    """The bytes of a tensor in raw data; None for element types that are not measured."""
    name = TensorProto.DataType.Name(tensor.data_type)
    bits = _BITS.get(name)
    return None if bits is None else -(-math.prod(tensor.dims) * bits // 8)
