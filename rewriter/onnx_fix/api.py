"""The main job as functions: ``fix`` and ``plan``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike
from onnx import ModelProto

from onnx_fix import registry
from onnx_fix.comparing import Comparison, Progress, guilty, observer
from onnx_fix.engine import MOST_ROUNDS
from onnx_fix.errors import UsageError, VerificationError
from onnx_fix.job import job_of
from onnx_fix.load import opset_of
from onnx_fix.lower.table import LOWEST
from onnx_fix.model import Model
from onnx_fix.pipeline import PassEntry, Pipeline, named_target, read_pipeline
from onnx_fix.pipeline_options import (
    UNFREEZING,
    with_dynamic,
    with_freeze,
    with_max_count,
    with_retype_io,
    with_static,
    with_unfreeze,
)
from onnx_fix.plugin_bodies import plugin_bodies, reference_functions
from onnx_fix.profiles import Asked, Ranges, asked_of, symbol_ranges, value_ranges
from onnx_fix.report import Report, blockers, source_name
from onnx_fix.save import external_files
from onnx_fix.scope import node_label
from onnx_fix.target import Target, choose_target
from onnx_fix.unfreeze.trials import other_sizes, with_held

if TYPE_CHECKING:
    from onnx_fix.check.finding import CheckFinding


def _silent(_message: str) -> None:
    return


@dataclass(frozen=True)
class FixResult:
    """What ``fix`` gives back.

    ``model`` is the rewritten model; external tensors keep their locations, relative to the folder
    of the input. ``unchanged`` says that nothing had to be done.
    """

    model: ModelProto
    report: Report
    pipeline: Pipeline
    unchanged: bool
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing is left that the target surely refuses."""
        return self.report.ok


def planner_pipeline(target: Target, *, plugins: bool = True, opset: int | None = None) -> Pipeline:
    """Every default pass in the default order; those without work change nothing.

    With an operator set the lowering takes it.
    """
    entries = [
        PassEntry(name=cls.name, options={} if plugins else dict(cls.without_plugins))
        for cls in registry.default_order()
    ]
    return Pipeline(target=target.name, passes=tuple(entries), opset=opset)


