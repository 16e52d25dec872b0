"""Choose the sizes a dynamic model is run at."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx
from onnx import numpy_helper

from onnx_fix.errors import UsageError
from onnx_fix.verify.symbols import Place, fed_inputs, input_dims, symbols

Profile = Mapping[str, tuple[int, int, int]]
"""Per symbol: smallest, usual and largest size."""

Profiles = Profile | Sequence[Profile]
"""One profile, or several: generated sizes keep to the first of them."""

Values = Mapping[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
"""Per input whose values decide sizes: smallest, usual and largest elements."""

MAX_TRIES = 20
"""How many other sizes are tried where the original does not run at the planned ones."""

# Medium sizes, all odd, for even and odd rounds; batch axes get small ones, because cost grows with
# them and little is learnt.
_MEDIUM = ((7, 11, 13, 17, 19, 23, 29, 31, 37), (9, 15, 21, 25, 33, 27, 35, 39, 31))
_BATCH = ((3, 5, 7), (5, 7, 3))
_FACTORS = ((3, 5, 7), (5, 3, 4))
_GRANULES = (8, 16, 32)
_FROZEN_LIMIT = 4096
_MOST = 1 << 22
"""Elements of an input, beyond which generated sizes are made smaller: seven medium dims have a
hundred times as many."""


@dataclass(frozen=True, slots=True)
class PlannedSizes:
    """One set of sizes and where it comes from; only ``generated`` sets may be replaced."""

    origin: Literal["generated", "ones", "profile"]
    sizes: Mapping[str, int]
    round: int = 0
    values: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Elements of inputs that decide sizes, where a profile gives them."""


def plan_sizes(
    model: onnx.ModelProto, dims: Profiles | None = None, count: int = 3
) -> list[dict[str, int]]:
    """Return the sets of sizes to run ``model`` at, one size per symbol of its inputs.

    Of ``count`` sets the first two hold medium sizes, odd and different for each symbol (so that
    transposed axes cannot hide), the third is all ones (but for symbols that have one size in
    ``dims``), and more are medium again. The smallest, usual and largest sizes of ``dims`` (of each
    profile, where there are several) follow, whatever ``count`` is. The result depends on the
    arguments alone. A model without symbols gives empty sets, at most two.

    Raises:
        UsageError: ``dims`` names a symbol that no input has, or its sizes are not in order.
    """
    return [dict(planned.sizes) for planned in plan(model, dims, count)]


def first_of(dims: Profiles | None) -> Profile:
    """The profile that generated sizes keep to."""
    if isinstance(dims, Mapping) or dims is None:
        return dims or {}
    return dims[0] if dims else {}


def plan(
    model: onnx.ModelProto, dims: Profiles | None, count: int, values: Sequence[Values] = ()
) -> list[PlannedSizes]:
    """Do as `plan_sizes` does, and say where each set comes from.

    ``values`` go with the profiles of ``dims``, one by one.
    """
    places = symbols(model)
    profile = dict(first_of(dims))
    every = [profile] if isinstance(dims, Mapping) or not dims else [dict(d) for d in dims]
    for one in every:
        _check_profile(one, places)
    if not places:
        plain = [PlannedSizes("generated", {}, k) for k in range(max(1, min(count, 2)))]
        return plain + [
            PlannedSizes("profile", {}, values={n: v[k] for n, v in given.items()})
            for given in filter(None, values)
            for k in range(3)
        ]
    sets: list[PlannedSizes] = []
    rounds = itertools.count()
    for number in range(max(count, 0)):
        if number == 2:
            sets.append(PlannedSizes("ones", dict.fromkeys(places, 1) | _pinned(profile)))
        else:
            turn = next(rounds)
            sizes = _small_enough(model, _medium(model, places, profile, turn), profile)
            sets.append(PlannedSizes("generated", sizes, turn))
    none: Values = {}
    given = [*values, *(none for _ in every[len(values) :])]
    every += [{} for _ in given[len(every) :]]
    for (one, elements), which in itertools.product(zip(every, given, strict=True), range(3)):
        if not one and not elements:
            continue
        base = sets[0].sizes if sets else _medium(model, places, profile, 0)
        sizes = dict(base) | {name: sizes[which] for name, sizes in one.items()}
        fed = {name: three[which] for name, three in elements.items()}
        if all((sizes, fed) != (planned.sizes, planned.values) for planned in sets):
            sets.append(PlannedSizes("profile", sizes, values=fed))
    return sets


