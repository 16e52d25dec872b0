"""What ``replace-tensor-scatter`` claims."""

from __future__ import annotations

from claim import Case, of_text


def _case(
    cache: str,
    update: str,
    attributes: str,
    kind: str,
    element: str = "float",
    target: str = "rtx-1.7",
) -> Case:
    sizes = tuple(5 if d == "N" else int(d) for d in cache.split(", "))
    wanted = tuple(5 if d == "N" else int(d) for d in update.split(", "))
    return of_text(
        24,
        f"({element}[{cache}] c, {element}[{update}] u) => ({element}[{cache}] y)",
        f"at = Constant <value = int64[2] {{1, 0}}> () y = TensorScatter {attributes} (c, u, at)",
        target,
        [{"c": (kind, sizes), "u": (kind, wanted)}],
        by_reference=True,
    )


CASES: dict[tuple[str, str, str], Case] = {
    ("replace-tensor-scatter", kind, "TensorScatter"): case
    for kind, case in {
        "attribute_allowed_values": _case("2, 1, 4, 5", "2, 1, 2, 5", '<mode = "circular">', "f4"),
        "dtype_refused": _case("2, 1, 4, 5", "2, 1, 2, 5", "", "i4", "int32"),
        "no_importer": _case("2, 1, 4, 5", "2, 1, 2, 5", "", "f4", target="trt-10.3"),
        "rank": _case("2, 4, 5", "2, 2, 5", "", "f4"),
        "static_shape_only": _case("2, 1, N, 5", "2, 1, 2, 5", "", "f4"),
    }.items()
}