def fix(
    model: ModelProto | str | Path,
    *,
    target: str | Target | None = None,
    pipeline: Pipeline | str | Path | None = None,
    plugins: bool = True,
    opset: int | None = None,
    max_count: Mapping[str, int] | None = None,
    freeze: Mapping[str, ArrayLike] | None = None,
    static: Mapping[str, int] | None = None,
    retype_io: bool = False,
    dynamic: Mapping[str, str] | None = None,
    unfreeze: bool = False,
    also: Sequence[str | Path] = (),
    assume: Mapping[str, str | int] | None = None,
    verify: bool = True,
    inputs: str | Path | None = None,
    dims: Ranges | None = None,
    profiles: Sequence[Sequence[Asked]] = (),
    reference: ModelProto | str | Path | None = None,
    repro: str | Path | None = None,
    base_dir: str | Path | None = None,
    progress: Progress = _silent,
) -> FixResult:
    """Rewrite a model for a TensorRT release.

    Args:
        model: A path, or a model, which is never changed.
        target: A release such as ``trt-8.6``; by default that of the pipeline, else the
            installed one, else ``trt-7.2``.
        pipeline: A pipeline or the path of a pipeline file; by default the planner's choice.
        plugins: Whether nodes may become plugin nodes; False asks for plain ONNX throughout.
        opset: The operator set to write; by default that of the model.
        max_count: The largest number of elements that a NonZero or NonMaxSuppression is to find,
            by the name of the node or of its output (``*``: all others). It changes the contract
            of the model: see the passes ``bound-non-zero`` and ``replace-nms``.
        freeze: Inputs that become constants, with their values: arrays, numbers, lists of numbers,
            or ``@FILE.npy``. The model has fewer inputs then: see the pass ``freeze-inputs``.
        static: Sizes for dynamic dims of inputs, by symbol or by ``INPUT:AXIS``. The model takes
            these alone then: see the pass ``freeze-dims``.
        retype_io: Whether inputs and outputs of an element type that the target lacks get a wider
            one (INT16 becomes INT32), which the caller then feeds: see the pass ``widen-types``.
        dynamic: Symbols for dims of inputs that the export made numbers, by ``INPUT:AXIS``: see
            the pass ``unfreeze-shapes``.
        unfreeze: Whether the dims that the model declares dynamic become so, where numbers in it
            hold them to one size: see the same pass.
        also: Exports of the same network at other sizes, from which that pass learns, and which
            the result is compared with.
        assume: What numbers are that it asks for.
        verify: Whether to compare the result with the original.
        inputs: A folder with the user's own feeds (npz or npy) for the comparison.
        dims: min, opt and max of symbolic dims, or three shapes of an input, used for the sizes of
            the comparison; by default those of ``profiles``, else of the pipeline.
        profiles: The ranges of each profile that an engine is to be built for, as
            `onnx_fix.profiles.parse_profiles` gives them.
        reference: Another export of the same network to compare with, for originals that cannot
            run themselves.
        repro: A new folder for a reproducer, written where the numbers differ.
        base_dir: The folder of the external weights of a model in memory.
        progress: Is told what is going on, in a few words.

    Raises:
        ModelError: the model cannot be read or worked on.
        UsageError: an unknown target or option.
        PipelineError: a fault in the pipeline file.
        VerificationError: the numbers differ; the message names the guilty change.
        InternalError: a fault of a pass.
    """
    start = time.perf_counter()
    settings = pipeline
    folder = Path()
    if isinstance(settings, str | Path):
        folder = Path(settings).parent
        settings = read_pipeline(Path(settings))
    chosen, note = choose_target(named_target(target, settings))
    if opset is not None and opset < LOWEST:
        raise UsageError(f"opset {opset}: the lowest operator set that is written is {LOWEST}")
    if settings is None:
        settings = planner_pipeline(chosen, plugins=plugins, opset=opset)
    elif opset is not None:
        settings = settings.model_copy(update={"opset": opset})
    passes = with_freeze(with_max_count(settings.passes, max_count or {}), freeze or {})
    passes = with_static(passes, static or {})
    passes = with_dynamic(passes, dynamic or {}, also, assume or {})
    passes = with_unfreeze(passes) if unfreeze else passes
    passes = with_retype_io(passes) if retype_io else passes
    settings = settings.model_copy(update={"passes": passes})
    given_dir = None if base_dir is None else Path(base_dir)
    job, path = job_of(model, chosen, settings, folder, plugins, given_dir)
    files = external_files(job.proto, job.base_dir)
    progress("looking at the model")
    fixed = job.model()
    _check_names(fixed, max_count or {})
    frozen, static_dims = job.frozen(), job.fixed_dims()
    before = blockers(fixed)
    whole = _of_the_model(fixed, path)
    progress("rewriting")
    checks = settings.verify
    compares = (verify and checks.enabled) or checks.each == "numbers"
    asked = (asked_of(dims),) if dims else tuple(profiles) or settings.asked()
    known = job.known_to_original(asked) if compares else ()
    ranges, values = symbol_ranges(job.proto, known), value_ranges(job.proto, known)
    held = job.sizes_that_run(fixed)
    if held:
        # At others, size 1 among them, the original does not run.
        checks = checks.model_copy(update={"sizes": min(checks.sizes, 2)})
    held |= static_dims
    compare = Comparison(job, path, checks, inputs, ranges, values, reference, frozen, held)
    results = job.rewrite(fixed, after_each=observer(checks.each, compare))
    report = Report(source_name(model), chosen, note, results, before)
    if unfreeze:
        from onnx_fix.unfreeze.job import check_freed

        check_freed(r for r in results if r.pass_name == UNFREEZING)
    unchanged = not report.changes
    after = job.proto if unchanged else fixed.to_proto()
    report.after = before if unchanged else blockers(fixed)
    # A rewrite makes no model worse as a whole, so only what was found before is looked for again.
    stale = bool(whole) and not unchanged
    report.whole = _of_the_model(Model(after, job.base_dir, chosen), path) if stale else whole
    if unchanged:
        report.verification_note = "nothing was changed, so there is nothing to compare"
    elif not (verify and checks.enabled):
        report.verification_note = "not verified, as asked"
    else:
        progress("comparing with the original")
        report.verification = compare(after, report.changes)
        if report.verification.status == "differs":
            raise VerificationError(guilty(job, report, compare, repro, progress))
        if job.made_dynamic(report.changes):
            progress("running at other sizes")
            still = job.sizes_that_run(Model(after, job.base_dir, chosen))
            tried = with_held(symbol_ranges(after, asked), still)
            bodies = plugin_bodies(opset_of(after.opset_import), job.steps)
            report.trials = other_sizes(after, job.base_dir, tried, checks.seed, bodies)
    report.seconds = time.perf_counter() - start
    return FixResult(after, report, _used(settings, report), unchanged, files)


