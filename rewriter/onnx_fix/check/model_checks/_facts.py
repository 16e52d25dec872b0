"""What the checks of whole models share: the facts of the release, and names in messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from onnx_fix.check.model_check import CheckContext
from onnx_fix.target.data import Release, read
from onnx_fix.target.restrictions import source_of
from onnx_fix.target.trtexec import flags

BACKED = {"inferred": "concluded from the live TensorRT-RTX 1.7 parser and builder"}
_LISTED = 5


def release_of(context: CheckContext) -> Release:
    """The release that is asked about."""
    return Release.named(context.target.release)


def is_rtx(context: CheckContext) -> bool:
    """Whether the target is TensorRT-RTX, whose parser and builder were asked themselves."""
    return context.target.release.startswith("rtx-")


def general_fact(fact_id: str) -> Mapping[str, Any]:
    """An entry of ``facts.json`` about nodes of any op, or about models."""
    found: Mapping[str, Any] = next(e for e in read("facts")["general"] if e["id"] == fact_id)
    return found


def function_rule(rule_id: str) -> Mapping[str, Any]:
    """An entry of ``plugins.json`` about local functions."""
    rules = read("plugins")["local_functions"]
    found: Mapping[str, Any] = next(e for e in rules if e["id"] == rule_id)
    return found


def holds(context: CheckContext, entry: Mapping[str, Any]) -> bool:
    """Whether the release lies in the interval of an entry."""
    return release_of(context).within(entry)


def source(context: CheckContext, entry: Mapping[str, Any]) -> str:
    """Where an entry was read, in words."""
    return source_of(release_of(context), {"evidence": "source", **entry})


def evidence_of_probe(context: CheckContext) -> tuple[str, str]:
    """Evidence and source of what TensorRT-RTX 1.7 was seen to do: elsewhere it is inferred."""
    if is_rtx(context):
        return "probe", source_of(release_of(context), {"evidence": "probe"})
    return "inferred", BACKED["inferred"]


def has_option(context: CheckContext, option: str) -> bool:
    """Whether trtexec of the release takes an option; False for TensorRT-RTX, which has its own
    program."""
    known = flags(context.target.release)
    return known is not None and option in known


def tool(context: CheckContext) -> str:
    """The program that comes with the release and builds engines."""
    return "tensorrt_rtx" if is_rtx(context) else "trtexec"


def listed(names: Iterable[str], limit: int = _LISTED) -> str:
    """The first names of a list in quotes, and how many more there are."""
    every = list(names)
    text = ", ".join(f"'{name}'" for name in every[:limit])
    return text if len(every) <= limit else f"{text} and {len(every) - limit} more"


def distinct(names: Iterable[str]) -> Iterator[str]:
    """The names, each once, in order."""
    yield from dict.fromkeys(names)
