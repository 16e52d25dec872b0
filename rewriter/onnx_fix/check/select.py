"""Which findings a user wants to hear of: ``--select`` and ``--ignore``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from onnx_fix.check.finding import CheckFinding, Code
from onnx_fix.errors import UsageError

ALL = "ALL"


@dataclass(frozen=True, slots=True)
class NodeIgnore:
    """Leaves out some codes at the nodes whose name matches a pattern."""

    codes: frozenset[str]
    pattern: re.Pattern[str]

    def matches(self, finding: CheckFinding) -> bool:
        """Whether the finding is meant: by its node, or by its tensor where it names no node."""
        if finding.code.code not in self.codes:
            return False
        name = finding.node or finding.tensor
        placed = f"{finding.scope}:{name}"
        return any(self.pattern.fullmatch(text) for text in (name, placed))


@dataclass(frozen=True, slots=True)
class Selection:
    """The codes that are reported, and the nodes at which some are not."""

    codes: frozenset[str]
    nodes: tuple[NodeIgnore, ...] = field(default=())

    @classmethod
    def of(cls, select: Sequence[str], ignore: Sequence[str], codes: Sequence[Code]) -> Selection:
        """Read the two options.

        Each item is a code (``OF204``), the start of one (``OF2``), a name
        (``input-must-be-constant``) or ``ALL``; commas separate several. Of two items that meet,
        the longer one wins, and ``ignore`` wins a tie, so ``--select OF204 --ignore OF2`` reports
        OF204 alone of its hundred. No ``select`` means ``ALL``.

        An item of ``ignore`` may be followed by ``:`` and a pattern of node names, in which ``*``
        stands for any text and ``?`` for any character (a comma in a name, for example); no other
        character is special. The pattern is held against the name, and against ``scope:name``.

        Raises:
            UsageError: an item fits no known code (the nearest are named), or ``select`` has a
                node pattern.
        """
        chosen: dict[str, int] = {}
        left_out: dict[str, int] = {}
        nodes: list[NodeIgnore] = []
        for item in _items(select) or [ALL]:
            if ":" in item:
                raise UsageError(
                    f"--select '{item}': node patterns are for --ignore; select a code without ':'"
                )
            _take(chosen, *_match(item, codes, "--select"))
        for item in _items(ignore):
            word, colon, pattern = item.partition(":")
            found, weight = _match(word, codes, "--ignore")
            if not colon:
                _take(left_out, found, weight)
            elif pattern:
                nodes.append(NodeIgnore(frozenset(found), _glob(pattern)))
            else:
                raise UsageError(
                    f"--ignore '{item}': a node pattern is missing behind ':'; write "
                    f"{word}:/layer1/* or {word} alone"
                )
        wanted = (code for code, weight in chosen.items() if weight > left_out.get(code, -1))
        return cls(frozenset(wanted), tuple(nodes))

    def keeps(self, finding: CheckFinding) -> bool:
        """Whether the finding is to be reported."""
        return finding.code.code in self.codes and not any(n.matches(finding) for n in self.nodes)

    def apply(self, findings: Iterable[CheckFinding]) -> tuple[list[CheckFinding], int]:
        """The findings to report, in their order, and how many are left out."""
        given = list(findings)
        kept = [f for f in given if self.keeps(f)]
        return kept, len(given) - len(kept)


def _items(options: Sequence[str]) -> list[str]:
    return [item for option in options for part in option.split(",") if (item := part.strip())]


def _take(into: dict[str, int], found: Iterable[str], weight: int) -> None:
    for code in found:
        into[code] = max(weight, into.get(code, -1))


def _match(item: str, codes: Sequence[Code], option: str) -> tuple[list[str], int]:
    """The codes an item means, and how precisely it means them."""
    if item.upper() == ALL:
        return [c.code for c in codes], 0
    named = [c for c in codes if c.name == item.lower()]
    if named:
        return [c.code for c in named], max(len(c.code) for c in named)
    found = [c.code for c in codes if c.code.startswith(item.upper())] if item else []
    if found:
        return found, len(item)
    raise UsageError(f"{option}: no check has the code or name '{item}'{_hint(item, codes)}")


def _hint(item: str, codes: Sequence[Code]) -> str:
    names = [c.name for c in codes]
    known = [c.code for c in codes]
    near = difflib.get_close_matches(item.lower(), names, n=2) or difflib.get_close_matches(
        item.upper(), known, n=2, cutoff=0.7
    )
    if near:
        return f"; did you mean {' or '.join(near)}?"
    groups = sorted({code[:3] for code in known})
    return f"; codes start with {', '.join(groups)}" if groups else ""


def _glob(pattern: str) -> re.Pattern[str]:
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(c) or re.escape(c) for c in pattern), re.DOTALL)
