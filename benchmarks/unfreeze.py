"""What exports at fixed sizes hold of their size, and which of them run at another one.

    python benchmarks/unfreeze.py                        # all sets of fixtures/frozen
    python benchmarks/unfreeze.py vit_positions states.legacy17 --detail
    python benchmarks/unfreeze.py --output TABLE.md

A set is one network from one exporter: exported at the sizes ``a`` and ``b`` (and ``same``, where
several dims have one size) without dynamic dims, and with dynamic dims (``free``). The first table
aligns ``a`` with ``b``: whether they have the same nodes, and the constants that differ, counted by
the place that reads them (``Reshape.1`` is input 1 of a Reshape) and by what they look like
(``sizes``, ``one value``, ``positions``, ``triangle``, ``runs``, or ``table`` for all else).

The second table says at which sizes a model with free dims computes what ``free`` computes: at
``a`` and ``b``, at three sizes that no export has seen (``opt``, ``max``, ``min``), and at ``a``
with one dim of another size (``only H``). Asked are ``free`` of the set, the export of ``a`` with
nothing but its inputs declared dynamic (which shows how much follows from the size), and what
`onnx_fix.fix` makes of ``a``, of ``a`` and ``b``, of ``same``, and of ``same`` and ``b``, as far as
it has the option ``dynamic``.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

import onnx_fix
from onnx_fix.errors import OnnxFixError
from onnx_fix.verify.compare import compare

FIXTURES = Path(__file__).parents[1] / "fixtures"
FROZEN = FIXTURES / "frozen"
SEEN, UNSEEN = ("a", "b"), ("opt", "max", "min")
ONLY = "only "

Array = NDArray[Any]

sys.path.append(str(FIXTURES / "export"))  # its scripts are no package
sidecars = import_module("sidecar")


# The sets ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frozen:
    """The exports of one network by one exporter."""

    name: str
    folder: Path = FROZEN

    def path(self, ending: str) -> Path:
        """The file of ``a``, ``b``, ``same`` or ``free``, whether there is one or not."""
        return self.folder / f"{self.name}.{ending}.onnx"

    def has(self, ending: str) -> bool:
        """Whether that file is there."""
        return self.path(ending).is_file()

    @cached_property
    def reference(self) -> Path:
        """The export with dynamic dims; that of another exporter where torch makes none here."""
        if self.has("free"):
            return self.path("free")
        network = self.name.partition(".")[0]
        return next(iter(sorted(self.folder.glob(f"{network}.*.free.onnx"))))

    @cached_property
    def sidecar(self) -> Any:
        """What the sidecar says; its symbols are the same for all exports of the set."""
        return sidecars.Sidecar.of(self.path("a"))

    @property
    def dynamic(self) -> dict[str, str]:
        """The dims to be made free, as the command line wants them: ``kpts0:1`` to ``n0``."""
        return {f"{name}:{axis}": s for (name, axis), s in self.sidecar.free().items()}

    @property
    def sizes(self) -> tuple[str, ...]:
        """All sizes to run at."""
        return *SEEN, *UNSEEN, *(ONLY + symbol for symbol in self.sidecar.dims)

    def feeds(self, size: str) -> dict[str, Array]:
        """The feeds at a size of the sidecar, or at ``a`` with one symbol of another size."""
        described = self.sidecar
        if size.startswith(ONLY):
            symbol = size.removeprefix(ONLY)
            dims = dict(described.dims)
            dims[symbol] = replace(dims[symbol], a=dims[symbol].opt)
            described, size = replace(described, dims=dims), "a"
        feeds: dict[str, Array] = sidecars.make_feeds(described, size)
        return feeds

    def expected(self, size: str) -> list[Array]:
        """What the export with dynamic dims computes at a size."""
        return _expected(self, size)


@cache
def _expected(frozen: Frozen, size: str) -> list[Array]:
    return run(session(onnx.load(frozen.reference)), frozen.feeds(size))


def sets(folder: Path = FROZEN) -> list[Frozen]:
    """All sets of a folder."""
    ending = ".a.onnx"
    return [Frozen(p.name.removesuffix(ending), folder) for p in sorted(folder.glob(f"*{ending}"))]


def session(model: ModelProto) -> ort.InferenceSession:
    """The model in onnxruntime as it stands."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    data = model.SerializeToString()
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run(ready: ort.InferenceSession, feeds: Mapping[str, Array]) -> list[Array]:
    """The outputs. An input that the model no longer has is not fed."""
    names = {port.name for port in ready.get_inputs()}
    fed = {name: value for name, value in feeds.items() if name in names}
    return [np.asarray(value) for value in ready.run(None, fed)]


