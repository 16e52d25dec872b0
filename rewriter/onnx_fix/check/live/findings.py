"""The words of an installed TensorRT as findings of a check."""

from __future__ import annotations

import re
from collections.abc import Iterator

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.live import codes
from onnx_fix.check.live.result import LiveError, LiveMessage, LiveResult, Place

WARNINGS_SHOWN = 20
"""Warnings that become findings; one more says how many there are besides."""

_NOISE = re.compile(r"Cuda Runtime \(|CUDA (driver|initialization|lazy loading)|cudaError")
"""Messages about the machine and not about the model."""
_PREAMBLE = re.compile(r"^(Invalid Node - |While parsing node number|--- (Begin|End) node ---)")
_PLACE = re.compile(r"\.? In \S+ at /\S+:\d+")
_PREFIX = re.compile(r"^\w+\.cpp:\d+: ")
_PLUGIN_MISSING = re.compile(r"plugin not found|plugin creator.* not found|getPluginCreator", re.I)


def telling(text: str) -> str:
    """The first line that says something about the model, without places in TensorRT's source."""
    lines = [_PREFIX.sub("", line.strip()) for line in text.splitlines() if line.strip()]
    kept = [line for line in lines if not _NOISE.search(line) and not _PREAMBLE.match(line)]
    return _PLACE.sub("", (kept or lines or [""])[0]).strip()


def wants_plugin(error: LiveError) -> bool:
    """Whether the parser only lacks the library of a plugin that the node names."""
    place = error.place
    return place is not None and place.is_plugin and bool(_PLUGIN_MISSING.search(error.text))


def refusal(error: LiveError, result: LiveResult) -> CheckFinding:
    """The finding for one error of the parser."""
    label = result.parser.label
    if wants_plugin(error):
        code, severity = codes.PLUGIN, Severity.UNKNOWN
        why = f"{label} knows no plugin '{error.op}': its library is not loaded"
    else:
        code, severity = codes.REFUSED, Severity.ERROR
        why = f"{label} refuses it ({error.code})"
        if error.place is not None and not error.exact:
            what = f"{error.op} '{error.name}'" if error.name else f"an unnamed {error.op}"
            why += f"; inside this node, at {what}"
    place = error.place
    said = f"{error.file}:{error.line} in {error.func}" if error.file else ""
    return _finding(
        code, severity, why, result, place, telling(error.text) or error.text, said, error.op
    )


def others(result: LiveResult) -> Iterator[CheckFinding]:
    """The findings for everything but the errors of the parser."""
    label, at = result.parser.label, result.at
    for path, text in result.plugins_failed:
        why = f"the library {path} cannot be loaded"
        yield _finding(codes.PLUGIN, Severity.UNKNOWN, why, result, None, text)
    if result.python_plugins and result.status in ("parsed", "built"):
        names = ", ".join(result.python_plugins)
        why = f"{label} was asked with {names} in Python; where the engine runs it needs a library"
        yield _finding(codes.PYTHON_PLUGIN, Severity.WARNING, why, result, None)
    if result.status == "refused" and not result.errors:
        why = f"{label} refuses the model: {result.detail}"
        yield _finding(codes.REFUSED, Severity.ERROR, why, result, None, _first_error(result)[0])
    elif result.status == "build failed":
        text, place = _first_error(result)
        why = f"{label} parses the model and builds no engine"
        yield _finding(codes.BUILD_FAILED, Severity.ERROR, why, result, place, text)
    elif result.status == "crashed":
        busy = result.phase in ("parsing", "building")
        severity = Severity.ERROR if busy else Severity.UNKNOWN
        why = f"{label} was {result.phase or 'starting'} when it {result.detail}"
        yield _finding(codes.CRASHED, severity, why, result, at)
    elif result.status == "timed out":
        why = f"{label} was still {result.phase or 'starting'} after {result.seconds:.0f} s"
        yield _finding(codes.TIMED_OUT, Severity.UNKNOWN, why, result, at)
    elif result.status == "not available":
        severity = Severity.UNKNOWN if result.build_asked else Severity.WARNING
        why = f"{label} cannot be asked: {result.detail}"
        yield _finding(codes.UNUSABLE, severity, why, result, None, _first_error(result)[0])
    if result.lacking:
        why = f"{label} parses the model; for a build the profile lacks {'; '.join(result.lacking)}"
        yield _finding(codes.NOT_TRIED, Severity.UNKNOWN, why, result, None)
    yield from _warnings(result)


def _warnings(result: LiveResult) -> Iterator[CheckFinding]:
    """Errors in the log count as warnings where the model was taken all the same."""
    worst = {"WARNING"}
    if result.status in ("parsed", "built"):
        worst |= {"ERROR", "INTERNAL_ERROR"}
    shown = [m for m in result.messages if m.severity in worst and not _NOISE.search(m.text)]
    for message in shown[:WARNINGS_SHOWN]:
        times = f" {message.count} times" if message.count > 1 else ""
        text = telling(message.text)
        why = f"{result.parser.label} logs{times}: {text}"
        yield _finding(codes.WARNED, Severity.WARNING, why, result, message.place, text)
    if len(shown) > WARNINGS_SHOWN:
        why = f"{result.parser.label} logs {len(shown) - WARNINGS_SHOWN} more different warnings"
        yield _finding(codes.WARNED, Severity.WARNING, why, result, None)


def _first_error(result: LiveResult) -> tuple[str, Place | None]:
    """The first error in the log that says something, preferably with a node in it."""
    errors: list[LiveMessage] = [
        m for m in result.messages if m.severity != "WARNING" and not _NOISE.search(m.text)
    ] or [m for m in result.messages if m.severity != "WARNING"]
    if not errors:
        return "", None
    first = next((m for m in errors if m.place is not None), errors[0])
    return telling(first.text), first.place


def _finding(
    code: Code,
    severity: Severity,
    why: str,
    result: LiveResult,
    place: Place | None,
    message: str = "",
    said_at: str = "",
    op: str = "",
) -> CheckFinding:
    version = f"{result.parser.label} ({result.parser.package} {result.parser.version})"
    if place is not None:
        op = f"{place.domain}::{place.op}" if place.domain else place.op
    return CheckFinding(
        code=code,
        severity=severity,
        why=why,
        mend=code.mend,
        scope="" if place is None else place.scope,
        node="" if place is None else place.node,
        op=op,
        message=message,
        evidence="live",
        source=f"{version}, {said_at}" if said_at else version,
        origin="live",
    )
