"""What ``replace-stft`` claims."""

from __future__ import annotations

from claim import ROUNDED, Case, of_text


def framed(target: str, parts: int, given: str = "") -> Case:
    """Frames of 4 with a step of 2; the window may be an input."""
    window = "" if given else "w = Constant <value = float[4] {0.5, 1.0, 1.0, 0.5}> () "
    more: dict[str, tuple[str, tuple[int, ...]]] = {"w": ("f4", (4,))} if given else {}
    return of_text(
        17,
        f"(float[N, 10, {parts}] x{given}) => (float[N, 4, 4, 2] y)",
        f"step = Constant <value = int64 {{2}}> () {window}y = STFT <onesided = 0> (x, step, w)",
        target,
        [{"x": ("f4", (n, 10, parts)), **more} for n in (1, 2)],
        tolerance=ROUNDED,
    )


CASES: dict[tuple[str, str, str], Case] = {
    ("replace-stft", "no_importer", "STFT"): framed("trt-10.3", 1),
    ("replace-stft", "input_must_be_constant", "STFT"): framed("rtx-1.7", 1, ", float[4] w"),
    ("replace-stft", "real_input_only", "STFT"): framed("rtx-1.7", 2),
}
