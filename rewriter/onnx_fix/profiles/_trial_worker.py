"""Runs one model at many sizes, in a process of its own: a line of JSON in, a line out.

The first line is ``{"model": path, "base_dir": folder or null}``. Each line after it asks for one
run: ``{"sizes": {symbol: size}, "values": {input: [...]}, "seed": 0}``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import onnx

_THREADS = 8
"""Every thread takes address space, which is limited."""

MARK = "onnx-fix:"
"""What the number of a node of the main graph stands behind."""

_RUNNING = re.compile(r"while running (\S+) node\. Name:\s?'(.*?)' Status Message: (.*)", re.DOTALL)


def main(lines: TextIO, out: TextIO) -> None:
    """Answer lines until there are no more."""
    from onnx_fix.errors import UsageError
    from onnx_fix.load import opset_of
    from onnx_fix.plugin_bodies import plugin_bodies
    from onnx_fix.verify.feeds import FeedMaker
    from onnx_fix.verify.runner import RunError, open_oracle
    from onnx_fix.verify.source import ModelSource

    def answer(**said: Any) -> None:
        out.write(json.dumps(said) + "\n")
        out.flush()

    task = json.loads(lines.readline())
    _limit_memory(task.get("memory"))
    proto = onnx.load(task["model"], load_external_data=False)
    for number, node in enumerate(proto.graph.node):
        # What onnxruntime says of a node goes by its name.
        node.name = f"{MARK}{number}"
    bodies = plugin_bodies(opset_of(proto.opset_import))
    source = ModelSource.of(proto, task["base_dir"], bodies)
    try:
        oracle = open_oracle(source, "onnxruntime", min(_THREADS, os.cpu_count() or 1))
        maker = FeedMaker(proto)
    except RunError as error:
        answer(loaded=False, lacks=error.lacks_kernel, message=str(error))
        return
    dtypes = {v.name: v.type.tensor_type.elem_type for v in proto.graph.input}
    answer(loaded=True)
    for line in lines:
        asked = json.loads(line)
        start = time.perf_counter()
        try:
            feeds = maker.make(asked["sizes"], asked["seed"])
            for name, values in asked["values"].items():
                dtype = onnx.helper.tensor_dtype_to_np_dtype(dtypes[name])
                shape = np.shape(feeds[name])
                feeds[name] = np.asarray(values, dtype=dtype).reshape(shape)
            made = oracle.run(feeds)
        except MemoryError:
            answer(ok=False, kind="memory", message="there is not enough memory")
        except UsageError as error:
            answer(ok=False, kind="feeds", message=str(error))
        except RunError as error:
            text = str(error)
            found = _RUNNING.search(text)
            kind = "lacks" if error.lacks_kernel else "node"
            if re.search(r"bad_alloc|[Ff]ailed to allocate memory|std::length_error", text):
                kind = "memory"
            answer(
                ok=False,
                kind=kind,
                node=found.group(2) if found else "",
                op=found.group(1) if found else "",
                message=found.group(3) if found else text,
            )
        else:
            shapes = {name: list(np.shape(value)) for name, value in made.items()}
            answer(ok=True, seconds=time.perf_counter() - start, outputs=shapes)


def _limit_memory(limit: int | None) -> None:
    """Let the process fail by an exception rather than bring the machine down."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        if limit is not None:
            status = Path("/proc/self/statm").read_text(encoding="ascii").split()
            used = int(status[0]) * resource.getpagesize()
            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (used + limit, hard))


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
