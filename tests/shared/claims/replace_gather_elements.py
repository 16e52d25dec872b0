"""What ``replace-gather-elements`` claims."""

from __future__ import annotations

from claim import Case, of_text


def gather(dtype: str, kind: str, target: str, indices: str, dims: str = "2, 4") -> Case:
    nodes = (
        f"i = Constant <value = int64[2, 2] {{{indices}}}> () y = GatherElements <axis = 1> (x, i)"
    )
    return of_text(
        13,
        f"({dtype}[{dims}] x) => ({dtype}[2, 2] y)",
        nodes,
        target,
        [{"x": (kind, (2, 4))}],
    )


GATHERS = (
    ("dtype_refused", ("bool", "?", "trt-8.4", "0, 3, 1, 1")),
    ("negative_indices_unsupported", ("float", "f4", "trt-8.0", "0, -1, 1, 1")),
    ("no_importer", ("float", "f4", "trt-7.2", "0, -1, 1, 1")),
    ("static_shape_only", ("float", "f4", "trt-8.0", "0, 3, 1, 1", "2, N")),
)


CASES: dict[tuple[str, str, str], Case] = {
    **{("replace-gather-elements", kind, "GatherElements"): gather(*use) for kind, use in GATHERS},
}