def _pinned(profile: Profile) -> dict[str, int]:
    """The symbols that have one size only."""
    return {name: low for name, (low, _, high) in profile.items() if low == high}


def _check_profile(profile: Profile, places: Mapping[str, object]) -> None:
    for name, sizes in profile.items():
        if name not in places:
            known = ", ".join(places) or "none"
            raise UsageError(f"no input has a dynamic dim '{name}'; the model's are: {known}")
        low, usual, high = sizes
        if not 0 <= low <= usual <= high:
            raise UsageError(
                f"dim '{name}': {low}, {usual}, {high} must be smallest, usual and largest size"
            )


def _largest(model: onnx.ModelProto, sizes: Mapping[str, int]) -> int:
    """How many elements the largest input has."""
    return max(
        (
            math.prod(d if isinstance(d, int) else sizes.get(d or "", 1) for d in dims)
            for dims in map(input_dims, fed_inputs(model))
            if dims is not None
        ),
        default=0,
    )


def _small_enough(
    model: onnx.ModelProto, sizes: Mapping[str, int], profile: Profile
) -> dict[str, int]:
    """The sizes, the largest of them halved for as long as an input is too large to be fed."""
    found = dict(sizes)
    while _largest(model, found) > _MOST:
        free = [n for n, size in found.items() if size > max(2, profile.get(n, (0,))[0])]
        if not free:
            break
        name = max(free, key=found.__getitem__)
        found[name] = max(found[name] // 2, profile.get(name, (0,))[0], 2)
    return found


def _halved(model: onnx.ModelProto, sizes: Mapping[str, int], profile: Profile) -> dict[str, int]:
    """The sizes, all of them halved for as long as an input is too large: equal ones stay so."""
    found = dict(sizes)
    while _largest(model, found) > _MOST:
        half = {n: max(size // 2, profile.get(n, (0,))[0], 1) for n, size in found.items()}
        if half == found:
            break
        found = half
    return found


def is_batch(places: Iterable[Place]) -> bool:
    """Whether a symbol stands only on the first of several axes, as a batch size does."""
    return all(place.axis == 0 and place.rank > 1 for place in places)


def _medium(
    model: onnx.ModelProto,
    places: Mapping[str, tuple[Place, ...]],
    profile: Profile,
    turn: int,
) -> dict[str, int]:
    """Odd sizes, different for each symbol, from fixed input dims, and from the round before."""
    taken = {
        dim
        for value in fed_inputs(model)
        for dim in input_dims(value) or ()
        if isinstance(dim, int)
    }
    # Past the lists: 41, 45, ... in even rounds and 43, 47, ... in odd ones.
    medium = list(_MEDIUM[turn % 2])
    medium = medium[turn // 2 :] + medium[: turn // 2]
    tail = itertools.count(41 + 2 * (turn % 2), 4)
    before = _medium(model, places, profile, turn - 1) if turn % 2 else {}
    sizes: dict[str, int] = {}
    for name, where in places.items():
        pool: Iterator[int] = itertools.chain(
            _BATCH[turn % 2] if is_batch(where) else (), medium, tail
        )
        if name in profile:
            low, _, high = profile[name]
            start = max(low, 2)
            near = [*range(start | 1, start + 128, 2), *range(start, start + 128)]
            inside = [s for s in (*itertools.islice(pool, 12), *near) if low <= s <= high]
            fresh = [s for s in inside if s not in taken and s != before.get(name)]
            size = next(iter([*fresh, *inside, low]))
        else:
            size = next(s for s in pool if s not in taken and s != before.get(name))
        taken.add(size)
        sizes[name] = size
    return sizes


@dataclass(frozen=True, slots=True)
class Alternative:
    """Other sizes for a set, and the rule that made them (equal rules make like sizes)."""

    rule: tuple[str, ...]
    sizes: Mapping[str, int]


def alternatives(
    model: onnx.ModelProto, planned: PlannedSizes, profile: Profile | None = None
) -> list[Alternative]:
    """Return other sizes for a generated set whose sizes the original does not run at.

    Real exports often run only where a dim is a multiple of a stride, where several dims agree, at
    one image size, or at the one size that the exporter froze. At most `MAX_TRIES` sets; empty
    where the set must stay as it is (all ones, a profile, no symbols).
    """
    if planned.origin != "generated" or not planned.sizes:
        return []
    found: list[Alternative] = []
    seen = [dict(planned.sizes)]
    for rule, wanted in _rules(model, planned, dict(profile or {})):
        sizes = _halved(model, wanted | _pinned(profile or {}), dict(profile or {}))
        if sizes not in seen:
            seen.append(sizes)
            found.append(Alternative(rule, sizes))
    return found[:MAX_TRIES]


def _rules(
    model: onnx.ModelProto, planned: PlannedSizes, profile: Profile
) -> Iterator[tuple[tuple[str, ...], dict[str, int]]]:
    places = symbols(model)
    base = dict(planned.sizes)
    batch = [name for name, where in places.items() if is_batch(where)]
    rest = [name for name in places if name not in batch]
    one_batch = dict.fromkeys(batch, base[batch[0]]) if batch else {}

    def multiples(granule: int) -> dict[str, int]:
        factors = _FACTORS[planned.round % 2]
        return {
            name: _inside(granule * factors[i % 3], granule, profile.get(name))
            for i, name in enumerate(rest)
        }

    yield ("equal first axes",), base | one_batch
    for granule in _GRANULES:
        yield ("multiples", str(granule)), base | multiples(granule)
    yield ("equal first axes", "multiples"), base | one_batch | multiples(32)
    by_axis = {name: 16 + 8 * max(place.axis for place in places[name]) for name in rest}
    yield ("equal axes",), base | one_batch | by_axis
    yield ("all equal",), dict.fromkeys(places, 16)
    images = [n for n in rest if all(p.rank == 4 and p.axis >= 2 for p in places[n])]
    yield ("image",), base | dict.fromkeys(images, 224)
    if not images:
        # A window of audio: shorter ones are less than what an STFT pads them by.
        yield ("equal first axes", "long"), base | one_batch | dict.fromkeys(rest, 512)
    for size in _frozen(model):
        for name in places:
            if name not in profile or profile[name][0] <= size <= profile[name][2]:
                yield ("frozen", name, str(size)), base | {name: size}


def _inside(size: int, granule: int, limits: tuple[int, int, int] | None) -> int:
    """Move ``size`` into the limits, onto a multiple of ``granule`` where one lies there."""
    if limits is None:
        return size
    low, _, high = limits
    size = -(-max(size, low) // granule) * granule
    return size if size <= high else max(low, high // granule * granule)


def _frozen(model: onnx.ModelProto) -> list[int]:
    """Sizes that the exporter may have frozen: fixed output dims, then the commonest constants."""
    sizes: list[int] = []
    for value in model.graph.output:
        sizes += [dim for dim in input_dims(value) or () if isinstance(dim, int)]
    count: Counter[int] = Counter()
    tensors = [t for t in model.graph.initializer if _is_small_integer(t)]
    for node in model.graph.node:
        if node.op_type == "Constant":
            tensors += [a.t for a in node.attribute if a.name == "value" and _is_small_integer(a.t)]
    for tensor in tensors:
        count.update(int(v) for v in np.ravel(numpy_helper.to_array(tensor)))
    sizes += [size for size, _ in sorted(count.items(), key=lambda item: (-item[1], item[0]))]
    return list(dict.fromkeys(size for size in sizes if 2 <= size <= _FROZEN_LIMIT))[:6]


def _is_small_integer(tensor: onnx.TensorProto) -> bool:
    return (
        tensor.data_type in (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
        and tensor.data_location != onnx.TensorProto.EXTERNAL
        and int(np.prod(tensor.dims, dtype=np.int64)) <= 8
    )
