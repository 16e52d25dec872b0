"""What a pass may say. A pass proposes; only the engine edits a graph."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx_fix.model import Model
    from onnx_fix.plugin_table import NodeBody
    from onnx_fix.scope import Scope
    from onnx_fix.target import Target


class Exactness(Enum):
    """How the outputs of a rewrite relate to those of the original."""

    EXACT = "exact"
    """The same values, bit for bit, up to the sign of zeros and the payload of NaNs."""
    ROUNDING = "rounding only"
    """The same real-number function; floating-point sums or products are ordered otherwise."""
    CONTRACT = "changes the contract"
    """Another function, such as a result of bounded size. Only on an explicit option."""


class Stage(Enum):
    """When a pass runs in the default order; within a stage passes run by name.

    The order is repeated until nothing changes, so a stage states what is *cheaper or more exact*
    to do first, not what is possible at all.
    """

    INLINE = 0
    """Calls become plain nodes, so that every later pass sees them."""
    REPAIR = 1
    """Models that are invalid as exported become valid, so that shapes can be inferred."""
    FOLD = 2
    """What is constant becomes an initializer: many refusals vanish with no rewrite at all."""
    EXPAND = 3
    """Ops that older operator sets lack become ops that they have."""
    LOWER = 4
    """The model is written for the operator set of the target: many refusals are nothing else."""
    DECOMPOSE = 5
    """A node that the target refuses becomes nodes that it takes."""
    CLEAN = 6
    """What nobody reads any more goes."""


@dataclass(frozen=True, slots=True)
class New:
    """A node to be made: its outputs are fresh ``gs.Variable`` objects.

    The value of an attribute that is a graph is a ``Body``.
    """

    op: str
    inputs: tuple[gs.Tensor, ...]
    outputs: tuple[gs.Variable, ...]
    attrs: Mapping[str, object] = field(default_factory=dict)
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a body to be made, with its type."""

    tensor: gs.Tensor
    dtype: int
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a node to be made. Its nodes may read what the node itself could read.

    The tensors of ``inputs`` are fresh, and those of ``outputs`` are made in the body, each once.
    """

    inputs: tuple[Port, ...]
    new: tuple[New, ...]
    outputs: tuple[Port, ...]

    def reads(self) -> Iterator[gs.Tensor]:
        """What its nodes read, made inside or not."""
        for new in self.new:
            yield from new.inputs


@dataclass(frozen=True, slots=True)
class Padded:
    """An output of the model that is longer along one axis than the original's.

    ``counts`` names outputs of the model, each an int64 scalar, with the most that each can say.
    The first says how many elements along ``axis`` are the original's; padding follows. Where it
    is smaller than the size in the original, one of them has reached its most.
    """

    output: str
    axis: int
    counts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Retyped:
    """An input or output of the network whose element type is another from now on.

    ``was`` and ``now`` are ``TensorProto.DataType`` numbers. ``now`` holds the numbers of ``was``,
    or the same bits (UINT64 in INT64), or is less precise (DOUBLE in FLOAT).
    """

    name: str
    is_input: bool
    was: int
    now: int


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Replace the nodes ``old`` by the nodes ``new``.

    ``replaces`` pairs an output of an old node with the tensor that carries its value from now on:
    an output of a new node, a constant, or a tensor that was there before. Every output of an old
    node that somebody else reads must be paired. ``new`` stands in execution order. The rewrite is
    reported under ``old[0]``. ``note`` is a sentence for the user: an assumption, a change of
    contract. A rewrite that changes the contract names in ``asked_by`` the option of its pass that
    asked for it; the engine refuses it where that option still has its default. Only such a one,
    in the main graph, may add outputs to the model (``adds``: name and new tensor, an int64
    scalar) and say which outputs are ``padded`` from now on.
    """

    old: tuple[gs.Node, ...]
    new: tuple[New, ...]
    replaces: tuple[tuple[gs.Tensor, gs.Tensor], ...]
    exactness: Exactness = Exactness.EXACT
    note: str = ""
    asked_by: str | None = None
    adds: tuple[tuple[str, gs.Tensor], ...] = ()
    padded: tuple[Padded, ...] = ()


@dataclass(frozen=True, slots=True)
class Skip:
    """A node that the pass looked at and left alone, and why."""

    node: gs.Node
    reason: str


@dataclass(frozen=True, slots=True)
class Mends:
    """A kind of finding that a pass clears.

    ``kind`` is the kind of the finding (``onnx_fix.target.Finding``) and ``op`` the type of the
    node; ``*`` stands for any. ``only`` completes "only where ..."; it is empty where the pass
    clears the finding for every valid node. ``shown_by`` is how a node shows that it is one of
    these: ``site``: the pass proposes a rewrite of the node; ``constants``: it does, or rewrites
    what makes the constant tensor of the finding; ``call``: the node calls a function of the model.
    """

    kind: str
    op: str = "*"
    only: str = ""
    shown_by: Literal["site", "constants", "call"] = "site"