# What differs between two exports ---------------------------------------------------------------


@dataclass
class Differences:
    """How the export at one size differs from that at another.

    ``constants`` has the pairs of constants by the place that reads them; ``attributes`` the nodes
    whose attributes differ, ``unpaired`` the places that read a constant in one export only.
    """

    nodes: tuple[int, int]
    ops: dict[str, tuple[int, int]]
    constants: dict[str, list[tuple[Array, Array]]] = field(default_factory=dict)
    attributes: list[str] = field(default_factory=list)
    unpaired: list[str] = field(default_factory=list)

    @property
    def alike(self) -> bool:
        """Whether both have the same nodes with the same attributes."""
        return not (self.ops or self.attributes or self.unpaired)

    def counts(self) -> Counter[str]:
        """How many constants differ, by op, input, element type and what they look like."""
        return Counter(
            f"{place} {kind(larger)}"
            for place, pairs in self.constants.items()
            for larger in (max(pair, key=lambda value: value.size) for pair in pairs)
        )


def constants(model: ModelProto) -> dict[str, Array]:
    """The constants of the main graph by name."""
    found = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            value = onnx.helper.get_attribute_value(node.attribute[0])
            tensor = isinstance(value, onnx.TensorProto)
            found[node.output[0]] = numpy_helper.to_array(value) if tensor else np.asarray(value)
    return found


def kind(value: Array) -> str:
    """What a constant looks like: the simplest rule that gives its values.

    ``sizes`` are a few integers; ``one value`` is a fill; ``positions`` count in equal steps along
    one axis; ``triangle`` has one value up to a diagonal and another after it; ``runs`` are a few
    fills, one behind the other; anything else is a ``table``.
    """
    line = value.reshape(-1)
    if value.dtype.kind in "iu" and value.ndim < 2 and value.size <= 8:
        return "sizes"
    if value.size <= 1 or np.array_equal(line, np.full_like(line, line[0])):
        return "one value"
    if max(value.shape) == value.size and value.dtype.kind in "iuf":
        steps = np.diff(line)
        if np.isfinite(line).all() and np.all(steps == steps[0]):
            return "positions"
    if value.ndim >= 2 and value.size == value.shape[-1] ** 2 == value.shape[-2] ** 2:
        square = value.reshape(value.shape[-2:])
        low, high = square[-1, 0], square[0, -1]
        if np.array_equal(square, np.where(np.tri(len(square), dtype=bool), low, high)):
            return "triangle"
    if max(value.shape) == value.size and np.count_nonzero(line[1:] != line[:-1]) <= 8:
        return "runs"
    return "table"


def differences(first: ModelProto, second: ModelProto) -> Differences:
    """Align two exports of one network, node by node."""
    ones, others = ([n for n in m.graph.node if n.op_type != "Constant"] for m in (first, second))
    one, other = (Counter(n.op_type for n in nodes) for nodes in (ones, others))
    ops = {op: (one[op], other[op]) for op in sorted(one | other) if one[op] != other[op]}
    found = Differences((len(ones), len(others)), ops)
    mine, theirs = constants(first), constants(second)
    for a, b in _pairs(ones, others):
        attributes = [[x.SerializeToString() for x in node.attribute] for node in (a, b)]
        if attributes[0] != attributes[1]:
            found.attributes.append(a.name)
        for place, (p, q) in enumerate(zip(a.input, b.input, strict=False)):
            if (p in mine) != (q in theirs):
                found.unpaired.append(f"{a.op_type}.{place}")
            elif p in mine and not _equal(mine[p], theirs[q]):
                where = f"{a.op_type}.{place} {mine[p].dtype}"
                found.constants.setdefault(where, []).append((mine[p], theirs[q]))
    return found


def _pairs(ones: list[NodeProto], others: list[NodeProto]) -> Iterator[tuple[NodeProto, NodeProto]]:
    """Nodes of the same place: by their order where all ops agree, otherwise by name."""
    if [n.op_type for n in ones] == [n.op_type for n in others]:
        yield from zip(ones, others, strict=True)
        return
    named = {n.name: n for n in others}
    for node in ones:
        if node.name in named and named[node.name].op_type == node.op_type:
            yield node, named[node.name]


