"""How many of ONNX's node tests a release takes, before and after onnx-fix, and with right numbers.

    python benchmarks/coverage.py            # into benchmarks/coverage.md; some minutes, no GPU
    python benchmarks/coverage.py --target trt-7.2 --no-live

Every backend node test that the installed onnx ships, as shipped, is judged for each release,
fixed for it with the default passes, judged again, and run with the test's own inputs. For rtx-1.7
the judge is the real TensorRT-RTX: its parser, and a build ahead of time (the extra ``rtx``);
answers are kept in a file as those of accuracy.py are. For the other releases it is the static
check, which counts a model as taken where nothing is known to stand in the way.

*counted* leaves out the tests that no engine can serve: strings, sequences, optionals, training,
random numbers. *right* are those whose outputs are the recorded ones after a change (by
onnxruntime, or onnx.reference where it has no kernel); *not run* those that neither runtime gives
the recorded outputs of before the change, and those that are not counted. *with options* says how
many are taken when `fix` is also given the options that a user would give for such a model
(``options``), which change the inputs or outputs: the numbers are compared in the new types, and
where the number of rows is bounded the bound is the number that was recorded, and the added count
is not compared (the tests of the pass do).

Exits with 1 if a changed model gives wrong numbers.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import ANSWERS, live_answers
from accuracy_cases import Case, one_case
from freeze_options import freeze
from lowering_cases import as_feed
from lowering_judge import RANDOM, RUNTIMES, first_difference, ops, run
from ml_dtypes import bfloat16
from onnx import ModelProto, TensorProto
from speed import HERE, processor, table

from onnx_fix import fix
from onnx_fix.api import FixResult, reference_functions
from onnx_fix.check import check
from onnx_fix.contract import Retyped
from onnx_fix.errors import OnnxFixError, VerificationError
from onnx_fix.verify.retyped import Ends

TARGETS = ("trt-7.2", "trt-8.2", "trt-8.6", "trt-10.3", "rtx-1.7")
LIVE = "rtx-1.7"
VALUES = {"ready": "taken", "blocked": "refused", "not certain": "not certain"}
CHUNK = 16
BOUNDED = {"Compress": 0, "NonMaxSuppression": 0, "NonZero": 1}
"""Ops whose result has as many rows as the data says, and along which axis by default."""


@dataclass(frozen=True)
class Fixed:
    """What came of one test: the verdicts, the model, how its numbers are, why it is refused."""

    name: str
    counted: bool
    before: str
    after: str
    changed: bool
    numbers: str
    reason: str
    model: bytes
    optional: str = ""
    """The verdict when the options are given, too; empty where they change nothing."""
    optional_numbers: str = ""
    optional_model: bytes = b""


@cache
def tests() -> dict[str, Any]:
    """The node tests by name."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return {t.name: t for t in load_model_tests(kind="node") if t.model is not None}


def options(test: Any, fixed: FixResult) -> dict[str, Any]:
    """The options of ``fix`` that change inputs or outputs, as a user would give them.

    ``fixed`` is what comes of the test without them.
    """
    return {"retype_io": True, "freeze": freeze(test, fixed), "max_count": bounds(test, fixed)}


def bounds(test: Any, fixed: FixResult) -> dict[str, int]:
    """As many rows as were recorded, where a pass says that a bound helps."""
    if not any("--max-count" in skipped.reason for _, skipped in fixed.report.skipped):
        return {}
    recorded = [as_feed(value) for _, values in test.data_sets or [] for value in values[:1]]
    node = next((n for n in test.model.graph.node if n.op_type in BOUNDED), None)
    if node is None or not recorded:
        return {}
    axis = next((a.i for a in node.attribute if a.name == "axis"), BOUNDED[node.op_type])
    most = max(value.shape[axis] for value in recorded)
    return {"*": most} if most else {}


def servable(model: ModelProto) -> bool:
    """Whether an engine could serve the model: tensors of numbers, no training, nothing random."""
    values = (*model.graph.input, *model.graph.output)
    tensors = all(v.type.HasField("tensor_type") for v in values)
    strings = any(v.type.tensor_type.elem_type == TensorProto.STRING for v in values)
    inner = ops(model.graph)
    kinds = ("Sequence", "Optional", "String", "Tfidf", "Training", "Regex")
    odd = any(word in op for op in inner for word in kinds) or bool(inner & RANDOM)
    domains = {o.domain for o in model.opset_import} - {"", "ai.onnx"}
    training = any(a.name == "training_mode" and a.i for n in model.graph.node for a in n.attribute)
    return tensors and not (strings or odd or domains or training)


def taken(model: ModelProto, target: str) -> tuple[str, str]:
    """The verdict of the static check, and the first reason where it is not ready."""
    result = check(model, target=target)
    standing = [f for f in result.findings if f.severity.value != "warning"]
    reason = f"{standing[0].op}: {standing[0].why}" if standing else ""
    return VALUES[result.verdict], reason


