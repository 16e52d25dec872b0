"""Pre-flight: what a release will refuse or compute wrongly, said before an engine is built.

``check`` is the public door; ``onnx-fix check`` prints what it returns.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from onnx import ModelProto

from onnx_fix.check.baseline import apply_baseline, read_baseline
from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.node_findings import node_findings
from onnx_fix.check.plan import foretell
from onnx_fix.check.registry import all_codes, model_checks
from onnx_fix.check.result import CheckResult
from onnx_fix.check.select import Selection
from onnx_fix.collector import paused
from onnx_fix.errors import UsageError
from onnx_fix.load import check_loaded, load_proto
from onnx_fix.model import Model
from onnx_fix.target import Target, choose_target

if TYPE_CHECKING:
    from onnx_fix.check.live import LiveResult

LiveChoice = Literal["auto", "on", "off"]


@paused()
def check(
    model: ModelProto | str | Path,
    *,
    target: str | Target | None = None,
    dims: Mapping[str, tuple[int, int, int]] | None = None,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    baseline: str | Path | None = None,
    live: LiveChoice = "off",
    build: bool = False,
    timeout_s: float = 120.0,
    run: bool = False,
) -> CheckResult:
    """Find what stands in the way of an engine build.

    Args:
        model: A path, or a model, which is never changed.
        target: A release such as ``trt-8.6``; the default is that of ``onnx_fix.fix``.
        dims: min, opt and max of symbolic dims: the profile the engine is built with.
        select: Codes or prefixes of codes to report; all when empty.
        ignore: Codes or prefixes to leave out, ``CODE:node-pattern`` for single nodes.
        baseline: A file of findings that are accepted.
        live: Whether to ask the installed TensorRT as well: ``on`` asks whichever is installed,
            ``auto`` only one that is the release in question, since the word of another release
            proves nothing about it.
        build: Whether the live builder builds an engine, too.
        timeout_s: Seconds after which the live parser is given up.
        run: Whether the model may be run, in onnxruntime, to show at which sizes it breaks.

    Raises:
        ModelError: the model cannot be read or worked on.
        UsageError: an unknown target or code, a faulty baseline, or ``live`` without a TensorRT.
    """
    start = time.perf_counter()
    chosen, note = choose_target(target)
    selection = Selection.of(select, ignore, all_codes())
    path = None if isinstance(model, ModelProto) else Path(model)
    if isinstance(model, ModelProto):
        check_loaded(model, "the model")
        proto = model
    else:
        proto = load_proto(Path(model))
    work = Model(proto, None if path is None else path.parent, chosen)
    found = list(static_findings(CheckContext(work, path, dict(dims or {}), run)))
    said: LiveResult | None = None
    if live != "off":
        found, said = _live(found, model, chosen, live, build, dims, timeout_s)
    source = "<ModelProto>" if path is None else str(path)
    stale: tuple[str, ...] = ()
    baselined = 0
    if baseline is not None:
        found, baselined, stale = apply_baseline(
            found,
            read_baseline(Path(baseline)),
            model=source,
            target=chosen.name,
            live=said is not None,
        )
    kept, suppressed = selection.apply(found)
    return CheckResult.of(
        source=source,
        target_name=chosen.name,
        target_note=note,
        findings=kept,
        suppressed=suppressed,
        baselined=baselined,
        stale=stale,
        live=None if said is None else said.summary(),
        seconds=time.perf_counter() - start,
    )


def static_findings(context: CheckContext) -> Iterable[CheckFinding]:
    """Everything that the facts about the release say of a model."""
    yield from foretell(list(node_findings(context.model)), context.model)
    yield from model_findings(context)


def model_findings(context: CheckContext) -> Iterable[CheckFinding]:
    """What the checks of the model as a whole say."""
    for cls in model_checks():
        yield from cls().run(context)


def _live(
    found: list[CheckFinding],
    model: ModelProto | str | Path,
    target: Target,
    choice: LiveChoice,
    build: bool,
    dims: Mapping[str, tuple[int, int, int]] | None,
    timeout_s: float,
) -> tuple[list[CheckFinding], LiveResult | None]:
    from onnx_fix.check import live

    parser = live.available(target.release)
    if choice == "auto" and (parser is None or not parser.is_release(target.release)):
        return found, None
    if parser is None:
        raise UsageError(
            "--live needs an installed TensorRT: pip install 'onnx-fix[rtx]' (or [tensorrt])"
        )
    said = live.run_live(
        model, build=build, dims=dict(dims or {}), timeout_s=timeout_s, parser=parser
    )
    return live.merge(found, said, target), said


__all__ = [
    "CheckContext",
    "CheckFinding",
    "CheckResult",
    "Code",
    "ModelCheck",
    "Severity",
    "check",
    "model_findings",
    "static_findings",
]
