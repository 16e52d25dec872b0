"""How the tables of a model are computed from sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx_fix.unfreeze.analysis import Analysis, Table
from onnx_fix.unfreeze.suspects import all_of, depends, odd_numbers
from onnx_fix.unfreeze.tables import Recipe, Sample, Unknown, recognise


def recipes(
    found: Analysis, at: Sequence[Mapping[str, int]]
) -> dict[tuple[int, int], Recipe | Unknown]:
    """How each table is made, or why that is open, by node (identity) and input."""
    made: dict[tuple[int, int], Recipe | Unknown] = {}
    known: dict[tuple[str, tuple[str, ...], tuple[bytes, ...]], Recipe | Unknown] = {}
    for table in found.tables:
        # What is one constant here may be two in another export, one for each reader.
        key = (
            table.tensor,
            tuple(str(d) for d in table.dims),
            tuple(a.tobytes() for a in table.arrays),
        )
        said = found.propagation.assumed.get(table.tensor)
        if said is not None:
            known[key] = all_of(said, table.arrays[0])
        elif key not in known:
            known[key] = _made(table, found, at)
        made[id(table.node), table.index] = known[key]
    return made


def wanted(table: Table) -> str:
    """The shape that a table should have."""
    return "x".join(str(d) for d in table.dims) or "a scalar"


def _made(table: Table, found: Analysis, at: Sequence[Mapping[str, int]]) -> Recipe | Unknown:
    unsized = frozenset().union(*(d.symbols for d in table.dims)) - set(at[0])
    if unsized:
        names = ", ".join(sorted(unsized))
        return Unknown(f"what {names} was at the export is not known")
    samples = [Sample(a, dict(v)) for a, v in zip(table.arrays, at, strict=False)]
    known = [s for s in found.sizes if s.symbols <= set(at[0])]
    return _doubted(recognise(table.dims, samples, known=known), len(at))


def _doubted(made: Recipe | Unknown, exports: int) -> Recipe | Unknown:
    """With one export, no recipe that mixes numbers made from sizes with odd ones."""
    if isinstance(made, Unknown) or exports > 1 or not depends(made.expression):
        return made
    odd = next(odd_numbers(made.expression), None)
    if odd is None:
        return made
    return Unknown(
        f"it holds numbers made from sizes ({made}), and {odd:.7g}, which may come from one too"
    )
