"""What ``replace-arg-max`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    **{
        ("replace-arg-max", "dtype_refused", op): of_text(
            13,
            "(int32[N, 4] x) => (int64[N, 1] y)",
            f"y = {op} <axis = 1> (x)",
            "trt-8.5",
            [{"x": ("i4", (n, 4))} for n in (1, 9)],
        )
        for op in ("ArgMax", "ArgMin")
    },
    **{
        ("replace-arg-max", "ignored_attribute", op): of_text(
            13,
            "(float[N, M] x) => (int64[N, 1] y)",
            f"z = Floor (x) y = {op} <axis = 1, select_last_index = 1> (z)",
            "trt-7.2",
            [{"x": ("f4", (n, 7))} for n in (1, 9)],
        )
        for op in ("ArgMax", "ArgMin")
    },
}