def numbers(
    model: ModelProto, fixed: ModelProto, test: Any, retyped: Sequence[Retyped] = ()
) -> str:
    """``right``, ``not run``, or how the outputs differ from the recorded ones.

    Args:
        model: The model as shipped.
        fixed: The model after the fix.
        test: The test, with its inputs and outputs.
        retyped: Inputs and outputs of the fixed model that are of another type.
    """
    ends = Ends(retyped)
    whole = ModelProto()
    whole.CopyFrom(fixed)
    if any(o.domain == "trt.plugins" for o in whole.opset_import):
        opset = next(o.version for o in whole.opset_import if not o.domain)
        whole.functions.extend(reference_functions(opset))
    ran = False
    for given, recorded in test.data_sets or []:
        names = [v.name for v in model.graph.input]
        feeds = dict(zip(names, map(as_feed, given), strict=False))
        want = [as_feed(value) for value in recorded]
        left = {v.name for v in whole.graph.input}
        others = {name: value for name, value in ends.fixed(feeds).items() if name in left}
        pairs = zip(model.graph.output, want, strict=True)
        wanted = [ends.output(v.name, value, None)[0] for v, value in pairs]
        said = []
        for runtime in RUNTIMES:
            first = run(model, feeds, runtime)
            if isinstance(first, str) or first_difference(first, want):
                continue
            have = own(run(whole, others, runtime), want)
            said.append(
                "not run" if isinstance(have, str) else first_difference(*alike(have, want, wanted))
            )
        if any(text not in ("", "not run") for text in said):
            return next(text for text in said if text not in ("", "not run"))
        if "" in said:
            ran = True
        elif not said or set(said) == {"not run"}:
            have = own(run(whole, others, "onnx.reference"), want)
            if isinstance(have, str) or not said:
                return "not run"
            if difference := first_difference(*alike(have, want, wanted)):
                return difference
            ran = True
    return "right" if ran else "not run"


def own(have: list[Any] | str, want: list[Any]) -> list[Any] | str:
    """The outputs of the model itself: a bound adds its count behind them."""
    return have if isinstance(have, str) else have[: len(want)]


def alike(have: list[Any], want: list[Any], wanted: list[Any]) -> tuple[list[Any], list[Any]]:
    """Outputs to compare: in the new types, but BF16 in itself, since FLOAT rounds less."""
    rounded = [getattr(w, "dtype", None) == bfloat16 and len(have) == len(want) for w in want]
    mine = [h.astype(bfloat16) if r else h for h, r in zip(have, rounded, strict=False)]
    return mine, [w if r else o for w, o, r in zip(want, wanted, rounded, strict=True)]


def work(name: str, target: str) -> Fixed:
    """Fix one test for one release."""
    test = tests()[name]
    model: ModelProto = test.model
    try:
        before, reason = taken(model, target)
        result = fix(model, target=target, verify=False)
    except VerificationError as error:
        return Fixed(name, servable(model), "refused", "refused", False, "", str(error), b"")
    except OnnxFixError as error:
        text = f"not read: {error}"
        return Fixed(name, servable(model), "refused", "refused", False, "", text[:200], b"")
    after = before
    if not result.unchanged:
        after, reason = taken(result.model, target)
    outcome = ""
    if not result.unchanged:
        outcome = numbers(model, result.model, test) if servable(model) else "not run"
    kept = result.model.SerializeToString()
    one = Fixed(name, servable(model), before, after, not result.unchanged, outcome, reason, kept)
    return with_options(one, test, target, result)


def with_options(one: Fixed, test: Any, target: str, fixed: FixResult) -> Fixed:
    """The same with what comes of it when the options are given, too."""
    if not one.counted or (one.after == "taken" and target != LIVE):
        return one
    try:
        result = fix(test.model, target=target, verify=False, **options(test, fixed))
    except OnnxFixError as error:
        return replace(one, optional="refused", optional_numbers=str(error))
    kept = result.model.SerializeToString()
    if result.unchanged or kept == one.model:
        return one
    verdict, _ = taken(result.model, target)
    retyped = [r for change in result.report.changes for r in change.retyped]
    outcome = numbers(test.model, result.model, test, retyped)
    return replace(one, optional=verdict, optional_numbers=outcome, optional_model=kept)


