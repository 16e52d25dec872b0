"""Every path of the kernel against the numpy reference and torch.gather."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_fix_plugins.gather_elements import reference
from onnx_fix_plugins.gather_elements.cuda.harness.launch import PATHS, Kernel

DTYPES = ("float32", "float16", "bfloat16", "int32", "int8", "int64", "bool")


def check(kernel: Kernel, cases: int, seed: int) -> tuple[int, int]:
    """The number of launches and of wrong outputs over ``cases`` random cases."""
    import torch

    rng = np.random.default_rng(seed)
    launches = wrong = 0
    for _ in range(cases):
        dtype = getattr(torch, str(rng.choice(DTYPES)))
        data_shape, index_shape, axis = _shapes(rng)
        size = data_shape[axis]
        data = _random(rng, data_shape, dtype)
        index_type = (np.int32, np.int64)[int(rng.integers(2))]
        indices: NDArray[Any] = rng.integers(-size, size, index_shape).astype(index_type)
        if rng.integers(3) == 0:  # expanded along a random axis
            along = int(rng.integers(len(index_shape)))
            indices = np.repeat(indices.take([0], along), index_shape[along], along)
        expected = _expected(data, indices, axis)
        on_gpu, where = data.cuda(), torch.from_numpy(np.ascontiguousarray(indices)).cuda()
        gathered = torch.gather(on_gpu, axis, torch.where(where < 0, where + size, where).long())
        assert torch.equal(_bits(gathered).cpu(), _bits(expected)), "torch and numpy disagree"
        for path in PATHS:
            for wide in (False, True):
                out = torch.empty(index_shape, dtype=dtype, device="cuda")
                _bits(out).fill_(1)
                bad = torch.zeros(1, dtype=torch.int32, device="cuda")
                chosen = kernel(on_gpu, axis, where, out, path=path, wide=wide, out_of_range=bad)
                if chosen is None:
                    continue
                launches += 1
                if not torch.equal(_bits(out).cpu(), _bits(expected)) or int(bad) != 0:
                    wrong += 1
                    print("WRONG", chosen, dtype, data_shape, index_shape, axis, indices.dtype)
    return launches, wrong


def _shapes(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    rank = int(rng.integers(1, 9))
    axis = int(rng.integers(rank))
    most = [100000, 300, 45, 16, 9, 6, 5, 4][rank - 1]
    data = [int(rng.integers(1, most + 1)) for _ in range(rank)]
    if rng.integers(2):
        index = [size if rng.integers(4) else int(rng.integers(1, size + 1)) for size in data]
    else:
        index = list(data)
    index[axis] = int(rng.integers(1, 2 * most))
    return tuple(data), tuple(index), axis


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    import torch

    if dtype is torch.bool:
        return torch.from_numpy(rng.integers(0, 2, shape).astype(np.bool_))
    if dtype.is_floating_point:
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).to(dtype)
    return torch.from_numpy(rng.integers(-128, 128, shape)).to(dtype)


def _bits(tensor: Any) -> Any:
    import torch

    kinds = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.view(kinds[tensor.element_size()])


def _expected(data: Any, indices: NDArray[Any], axis: int) -> Any:
    import ml_dtypes
    import torch

    if data.dtype is torch.bfloat16:
        picked = reference(data.view(torch.int16).numpy().view(ml_dtypes.bfloat16), indices, axis)
        return torch.from_numpy(np.ascontiguousarray(picked).view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(np.ascontiguousarray(reference(data.numpy(), indices, axis)))
