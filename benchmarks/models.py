"""Fix a folder of exported models for several TensorRT releases and tabulate what came of it.

    python benchmarks/models.py                          # the fixtures, into benchmarks/models.md
    python benchmarks/models.py FOLDER_OR_MODEL ... --output TABLE.md

For every model and target: the nodes that the target refuses (or may refuse) before and after, the
passes that worked, what is still refused, and how the outputs compare with the original's in
onnxruntime. A model with a sidecar beside it (see fixtures/README.md) is run at its two sizes,
another at generated ones. Where the original does not run, another export of the same network among
the given models or the fixtures stands in for it.

With the extra ``rtx``, the real TensorRT-RTX parses each model and builds an engine ahead of time,
before and after the fix for rtx-1.7 (no GPU needed; see rtx.py).
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rtx

import onnx_fix
from onnx_fix.api import FixResult, reference_functions
from onnx_fix.errors import OnnxFixError
from onnx_fix.report import Blocker, by_reason
from onnx_fix.save import save

if TYPE_CHECKING:
    from onnx_fix.verify import Verification

HERE = Path(__file__).parent
FIXTURES = HERE.parent / "fixtures"
TARGETS = ("trt-7.2", "trt-8.2", "trt-8.6", "trt-10.3", "rtx-1.7")
RTX = "rtx-1.7"
SIZES = ("a", "b")

sys.path.append(str(FIXTURES / "export"))  # its scripts are no package
sidecar = import_module("sidecar")


@dataclass
class Row:
    """What came of one model and one target."""

    model: str
    target: str
    before: list[Blocker] = field(default_factory=list)
    after: list[Blocker] = field(default_factory=list)
    passes: dict[str, int] = field(default_factory=dict)
    verdict: str = ""
    worst: float | None = None
    seconds: float = 0.0
    fault: str = ""


@dataclass
class RtxRow:
    """What the real TensorRT-RTX said before and after the fix."""

    model: str
    before: rtx.Verdict
    after: rtx.Verdict


class Bench:
    """The models to work on, and a scratch folder."""

    def __init__(self, models: Sequence[Path], scratch: Path, limit: float) -> None:
        self.models = models
        self.scratch = scratch
        self.limit = limit

    def feeds(self, model: Path, which: Sequence[str] = SIZES) -> Path | None:
        """A folder with one file of feeds per size; None where the model has no sidecar."""
        if not Path(f"{model}.json").is_file():
            return None
        folder = self.scratch / f"{model.name}.{''.join(which)}"
        folder.mkdir(exist_ok=True)
        for size in which:
            feeds = sidecar.make_feeds(sidecar.Sidecar.of(model), size)
            np.savez(folder / f"{size}.npz", **feeds)
        return folder

    def twins(self, model: Path) -> Iterator[Path]:
        """Other exports of the same network, by the sidecars."""
        if not Path(f"{model}.json").is_file():
            return
        kind = sidecar.Sidecar.of(model).kind
        for other in [*self.models, *sorted(FIXTURES.glob("*.onnx"))]:
            if other.name == model.name or not Path(f"{other}.json").is_file():
                continue
            if sidecar.Sidecar.of(other).kind == kind:
                yield other

    def row(self, model: Path, target: str) -> tuple[Row, FixResult | None]:
        """Fix one model for one target."""
        row = Row(model.name.removesuffix(".onnx"), target)
        start = time.perf_counter()
        result = None
        try:
            result = onnx_fix.fix(model, target=target, inputs=self.feeds(model))
        except OnnxFixError as error:
            row.fault = f"{type(error).__name__}: {error}".replace(str(model), model.name)
        row.seconds = time.perf_counter() - start
        if result is None:
            return row, None
        report = result.report
        row.before, row.after = report.before, report.after
        row.passes = dict(Counter(c.pass_name for c in report.changes))
        row.verdict, row.worst = self.verdict(model, result)
        return row, result

    def verdict(self, model: Path, result: FixResult) -> tuple[str, float | None]:
        """How the outputs compare, and the largest absolute difference of a float output."""
        checked = result.report.verification
        if checked is None:
            return "unchanged" if result.unchanged else result.report.verification_note, None
        if checked.status == "no evidence":
            for twin in self.twins(model):
                found = self._against(model, result, twin)
                if found is not None:
                    return found
            return f"no evidence: {checked.reason}".replace(str(model.parent), ""), None
        oracles = sorted({case.oracle for case in checked.cases} - {"onnxruntime"})
        notes = [f"in {', '.join(oracles)}"] if oracles else []
        if checked.evidence < len(checked.cases):
            failed = [c.label for c in checked.cases if c.status == "original failed"]
            notes.append(f"the original fails at {', '.join(Path(f).stem for f in failed)}")
        return checked.status + (f" ({'; '.join(notes)})" if notes else ""), largest(checked)

    def _against(
        self, model: Path, result: FixResult, twin: Path
    ) -> tuple[str, float | None] | None:
        from onnx_fix.verify import verify

        opset = next(o.version for o in result.model.opset_import if o.domain in ("", "ai.onnx"))
        words, worst = [], []
        for size in SIZES:
            checked = verify(
                model,
                result.model,
                after_dir=model.parent,
                reference=twin,
                inputs_dir=self.feeds(model, [size]),
                plugin_bodies=reference_functions(opset),
            )
            if checked.status == "no evidence":
                return None
            if checked.status == "equal":
                words.append(f"equal at {size}")
                worst.append(largest(checked) or 0.0)
            else:
                outputs = sorted(
                    {c.output for case in checked.cases for c in case.comparisons if not c.ok}
                )
                words.append(f"{' and '.join(outputs) or 'fails'} differs at {size}")
        twin_name = twin.name.removesuffix(".onnx")
        return f"to {twin_name}: {', '.join(words)}", max(worst, default=None)

    def rtx_row(self, model: Path, result: FixResult | None) -> RtxRow:
        """Ask the real parser and builder before and after."""
        profile = None
        if Path(f"{model}.json").is_file():
            profile = sidecar.Sidecar.of(model).profile()
        before = rtx.ask(model, profile, build=True, timeout=self.limit)
        after = before
        if result is None:
            after = rtx.Verdict("", False, None, "nothing was written")
        elif not result.unchanged:
            output = self.scratch / model.name
            save(result.model, output, files=result.files, source=model, force=True)
            after = rtx.ask(output, profile, build=True, timeout=self.limit)
        return RtxRow(model.name.removesuffix(".onnx"), before, after)


def largest(checked: Verification) -> float | None:
    """The largest absolute difference between finite floats of any output; None without floats."""
    found = [
        c.max_abs
        for case in checked.cases
        for c in case.comparisons
        if c.expected_dtype.startswith(("float", "bfloat"))
    ]
    return max(found, default=None)


# The report -------------------------------------------------------------------------------------


def counts(found: Iterable[Blocker]) -> str:
    """``refused + in doubt``."""
    status = Counter(b.status for b in found)
    doubt = f" + {status['unknown']}?" if status["unknown"] else ""
    return f"{status['refused']}{doubt}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def blockers_table(rows: Sequence[Row]) -> str:
    """One line per model and target."""

    def cells(row: Row) -> list[str]:
        if row.fault:
            return [row.model, row.target, "", "", "", f"**{row.fault.splitlines()[0]}**", "", ""]
        return [
            row.model,
            row.target,
            counts(row.before),
            counts(row.after),
            ", ".join(f"{name} {count}" for name, count in row.passes.items()),
            row.verdict,
            "" if row.worst is None else f"{row.worst:.1e}" if row.worst else "0",
            f"{row.seconds:.1f}",
        ]

    header = ["model", "target", "before", "after", "passes", "outputs", "worst error", "s"]
    return table(header, map(cells, rows))


def summary_table(rows: Sequence[Row]) -> str:
    """One line per target."""
    lines = []
    for target in dict.fromkeys(row.target for row in rows):
        mine = [row for row in rows if row.target == target]
        before = [len(_refused(row.before)) for row in mine]
        after = [len(_refused(row.after)) for row in mine]
        ill = f"{sum(map(bool, before))} of {len(mine)}"
        left = str(sum(map(bool, after)))
        lines.append([target, ill, left, str(sum(before)), str(sum(after))])
    header = ["target", "models with refused nodes", "after", "refused nodes", "after"]
    return table(header, lines)


def left_table(rows: Sequence[Row]) -> str:
    """What is still refused, by reason; targets with the same reason share a line."""
    lines: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for group in by_reason(row.after):
            first = group[0]
            finding = first.findings[0] if first.findings else None
            says = ""
            if finding is not None:
                says = f"`{finding.message}`" if finding.message else finding.why
            if first.silent:
                says = f"computes something else: {says}"
            what = f"{len(group)} x {first.op}"
            doubt = " (in doubt)" if first.status == "unknown" else ""
            lines.setdefault((row.model, what + doubt, says), []).append(row.target)
    header = ["model", "nodes", "targets", "first message or reason"]
    return table(
        header, ([model, what, ", ".join(t), says] for (model, what, says), t in lines.items())
    )


def rtx_table(rows: Sequence[RtxRow]) -> str:
    """What the real TensorRT-RTX said."""

    def words(verdict: rtx.Verdict) -> list[str]:
        if not verdict.parsed:
            where = f"{verdict.op}: " if verdict.op else ""
            return [f"refused: {where}`{verdict.message}`", ""]
        if verdict.built:
            return ["parsed", f"built in {verdict.seconds:.1f} s"]
        return ["parsed", f"failed: `{verdict.message}`"]

    header = ["model", "parser before", "build before", "parser after", "build after"]
    return table(header, ([r.model, *words(r.before), *words(r.after)] for r in rows))


def versions() -> str:
    """What the table was made with."""
    names = ["onnx-fix", "onnx", "onnxruntime", "onnxsim", "tensorrt-rtx-cu13", "numpy"]
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return f"Python {platform.python_version()}, {', '.join(found)}"


def document(rows: Sequence[Row], asked: Sequence[RtxRow]) -> str:
    """The whole file."""
    ill = [r for r in rows if _refused(r.before)]
    cured = [r for r in ill if not _refused(r.after)]
    faults = sum(bool(r.fault) for r in rows)
    parser = next((a.before.version for a in asked if a.before.version), "")
    parts = [
        "# What onnx-fix does to exported models",
        "Made by `benchmarks/models.py`; see `benchmarks/README.md`. Do not edit.",
        versions() + ".",
        "`before` and `after` count the nodes that the target refuses, or imports and computes "
        "wrongly; `+ n?` are nodes of which nobody can say. `passes` counts changes. `outputs` "
        "compares the result with the original in onnxruntime, graph optimisations off, at the "
        "two sizes of the sidecar; `worst error` is the largest absolute difference of a float "
        "(integers are equal exactly). `s` is the time of fix and comparison.",
        f"Of {len(rows)} pairs of model and target, {len(ill)} have nodes that the target refuses; "
        f"after the fix, {len(cured)} of them have none. Runs that failed: {faults}.",
        summary_table(rows),
        "## Blockers before and after",
        blockers_table(rows),
        "## What is still refused",
        left_table(rows),
    ]
    if asked:
        parts += [
            "## The real TensorRT-RTX",
            f"tensorrt_rtx {parser}, engines built ahead of time for compute capability 8.6, with "
            "the profile of the sidecar.",
            rtx_table(asked),
        ]
    return "\n\n".join(parts) + "\n"


def _refused(found: Iterable[Blocker]) -> list[Blocker]:
    return [b for b in found if b.status == "refused"]


def collect(paths: Sequence[Path]) -> list[Path]:
    """The models among files and folders, sorted by name."""
    found: list[Path] = []
    for path in paths:
        found += path.glob("*.onnx") if path.is_dir() else [path]
    return sorted(found, key=lambda path: path.name)


def main() -> None:
    """Parse the command line and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", type=Path, default=[FIXTURES], metavar="PATH")
    parser.add_argument("--output", "-o", type=Path, default=HERE / "models.md")
    parser.add_argument("--target", action="append", help="only these targets")
    parser.add_argument("--no-rtx", action="store_true", help="leave TensorRT-RTX out")
    parser.add_argument("--limit", type=float, default=300, help="seconds per engine build")
    arguments = parser.parse_args()
    models = collect(arguments.paths)
    missing = [str(m) for m in models if not m.is_file()]
    if missing or not models:
        parser.error(f"no such model: {', '.join(missing) or arguments.paths[0]}")
    real = not arguments.no_rtx and rtx.available()
    rows: list[Row] = []
    asked: list[RtxRow] = []
    with tempfile.TemporaryDirectory(prefix="onnx-fix-bench-") as scratch:
        bench = Bench(models, Path(scratch), arguments.limit)
        for model in models:
            for target in arguments.target or TARGETS:
                row, result = bench.row(model, target)
                rows.append(row)
                left = row.fault or f"{counts(row.before)} -> {counts(row.after)}; {row.verdict}"
                print(f"{row.model} {target}: {left}", file=sys.stderr)
                if real and target == RTX:
                    asked.append(bench.rtx_row(model, result))
    arguments.output.write_text(document(rows, asked), encoding="utf-8")


if __name__ == "__main__":
    main()