def _equal(one: Array, other: Array) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


# How a model with free dims does ----------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What came of running a model at one size: ``right``, ``wrong`` or ``fails``, and why."""

    kind: str
    note: str = ""


@dataclass
class Score:
    """What came of running a model at each size."""

    verdicts: dict[str, Verdict]

    def count(self, kind: str, sizes: Iterable[str] | None = None) -> int:
        """At how many of the sizes (all by default) the verdict is of a kind."""
        asked = self.verdicts if sizes is None else sizes
        return sum(self.verdicts[size].kind == kind for size in asked)

    @property
    def right(self) -> bool:
        """Whether the model computes the same at every size."""
        return self.count("right") == len(self.verdicts)


def score(model: ModelProto, frozen: Frozen) -> Score:
    """Run a model with free dims at every size of the set, beside the export with dynamic dims."""
    try:
        ready = session(model)
    except Exception as error:
        return Score({size: Verdict("fails", _first(error)) for size in frozen.sizes})
    return Score({size: verdict(ready, frozen, size) for size in frozen.sizes})


def verdict(ready: ort.InferenceSession, frozen: Frozen, size: str) -> Verdict:
    """Run a model at one size and compare it, with the tolerances of a fix."""
    try:
        outputs = run(ready, frozen.feeds(size))
    except Exception as error:
        return Verdict("fails", _first(error))
    want, names = frozen.expected(size), [o.name for o in ready.get_outputs()]
    if len(outputs) != len(want):
        return Verdict("wrong", f"{len(outputs)} outputs instead of {len(want)}")
    bad = [
        compared
        for name, wanted, got in zip(names, want, outputs, strict=True)
        if not (compared := compare(name, wanted, got)).ok
    ]
    if not bad:
        return Verdict("right")
    worst = bad[0]
    if not worst.shape_equal:
        return Verdict("wrong", f"{worst.output}: {worst.shape} for {worst.expected_shape}")
    return Verdict("wrong", f"{worst.output}: {worst.n_mismatched} of {worst.n_elements} differ")


def _first(error: Exception) -> str:
    node = re.search(r"while running (\w+) node\. Name:'([^']*)'", str(error))
    if node:
        return f"{node[1]} {node[2]} fails"
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def declared(frozen: Frozen, ending: str) -> ModelProto:
    """An export with its inputs declared dynamic and nothing else changed."""
    model = onnx.load(frozen.path(ending))
    free = frozen.sidecar.free()
    for port in model.graph.input:
        for axis, dim in enumerate(port.type.tensor_type.shape.dim):
            if (port.name, axis) in free:
                dim.dim_param = free[port.name, axis]
    del model.graph.value_info[:]
    for port in model.graph.output:
        port.type.tensor_type.ClearField("shape")
    return model


def has_option() -> bool:
    """Whether `onnx_fix.fix` can make dims dynamic."""
    return {"dynamic", "also"} <= set(inspect.signature(onnx_fix.fix).parameters)


def repaired(frozen: Frozen, ending: str, also: Sequence[str], target: str) -> ModelProto | str:
    """What `onnx_fix.fix` makes of an export; a sentence where it makes nothing."""
    fix: Callable[..., Any] = onnx_fix.fix
    others = [str(frozen.path(other)) for other in also]
    try:
        result = fix(str(frozen.path(ending)), target=target, dynamic=frozen.dynamic, also=others)
    except OnnxFixError as error:
        return f"refused: {' '.join(str(error).split())[:300]}"
    except Exception as error:
        return f"crashed: {_first(error)}"
    model: ModelProto = result.model
    return model


# Tables -----------------------------------------------------------------------------------------

MARKS = {"right": "=", "wrong": "≠", "fails": "x"}
SOURCES: dict[str, tuple[str, tuple[str, ...]]] = {
    "a": ("a", ()),
    "a, b": ("a", ("b",)),
    "same": ("same", ()),
    "same, b": ("same", ("b",)),
}


def shown(value: Array) -> str:
    """A constant: its values where they are few."""
    text = f"{value.dtype}{list(value.shape)}"
    return f"{text} = {value.tolist()}" if value.size <= 6 else text


