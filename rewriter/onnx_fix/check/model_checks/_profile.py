"""Dynamic dims of the inputs, and how a profile of them is written on a command line."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto, ValueInfoProto

from onnx_fix.verify.symbols import fed_inputs, input_dims

Range = tuple[int, int, int]
"""min, opt and max of a dim."""


def dynamic_inputs(proto: ModelProto) -> dict[str, tuple[int | str, ...]]:
    """The inputs that a caller feeds and that have a dim without a number."""
    found = {}
    for value in fed_inputs(proto):
        dims = tensor_dims(value)
        if dims is not None and any(isinstance(d, str) for d in dims):
            found[value.name] = dims
    return found


def tensor_dims(value: ValueInfoProto) -> tuple[int | str, ...] | None:
    """The declared dims of a tensor; None for containers and where no shape is declared."""
    if value.type.WhichOneof("value") != "tensor_type":
        return None
    return input_dims(value)


def options(inputs: Mapping[str, tuple[int | str, ...]], known: Mapping[str, Range]) -> str:
    """``--minShapes=... --optShapes=... --maxShapes=...`` with ``<symbol>`` for sizes to choose.

    Names that hold a colon stand in single quotes, which trtexec takes off.
    """
    texts = []
    for place, option in enumerate(("--minShapes", "--optShapes", "--maxShapes")):
        shapes = ",".join(
            f"{_quoted(name)}:{_spelled(dims, known, place)}" for name, dims in inputs.items()
        )
        texts.append(f"{option}={shapes}")
    return " ".join(texts)


def _quoted(name: str) -> str:
    return f"'{name}'" if ":" in name else name


def _spelled(dims: tuple[int | str, ...], known: Mapping[str, Range], place: int) -> str:
    return "x".join(
        str(d if isinstance(d, int) else known[d][place] if d in known else f"<{d}>") for d in dims
    )
