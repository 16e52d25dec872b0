"""Plan an Einsum as transpositions, products of matrices and sums: on labels, without a graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import NamedTuple

from onnx_fix.target.facts import Dim
from onnx_fix_passes._einsum_letters import Equation, Labels
from onnx_fix_passes._einsum_program import (
    Prices,
    Program,
    Value,
    broadcast,
    merged,
    product,
    same,
)

_MOST_ORDERED = 4
"""Of more axes than this, not all orders are tried (4! = 24)."""

_TYPICAL = 64
"""The size that an unknown dim is given when the order of the products is chosen."""

_GROWTH = 20.0
"""Price of forming all products before summing, where that takes more memory than the operands."""


class PlanError(ValueError):
    """No plan is right for every size allowed; the text is for the user."""


def plan(equation: Equation, shapes: Sequence[Sequence[Dim] | None], prices: Prices) -> Program:
    """The cheapest program found; ``result`` is the number of its result.

    Args:
        equation: with the ellipsis bound to axes.
        shapes: of the operands; None where not even the rank is known.
        prices: what may be used.

    Raises:
        PlanError: sizes of a label differ, or they are not known to be equal, must not be taken as
            equal, and nothing else will do.
    """
    values = [
        Value(term, tuple(shape) if shape is not None else (None,) * len(term))
        for term, shape in zip(equation.terms, shapes, strict=True)
    ]
    _check_sizes(values)
    program = Program(prices, values)
    live = [_prepared(program, k, _labels(equation, k)) for k in range(len(values))]
    for group in _order(program, live, equation.output):
        taken = [live[k] for k in group]
        live = [v for k, v in enumerate(live) if k not in group]
        keep = {label for v in live for label in program.values[v].labels} | {*equation.output}
        first = taken[0]
        for k, second in enumerate(taken[1:], 1):
            later = {label for v in taken[k + 1 :] for label in program.values[v].labels}
            final = not live and not later
            program = _contract(
                program, first, second, keep | later, equation.output if final else None
            )
            first = program.last
        live.append(first)
    (result,) = live
    program.result = program.transpose(result, equation.output)
    return program


def _check_sizes(values: Sequence[Value]) -> None:
    """Refuse sizes that no implementation takes.

    A label has one size beside 1, and within an operand one size (numpy, onnxruntime and
    onnx.reference agree).
    """
    across: dict[str, set[int]] = {}
    for value in values:
        within: dict[str, set[int]] = {}
        for label, dim in zip(value.labels, value.dims, strict=True):
            if isinstance(dim, int):
                within.setdefault(label, set()).add(dim)
                across.setdefault(label, set()).update({dim} - {1})
        _check_single(within)
    _check_single(across)


def _check_single(known: dict[str, set[int]]) -> None:
    for label, dims in known.items():
        if len(dims) > 1:
            text = " and ".join(str(d) for d in sorted(dims))
            raise PlanError(f"label '{label}' has sizes {text}, which do not go together")


def _labels(equation: Equation, index: int) -> frozenset[str]:
    """The labels that somebody beside one operand needs."""
    others = (label for k, t in enumerate(equation.terms) if k != index for label in t)
    return frozenset(others) | frozenset(equation.output)


def _prepared(program: Program, x: int, needed: frozenset[str]) -> int:
    """One operand with every label once, and without the labels that nobody else needs."""
    labels = program.values[x].labels
    for label in dict.fromkeys(labels):
        if labels.count(label) > 1:
            taken = program.diagonal(x, label)
            if taken is None:
                raise PlanError(
                    f"label '{label}' names axes of one operand whose sizes are not known to be "
                    "equal; set unproved_sizes: assume-equal if they are"
                )
            x = taken
            labels = program.values[x].labels
    lonely = [label for label in labels if label not in needed]
    return program.sum(x, lonely) if lonely else x


def _order(program: Program, live: Sequence[int], output: Labels) -> list[tuple[int, ...]]:
    """Which operands to contract in turn, as positions in a list that results are appended to.

    By opt_einsum (Smith and Gray, JOSS 2018), which takes every unknown size to be the same.
    """
    if len(live) < 2:
        return []
    if len(live) == 2:
        return [(0, 1)]
    import opt_einsum

    values = [program.values[v] for v in live]
    known: dict[str, int] = {}
    for value in values:
        for label, dim in zip(value.labels, value.dims, strict=True):
            size = dim if isinstance(dim, int) else _TYPICAL
            known[label] = max(known.get(label, 1), size)
    symbols = {label: opt_einsum.get_symbol(k) for k, label in enumerate(known)}
    terms = ["".join(symbols[label] for label in v.labels) for v in values]
    text = f"{','.join(terms)}->{''.join(symbols[label] for label in output)}"
    shapes = [tuple(known[label] for label in v.labels) for v in values]
    path, _ = opt_einsum.contract_path(text, *shapes, shapes=True)
    return [tuple(sorted(step)) for step in path]


# -- two operands ----------------------------------------------------------------------------------


def _contract(program: Program, x: int, y: int, keep: set[str], output: Labels | None) -> Program:
    """Multiply two values and sum over the labels that nobody needs any more.

    ``output`` is the order of the result, or None where any order will do.
    """
    best: Program | None = None
    for candidate in _candidates(program, x, y, keep, output):
        if best is None or candidate.cost < best.cost:
            best = candidate
    if best is None:
        raise PlanError(
            f"labels {_spelled(program, x, y, keep)} are summed over two operands whose sizes are "
            "not known to be equal; set unproved_sizes: assume-equal if they are"
        )
    return best


def _spelled(program: Program, x: int, y: int, keep: set[str]) -> str:
    one, two = program.values[x], program.values[y]
    bad = [c for c in _summed(one, two, keep) if not same(one.dim(c), two.dim(c))]
    return ", ".join(f"'{c}' ({one.dim(c) or '?'} and {two.dim(c) or '?'})" for c in bad)


def _summed(one: Value, two: Value, keep: set[str]) -> list[str]:
    return [label for label in one.labels if label in two.labels and label not in keep]


def _candidates(
    program: Program, x: int, y: int, keep: set[str], output: Labels | None
) -> Iterator[Program]:
    one, two = program.values[x], program.values[y]
    summed = _summed(one, two, keep)
    prices = program.prices
    free = [bool(set(v.labels) - set(w.labels)) for v, w in ((one, two), (two, one))]
    grows = bool(summed) and all(free)
    if not (grows and prices.matmul and not prices.assume):
        penalty = 0.0
        if summed and prices.matmul:
            penalty = _GROWTH if grows else 2.1 if prices.half else 0.25
        yield from _products(program, x, y, summed, output, penalty)
    if not summed or not prices.matmul:
        return
    # Size 1 beside another size: the operand does not depend on the label.
    single = [c for c in summed if (one.dim(c) == 1) != (two.dim(c) == 1)]
    if single:
        program = program.copy()
        ones = [[c for c in single if v.dim(c) == 1] for v in (one, two)]
        x = program.sum(program.drop(x, ones[0]), ones[1])
        y = program.sum(program.drop(y, ones[1]), ones[0])
        summed = [c for c in summed if c not in single]
        one, two = program.values[x], program.values[y]
        if not summed:
            yield from _products(program, x, y, summed, output, 0.0)
            return
    for start, k, p, q, rest in _with_one_sum(program, x, y, summed):
        yield from _with_merged_outputs(start, p, q, k, rest, output)


def _with_one_sum(
    program: Program, x: int, y: int, summed: list[str]
) -> Iterator[tuple[Program, str, int, int, list[str]]]:
    """Ways to have one label to contract: (program, that label, x, y, labels to sum afterwards)."""
    one, two = program.values[x], program.values[y]
    unproved = [c for c in summed if not same(one.dim(c), two.dim(c))]
    assume = program.prices.assume
    if len(summed) > 1 and len(unproved) <= (1 if assume else 0):
        # At most one pair of sizes in doubt: if they differ, so do the products.
        for group in _orders(summed, [one.labels, two.labels]):
            for with_x, p in _merges(program, x, group):
                for with_y, q in _merges(with_x, y, group):
                    yield _assuming(with_y, one, two, unproved), merged(group), p, q, []
    for c in summed:
        if c in unproved and not assume:
            continue
        rest = [other for other in summed if other != c]
        start = _assuming(program, one, two, [c] if c in unproved else [])
        start.cost += sum(1.0 for _ in rest)
        # The largest known size belongs inside the product.
        dim = one.dim(c)
        start.cost -= 0.01 * min(dim, 50) / 50 if rest and isinstance(dim, int) else 0.0
        yield start, c, x, y, rest


def _assuming(program: Program, one: Value, two: Value, labels: Sequence[str]) -> Program:
    start = program.copy()
    for label in labels:
        start.assume(label, (one.dim(label), two.dim(label)))
    return start


def _merges(program: Program, x: int, group: Labels) -> Iterator[tuple[Program, int]]:
    """Ways to make one axis of several axes of a value, transposing first where that is needed."""
    rest = [label for label in program.values[x].labels if label not in group]
    orders = [program.values[x].labels]
    orders += [(*rest[:k], *group, *rest[k:]) for k in range(len(rest), -1, -1)]
    for order in dict.fromkeys(orders):
        trial = program.copy()
        result = trial.merge(trial.transpose(x, order), group)
        if result is not None:
            yield trial, result


def _with_merged_outputs(
    program: Program, x: int, y: int, k: str, rest: list[str], output: Labels | None
) -> Iterator[Program]:
    """Plans as they come, and plans that join the static axes of one side around the product."""
    yield from _matmuls(program, x, y, k, rest, output)
    if output is None:
        return
    for side, other in ((x, y), (y, x)):
        value = program.values[side]
        shared = program.values[other].labels
        group = tuple(label for label in output if label in value.labels and label not in shared)
        if len(group) < 2 or not isinstance(product(value.dim(c) for c in group), int):
            continue
        start = output.index(group[0])
        if output[start : start + len(group)] != group:
            continue
        short = (*output[:start], merged(group), *output[start + len(group) :])
        for trial, joined in _merges(program, side, group):
            p, q = (joined, y) if side == x else (x, joined)
            for done in _matmuls(trial, p, q, k, rest, short):
                now = done.values[done.last]
                dims = [value.dim(c) if c in group else now.dim(c) for c in output]
                if done.reshape(done.last, Value(output, tuple(dims))) is not None:
                    yield done


def _orders(labels: Sequence[str], hints: Sequence[Labels]) -> Iterator[Labels]:
    """Orders of some labels: all of them where they are few, else those of the hints."""
    if len(labels) <= _MOST_ORDERED:
        yield from permutations(labels)
        return
    seen = set()
    for hint in hints:
        order = tuple(sorted(labels, key=lambda c: hint.index(c) if c in hint else -1))
        if order not in seen:
            seen.add(order)
            yield order


class _Form(NamedTuple):
    """One way to write a product of matrices."""

    left: int
    right: int
    m: str | None
    n: str | None
    batch: Labels


def _matmuls(
    program: Program, x: int, y: int, k: str, rest: list[str], output: Labels | None
) -> Iterator[Program]:
    """Products of matrices over one label; the other axes are rows, columns or batch axes."""
    hint = output or ()
    for left, right in ((x, y), (y, x)):
        one, two = program.values[left].labels, program.values[right].labels
        rows: list[str | None] = [c for c in one if c not in two]
        columns: list[str | None] = [c for c in two if c not in one]
        for m in rows or [None]:
            for n in columns or [None]:
                batch = [c for c in dict.fromkeys((*one, *two)) if c not in (m, n, k)]
                for order in _orders(batch, [hint, one, two]):
                    form = _Form(left, right, m, n, order)
                    yield _matmul(program.copy(), form, k, rest, output)


def _matmul(
    program: Program, form: _Form, k: str, rest: Sequence[str], output: Labels | None
) -> Program:
    one, two = program.values[form.left], program.values[form.right]
    vectors = one.labels == (k,), two.labels == (k,)
    left = program.transpose(form.left, _only((*form.batch, form.m, k), one))
    right = program.transpose(form.right, _only((*form.batch, k, form.n), two))
    left = program.unsqueeze(left, _layout(form.batch, (form.m, k), one))
    right = program.unsqueeze(right, _layout(form.batch, (k, form.n), two))
    labels, dims = list(form.batch), [_joint(one, two, c) for c in form.batch]
    if not vectors[0]:
        labels.append(form.m or "row")
        dims.append(one.dim(form.m) if form.m else 1)
    if not vectors[1]:
        labels.append(form.n or "column")
        dims.append(two.dim(form.n) if form.n else 1)
    program.rounds = True
    result = program.add("MatMul", [left, right], [], Value(tuple(labels), tuple(dims)))
    spare = [c for c in ("row", "column") if c in labels]
    result = program.sum(result, [*rest, *spare]) if rest else program.drop(result, spare)
    if output is not None:
        program.transpose(result, output)
    return program


def _only(labels: Sequence[str | None], value: Value) -> Labels:
    return tuple(label for label in labels if label is not None and label in value.labels)


def _layout(
    batch: Sequence[str], tail: Sequence[str | None], value: Value
) -> tuple[str | None, ...]:
    """Where an operand has which label; what it lacks in front is left to broadcasting."""
    if len(value.labels) == 1 and len(_only(batch, value)) == 0 and None in tail:
        return value.labels
    layout = [label if label in value.labels else None for label in batch]
    while layout and layout[0] is None:
        layout.pop(0)
    return (*layout, *tail)


def _joint(one: Value, two: Value, label: str) -> Dim:
    if label not in two.labels:
        return one.dim(label)
    if label not in one.labels:
        return two.dim(label)
    return broadcast(one.dim(label), two.dim(label))


def _products(
    program: Program,
    x: int,
    y: int,
    summed: list[str],
    output: Labels | None,
    penalty: float,
) -> Iterator[Program]:
    """Elementwise products, summed afterwards. Right for sizes 1 and n, whatever is known."""
    one, two = program.values[x], program.values[y]
    labels = tuple(dict.fromkeys((*one.labels, *two.labels)))
    hints = [one.labels, two.labels, (*(output or ()), *summed), (*summed, *(output or ()))]
    for order in _orders(labels, hints):
        trial = program.copy()
        trial.cost += penalty
        left = trial.transpose(x, _only(order, one))
        right = trial.transpose(y, _only(order, two))
        left = trial.unsqueeze(left, _layout(order, (), one))
        right = trial.unsqueeze(right, _layout(order, (), two))
        whole = Value(order, tuple(_joint(one, two, c) for c in order))
        result = trial.add("Mul", [left, right], [], whole)
        result = trial.sum(result, summed) if summed else result
        if output is not None:
            trial.transpose(result, output)
        yield trial
