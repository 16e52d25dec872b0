"""What ranges mean for the inputs of a model, and everything that is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from onnx import ModelProto

from onnx_fix.errors import UsageError
from onnx_fix.profiles.asked import Asked, Kind, Range, Triple
from onnx_fix.profiles.shape_tensors import ShapeInput, shape_inputs
from onnx_fix.verify.symbols import dim_size, fed_inputs, input_dims, symbols


@dataclass(slots=True)
class Settled:
    """Ranges by symbol, and of inputs in the order of the model (see `InputRange`)."""

    dims: dict[str, Range] = field(default_factory=dict)
    inputs: list[tuple[str, Kind, Triple]] = field(default_factory=list)


def settle(model: ModelProto, asked: Iterable[Asked], *, whole: bool) -> Settled:
    """What the ranges of one profile mean.

    Args:
        model: The model whose inputs are meant.
        asked: Ranges of symbols and inputs.
        whole: Whether every dynamic input and every shape tensor must get a range; otherwise
            inputs without one are left out.

    Raises:
        UsageError: they do not suit the model; the message lists all that is wrong.
    """
    work = _Settling(model)
    for one in asked:
        work.take(one)
    settled = work.result(whole)
    faults = list(dict.fromkeys(work.faults))
    if len(faults) > 1:
        listed = "".join(f"\n  - {fault}" for fault in faults)
        raise UsageError(f"the profile does not suit the model:{listed}")
    if faults:
        raise UsageError(faults[0])
    return settled


class _Settling:
    def __init__(self, model: ModelProto) -> None:
        self.faults: list[str] = []
        self._inputs = {v.name: v for v in fed_inputs(model)}
        self._dims = {name: input_dims(v) for name, v in self._inputs.items()}
        self._symbols = symbols(model)
        self._shape_inputs: dict[str, ShapeInput] = shape_inputs(model)
        self._ranges: dict[str, Range] = {}
        self._from: dict[str, str] = {}
        self._shapes: dict[str, Triple] = {}
        self._values: dict[str, Triple] = {}

    # -- one range after the other ----------------------------------------------------------------

    def take(self, asked: Asked) -> None:
        """Find out what a range is of."""
        name = asked.name
        if asked.form == "values":
            if self._known_input(asked):
                self._take_values(name, asked.triple)
        elif asked.form == "shape":
            if name not in self._inputs and name in self._symbols:
                self.faults.append(f"{name} is a dim and has one size, not {asked}")
            elif self._known_input(asked):
                self._take_shape(name, asked.triple)
        elif name in self._symbols:
            low, usual, high = (bound[0] for bound in asked.triple)
            self._symbol(name, (low, usual, high), "")
        elif name in self._inputs:
            if self._dims[name] == ():
                self._take_values(name, asked.triple)
            else:
                self._take_shape(name, asked.triple)
        elif any(name in (dims or ()) for dims in self._dims.values()):
            self.faults.append(
                f"the size of {name} follows from other dims; give theirs: "
                f"{', '.join(self._symbols)}"
            )
        else:
            self._unknown(asked)

    def _known_input(self, asked: Asked) -> bool:
        if asked.name not in self._inputs:
            self._unknown(asked)
        return asked.name in self._inputs

    def _unknown(self, asked: Asked) -> None:
        dims = list(self._symbols) if asked.form == "number" else []
        names = [*dims, *self._inputs]
        what = "dim or input" if asked.form == "number" else "input"
        self.faults.append(
            f"the model has no {what} called '{asked.name}'{near(asked.name, names)}"
        )

    def _symbol(self, name: str, sizes: Range, source: str) -> None:
        """Take the sizes of a symbol that were given as such, or by an input."""
        if name in self._ranges and self._ranges[name] != sizes:
            before = f"{_said(self._ranges[name])}{self._from[name]}"
            self.faults.append(
                f"{name} has one range, not two: {before}, and {_said(sizes)}{source}"
            )
            return
        self._ranges.setdefault(name, sizes)
        self._from.setdefault(name, source)

    def _take_shape(self, name: str, triple: Triple) -> None:
        declared = self._dims[name]
        if declared is not None and len(declared) != len(triple[0]):
            self.faults.append(
                f"input {name} has {_count(len(declared), 'dim')} [{_listed(declared)}], its "
                f"range {len(triple[0])}"
            )
            return
        self._shapes[name] = triple
        for axis, sizes in enumerate(zip(*triple, strict=True)):
            dim = declared[axis] if declared is not None else None
            low, usual, high = sizes
            if isinstance(dim, int) and sizes != (dim, dim, dim):
                self.faults.append(
                    f"input {name}, axis {axis}: the model has {dim} there, always; not "
                    f"{_said((low, usual, high))}"
                )
            elif dim in self._symbols:
                self._symbol(str(dim), (low, usual, high), f" by axis {axis} of input {name}")

    def _take_values(self, name: str, triple: Triple) -> None:
        found = self._shape_inputs.get(name)
        if found is not None and found.obstacle:
            self.faults.append(f"input {name} can have no range of values: {found.obstacle}")
            return
        declared = self._dims[name]
        if declared is not None and len(declared) > 1:
            self.faults.append(
                f"input {name} has {len(declared)} dims, and only a scalar or a list can decide "
                "sizes by its values"
            )
            return
        wanted = None if declared is None else next(iter(declared), 1)
        if isinstance(wanted, int) and wanted != len(triple[0]):
            self.faults.append(
                f"input {name} holds {_count(wanted, 'value')}, its range {len(triple[0])}"
            )
            return
        self._values[name] = triple

    # -- all of them ------------------------------------------------------------------------------

    def result(self, whole: bool) -> Settled:
        """The ranges of all inputs; what has none is a fault where all must have one."""
        settled = Settled({s: self._ranges[s] for s in self._symbols if s in self._ranges})
        missing: dict[str, list[str]] = {}
        for name, value in self._inputs.items():
            if value.type.WhichOneof("value") != "tensor_type":
                continue
            triple = self._shape_of(name, missing)
            if triple is not None:
                settled.inputs.append((name, "shape", triple))
            self._values_of(name, settled, whole)
        if missing and whole:
            named = [
                f"{symbol} ({'of ' + ', '.join(of)})" if of else symbol
                for symbol, of in missing.items()
            ]
            self.faults.append(f"no range is given for {', '.join(named)}")
        return settled

    def _shape_of(self, name: str, missing: dict[str, list[str]]) -> Triple | None:
        """The shapes of a dynamic input; None where it is static or lacks a range."""
        declared = self._dims[name]
        if declared is None:
            if name not in self._shapes:
                missing.setdefault(f"input {name}, whose number of dims is not declared", [])
            return self._shapes.get(name)
        if all(isinstance(d, int) for d in declared):
            return None
        open_dims = [d for d in declared if d in self._symbols and d not in self._ranges]
        for dim in open_dims:
            missing.setdefault(str(dim), []).append(name)
        if open_dims:
            return None
        return self._followed(name, declared, missing)

    def _followed(
        self, name: str, declared: Sequence[int | str], missing: dict[str, list[str]]
    ) -> Triple | None:
        """The shapes that follow from the sizes of symbols."""
        columns: list[Range] = []
        for axis, dim in enumerate(declared):
            try:
                low, usual, high = (
                    dim_size(dim, {s: r[k] for s, r in self._ranges.items()}) for k in range(3)
                )
            except UsageError:
                # Arithmetic over a symbol without a range, which is told of where it stands.
                if not any(s in missing for s in self._symbols):
                    missing.setdefault(str(dim), []).append(name)
                return None
            found = min(low, usual, high), sorted((low, usual, high))[1], max(low, usual, high)
            columns.append(found)
            given = self._shapes.get(name)
            if given is not None and tuple(bound[axis] for bound in given) != found:
                was = given[0][axis], given[1][axis], given[2][axis]
                fault = f"input {name}, axis {axis}: {dim} is {_said(found)}, not {_said(was)}"
                if dim not in self._symbols and not isinstance(dim, int):
                    self.faults.append(fault)
        low_shape, usual_shape, high_shape = (tuple(c[k] for c in columns) for k in range(3))
        return low_shape, usual_shape, high_shape

    def _values_of(self, name: str, settled: Settled, whole: bool) -> None:
        if name in self._values:
            settled.inputs.append((name, "values", self._values[name]))
            return
        found = self._shape_inputs.get(name)
        if found is None or found.obstacle or not whole:
            return
        count = 1 if found.length is None else found.length
        if count:
            example = ",".join(["1"] * count)
            self.faults.append(
                f"no range is given for the values of {name}, which decide sizes (at {found.op} "
                f"{found.node}): write such as {name}=[{example}]:[...]:[...]"
            )


def near(name: str, names: Sequence[str]) -> str:
    """The nearest known name, or all of them, as the end of a message."""
    lowered = {known.lower(): known for known in reversed(names)}
    close = difflib.get_close_matches(name.lower(), lowered, n=1)
    if close:
        return f"; did you mean {lowered[close[0]]}?"
    return f"; it has: {', '.join(names)}" if names else "; it has none"


def _said(sizes: Range) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else ":".join(map(str, sizes))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s'[: number != 1]}"


def _listed(dims: Sequence[int | str]) -> str:
    return ", ".join(map(str, dims))
