"""Put what the facts say of a release beside what the release itself said."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.live import codes
from onnx_fix.check.live.findings import others, refusal, wants_plugin
from onnx_fix.check.live.result import LiveError, LiveResult
from onnx_fix.target import Target
from onnx_fix.target.data import Release, read

_BUILDER = frozenset({"build_error", "parse_or_build_error"})
_SILENT = frozenset({"wrong_result", "changes_shape", "unknown"})
_ABOUT_NODES = re.compile(r"OF[1-6]\d\d$")
_ABOUT_SIZES = re.compile(r"OF5\d\d$")


def merge(static: Sequence[CheckFinding], live: LiveResult, target: Target) -> list[CheckFinding]:
    """The findings from the facts and from an installed TensorRT, as one list.

    Only where the installed release is the target are they held against each other: findings on
    one node become one with the evidence ``live``; OF906 and OF907 name where they differ, beside
    the findings of both. A node counts as taken only where the parser surely got past it, and
    where only the parser was asked, what the builder may refuse is not contradicted. Findings of
    another release are warnings, since they prove nothing for the target; its own warnings are
    left out.
    """
    if not live.parser.is_release(target.release):
        said = [refusal(error, live) for error in live.errors] + list(others(live))
        return [*static, *(_foreign(f, target) for f in said if f.code is not codes.WARNED)]
    return _Merger(static, live, target).run()


def _foreign(finding: CheckFinding, target: Target) -> CheckFinding:
    note = f"{finding.why}. It is not the release that is asked about, {target.name}"
    return replace(finding, severity=Severity.WARNING, why=note)


class _Merger:
    def __init__(self, static: Sequence[CheckFinding], live: LiveResult, target: Target) -> None:
        self.live = live
        self.target = target
        self.found = list(static)
        self.added: list[CheckFinding] = []
        self.effects = _effects(target)
        self.built = live.status == "built"
        self.at: dict[tuple[str, str], list[int]] = {}
        for i, finding in enumerate(self.found):
            if finding.node:
                self.at.setdefault(_key(finding), []).append(i)

    def run(self) -> list[CheckFinding]:
        for i, finding in enumerate(self.found):
            if self._taken(finding):
                self._compare(i, finding)
        for error in self.live.errors:
            self._error(error)
        for finding in others(self.live):
            self.added.append(finding)
            if finding.code in (codes.BUILD_FAILED, codes.REFUSED) and not self._blocked():
                self.added.append(self._unforeseen(finding))
        return [*self.found, *self.added]

    # -- nodes that the parser took --------------------------------------------------------------

    def _taken(self, finding: CheckFinding) -> bool:
        if not _ABOUT_NODES.match(finding.code.code) or _key(finding) not in self.live.taken:
            return False
        if not finding.scope.startswith("function "):
            return True
        # A parser that has an importer of the same name never looks at the body.
        called = finding.scope.split("/")[0].removeprefix("function ").partition("::")[2]
        name = called.split(":")[0]
        return self.target.reads_functions and not self.target.has_importer(name)

    def _compare(self, i: int, finding: CheckFinding) -> None:
        effects = self.effects.get(finding.op.rpartition("::")[2], frozenset())
        by_builder = effects & _BUILDER or _ABOUT_SIZES.match(finding.code.code)
        if by_builder and not self.built:
            return
        what = "built an engine with it" if self.built else "parsed it"
        said = f"the installed {self.live.parser.label} {what}"
        if finding.severity is Severity.ERROR:
            why = f"{said}, and the facts say: {finding.why}"
            taken = replace(
                finding, code=codes.TAKEN, severity=Severity.WARNING, why=why,
                mend=codes.TAKEN.mend, mended_by=None, origin="live", evidence="live",
                source=self._source(),
            )  # fmt: skip
            self.added.append(taken)
        elif finding.severity is Severity.UNKNOWN and not effects & _SILENT:
            # What was in doubt is whether it is refused, and it is not.
            self.found[i] = replace(
                finding, severity=Severity.WARNING, why=f"{finding.why}; {said}",
                evidence="live", source=f"{finding.source}; {self._source()}", origin="live",
            )  # fmt: skip

    # -- errors of the parser --------------------------------------------------------------------

    def _error(self, error: LiveError) -> None:
        said = refusal(error, self.live)
        if wants_plugin(error):
            self.added.append(said)
            return
        if error.place is None:
            self.added.append(said)
            if not self._blocked():
                self.added.append(self._unforeseen(said))
            return
        same = self.at.get(_key(said), []) if error.exact else []
        agreeing = [i for i in same if self.found[i].severity in (Severity.ERROR, Severity.UNKNOWN)]
        if agreeing:
            best = min(agreeing, key=lambda i: self._distance(self.found[i], error))
            self.found[best] = self._both(self.found[best], said)
            return
        self.added.append(said)
        if not self._foreseen(said, error.exact):
            self.added.append(self._unforeseen(said))

    def _distance(self, finding: CheckFinding, error: LiveError) -> tuple[bool, bool]:
        """Smallest for the finding that expects this message, then for certain ones."""
        expected = _plain(finding.message)
        hit = bool(expected) and (expected in _plain(error.text))
        return (not hit, finding.severity is not Severity.ERROR)

    def _both(self, finding: CheckFinding, said: CheckFinding) -> CheckFinding:
        if finding.origin == "live":
            return finding
        why = f"{finding.why}; {said.why}"
        source = "; ".join(part for part in (finding.source, said.source) if part)
        return replace(
            finding, severity=Severity.ERROR, why=why, message=said.message, evidence="live",
            source=source, origin="live",
        )  # fmt: skip

    # -- what the facts did not say --------------------------------------------------------------

    def _foreseen(self, said: CheckFinding, exact: bool) -> bool:
        """Whether the facts have anything serious against the node.

        Or, where only the node of the main graph is known inside which the parser failed, against
        anything in its bodies or in a function.
        """
        serious = (f for f in self.found if f.severity is not Severity.WARNING)
        if exact:
            return any(_key(f) == _key(said) for f in serious)
        inside = (f"{said.node}/", "function ")
        return any(_key(f) == _key(said) or f"{f.scope}/".startswith(inside) for f in serious)

    def _blocked(self) -> bool:
        return any(f.blocks or f.severity is Severity.UNKNOWN for f in self.found)

    def _unforeseen(self, said: CheckFinding) -> CheckFinding:
        why = f"the facts about {self.target.name} have nothing against it, and {said.why}"
        return replace(
            said, code=codes.UNFORESEEN, severity=Severity.WARNING, why=why,
            mend=codes.UNFORESEEN.mend,
        )  # fmt: skip

    def _source(self) -> str:
        return f"{self.live.parser.label} ({self.live.parser.package} {self.live.parser.version})"


def _key(finding: CheckFinding) -> tuple[str, str]:
    return finding.scope, finding.node


def _plain(text: str) -> str:
    """A message without what differs between releases: quotes, spaces, case."""
    return re.sub(r"[\s\"'.!]+", " ", text).strip().lower()


def _effects(target: Target) -> Mapping[str, frozenset[str]]:
    """For each op, the effects of all that the facts have against it at a release."""
    release = Release.named(target.release)
    found: dict[str, set[str]] = {}
    for entry in read("restrictions"):
        if release.within(entry):
            found.setdefault(entry["op"], set()).add(release.settle(entry)["effect"])
    return {op: frozenset(effects) for op, effects in found.items()}