def _check_names(model: Model, max_count: Mapping[str, int]) -> None:
    """Raise where a name is that of no node to bound; those of functions come when inlined."""
    nodes = [n for s in model.scopes for n in s.nodes("NonZero", "NonMaxSuppression")]
    names = {str(name) for n in nodes for name in (n.name, n.outputs[0].name)}
    for name in max_count:
        if name != "*" and name not in names and not model.proto.functions:
            has = ", ".join(node_label(n) for n in nodes) or "none at all"
            raise UsageError(
                f"the model has no NonZero or NonMaxSuppression called '{name}'; it has: {has}"
            )


def _of_the_model(model: Model, path: Path | None) -> list[CheckFinding]:
    """What the checks of the model as a whole find that a build, or another size, fails for."""
    from onnx_fix.check import CheckContext, model_findings
    from onnx_fix.check.model_checks.frozen_dims import FrozenDims

    found = model_findings(CheckContext(model, path))
    return [f for f in found if f.blocks or f.code is FrozenDims.code]


def _used(settings: Pipeline, report: Report) -> Pipeline:
    """The pipeline with only those passes that changed something."""
    used = {c.pass_name for c in report.changes}
    entries = tuple(e for e in settings.passes if e.name in used)
    return settings.model_copy(update={"passes": entries, "target": report.target.name})


@dataclass(frozen=True)
class Plan:
    """What ``fix`` would do."""

    report: Report
    pipeline: Pipeline


def plan(
    model: ModelProto | str | Path,
    *,
    target: str | Target | None = None,
    pipeline: Pipeline | str | Path | None = None,
    plugins: bool = True,
    opset: int | None = None,
    max_count: Mapping[str, int] | None = None,
    freeze: Mapping[str, ArrayLike] | None = None,
    static: Mapping[str, int] | None = None,
    retype_io: bool = False,
    dynamic: Mapping[str, str] | None = None,
    unfreeze: bool = False,
    also: Sequence[str | Path] = (),
    assume: Mapping[str, str | int] | None = None,
) -> Plan:
    """A dry run: the changes, skips and remaining blockers, without comparing or writing.

    Raises:
        As ``fix``.
    """
    result = fix(
        model,
        target=target,
        pipeline=pipeline,
        plugins=plugins,
        opset=opset,
        max_count=max_count,
        freeze=freeze,
        static=static,
        retype_io=retype_io,
        dynamic=dynamic,
        unfreeze=unfreeze,
        also=also,
        assume=assume,
        verify=False,
    )
    return Plan(result.report, result.pipeline)


__all__ = ["MOST_ROUNDS", "FixResult", "Plan", "fix", "plan", "reference_functions"]
