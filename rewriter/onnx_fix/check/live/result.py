"""What an installed TensorRT said of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Status = Literal[
    "parsed", "refused", "built", "build failed", "crashed", "timed out", "not available"
]
"""``parsed``: taken, and no engine was built; ``built``: an engine, too. ``crashed`` stands for
every end without a full answer: a signal, an exit code, garbage."""

PRODUCTS = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}


@dataclass(frozen=True, slots=True)
class LiveParser:
    """An importable TensorRT. ``version`` is empty where no metadata of the package say it."""

    package: Literal["tensorrt", "tensorrt_rtx"]
    version: str = ""

    @property
    def label(self) -> str:
        """How it is called in messages, such as ``TensorRT-RTX 1.7.1``."""
        short = ".".join(self.version.split(".")[:3])
        return f"{PRODUCTS[self.package]} {short}".rstrip()

    def is_release(self, release: str) -> bool:
        """Whether it is a release of the facts (``rtx-1.7``, ``8.6``), patch levels aside."""
        if release.startswith("rtx-") is not (self.package == "tensorrt_rtx"):
            return False
        wanted = release.removeprefix("rtx-").split(".")
        return bool(self.version) and self.version.split(".")[: len(wanted)] == wanted


@dataclass(frozen=True, slots=True)
class Place:
    """A node as reports name it: path of its scope, then its name or first output."""

    scope: str
    node: str
    op: str
    domain: str = ""
    is_plugin: bool = False


@dataclass(frozen=True, slots=True)
class LiveError:
    """One error of the parser.

    ``index`` is the place of the node in the main graph (of the node that holds the subgraph or
    calls the function, for nodes inside), -1 for none. ``place`` is the node of the model, None
    where none could be told; ``exact`` is False where it is only the node of the main graph
    inside which the parser failed. ``file``, ``line`` and ``func`` are places in the parser.
    """

    code: str
    text: str
    index: int = -1
    name: str = ""
    op: str = ""
    file: str = ""
    line: int = 0
    func: str = ""
    stack: tuple[str, ...] = ()
    place: Place | None = None
    exact: bool = True


@dataclass(frozen=True, slots=True)
class LiveMessage:
    """A log message of severity WARNING or above, and how often it came."""

    severity: str
    text: str
    count: int = 1
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class LiveResult:
    """What came of it.

    ``phase`` is what was being done last (``loading``, ``starting``, ``parsing``, ``building``),
    ``at`` the node the parser was at when it crashed or was stopped. ``taken`` holds scope and
    node of all nodes that the parser got past without an error. ``lacking`` says what kept an
    engine from being tried, ``plugins_failed`` which libraries could not be loaded,
    ``python_plugins`` the ops whose plugins in Python stood in for a library, and ``detail`` how a
    process ended or why nothing could be asked. ``peak_bytes`` is the resident memory of the
    process, 0 where it is not known.
    """

    status: Status
    parser: LiveParser
    errors: tuple[LiveError, ...] = ()
    messages: tuple[LiveMessage, ...] = ()
    build_asked: bool = False
    lacking: tuple[str, ...] = ()
    plugins_failed: tuple[tuple[str, str], ...] = ()
    python_plugins: tuple[str, ...] = ()
    detail: str = ""
    phase: str = ""
    at: Place | None = None
    seconds: float = 0.0
    peak_bytes: int = 0
    taken: frozenset[tuple[str, str]] = frozenset()

    def summary(self) -> dict[str, Any]:
        """The outcome in a few fields, for reports."""
        return {
            "status": self.status,
            "parser": self.parser.label,
            "version": self.parser.version,
            "errors": len(self.errors),
            "detail": self.detail,
            "seconds": round(self.seconds, 2),
            "peak_mib": round(self.peak_bytes / 2**20),
        }
