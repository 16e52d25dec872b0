"""The kernel on tensors of torch, through ctypes."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATHS = {"auto": 0, "flat": 1, "staged": 2, "tiled": 3, "pieces": 4}
NOT_SUPPORTED = 801


@dataclass(frozen=True)
class Choice:
    """What the launch took."""

    path: str
    wide: bool
    vector: int


class Kernel:
    """``libgather_elements.so``."""

    def __init__(self, library: Path) -> None:
        self._call = ctypes.CDLL(str(library)).gatherElements
        self._call.restype = ctypes.c_int

    def __call__(
        self,
        data: Any,
        axis: int,
        indices: Any,
        out: Any,
        *,
        path: str = "auto",
        wide: bool = False,
        scalar: bool = False,
        out_of_range: Any = None,
    ) -> Choice | None:
        """Gathers on the current stream; None where ``path`` does not take the shapes.

        Raises:
            RuntimeError: the launch failed.
        """
        import torch

        for tensor in (data, indices, out):
            assert tensor.is_contiguous()
        assert out.shape == indices.shape and out.dtype == data.dtype
        dims = ctypes.c_longlong * 8
        chosen = (ctypes.c_int * 3)()
        status = self._call(
            data.ndim,
            dims(*data.shape),
            dims(*indices.shape),
            axis,
            data.element_size(),
            int(indices.dtype == torch.int64),
            ctypes.c_void_p(data.data_ptr()),
            ctypes.c_void_p(indices.data_ptr()),
            ctypes.c_void_p(out.data_ptr()),
            ctypes.c_void_p(0 if out_of_range is None else out_of_range.data_ptr()),
            PATHS[path],
            int(wide),
            int(scalar),
            chosen,
            ctypes.c_void_p(torch.cuda.current_stream().cuda_stream),
        )
        if status == NOT_SUPPORTED:
            return None
        if status != 0:
            raise RuntimeError(f"CUDA error {status}")
        return Choice(list(PATHS)[chosen[0]], bool(chosen[1]), chosen[2])
