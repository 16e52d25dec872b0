"""Find out at which sizes a model runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from onnx_fix.errors import UsageError
from onnx_fix.verify.feeds import FeedMaker
from onnx_fix.verify.runner import OnnxRuntime, RunError
from onnx_fix.verify.source import ModelSource
from onnx_fix.verify.symbols import dim_size, fed_inputs, input_dims

MOST_ELEMENTS = 1 << 22
"""Elements of the inputs; larger sizes are not tried."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A run at some sizes; ``error`` is empty where it ran to the end."""

    sizes: Mapping[str, int]
    error: str = ""


def trials(source: ModelSource, sizes: Sequence[Mapping[str, int]], seconds: float) -> list[Trial]:
    """Run a model at sizes, as many as there is time for.

    Sizes at which nothing was learned are left out: too large ones, and those at which the time
    was over. Nothing is learned where the model does not load.
    """
    found: list[Trial] = []
    end = time.monotonic() + seconds
    try:
        ready, maker = OnnxRuntime(source), FeedMaker(source.proto)
    except (RunError, UsageError):
        return found
    for each in sizes:
        left = end - time.monotonic()
        try:
            if left <= 0 or elements(source, each) > MOST_ELEMENTS:
                continue
            feeds = maker.make(each)
            ready.run(feeds, seconds=left)
        except UsageError:
            continue
        except RunError as error:
            if time.monotonic() < end:
                found.append(Trial(each, str(error)))
        else:
            found.append(Trial(each))
    return found


def elements(source: ModelSource, sizes: Mapping[str, int]) -> int:
    """How many elements the inputs have at some sizes.

    Raises:
        UsageError: a symbol has no size.
    """
    shapes = (input_dims(value) or () for value in fed_inputs(source.proto))
    return sum(prod(dim_size(dim, sizes) for dim in dims) for dims in shapes)
