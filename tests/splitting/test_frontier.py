"""The tensors that a part is handed are as few as possible, against trying all choices."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_fix.splitting.frontier import frontier
from onnx_fix.splitting.network import Network


class Plain(Network):
    """A network given by what each node reads; node k makes the tensor ``tk``."""

    def __init__(self, needs: list[tuple[str, ...]]) -> None:
        self.needs = needs
        self.maker = {f"t{k}": k for k in range(len(needs))}


@st.composite
def networks(draw: st.DrawFn) -> tuple[Plain, list[str], set[int], dict[str, int]]:
    count = draw(st.integers(1, 7))
    needs: list[tuple[str, ...]] = []
    for k in range(count):
        known = ["x0", "x1", *(f"t{j}" for j in range(k))]
        needs.append(tuple(dict.fromkeys(draw(st.lists(st.sampled_from(known), max_size=3)))))
    names = ["x0", "x1", *(f"t{k}" for k in range(count))]
    wanted = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    may = draw(st.sets(st.integers(0, count - 1)))
    cost = {n: draw(st.integers(1, 5)) for n in names}
    return Plain(needs), wanted, may, cost


def computed(network: Plain, name: str, handed: set[str], may: set[int]) -> bool:
    if name in handed:
        return True
    maker = network.maker.get(name)
    if maker is None or maker not in may:
        return False
    return all(computed(network, n, handed, may) for n in network.needs[maker])


@settings(deadline=None, max_examples=150)
@given(networks())
def test_no_choice_is_cheaper(case: tuple[Plain, list[str], set[int], dict[str, int]]) -> None:
    network, wanted, may, cost = case
    handed, anew = frontier(network, wanted, may.__contains__, cost.__getitem__)
    assert anew <= may
    assert all(computed(network, n, handed, anew) for n in wanted)
    best = min(
        sum(cost[n] for n in choice)
        for size in range(len(cost) + 1)
        for choice in map(set, itertools.combinations(cost, size))
        if all(computed(network, n, choice, may) for n in wanted)
    )
    assert sum(cost[n] for n in handed) == best


def test_of_equals_the_one_that_computes_least() -> None:
    network = Plain([("x0",), ("t0",), ("t1",)])
    handed, anew = frontier(network, ["t2"], lambda _: True, lambda _: 1)
    assert (handed, anew) == ({"t2"}, set())


def test_a_constant_is_never_handed_over() -> None:
    network = Plain([(), ("t0",), ("t1", "x0")])
    handed, anew = frontier(network, ["t2", "t1"], lambda k: k < 2, lambda _: 3)
    assert (handed, anew) == ({"t2"}, {0, 1})
