"""Two models, run on the same feeds by the same oracle."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from onnx_fix.verify.feeds import Value
from onnx_fix.verify.runner import Oracle, OracleName, RunError, open_oracle
from onnx_fix.verify.source import Source


def _as_they_are(feeds: Mapping[str, Value]) -> Mapping[str, Value]:
    return feeds


class Side:
    """One model and the oracles opened for it so far; ``feeds`` says what it is fed of a case."""

    def __init__(
        self,
        source: Source,
        threads: int,
        feeds: Callable[[Mapping[str, Value]], Mapping[str, Value]] = _as_they_are,
    ) -> None:
        self.source = source
        self._feeds = feeds
        self._threads = threads
        self._opened: dict[OracleName, Oracle | RunError] = {}

    def load(self, name: OracleName) -> Oracle:
        """Return the oracle, loading it the first time; raise the same `RunError` every time."""
        if name not in self._opened:
            try:
                self._opened[name] = open_oracle(self.source, name, self._threads)
            except RunError as error:
                self._opened[name] = error
        found = self._opened[name]
        if isinstance(found, RunError):
            raise found
        return found

    def run(self, name: OracleName, feeds: Mapping[str, Value]) -> dict[str, Any]:
        return self.load(name).run(self._feeds(feeds))


@dataclass(slots=True)
class Outcome:
    """Outputs of both models, or the message of the one that failed."""

    oracle: str
    failed: Literal["", "original", "fixed"] = ""
    message: str = ""
    expected: dict[str, Any] = field(default_factory=dict)
    actual: dict[str, Any] = field(default_factory=dict)


class Pair:
    """Both models, run by the same oracle wherever one can run both."""

    def __init__(
        self,
        expected: Side,
        fixed: Side,
        names: Sequence[OracleName],
        frozen: Collection[str] = (),
    ) -> None:
        self._expected = expected
        self._fixed = fixed
        self._names = names
        self._frozen = frozenset(frozen)

    @property
    def has_fallback(self) -> bool:
        """Whether there is another oracle to ask after the first."""
        return len(self._names) > 1

    def fallback(self) -> Pair:
        """Return the same models as the last oracle alone sees them."""
        return Pair(self._expected, self._fixed, self._names[-1:], self._frozen)

    def load_failure(self) -> Outcome | None:
        """Return the failure of an original that no oracle loads."""
        messages: list[str] = []
        for name in self._names:
            try:
                self._expected.load(name)
            except RunError as error:
                messages.append(str(error))
                if not error.lacks_kernel:
                    break
            else:
                return None
        return Outcome(self._names[0], "original", "; ".join(messages))

    def run(self, feeds: Mapping[str, Value]) -> Outcome:
        """Run both, the original first."""
        left = self._left(feeds)
        wrong = self._interface_fault(left)
        messages: list[str] = []
        mixed: Outcome | None = None
        for name in self._names:
            outcome = Outcome(name)
            try:
                outcome.expected = self._expected.run(name, feeds)
            except RunError as error:
                messages.append(str(error))
                if error.lacks_kernel and name != self._names[-1]:
                    continue
                break
            if wrong:
                return replace(outcome, failed="fixed", message=wrong, expected={})
            try:
                outcome.actual = self._fixed.run(name, left)
            except RunError as error:
                outcome.failed, outcome.message = "fixed", str(error)
                if error.lacks_kernel and name != self._names[-1]:
                    mixed = outcome
                    continue
            return outcome
        if mixed is None:
            return Outcome(name, "original", "; ".join(messages))
        return self._run_mixed(mixed, left)

    def _left(self, feeds: Mapping[str, Value]) -> Mapping[str, Value]:
        """The feeds of the fixed model: without the inputs that are constants in it."""
        inputs = self._fixed.source.inputs()
        gone = self._frozen.difference(inputs)
        return {name: value for name, value in feeds.items() if name not in gone}

    def _run_mixed(self, outcome: Outcome, feeds: Mapping[str, Value]) -> Outcome:
        """onnxruntime has run the original alone: the reference may still run the fixed model."""
        last = self._names[-1]
        try:
            actual = self._fixed.run(last, feeds)
        except RunError as error:
            return replace(outcome, message=f"{outcome.message}; {error}", expected={})
        return Outcome(f"{outcome.oracle} and {last}", "", "", outcome.expected, actual)

    def _interface_fault(self, feeds: Mapping[str, Value]) -> str:
        inputs = self._fixed.source.inputs()
        lost = [name for name in feeds if name not in inputs]
        added = [name for name in inputs if name not in feeds]
        if lost:
            return f"it has no input '{lost[0]}', which the original has"
        return f"it has an input '{added[0]}', which the original has not" if added else ""
