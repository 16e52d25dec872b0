"""Whether a profile can work, before anything is built."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from onnx import ModelProto

from onnx_fix.functions import label_of
from onnx_fix.load import opset_of
from onnx_fix.plugin_bodies import plugin_bodies
from onnx_fix.profiles.limits import Free, free_memory, too_much
from onnx_fix.profiles.mend import NARROW, mend_for
from onnx_fix.profiles.points import Chosen, points, probes
from onnx_fix.profiles.profile import Profile
from onnx_fix.profiles.rules import find_rules, find_working
from onnx_fix.profiles.shape_tensors import shape_inputs
from onnx_fix.profiles.sized import Fault, Sized, Sizer
from onnx_fix.profiles.target_limits import beyond, has_int64
from onnx_fix.profiles.trial import Point, Ran, Trial
from onnx_fix.target import Target
from onnx_fix.verify.source import with_bodies

Severity = Literal["error", "warning", "note"]
"""``error``: the profile cannot work. ``warning``: it works with sizes that keep to a rule, or may
not work. ``note``: good to know."""

Tell = Callable[[str], None]
_LISTED = 4
_STATIC_S = 5.0
"""Seconds for the sizes of more points."""
_LITTLE = 2**27
"""Bytes of tensors up to which more points are run without a reason."""
_QUICK_S = 0.1
"""Seconds of a run up to which more points are run."""


@dataclass(frozen=True, slots=True)
class ProfileFinding:
    """One thing about a profile; ``node`` and ``op`` where one is concerned, ``at`` the sizes."""

    severity: Severity
    message: str
    mend: str = ""
    node: str = ""
    op: str = ""
    at: str = ""


def _silent(_message: str) -> None:
    return


def check_profile(
    model: ModelProto,
    profile: Profile,
    target: Target,
    *,
    base_dir: Path | None = None,
    run: bool = True,
    timeout_s: float = 300.0,
    memory: int | None = None,
    progress: Tell = _silent,
) -> list[ProfileFinding]:
    """What is to be said of a profile before an engine is built for it, the worst first.

    The model is run by onnxruntime at min, opt and max, at sizes between, and where dims meet at
    opposite ends, in a process of its own. The sizes of all tensors are inferred at the same
    points. Where a size fails, the sizes around it are run to find the rule. A builder looks at
    opt alone (as TensorRT-RTX 1.7 was seen to): what fails elsewhere fails in the engine.

    Args:
        model: The fixed model; it is not changed.
        profile: A profile of it.
        target: The release that an engine is to be built for.
        base_dir: The folder of its external weights.
        run: Whether to run it; otherwise only sizes are inferred.
        timeout_s: Seconds for all runs together.
        memory: Bytes that a run may take; by default a part of what is free.
        progress: Is told what is going on.

    Raises:
        ModelError: the model is too large to be handed over.
    """
    work = _Check(model, profile, target, memory, progress)
    work.inputs()
    work.static()
    if run:
        with Trial(model, base_dir, timeout_s=timeout_s, memory=work.free.to_grow) as trial:
            trial.deadline = time.monotonic() + timeout_s
            work.runs(trial)
    else:
        work.only_static("as asked")
    order = ("error", "warning", "note")
    return sorted(dict.fromkeys(work.findings), key=lambda f: order.index(f.severity))


@dataclass(slots=True)
class _Failure:
    node: str
    op: str
    message: str
    at: list[Chosen]

    @classmethod
    def add(cls, failures: dict[tuple[str, str], _Failure], chosen: Chosen, ran: Ran) -> None:
        """Put a failure to the others of its node."""
        key = ran.node or ran.message, ran.op
        failures.setdefault(key, cls(ran.node, ran.op, ran.message, [])).at.append(chosen)


class _Check:
    def __init__(
        self,
        model: ModelProto,
        profile: Profile,
        target: Target,
        memory: int | None,
        progress: Tell,
    ) -> None:
        self.findings: list[ProfileFinding] = []
        self.free: Free = free_memory(memory)
        self._model = model
        self._profile = profile
        self._target = target
        self._progress = progress
        self._points = points(profile)
        bodies = plugin_bodies(opset_of(model.opset_import))
        self._sizer = Sizer(with_bodies(model, bodies))
        self._sized: dict[Point, Sized] = {}
        self._fitting: list[Point] = []

    def say(
        self,
        severity: Severity,
        message: str,
        mend: str = "",
        node: str = "",
        op: str = "",
        at: str = "",
    ) -> None:
        """Add a finding."""
        self.findings.append(ProfileFinding(severity, message, mend, node, op, at))

    # -- what the profile itself says -------------------------------------------------------------

    def inputs(self) -> None:
        """Empty dims, and inputs whose values decide sizes."""
        empty = [name for name, sizes in self._profile.ranges.items() if sizes[0] == 0]
        if empty:
            self.say(
                "warning",
                f"{', '.join(empty)} may be 0: tensors are empty then, which not every layer of "
                "TensorRT takes",
                f"set min of {', '.join(empty)} to 1 where nothing empty is ever fed",
            )
        drives = shape_inputs(self._model)
        for name, found in drives.items():
            if found.obstacle:
                self.say(
                    "error" if found.split else "warning",
                    f"the values of input {name} decide sizes, and TensorRT cannot take them as a "
                    f"shape tensor: {found.obstacle}",
                    f"make it a constant (--freeze {name}=...), or give it a form that TensorRT "
                    "takes: integers, a scalar or a list of fixed length",
                    found.node,
                    found.op,
                )
        for name in self._profile.values:
            if name not in drives:
                self.say(
                    "warning",
                    f"the profile has values for input {name}, and they decide no size: TensorRT "
                    "takes values of shape tensors alone",
                    f"leave {name} out of the profile",
                )

    # -- sizes without running --------------------------------------------------------------------

    def static(self) -> None:
        """Infer the sizes at every point, and what follows from them alone."""
        self._progress("inferring sizes")
        told: set[tuple[str, str]] = set()
        for chosen in self._points:
            point = chosen.point
            sized = self._sized_at(point)
            for finding in self._of_sizes(chosen, self._sizer, sized):
                # The largest point is not the first; what is told once is told of the first.
                if (finding.node, finding.mend) not in told:
                    told.add((finding.node, finding.mend))
                    self.findings.append(finding)
        top = next((c for c in self._points if c.place == "max"), self._points[0])
        self._notes(top, self._sized_at(top.point))

    def _of_sizes(self, chosen: Chosen, sizer: Sizer, sized: Sized) -> Iterator[ProfileFinding]:
        for name, count in too_much(sized):
            maker = sized.makers[name]
            yield ProfileFinding(
                "error",
                f"tensor {name} {list(sized.shapes[name])} would have {count} elements, and "
                "TensorRT counts them in INT32 (2147483647 at most)",
                "make max smaller",
                label_of(maker) if maker.op_type else "",
                maker.op_type,
                str(chosen),
            )
        for wide in sized.wide:
            exact = has_int64(self._target)
            yield ProfileFinding(
                "warning" if exact else "error",
                f"{wide.value} is computed from sizes and does not fit INT32"
                + (", which dims of TensorRT must" if exact else f", and {self._target.name} has "
                   "no wider integers"),
                "make max smaller, or compute the size otherwise",
                wide.node,
                wide.op,
                str(chosen),
            )  # fmt: skip
        for node, why in beyond(self._target, sizer, sized):
            yield ProfileFinding(
                "error",
                f"{why}: {self._target.name} refuses it, some releases only as the engine runs",
                "keep the sizes that decide it within the limit",
                label_of(node),
                node.op_type,
                str(chosen),
            )

    def _notes(self, chosen: Chosen, sized: Sized) -> None:
        name, size = sized.largest()
        if name:
            maker = sized.makers[name]
            by = f" of {maker.op_type} {label_of(maker)}" if maker.op_type else ", an input"
            self.say(
                "note",
                f"the largest tensor at max is {name} {list(sized.shapes[name])}{by}: "
                f"{spelled_bytes(size)}; tensors alive at once take {spelled_bytes(sized.peak)} at "
                f"most, weights {spelled_bytes(sized.weights)}, in the types of the model and "
                "without fusion",
                at=str(chosen.point),
            )
        if sized.unknown and not sized.faults:
            ops = ", ".join(dict.fromkeys(n.op_type for n in sized.unknown[:_LISTED]))
            self.say(
                "note",
                f"not counted is what follows from data or from a body that repeats: outputs of "
                f"{len(sized.unknown)} node{'s'[: len(sized.unknown) != 1]} ({ops}, ...)",
                node=label_of(sized.unknown[0]),
                op=sized.unknown[0].op_type,
            )

    def only_static(self, why: str) -> None:
        """What inference finds impossible, where the model cannot be run."""
        self.say("note", f"it was not run: {why}; sizes were inferred alone")
        self._faults([*self._points, *probes(self._profile)])

    def _faults(self, chosen: Iterable[Chosen]) -> None:
        """What inference finds impossible at some points, node by node."""
        until = time.monotonic() + _STATIC_S
        found: dict[tuple[str, str], list[tuple[Chosen, Fault]]] = {}
        for one in chosen:
            sized = self._sized_at(one.point) if time.monotonic() < until else None
            for fault in sized.faults[:1] if sized is not None else ():
                found.setdefault((fault.node, fault.op), []).append((one, fault))
        for (node, op), places in found.items():
            ends = [place for place in places if place[0].is_end]
            shown = (ends or places)[:_LISTED]
            self.say(
                "error" if ends else "warning",
                f"the sizes do not fit: {shown[0][1].message}",
                NARROW,
                node,
                op,
                "; ".join(str(one) for one, _ in shown),
            )

    def _sized_at(self, point: Point) -> Sized:
        if point not in self._sized:
            self._sized[point] = self._sizer.at(dict(point.sizes), dict(point.values))
        return self._sized[point]

    # -- runs -------------------------------------------------------------------------------------

    def runs(self, trial: Trial) -> None:
        """Run at every point, and say what fails and by which rule."""
        trial.too_large = self._too_large
        for chosen in reversed(self._points):
            self._too_large(chosen.point)
        good: list[Chosen] = []
        failures: dict[tuple[str, str], _Failure] = {}
        unseen: list[Chosen] = []
        for chosen in self._points:
            self._progress(f"running at {chosen.point}")
            ran = trial.run(chosen.point)
            if ran.kind in ("lacks", "feeds") or trial.refused:
                if trial.refused and not trial.lacks:
                    self.say(
                        "error",
                        f"onnxruntime does not load it: {trial.refused}",
                        "fix the model first, or export it again",
                    )
                self.only_static("it does not load" if trial.refused else ran.message)
                return
            if ran.ok:
                good.append(chosen)
            elif ran.fails:
                _Failure.add(failures, chosen, ran)
            else:
                unseen.append(chosen)
                self._not_known(chosen, ran)
        self._faults(unseen)
        self._probe(trial, good, failures)
        for failure in failures.values():
            self._failed(trial, failure, good)

    def _probe(
        self, trial: Trial, good: Sequence[Chosen], failures: dict[tuple[str, str], _Failure]
    ) -> None:
        """Run at more points where that costs little, or where inference finds a fault."""
        quick = all(trial.run(c.point).seconds < _QUICK_S for c in good)
        until = time.monotonic() + _STATIC_S
        for chosen in probes(self._profile) if good else ():
            if time.monotonic() > until:
                break
            sized = self._sized_at(chosen.point)
            if (quick and sized.peak < _LITTLE) or sized.faults:
                ran = trial.run(chosen.point)
                if ran.fails:
                    _Failure.add(failures, chosen, ran)

    def _too_large(self, point: Point) -> str:
        """Why a point is not run: what it takes is more than may be used."""
        if any(point.is_within(other) for other in self._fitting):
            return ""
        sized = self._sized_at(point)
        needs = (sized.peak + sized.weights) * 2
        if needs <= self.free.limit:
            self._fitting.append(point)
            return ""
        return (
            f"that needs about {spelled_bytes(needs)} of memory, and "
            f"{spelled_bytes(self.free.limit)} may be used"
        )

    def _not_known(self, chosen: Chosen, ran: Ran) -> None:
        self.say(
            "note" if ran.kind == "memory" else "warning",
            f"it was not seen to run at {chosen}: {ran.message}",
            at=str(chosen.point),
        )

    def _failed(self, trial: Trial, failure: _Failure, good: Sequence[Chosen]) -> None:
        ends = [c for c in failure.at if c.is_end]
        shown = (ends or failure.at)[:_LISTED]
        at = "; ".join(map(str, shown))
        self._progress(f"looking for the sizes that {failure.op} {failure.node} takes")
        bad = shown[0].point
        same = [c.point for c in good if c.point.values == bad.values]
        usual = next((c.point for c in good if c.place == "opt" and c.point in same), None)
        works = usual or next(iter(same), None)
        # Values of shape tensors go with the sizes: no size can be moved alone.
        ranges = {} if self._profile.values else self._profile.ranges
        if works is None and ranges:
            works = find_working(trial, ranges, bad)
        if not good and works is None:
            self.say(
                "error",
                f"it does not run at any of the {len(trial.known)} sizes tried. {failure.message}",
                "run the model on inputs of your own (onnx-fix fix --inputs); where it works "
                "there, random values do not suit it",
                failure.node,
                failure.op,
                at,
            )
            return
        rules = find_rules(trial, ranges, works, bad) if works is not None and ranges else []
        # Sizes that keep to a rule work; a gap in the middle leaves no range that does.
        ruled = bool(rules) and all(r.kind in ("multiple", "equal") for r in rules)
        corner = all(c.place == "corner" for c in failure.at) or bool(self._profile.values)
        severity: Severity = "warning" if not ends and (ruled or corner) else "error"
        said = "; ".join(str(rule) for rule in rules)
        if not said and self._profile.values:
            said = "sizes and values of shape tensors must suit each other"
        self.say(
            severity,
            f"it fails at sizes of the range: {said or 'no rule was found'}. {failure.message}",
            mend_for(rules, self._profile.ranges, warned=severity == "warning"),
            failure.node,
            failure.op,
            at,
        )


def spelled_bytes(size: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return ""
