"""Write `docs/lowering.md`: how every op version is lowered, by which rule, tested by which case.

    python benchmarks/lowering_table.py            # write
    python benchmarks/lowering_table.py --check    # 1 where the page is not up to date

What is said of a step is what was seen: every case of `lowering_cases.py` is lowered by that one
step, and the nodes before and after are compared.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lowering_cases import CANNOT_BE_JUDGED, Case, cases
from onnx import ModelProto

from onnx_fix.lower import lower
from onnx_fix.lower.node import Rule
from onnx_fix.lower.table import steps, table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "lowering.md"
NODE_TESTS = 4
"""So many node tests per step at most."""

WORDS = {
    "same": "the node stands as it is",
    "respelled": "the same op, with attributes or inputs written otherwise",
    "other ops": "the same op among others, or others alone",
    "refused": "no equivalent",
}


@dataclass(frozen=True)
class Seen:
    """What came of the cases of one step: how many of each kind, the ops made, the refusals."""

    kinds: Counter[str]
    ops: tuple[str, ...]
    reasons: tuple[str, ...]
    first: str
    count: int


def kind(before: ModelProto, after: ModelProto) -> tuple[str, set[str]]:
    """How the nodes of a lowered model differ from those it had, and the ops that are new."""
    old, new = list(before.graph.node), list(after.graph.node)
    if [n.SerializeToString(deterministic=True) for n in old] == [
        n.SerializeToString(deterministic=True) for n in new
    ]:
        return "same", set()
    made = Counter(n.op_type for n in new) - Counter(n.op_type for n in old)
    gone = Counter(n.op_type for n in old) - Counter(n.op_type for n in new)
    extra = set(made) - {"Constant"}
    return ("other ops", extra) if extra or gone else ("respelled", set())


def see(found: Sequence[Case]) -> Seen:
    """Lower every case of a step by one opset."""
    kinds: Counter[str] = Counter()
    ops: set[str] = set()
    reasons: Counter[str] = Counter()
    for case in found:
        done = lower(case.model, case.version - 1)
        if done.refusals:
            kinds["refused"] += 1
            reasons[_general(done.refusals[0].reason)] += 1
            continue
        word, extra = kind(case.model, done.model)
        kinds[word] += 1
        ops |= extra
    first = found[0].name.partition("/")[2] if found else ""
    names = tuple(reason for reason, _ in reasons.most_common(3))
    return Seen(kinds, tuple(sorted(ops)), names, first, len(found))


def _general(reason: str) -> str:
    """A reason without the names of tensors."""
    parts = reason.split("'")
    return "'...'".join(parts[::2]) if len(parts) % 2 else reason


def described(rule: Rule) -> str:
    """The module of a rule, its name, and what its docstring begins with."""
    outer = rule.__qualname__.partition(".")[0]
    module = sys.modules[rule.__module__]
    documented = rule.__doc__ or getattr(module, outer, rule).__doc__
    documented = documented or module.__doc__ or ""
    if documented and outer != rule.__qualname__:  # a closure: said by the function that makes it
        outer = f"{outer}(...)"
    first = " ".join(inspect.cleandoc(documented).split("\n\n")[0].split()).replace("``", "`")
    name = f"`{rule.__module__.rpartition('.')[2]}.{outer}`"
    return f"{name}: {first}" if first else name


def row(step: tuple[str, int]) -> str:
    """The line of one step."""
    op, version = step
    rule = table().get(step)
    if rule is None:
        return f"| {op} | {version} | not decided | | |"
    if step in CANNOT_BE_JUDGED:
        cells = [op, str(version), "not seen", described(rule), CANNOT_BE_JUDGED[step]]
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    seen = see(cases(step, NODE_TESTS))
    how = [
        word + (f" ({seen.kinds[word]})" if len(seen.kinds) > 1 else "")
        for word in WORDS
        if seen.kinds[word]
    ]
    if seen.ops:
        how.append("with " + ", ".join(seen.ops))
    if seen.reasons:
        how.append("because: " + "; ".join(seen.reasons))
    tested = f"{seen.first} ({seen.count} cases)" if seen.count else "no case"
    cells = [op, str(version), ", ".join(how), described(rule), tested]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page() -> str:
    """The whole page."""
    words = "; ".join(f"*{word}*: {meaning}" for word, meaning in WORDS.items())
    rows = [row(step) for step in steps()]
    return (
        "\n\n".join(
            (
                "# How op versions are lowered",
                "Made by `benchmarks/lowering_table.py`. Do not edit.",
                f"For each op and version, the step to the opset below it. {words}. A number says "
                "for how many of the cases where they differ. "
                "`benchmarks/lowering.md` says what comes of many steps one after another.",
                "| op | version | how | rule | tested by |\n| --- | --- | --- | --- | --- |\n"
                + "\n".join(rows),
            )
        )
        + "\n"
    )


def main() -> int:
    """The command: 0, or 1 where ``--check`` found the page out of date."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    given = parser.parse_args()
    text = page()
    if not given.check:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE.name} is not up to date: run python benchmarks/lowering_table.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
