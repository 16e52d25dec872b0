"""The pass ``replace-round``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.lower.rules.arithmetic import round_below_11
from onnx_fix.scope import Scope
from onnx_fix_passes._by_rule import by_rule, is_taken


@dataclass(frozen=True)
class ReplaceRound(Pass):
    """Write Round by Floor, where the target lacks it.

    What is above Floor decides: more than a half rounds up, and so does a half where Floor is odd.

    Before:
        y = Round (x)
    After:
        f = Floor (x)
        above = Sub (x, f)
        odd = Greater (Sub (f, Mul (Floor (Div (f, 2)), 2)), 0.5)
        up = Or (Greater (above, 0.5), And (Not (Less (above, 0.5)), odd))
        y = Add (f, Cast (up)), with the sign of x
    Exact: yes. Every step is; infinities and NaN stay.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (Mends("no_importer", "Round", "the type is known"),)

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a Floor for every Round that the target refuses."""
        for node in scope.nodes("Round"):
            if self.everywhere or scope.refused(node):
                x = node.inputs[0]
                if is_taken(scope, x):
                    yield by_rule(scope, node, round_below_11, opset=11)
                else:
                    name = scope.target.name
                    yield Skip(node, f"{name} does not take '{x.name}' for its type or rank")
