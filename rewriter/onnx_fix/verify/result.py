"""What a verification found, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from onnx_fix.verify.compare import Comparison

CaseStatus = Literal["equal", "differs", "original failed", "fixed failed"]
Status = Literal["equal", "differs", "no evidence"]


@dataclass(frozen=True, slots=True)
class Case:
    """One set of feeds through both models.

    ``original failed`` is no evidence against the rewrite: the original does not run on these
    feeds. ``fixed failed`` is a difference: the original ran, the rewritten model did not.
    """

    label: str
    sizes: Mapping[str, int]
    source: str | None
    """The file or folder of the user's own feeds."""
    seed: int | None
    oracle: str
    status: CaseStatus
    message: str = ""
    comparisons: tuple[Comparison, ...] = ()
    tries: int = 1
    """How many sets of sizes were tried before the original ran (or was given up)."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of comparing two models."""

    cases: tuple[Case, ...]
    seed: int
    rtol: float | None
    atol: float | None
    against: str = "original"
    """``original``, or ``reference`` where another model stood in for it."""

    @property
    def evidence(self) -> int:
        """How many cases the original ran in, so that there was something to compare."""
        return sum(case.status != "original failed" for case in self.cases)

    @property
    def status(self) -> Status:
        """``differs`` if any case does, ``no evidence`` if none could be compared."""
        if any(case.status in ("differs", "fixed failed") for case in self.cases):
            return "differs"
        return "equal" if self.evidence else "no evidence"

    @property
    def ok(self) -> bool:
        """Whether something was compared and all of it is equal."""
        return self.status == "equal"

    @property
    def worst(self) -> Comparison | None:
        """The comparison that failed worst, or that came closest to it; None without any."""
        found = [comparison for case in self.cases for comparison in case.comparisons]
        return max(found, key=_badness, default=None)

    @property
    def reason(self) -> str:
        """Why there is a difference or no evidence, in one line; empty where all is equal."""
        if self.status == "equal":
            return ""
        for wanted in ("fixed failed", "differs", "original failed"):
            for case in self.cases:
                if case.status == wanted:
                    return f"{case.label}: {case.message}"
        return "nothing was run"

    def to_dict(self) -> dict[str, object]:
        """Return the result as JSON values; numbers that JSON lacks become ``"inf"``, ``"nan"``."""
        worst = self.worst
        return {
            "status": self.status,
            "ok": self.ok,
            "evidence": self.evidence,
            "against": self.against,
            "reason": self.reason,
            "seed": self.seed,
            "rtol": self.rtol,
            "atol": self.atol,
            "worst": None if worst is None else _comparison(worst),
            "cases": [
                {
                    "label": case.label,
                    "sizes": dict(case.sizes),
                    "source": case.source,
                    "seed": case.seed,
                    "oracle": case.oracle,
                    "status": case.status,
                    "message": case.message,
                    "tries": case.tries,
                    "seconds": round(case.seconds, 3),
                    "outputs": [_comparison(comparison) for comparison in case.comparisons],
                }
                for case in self.cases
            ],
        }


def _badness(comparison: Comparison) -> tuple[bool, bool, float, float]:
    """Failures first, among them those no tolerance mends; then by how much of it was needed."""
    needed = comparison.rtol_needed
    used = comparison.atol_needed
    return (
        not comparison.ok,
        needed is None and used is None,
        math.inf if used is None else used,
        comparison.max_rel,
    )


def _comparison(comparison: Comparison) -> dict[str, object]:
    plain = {name: _number(value) for name, value in asdict(comparison).items()}
    return plain | {"ok": comparison.ok}


def _number(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def describe(comparison: Comparison) -> str:
    """Say in one line how an output differs; empty where it does not."""
    c = comparison
    if c.ok:
        return ""
    if c.note:
        what = c.note
    elif not c.dtype_equal:
        what = f"dtype {c.dtype} instead of {c.expected_dtype}"
    elif not c.shape_equal:
        what = f"shape {_shape(c.shape)} instead of {_shape(c.expected_shape)}"
    elif not c.nan_equal:
        what = "NaN in other places"
    elif not c.inf_equal:
        what = "infinities in other places"
    else:
        what = f"{c.n_mismatched} of {c.n_elements} elements differ, by {c.max_abs:.3g} at most"
        if c.atol_needed is not None:
            what += f" (rtol {c.rtol:g}, atol {c.atol:g}; atol {c.atol_needed:.3g} would do)"
    return f"output '{c.output}': {what}"


def _shape(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else "x".join(map(str, shape)) or "scalar"
