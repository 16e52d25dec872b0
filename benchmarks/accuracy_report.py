"""The table of the accuracy benchmark, and what it says of each disagreement."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from accuracy_cases import Case
from rtx_pool import Answer

from onnx_fix.check import CheckFinding

VERDICTS = ("ready", "not certain", "blocked", "blocked (silent)", "no answer")
OUTCOMES = ("accepted", "parse refused", "build refused", "crashed", "not built")
REFUSED = ("parse refused", "build refused", "crashed")

EXPLAINED: Mapping[str, str] = {
    "OF102": "A plugin of that name might be registered where the engine is built; here none is.",
    "OF106": "The parser looks at the name of the op alone. What an op of another domain means is "
    "not in the model, so whether the built-in one is right for it cannot be told.",
    "OF107": "The parser has an importer of its own for this contributed op. What was tried shows "
    "limits that are not in the facts, so nothing is promised.",
    "OF108": "Which plugins will be registered is not in the model.",
    "OF109": "Whether the builder can take an Attention apart without a fused kernel depends on "
    "sizes in a way that was not found out.",
    "OF201": "A depth of OneHot at run time is taken where the profile gives it one value; a Slice "
    "in the body of a Loop builds unless its starts depend on the iteration.",
    "OF210": "A zero point that comes in at run time is taken for FP8, where it has to be zero; "
    "its value is not in the model.",
    "OF307": "No false alarm: imported without a message, with other numbers. A build cannot show "
    "it.",
    "OF402": "Depends on the GPU: FP4 is built for compute capability 10 and later.",
    "OF407": "UINT8 inputs are taken by few ops; which ones was tried for some only.",
    "OF516": "How long the stack is, is not known; for one matrix the product is right.",
    "OF602": "The branches do not declare shapes, and inference does not reach them.",
    "OF608": "The body of the loop does not declare shapes, and inference does not reach them.",
    "OF817": "Which of two versions of one domain counts depends on the order of imports.",
    "OF822": "No false alarm: the built-in op is taken in place of the function, silently.",
    "OF823": "The body of the function is read by the rules of the model's opset; whether that "
    "changes numbers is not always known.",
    "no answer": "The installed onnx cannot read the model, so no tool built on it can; the parser "
    "does not look at the IR version.",
}
"""Why a verdict and the answer may differ, by the code of the first finding."""


@dataclass(frozen=True)
class Row:
    """A model, what was predicted, and what happened."""

    case: Case
    prediction: str
    findings: tuple[CheckFinding, ...]
    answer: Answer

    @property
    def verdict(self) -> str:
        """The prediction without its reason."""
        return self.prediction.partition(":")[0]

    @property
    def refused(self) -> bool:
        """Whether TensorRT-RTX refused the model, by a message or by crashing."""
        return self.answer.outcome in REFUSED

    @property
    def agrees(self) -> bool:
        """Whether the prediction was certain and came true."""
        if self.verdict == "ready":
            return not self.refused
        return self.verdict.startswith("blocked") and self.refused

    @property
    def why(self) -> str:
        """The code that explains a disagreement, or ``no answer``, or empty."""
        if self.verdict == "no answer":
            return self.verdict
        return self.findings[0].code.code if self.findings else ""


def faults(rows: Sequence[Row]) -> list[str]:
    """Refused models that were called ready, and disagreements that nothing explains."""
    found = []
    for row in rows:
        name = f"{row.case.name} ({row.case.variant})"
        if row.verdict == "ready" and row.refused:
            found.append(f"called ready: {name}: {row.answer.message}")
        elif not row.agrees and row.why not in EXPLAINED:
            found.append(f"not explained: {name}: {row.verdict}, {row.answer.outcome}, {row.why}")
    return found


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def matrix(rows: Sequence[Row]) -> str:
    """Verdicts against outcomes."""
    counts = Counter((row.verdict, str(row.answer.outcome)) for row in rows)
    used = [o for o in OUTCOMES if any(counts[v, o] for v in VERDICTS)]
    lines = [[v, *(str(counts[v, o]) for o in used)] for v in VERDICTS]
    return table(["check says", *used], lines)


def families(rows: Sequence[Row]) -> str:
    """The same by the family of models."""
    lines = []
    for family in dict.fromkeys(row.case.variant for row in rows):
        mine = [row for row in rows if row.case.variant == family]
        refused = [row for row in mine if row.refused]
        taken = [row for row in mine if not row.refused]
        lines.append(
            [
                family,
                str(len(mine)),
                str(len(refused)),
                str(sum(row.verdict == "ready" for row in refused)),
                str(sum(row.verdict == "blocked" for row in taken)),
                str(sum(row.verdict == "not certain" for row in mine)),
            ]
        )
    header = ["models", "number", "refused", "called ready", "false alarms", "not certain"]
    return table(header, lines)


def share(part: int, whole: int) -> str:
    """``part of whole (share)``."""
    return f"{part} of {whole} ({part / whole:.4f})" if whole else "none"


def scores(rows: Sequence[Row]) -> str:
    """The numbers that the matrix comes down to."""
    refused = [r for r in rows if r.refused]
    taken = [r for r in rows if not r.refused]
    flagged = sum(r.verdict != "ready" for r in refused)
    blocked = sum(r.verdict.startswith("blocked") for r in refused)
    alarms = sum(r.verdict == "blocked" for r in taken)
    doubts = sum(r.verdict == "not certain" for r in rows)
    return table(
        ["measure", "value"],
        [
            ["refusals not called ready (aim: all)", share(flagged, len(refused))],
            ["refusals called blocked", share(blocked, len(refused))],
            ["false alarms: taken, called blocked (aim: below 0.02)", share(alarms, len(taken))],
            ["not certain", share(doubts, len(rows))],
        ],
    )


def disagreements(rows: Sequence[Row]) -> str:
    """Every model on which verdict and answer differ, or the verdict was not certain, by reason."""
    groups: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        if row.agrees:
            continue
        op = row.findings[0].op if row.findings else "+".join(row.case.ops)
        groups.setdefault((row.verdict, row.answer.outcome, row.why, op), []).append(row)
    lines = []
    for (verdict, outcome, why, op), group in sorted(groups.items()):
        names: dict[str, list[str]] = {}
        for row in group:
            names.setdefault(row.case.name, []).append(row.case.variant)
        listed = ", ".join(names)
        lines.append([verdict, outcome, why, op, str(len(group)), listed])
    return table(["check says", "TensorRT-RTX", "code", "op", "models", "which"], lines)


def explanations(rows: Sequence[Row]) -> str:
    """What the codes among the disagreements mean here."""
    used = sorted({row.why for row in rows if not row.agrees})
    return table(["code", "why they differ"], [[c, EXPLAINED.get(c, "**none**")] for c in used])


def peer_table(rows: Sequence[Row], peers: Mapping[str, Sequence[str]]) -> str:
    """How each tool does on the models of one op."""
    single = [row for row in rows if len(row.case.ops) == 1]
    lines = []
    for name, said in peers.items():
        words = [word.partition(":")[0] for word in said]
        refused = [w for w, row in zip(words, single, strict=True) if row.refused]
        taken = [w for w, row in zip(words, single, strict=True) if not row.refused]
        missed = refused.count("ready")
        lines.append(
            [
                name,
                share(missed, len(refused)),
                str(sum(w.startswith("blocked") for w in refused)),
                str(refused.count("not certain")),
                share(taken.count("blocked"), len(taken)),
                str(taken.count("not certain")),
                str(words.count("no answer")),
            ]
        )
    header = [
        "tool, target",
        "refused, called ready",
        "refused, blocked",
        "refused, not certain",
        "taken, called blocked",
        "taken, not certain",
        "no answer",
    ]
    return table(header, lines)


def missed_table(rows: Sequence[Row], peer: Sequence[str], most: int = 40) -> str:
    """Ops with refused models that the peer calls ready, the most frequent first."""
    single = [row for row in rows if len(row.case.ops) == 1]
    groups: dict[str, list[Row]] = {}
    for row, word in zip(single, peer, strict=True):
        if row.refused and word == "ready":
            groups.setdefault(row.case.ops[0], []).append(row)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    lines = [
        [op, str(len(group)), group[0].case.name, f"`{group[0].answer.message[:110]}`"]
        for op, group in ordered[:most]
    ]
    if len(ordered) > most:
        rest = sum(len(group) for _, group in ordered[most:])
        lines.append([f"{len(ordered) - most} more", str(rest), "", ""])
    return table(["op", "models", "the first", "TensorRT-RTX says"], lines)


def versions() -> str:
    """What the table was made with."""
    found = []
    for name in ("onnx-fix", "onnx", "numpy"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return f"Python {platform.python_version()}, {', '.join(found)}"


def document(trt: str, rows: Sequence[Row], peers: Mapping[str, Sequence[str]]) -> str:
    """The whole file."""
    tests = [r for r in rows if r.case.variant != "targeted"]
    names = len({r.case.name for r in tests})
    parts = [
        "# How right `onnx-fix check` is",
        "Made by `benchmarks/accuracy.py`; see `benchmarks/README.md`. Do not edit.",
        f"{versions()}; TensorRT-RTX {trt}, engines built ahead of time for compute capability "
        "8.9, no GPU.",
        f"{len(rows)} models: the {names} backend node tests of onnx as shipped; with all inputs "
        "but the first frozen to the recorded data; with every dim of the inputs dynamic (built "
        "for the recorded sizes); with FLOAT16, BFLOAT16 and INT32 for FLOAT where ONNX allows it; "
        f"and {len(rows) - len(tests)} hand-made ones (`targeted_*.py`). `check` for rtx-1.7 sees "
        "the model alone. `blocked (silent)` is a model that is taken without a message and "
        "computed differently; no build can show that, so it is no false alarm. `accepted` means "
        "that an engine was built, not that its numbers are right.",
        scores(rows),
        matrix(rows),
        families(rows),
        "The facts were completed with the help of these very models: the table shows that they "
        "fit, not how well they foretell other models (see `benchmarks/README.md`).",
        "## Where verdict and answer differ, or the verdict is not certain",
        explanations(rows),
        disagreements(rows),
    ]
    if peers:
        peer = list(peers)[-1]
        parts += [
            "## Beside trtcheck",
            f"The {sum(len(r.case.ops) == 1 for r in rows)} models of one op, against the same "
            "answers. trtcheck knows TensorRT 8.0 to 10.3 and not TensorRT-RTX, which is a "
            "sibling of 11.x: some of what it calls blocked is right for 10.3 and taken by the "
            "newer parser, and the reverse. So the verdicts of onnx-fix for trt-10.3, held "
            "against the same answers, stand beside its own. Its verdict `likely` counts as ready, "
            "`unverified` as not certain.",
            peer_table(rows, peers),
            f"What {peer} calls ready and TensorRT-RTX refuses, by op:",
            missed_table(rows, peers[peer]),
        ]
    return "\n\n".join(parts) + "\n"
