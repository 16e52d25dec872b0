"""The contract of a check of the model as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from onnx import ModelProto, NodeProto

from onnx_fix.check.finding import CheckFinding, Code
from onnx_fix.functions import every_node
from onnx_fix.model import Model
from onnx_fix.target import Target


@dataclass(frozen=True)
class CheckContext:
    """What a check may look at.

    ``model`` gives scopes, types and constness; ``proto`` is the model as it was given, ``path``
    where it came from (None for a model in memory), ``dims`` the profile: min, opt and max of
    symbolic dims. ``run`` says whether a check may run the model to show what it says.
    """

    model: Model
    path: Path | None = None
    dims: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    run: bool = False

    @property
    def proto(self) -> ModelProto:
        """The model as it was given."""
        return self.model.proto

    @cached_property
    def nodes(self) -> list[tuple[str, NodeProto]]:
        """The nodes of the graph as given and those inside them, with the paths of their scopes."""
        return list(every_node(self.proto.graph.node))

    @property
    def target(self) -> Target:
        """The release that is asked about."""
        return self.model.target


class ModelCheck:
    """One check per module of ``onnx_fix.check.model_checks``; found by name, no list to edit.

    A check reads and never changes; it yields nothing where it does not apply to the target.
    """

    code: ClassVar[Code]

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """Yield what is found.

        Raises:
            Nothing on purpose: what cannot be decided is a finding of severity unknown.
        """
        raise TypeError(f"{type(self).__name__} does not define run()")