def pass_name(cls: type) -> str:
    """``EinsumToMatMul`` is called ``einsum-to-matmul``: words of the class, MatMul being one."""
    words = re.findall(
        r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*|\d+", cls.__name__.replace("MatMul", "Matmul")
    )
    return "-".join(word.lower() for word in words)


@dataclass(frozen=True)
class BasePass:
    """What both kinds of pass share: a name, a place in the order, options as fields."""

    name: ClassVar[str] = ""
    stage: ClassVar[Stage] = Stage.DECOMPOSE
    default: ClassVar[bool] = True
    """Whether the planner considers it when there is no pipeline file."""
    without_plugins: ClassVar[Mapping[str, object]] = {}
    """Options that keep it from making plugin nodes, for those that make any."""
    mends: ClassVar[tuple[Mends, ...]] = ()
    """The findings that it clears with its default options; held by a test for each."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__dict__.get("name"):
            cls.name = pass_name(cls)

    def options(self) -> dict[str, object]:
        """The options as the pipeline file would write them."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def plugin_bodies(self) -> Sequence[NodeBody]:
        """What the plugin nodes compute that its options describe."""
        return ()

    def is_default(self, option: str) -> bool:
        """Whether an option has the value it has when nobody sets it."""
        return bool(getattr(self, option) == getattr(type(self)(), option))


@dataclass(frozen=True)
class Pass(BasePass):
    """A pass over the nodes of one scope at a time.

    A subclass is a frozen dataclass in a module of its own; its fields are its options in the
    pipeline file, each with a default. The docstring has the headings Before, After, Exact and
    Since. The instance keeps no state between runs.
    """

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a rewrite, or a skip with its reason, for every node the pass is about.

        Called once per scope and run. A node that the target takes as it stands is neither.
        """
        raise TypeError(f"{type(self).__name__} does not define sites()")

    def forecast(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """What ``sites`` would propose, for a check that applies nothing.

        Only the old nodes, and the tensors that the new ones read, need be right; a pass overrides
        it where making the new tensors takes long.
        """
        yield from self.sites(scope)


@dataclass(frozen=True)
class ModelPass(BasePass):
    """A transformer of whole models, for what a library does better than we would.

    It sees the model without its large weights, which are put back by name.
    """

    def forecast(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """What ``transform`` would do in a scope, for a check that applies nothing.

        Only the old nodes, and the tensors that the new ones read, need be right. A pass that
        claims findings defines it.
        """
        yield from ()

    def due(self, model: Model) -> bool:
        """Whether ``transform`` may find something to do in the model as it stands.

        What is known of the model by then costs nothing here; ``transform`` gets a copy.
        """
        return True

    def transform(self, model: onnx.ModelProto, target: Target) -> Transformed:
        """The new model and what was done; the model as it is and no changes when none is due."""
        raise TypeError(f"{type(self).__name__} does not define transform()")

    def made_of(self, model: Model) -> Transformed | None:
        """What ``transform`` makes of the model as it stands; None where nothing is due.

        A pass overrides it where to find out whether something is due is half the work.
        """
        return self.transform(model.skeleton(), model.target) if self.due(model) else None

    def frozen_inputs(self, model: onnx.ModelProto) -> Mapping[str, NDArray[np.generic]]:
        """The inputs of the original model that it makes constants, with their values.

        Raises:
            UsageError: an option asks for what the model does not have.
        """
        return {}

    def fixed_dims(self, model: onnx.ModelProto) -> Mapping[str, int]:
        """The symbols of the original model's inputs that become numbers, with these.

        Raises:
            UsageError: an option asks for what the model does not have.
        """
        return {}

    def adds_dims(self) -> bool:
        """Whether dims of inputs become symbols, so that there are sizes to try it at."""
        return False

    def sizes_that_run(self, model: Model) -> Mapping[str, int]:
        """Sizes of symbols at which a model is known to run, where it does at few."""
        return {}

    def other_exports(self) -> Sequence[str]:
        """Files with models that the result equals as well, each at the sizes it has."""
        return ()


@dataclass(frozen=True, slots=True)
class Transformed:
    """What a transformer of whole models made: one line per change, and what it declined.

    As for a rewrite, a change of the contract names in ``asked_by`` the option that asked for it,
    and only such a one may change the element type of network inputs and outputs (``retyped``).
    """

    model: onnx.ModelProto
    changes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    exactness: Exactness = Exactness.EXACT
    retyped: tuple[Retyped, ...] = ()
    asked_by: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One applied rewrite, as the report shows it."""

    number: int
    pass_name: str
    scope: str
    old: tuple[str, ...]
    old_ops: tuple[str, ...]
    new: tuple[str, ...]
    new_ops: tuple[str, ...]
    exactness: Exactness
    note: str = ""
    padded: tuple[Padded, ...] = ()
    retyped: tuple[Retyped, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """One declined node, as the report shows it."""

    scope: str
    node: str
    op: str
    reason: str


@dataclass(frozen=True, slots=True)
class PassResult:
    """What one run of one pass did. ``seconds`` is wall time."""

    pass_name: str
    round: int
    changes: tuple[Change, ...]
    skipped: tuple[Skipped, ...]
    seconds: float
