"""Times the kernel against torch.gather and the copy ceiling of the same device."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from onnx_fix_plugins.gather_elements.cuda.harness.launch import Kernel

COLD_BYTES = 256 << 20
"""Inputs are rotated among so many bytes, several times the second-level cache."""


@dataclass(frozen=True)
class Timing:
    """A shape to time: ``expand`` is the axis along which all indices are alike, if any."""

    group: str
    data: tuple[int, ...]
    index: tuple[int, ...]
    axis: int
    expand: int | None = None
    hot: bool = False

    def __str__(self) -> str:
        sizes = "x".join(map(str, self.data))
        count = "" if self.index == self.data else f", {self.index[self.axis]} of them"
        return f"{sizes} axis {self.axis}{count}"


POINTS = (512, 1024, 2048, 4096, 8192)

ODD = (
    (64, 4096, 257),
    (8192, 300, 9),
    (64, 2048, 81),
    (64, 2048, 33),
    (1024, 2048, 3),
    (64, 2048, 6),
    (1, 8192, 257),
)
"""Inner dims of which vectors of outputs hold no part."""

TIMINGS = [
    *(
        Timing("descriptors, axis last", (1, 256, n), (1, 256, n), 2, expand=1, hot=hot)
        for hot in (False, True)
        for n in POINTS
    ),
    *(
        Timing("descriptors, channels last", (1, n, 256), (1, n, 256), 1, expand=2, hot=hot)
        for hot in (False, True)
        for n in POINTS
    ),
    Timing("descriptors, batch", (64, 256, 4096), (64, 256, 4096), 2, expand=1),
    Timing("descriptors, batch", (64, 4096, 256), (64, 4096, 256), 1, expand=2),
    Timing("3-D", (64, 4096, 256), (64, 4096, 256), 1),
    Timing("top-k", (16, 80, 8400), (16, 80, 300), 2),
    Timing("top-k", (16, 900 * 91), (16, 300), 1),
    Timing("top-k", (4096, 50257), (4096, 64), 1),
    Timing("top-k", (65536, 1000), (65536, 10), 1),
    Timing("2-D", (16384, 4096), (16384, 4096), 1),
    Timing("2-D", (1 << 20, 64), (1 << 20, 64), 1),
    Timing("2-D", (16384, 4001), (16384, 4001), 1),
    Timing("2-D", (512, 65536), (512, 65536), 1),
    Timing("2-D", (16384, 4096), (16384, 4096), 0, expand=1),
    Timing("2-D", (16384, 4096), (16384, 4096), 0),
    Timing("3-D", (64, 2048, 512), (64, 2048, 512), 2),
    Timing("3-D", (64, 2048, 512), (64, 2048, 512), 1, expand=2),
    Timing("3-D", (64, 2048, 512), (64, 2048, 512), 1),
    Timing("3-D", (64, 2048, 512), (64, 2048, 512), 0),
    Timing("3-D", (64, 2048, 8), (64, 2048, 8), 1),
    *(
        Timing("3-D, medium", shape, shape, 1, expand=expand)
        for shape in ((4, 1024, 256), (4, 4096, 128), (16, 2048, 64))
        for expand in (2, None)
    ),
    *(
        Timing("3-D, short axis", shape, shape, 1)
        for shape in ((1, 2, 1 << 23), (64, 4, 1 << 16), (64, 8, 1 << 15), (1, 2, (1 << 23) - 1))
    ),
    Timing("3-D, narrower indices", (64, 2048, 512), (60, 2048, 500), 1, expand=2),
    Timing("long rows", (1024, 60000), (1024, 60000), 1),
    Timing("long rows", (512, 65536), (512, 16384), 1),
    Timing("long rows", (256, 131072), (256, 131072), 1),
    Timing("long rows", (128, 262144), (128, 262144), 1),
    Timing("long rows", (32, 1 << 20), (32, 1 << 20), 1),
    *(
        Timing("odd inner dims", shape, shape, 1, expand=expand)
        for shape in ODD
        for expand in (2, None)
    ),
]


def microseconds(launch: Callable[[int], object], sets: int, launches: int, replays: int) -> float:
    """The median time of one launch: ``launch(k)`` for k of the sets in turn, as a CUDA graph."""
    import torch

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for k in range(min(sets, 3)):
            launch(k)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for k in range(launches):
            launch(k % sets)
    times = []
    with torch.cuda.stream(stream):
        for _ in range(3):
            graph.replay()
        for _ in range(replays):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            times.append(float(begin.elapsed_time(end)) * 1000 / launches)
    return statistics.median(times)


def copy_ceiling() -> float:
    """Bytes per second, read and written: the better of a copy and a plain kernel over 2 GiB."""
    import torch

    source = _words(1 << 29)
    target = torch.empty_like(source)
    ways: list[Callable[[int], object]] = [
        lambda _: target.copy_(source),
        lambda _: torch.bitwise_not(source, out=target),
    ]
    return 2e6 * float(source.nbytes) / min(microseconds(way, 1, 5, 9) for way in ways)


def _words(count: int) -> Any:
    import torch

    return torch.randint(-(1 << 31), (1 << 31) - 1, (count,), dtype=torch.int32, device="cuda")


def measure(
    kernel: Kernel, timing: Timing, dtype: str, index: str, paths: Sequence[str]
) -> dict[str, Any]:
    """Microseconds of every path, of torch.gather and of a plain kernel that moves the bytes."""
    import torch

    element, width = getattr(torch, dtype), getattr(torch, index)
    count = 1
    for dim in timing.index:
        count *= dim
    total = 1
    for dim in timing.data:
        total *= dim
    bytes_moved = (
        count * width.itemsize + count * element.itemsize + min(count, total) * element.itemsize
    )
    footprint = count * (width.itemsize + element.itemsize) + total * element.itemsize
    sets = 1 if timing.hot else min(256, max(1, -(-COLD_BYTES // footprint)))
    launches = max(sets, 20) if footprint < COLD_BYTES else 4
    launches = -(-launches // sets) * sets

    def timed(launch: Callable[[int], object]) -> float:
        return microseconds(launch, sets, launches, 11)

    found: dict[str, Any] = {
        **asdict(timing),
        "name": str(timing),
        "dtype": dtype,
        "index_type": index,
        "bytes": bytes_moved,
        "sets": sets,
        **_gathers(kernel, timing, paths, _inputs(timing, element, width, sets), timed),
    }
    words = bytes_moved // 2 // 16 * 4
    moved = [_words(words) for _ in range(sets)]
    to = [torch.empty_like(m) for m in moved]
    found["same_bytes"] = timed(lambda k: torch.bitwise_not(moved[k], out=to[k]))
    return found


def _inputs(timing: Timing, element: Any, width: Any, sets: int) -> list[tuple[Any, Any, Any]]:
    import torch

    shape = list(timing.index)
    if timing.expand is not None:
        shape[timing.expand] = 1

    def indices() -> Any:
        drawn = torch.randint(0, timing.data[timing.axis], shape, device="cuda").to(width)
        return drawn.expand(timing.index).contiguous()

    return [
        (
            torch.randn(timing.data, device="cuda").to(element),
            indices(),
            torch.empty(timing.index, dtype=element, device="cuda"),
        )
        for _ in range(sets)
    ]


def _gathers(
    kernel: Kernel,
    timing: Timing,
    paths: Sequence[str],
    inputs: list[tuple[Any, Any, Any]],
    timed: Callable[[Callable[[int], object]], float],
) -> dict[str, Any]:
    import torch

    axis = timing.axis
    found: dict[str, Any] = {}

    def ours(k: int, path: str) -> Any:
        data, where, out = inputs[k]
        way, _, rest = path.partition(":")
        return kernel(data, axis, where, out, path=way, scalar=rest == "scalar")

    def theirs(k: int) -> object:
        data, where, out = inputs[k]
        return torch.gather(data, axis, where, out=out)

    data, where, out = inputs[0]
    expected = torch.gather(data, axis, where.long())
    for path in paths:
        out.zero_()
        chosen = ours(0, path)
        if chosen is None:
            continue
        assert torch.equal(out, expected), (timing, path)
        found[path] = timed(partial(ours, path=path))
        if path == "auto":
            found["chosen"] = asdict(chosen)
            found["auto_again"] = timed(partial(ours, path=path))
    try:
        theirs(0)
    except RuntimeError as refused:
        found["torch_refused"] = str(refused).splitlines()[0]
    else:
        found["torch"] = timed(theirs)
    return found


def every(
    kernel: Kernel, paths: Sequence[str], groups: str, dtypes: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """The timings of the groups whose names hold ``groups``, by every pair of types."""
    for timing in TIMINGS:
        if groups not in timing.group:
            continue
        for dtype in dtypes:
            for index in ("int64", "int32"):
                yield measure(kernel, timing, dtype, index, paths)
