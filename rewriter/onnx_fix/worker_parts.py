"""What the processes have in common in which TensorRT runs: messages, errors, answers.

Only the standard library is imported, and nothing else of onnx-fix: TensorRT is native code that
bears no other protobuf beside it, and such a process may crash, hang or eat the memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import mmap
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

TEXT_LIMIT = 4000
"""Characters that are kept of a message."""
ERROR_LIMIT = 1000
"""Errors of the parser that are passed on."""
MESSAGE_LIMIT = 200
"""Different log messages that are passed on."""
_PR_SET_PDEATHSIG = 1
PROGRESS_SIZE = 1024
"""Bytes of the progress file."""
NODE_MARK = "arsing node: "
"""What the parser logs before the label and op of the node it comes to."""

IN_NODE = re.compile(r"In node (-?\d+) with name: (.*?) and operator: (\S*) \(")
"""How releases whose errors have no ``node_name`` say it in their text."""


def peak_bytes() -> int:
    """The most memory this process has had resident, 0 where the platform does not say."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def guard(seconds: float) -> None:
    """End this process some time after its limit even where the one that started it was killed.

    Where memory runs out, this process shall die of it and no other; it leaves no dump.
    """
    if hasattr(signal, "alarm"):
        signal.alarm(int(seconds) + 10)
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        # Linux alone: die with the thread that waits for this process.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


class Progress:
    """Says in a file of fixed size what is being done; survives the death of the process."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), PROGRESS_SIZE)
        self._phase = "loading"

    def phase(self, name: str) -> None:
        """A new part of the work."""
        self._phase = name
        self.node("")

    def node(self, label: str) -> None:
        """The node that the parser has come to."""
        text = f"{self._phase}\n{peak_bytes()}\n{label}".encode()[: PROGRESS_SIZE - 1]
        self._map[: len(text) + 1] = text + b"\0"


class Answers:
    """Writes events; keeps stdout to itself."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
        self._lock = threading.Lock()
        os.dup2(2, 1)

    def say(self, event: str, **facts: Any) -> None:
        """Write one event, from any thread."""
        line = json.dumps({"event": event, "peak": peak_bytes(), **facts})
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()


class Messages:
    """Log messages of warning and above: each text once, with how often it came."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], int] = {}

    def add(self, severity: str, text: str) -> None:
        """Take a message in."""
        key = (severity, text[:TEXT_LIMIT])
        if key in self._seen or len(self._seen) < MESSAGE_LIMIT:
            self._seen[key] = self._seen.get(key, 0) + 1

    def take(self) -> list[dict[str, Any]]:
        """All so far, and forget them."""
        seen, self._seen = self._seen, {}
        return [{"severity": s, "text": t, "count": n} for (s, t), n in seen.items()]

    def replace(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Forget what has come since some were taken, and have those again."""
        self._seen = {(m["severity"], m["text"]): m["count"] for m in messages}


def logger_of(trt: Any, messages: Messages, on_node: Callable[[str], None]) -> Any:
    """A logger that keeps warnings and above, and tells which node is being parsed."""
    base: Any = trt.ILogger
    worst = base.Severity

    class Log(base):  # type: ignore[misc]
        """Prints nothing."""

        def __init__(self) -> None:
            base.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            if severity <= worst.WARNING:
                messages.add(str(severity).rpartition(".")[2], text)
            else:
                at = text.find(NODE_MARK)
                if at >= 0:
                    on_node(text[at + len(NODE_MARK) :])

    return Log()


def load_plugins(trt: Any, log: Any, paths: Sequence[str]) -> list[dict[str, str]]:
    """Load the plugins that ship with TensorRT, then the user's libraries; what failed."""
    if hasattr(trt, "init_libnvinfer_plugins"):
        trt.init_libnvinfer_plugins(log, "")
    failed = []
    registry = trt.get_plugin_registry()
    for path in paths:
        try:
            # The dynamic loader says why a library cannot be loaded; the registry does not.
            ctypes.CDLL(path, mode=getattr(ctypes, "RTLD_GLOBAL", 0))
        except OSError as error:
            failed.append({"path": path, "text": str(error)[:TEXT_LIMIT]})
            continue
        if hasattr(registry, "load_library"):
            # It returns None also where loading registered the creators already, as libraries do
            # that use REGISTER_TENSORRT_PLUGIN; the parser tells whether one is missing after all.
            registry.load_library(path)
    return failed


def add_python_plugins(trt: Any, modules: Mapping[str, str]) -> list[str]:
    """Register plugins in Python, by op and path of their module; those that were registered.

    Where a library has registered a creator of the name already, that one is taken. What cannot be
    registered is left to the parser, which says that the plugin is missing.
    """
    done = []
    for op, path in modules.items():
        spec = importlib.util.spec_from_file_location(f"onnx_fix_plugin_{op}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Also keeps it alive, and with it the creator.
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        with contextlib.suppress(RuntimeError):
            if module.register(trt):
                done.append(op)
    return done


def errors_of(parser: Any) -> list[dict[str, Any]]:
    """The errors of a parser, as plain data."""
    found = []
    for i in range(min(parser.num_errors, ERROR_LIMIT)):
        error = parser.get_error(i)
        text = _asked(error, "desc", "")
        said = IN_NODE.search(text)
        found.append(
            {
                "code": str(error.code()).rpartition(".")[2],
                "text": text[:TEXT_LIMIT],
                "index": int(error.node()),
                "name": _asked(error, "node_name", said.group(2) if said else "")[:TEXT_LIMIT],
                "op": _asked(error, "node_operator", said.group(3) if said else "")[:TEXT_LIMIT],
                "file": os.path.basename(error.file()),
                "line": int(error.line()),
                "func": _asked(error, "func", ""),
                "stack": [str(s)[:TEXT_LIMIT] for s in _asked(error, "local_function_stack", [])],
            }
        )
    return found


def _asked(error: Any, method: str, otherwise: Any) -> Any:
    """What a method says that not all releases have, and that may be no UTF-8."""
    try:
        return getattr(error, method)() if hasattr(error, method) else otherwise
    except UnicodeDecodeError:
        return otherwise


def parse(parser: Any, path: str, data_path: str | None) -> bool:
    """Parse a file in place, or its bytes where external data lie elsewhere."""
    if data_path is None:
        return bool(parser.parse_from_file(path))
    return bool(parser.parse(Path(path).read_bytes(), data_path))
