"""The lists of ``--minShapes`` and its like: ``kpts0:1x300x2,desc0:1x300x48``.

A list is split at every comma, and each item at its last colon (at its first one in TensorRT 7.0).
Single quotes enclose a name that holds colons; trtexec takes them off. The same form gives the
values of a shape tensor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from onnx_fix.errors import UsageError
from onnx_fix.target.trtexec import behaves

SHAPE_FLAGS = ("--minShapes", "--optShapes", "--maxShapes")
"""The options of the build, in the order of a profile."""

_SEPARATORS = {",": "a comma", "'": "a quote", "\0": "a zero byte"}


@dataclass(frozen=True, slots=True)
class Item:
    """The sizes of one input (or values, of a shape tensor) as a list has them.

    ``sizes`` is None where the text is no shape; ``fault`` then says why.
    """

    text: str
    name: str
    sizes: tuple[int, ...] | None
    fault: str = ""


def spell_list(bounds: Iterable[tuple[str, Sequence[int]]]) -> str:
    """The list of inputs with their sizes.

    Raises:
        UsageError: a name cannot be written, or an input has no sizes to write.
    """
    return ",".join(_spell(name, sizes) for name, sizes in bounds)


def _spell(name: str, sizes: Sequence[int]) -> str:
    held = [said for mark, said in _SEPARATORS.items() if mark in name]
    if held:
        raise UsageError(
            f"the input '{name}' has {' and '.join(held)} in its name, which cannot be written in "
            "--minShapes and its like; rename it at export (input_names), or build by the API, "
            "where set_shape takes any name"
        )
    if not sizes:
        raise UsageError(
            f"the input '{name}' has no sizes to write: a tensor of no values cannot be given on "
            "the command line; build by the API"
        )
    written = f"'{name}'" if ":" in name else name
    return f"{written}:{'x'.join(map(str, sizes))}"


def read_list(text: str, release: str) -> list[Item]:
    """The items of a list as the program of a release reads them."""
    return [_item(item, release) for item in text.removesuffix(",").split(",")]


def _item(text: str, release: str) -> Item:
    parts = text.split("'")
    if len(parts) not in (1, 3):
        return Item(text, text, None, "a single quote without its other one")
    if len(parts) == 3:
        name, after = parts[0] + parts[1], parts[2]
        colon, sizes = ":" if after.startswith(":") else "", after[1:]
    elif behaves(release, "name_ends_at_first_colon"):
        name, colon, sizes = text.partition(":")
        if ":" in sizes:
            quoted = text.rpartition(":")[0]
            return Item(
                text, name, None, f"the name ends at its first colon there; write '{quoted}':..."
            )
    else:
        name, colon, sizes = text.rpartition(":")
    if not colon:
        return Item(text, text, None, "write NAME:AxBxC")
    if sizes == "scalar" and behaves(release, "scalar_has_a_word"):
        return Item(text, name, ())
    numbers = [number.lstrip() for number in sizes.split("x")]
    if all(re.fullmatch(r"-?[0-9]+", number) for number in numbers):
        return Item(text, name, tuple(int(number) for number in numbers))
    return Item(text, name, None, _fault(sizes))


def _fault(sizes: str) -> str:
    if not sizes:
        return "there are no sizes after the colon"
    for mark in ("X", "*", ";", " "):
        if mark in sizes.strip():
            return f"'{sizes}': sizes are separated by x, such as 1x3x224x224"
    return f"'{sizes}' is no shape; write numbers separated by x, such as 1x3x224x224"
