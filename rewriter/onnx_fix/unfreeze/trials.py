"""Runs of a model that became dynamic, at sizes that the original does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onnx import ModelProto

from onnx_fix.errors import VerificationError

if TYPE_CHECKING:
    from onnx_fix.verify import Verification
    from onnx_fix.verify.source import PluginBody

Range = tuple[int, int, int]
"""Smallest, usual and largest size of a symbol."""


def with_held(
    ranges: Sequence[Mapping[str, Range]], held: Mapping[str, int]
) -> Sequence[Mapping[str, Range]]:
    """Ranges of symbols where some have one size only."""
    one = {name: (number, number, number) for name, number in held.items()}
    return [{**each, **one} for each in ranges or ({},)] if one else ranges


def other_sizes(
    model: ModelProto,
    base_dir: Path | None,
    ranges: Sequence[Mapping[str, Range]],
    seed: int,
    plugin_bodies: Sequence[PluginBody],
) -> Verification:
    """Runs of a model at sizes that the original does not have.

    Raises:
        VerificationError: it runs at none.
    """
    from onnx_fix.verify import verify

    found = verify(
        model,
        model,
        before_dir=base_dir,
        after_dir=base_dir,
        dims=ranges or None,
        seed=seed,
        plugin_bodies=plugin_bodies,
        sizes=2,
    )
    if found.status == "no evidence":
        raise VerificationError(
            "the model with dynamic dims runs at no other size, so nothing is written; "
            f"{found.reason}"
        )
    return found
