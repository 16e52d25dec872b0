"""What ``einsum-to-matmul`` claims."""

from __future__ import annotations

from collections.abc import Sequence

from claim import ROUNDED, Case, Shape, text


def einsum(target: str, equation: str, *shapes: Shape, dtype: str = "float") -> Case:
    names = "abc"[: len(shapes)]
    kind = {"float": "f4", "int32": "i4"}[dtype]
    inputs = ", ".join(
        f"{dtype}[{', '.join(map(str, shape))}] {name}"
        for name, shape in zip(names, shapes, strict=True)
    )
    rank = len(equation.split("->")[1])
    result = f"{dtype}[{', '.join('PQRS'[:rank])}] y"
    return Case(
        text(
            13,
            f"({inputs}) => ({result})",
            f'y = Einsum <equation = "{equation}"> ({", ".join(names)})',
        ),
        target,
        [{name: (kind, shape) for name, shape in zip(names, shapes, strict=True)}],
        tolerance=ROUNDED,
    )


EINSUMS: Sequence[tuple[str, str, str, tuple[Shape, ...], str]] = (
    ("broadcast", "trt-8.6", "bij,bjk->bik", ((1, 2, 3), (4, 3, 2)), "float"),
    ("dtype", "trt-8.6", "ij,jk->ik", ((2, 3), (3, 2)), "int32"),
    ("equation_characters", "trt-8.6", "Ij,jK->IK", ((2, 3), (3, 2)), "float"),
    ("equation_feature", "trt-8.6", "ij,jk,kl->il", ((2, 3), (3, 2), (2, 4)), "float"),
    ("no_importer", "trt-7.2", "ij,jk->ik", ((2, 3), (3, 2)), "float"),
)


CASES: dict[tuple[str, str, str], Case] = {
    **{
        ("einsum-to-matmul", kind, "Einsum"): einsum(target, equation, *shapes, dtype=dtype)
        for kind, target, equation, shapes, dtype in EINSUMS
    },
}