def asked(found: Sequence[Fixed], workers: int, limit: float) -> list[Fixed]:
    """The same with the word of the real TensorRT-RTX, before and after."""
    cases: dict[tuple[str, str], Case] = {}
    for one in found:
        test = tests()[one.name]
        recorded = test.data_sets[0][0] if test.data_sets else ()
        by_name = dict(zip((v.name for v in test.model.graph.input), recorded, strict=False))
        cases[one.name, ""] = one_case(one.name, "as shipped", test.model, recorded)
        for what, kept in (("fixed", one.model), ("options", one.optional_model)):
            if kept and (one.changed or what == "options"):
                fixed = ModelProto.FromString(kept)
                left = [by_name[v.name] for v in fixed.graph.input if v.name in by_name]
                cases[one.name, what] = one_case(one.name, what, fixed, left)
    _, answers = live_answers(list(cases.values()), ANSWERS, workers, limit)
    live = []
    for one in found:
        before = answers[cases[one.name, ""].key]
        after = answers[cases[one.name, "fixed"].key] if one.changed else before
        last = answers[cases[one.name, "options"].key] if one.optional_model else after
        said = [
            {"accepted": "taken", "not built": "not certain"}.get(a.outcome, "refused")
            for a in (before, after, last)
        ]
        why = f"{after.op}: {after.message}" if said[1] != "taken" else ""
        optional = said[2] if one.optional_model else one.optional
        live.append(replace(one, before=said[0], after=said[1], reason=why, optional=optional))
    return live


def lines(target: str, found: Sequence[Fixed]) -> Iterator[list[str]]:
    """A line for all tests, and one for those that are counted."""
    for what, rows in (("all", found), ("counted", [f for f in found if f.counted])):
        before, after = Counter(r.before for r in rows), Counter(r.after for r in rows)
        changed = [r for r in rows if r.changed]
        outcome = Counter(
            r.numbers if r.numbers in ("right", "not run") else "wrong" for r in changed
        )
        # A test that is taken as it is needs no options.
        optional = sum("taken" in (r.after, r.optional) for r in rows)
        yield [
            target,
            what,
            f"{len(rows):,}",
            f"{before['taken']:,}",
            f"{after['taken']:,}",
            f"{after['taken'] / len(rows):.1%}",
            f"{after['not certain']:,}",
            f"{after['refused']:,}",
            f"{len(changed):,}",
            f"{outcome['right']:,}",
            f"{outcome['not run']:,}",
            f"{outcome['wrong']:,}",
            f"{optional:,}",
            f"{optional / len(rows):.1%}",
        ]


def plain(text: str) -> str:
    """A text as a cell of a table."""
    return text.replace("|", "/")[:160]


def reasons(found: Sequence[Fixed]) -> list[list[str]]:
    """What is refused or in doubt after the fix, among the counted, most frequent op first."""
    by_op: dict[str, list[Fixed]] = defaultdict(list)
    for one in found:
        if one.counted and one.after != "taken":
            by_op[one.reason.partition(":")[0]].append(one)
    ranked = sorted(by_op.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        [
            op,
            str(len(rows)),
            rows[0].name,
            rows[0].reason.partition(": ")[2].replace("|", "/")[:160],
        ]
        for op, rows in ranked
    ]


def main() -> None:
    """Parse the command line, fix and judge, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", "-o", type=Path, default=HERE / "coverage.md")
    parser.add_argument("--target", nargs="+", default=TARGETS)
    parser.add_argument("--no-live", action="store_true", help="judge rtx-1.7 statically, too")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=30, help="seconds per model for TensorRT")
    arguments = parser.parse_args()
    start = time.perf_counter()
    names = list(tests())
    found: dict[str, list[Fixed]] = {}
    with ProcessPoolExecutor(arguments.workers) as pool:
        for target in arguments.target:
            rows = list(pool.map(work, names, [target] * len(names), chunksize=CHUNK))
            if target == LIVE and not arguments.no_live:
                rows = asked(rows, arguments.workers, arguments.limit)
            found[target] = rows
            print(target, f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
    header = ["release", "tests", "number", "taken before", "taken after", "", "not certain"]
    header += ["refused", "changed", "right", "not run", "wrong", "with options", ""]
    wrong = [
        [target, r.name, plain(said)]
        for target, rows in found.items()
        for r in rows
        for said in (r.numbers if r.changed else "", r.optional_numbers)
        if said not in ("", "right", "not run")
    ]
    parts = [
        "# What is taken of ONNX's node tests",
        "Made by `benchmarks/coverage.py`; see `benchmarks/README.md`. Do not edit.",
        f"{processor()}; numpy {np.__version__}. What the words mean is said in the docstring of "
        "the script.",
        table(header, [line for target, rows in found.items() for line in lines(target, rows)]),
        "## Wrong numbers",
        table(["release", "test", "difference"], wrong) if wrong else "None.",
    ]
    for target, rows in found.items():
        left = reasons(rows)
        parts += [f"## What {target} does not take of the counted, after the fix"]
        parts += [table(["op", "tests", "first", "reason"], left) if left else "Nothing."]
    arguments.output.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
