"""What an evaluator of a kind of restriction takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from onnx_fix.target.facts import NodeFacts

Entry = Mapping[str, Any]
"""One restriction of ``data/restrictions.json``, settled for a release."""

Names = Mapping[int, str]
"""Element types as the release sees them, by ``TensorProto.DataType`` number."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One way in which a node goes against a restriction; not certain where facts are missing."""

    why: str
    tensor: str = ""
    certain: bool = True


Hits = tuple[Hit, ...]
Evaluator = Callable[[Entry, NodeFacts, Names], Hits]

NOTHING: Hits = ()


def spelled(values: object) -> str:
    """A list of allowed values as a message shows it."""
    listed = values if isinstance(values, (list, tuple)) else [values]
    return ", ".join(str(value) for value in listed)