def held(chosen: Sequence[Frozen], detail: bool) -> Iterator[str]:
    """The table of what the exports at two sizes hold."""
    yield "| set | nodes a, b, free | structure | constants that differ, by reader |"
    yield "|---|---|---|---|"
    details = []
    for frozen in chosen:
        one, other = onnx.load(frozen.path("a")), onnx.load(frozen.path("b"))
        found = differences(one, other)
        free = onnx.load(frozen.path("free")).graph.node if frozen.has("free") else ()
        count = sum(n.op_type != "Constant" for n in free)
        nodes = f"{found.nodes[0]}, {found.nodes[1]}, {count or '-'}"
        structure = "alike" if found.alike else _structure(found)
        counts = ", ".join(f"{place}: {n}" for place, n in sorted(found.counts().items()))
        yield f"| {frozen.name} | {nodes} | {structure} | {counts} |"
        details.append((frozen.name, found))
    for name, found in details if detail else ():
        yield f"\n{name}:\n"
        for place, pairs in sorted(found.constants.items()):
            grouped: Counter[str] = Counter(f"{shown(p)} / {shown(q)}" for p, q in pairs)
            for text, many in grouped.items():
                yield f"- {place}, {many} of: {text}"


def _structure(found: Differences) -> str:
    parts = [f"{op} {a} / {b}" for op, (a, b) in found.ops.items()]
    parts += [f"attributes of {name}" for name in found.attributes]
    parts += [f"{place} constant in one only" for place in found.unpaired]
    return ", ".join(parts)


def candidates(frozen: Frozen, target: str) -> Iterator[tuple[str, ModelProto | str]]:
    """The models to run, and what each is called; a sentence for one that could not be made."""
    if frozen.has("free"):
        yield "free", onnx.load(frozen.path("free"))
    yield "a declared", declared(frozen, "a")
    for name, (ending, also) in SOURCES.items() if has_option() else ():
        if frozen.has(ending):
            yield f"fix of {name}", repaired(frozen, ending, also, target)


def ran(chosen: Sequence[Frozen], target: str) -> Iterator[str]:
    """The table of where the models run."""
    yield "| set | model | " + " | ".join((*SEEN, *UNSEEN)) + " | one dim changed | note |"
    yield "|---" * (len(SEEN) + len(UNSEEN) + 4) + "|"
    total: dict[str, list[Score]] = defaultdict(list)
    refused: Counter[str] = Counter()
    for frozen in chosen:
        for name, model in candidates(frozen, target):
            if isinstance(model, str):
                refused[name] += 1
                yield f"| {frozen.name} | {name} |" + " |" * 6 + f" {model.replace('|', '/')} |"
                continue
            found = score(model, frozen)
            total[name].append(found)
            v = found.verdicts
            marks = [MARKS[v[size].kind] for size in (*SEEN, *UNSEEN)]
            single = [
                f"{size.removeprefix(ONLY)} {MARKS[v[size].kind]}" for size in v if ONLY in size
            ]
            note = next((x.note for x in v.values() if x.note), "").replace("|", "/")
            cells = (frozen.name, name, *marks, ", ".join(single), note)
            yield "| " + " | ".join(cells) + " |"
    yield "\n= the same numbers, ≠ other numbers or another shape, x does not run\n"
    yield "| model | sets | right everywhere | right, wrong, fails at unseen sizes | no model |"
    yield "|---|---|---|---|---|"
    for name in dict.fromkeys([*total, *refused]):
        scores = total[name]
        unseen = ", ".join(
            str(sum(s.count(kind, UNSEEN) for s in scores)) for kind in ("right", "wrong", "fails")
        )
        right = sum(s.right for s in scores)
        sets_ = len(scores) + refused[name]
        yield f"| {name} | {sets_} | {right} | {unseen} | {refused[name]} |"


def main() -> None:
    """Parse the command line and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help="a network or NETWORK.EXPORTER")
    parser.add_argument("--folder", type=Path, default=FROZEN, help="where the exports are")
    parser.add_argument("--target", default="trt-10.3", help="the release to fix for")
    parser.add_argument("--detail", action="store_true", help="list the constants that differ")
    parser.add_argument("--output", type=Path, help="a file for the tables")
    arguments = parser.parse_args()
    wanted = set(arguments.sets)
    chosen = [
        frozen
        for frozen in sets(arguments.folder)
        if not wanted or wanted & {frozen.name, frozen.name.partition(".")[0]}
    ]
    if not chosen:
        parser.error("no such set")
    lines = [*held(chosen, arguments.detail), "", *ran(chosen, arguments.target)]
    text = "\n".join(lines) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
