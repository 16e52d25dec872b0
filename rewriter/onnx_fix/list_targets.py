"""The releases that are known, and each of them in detail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onnx_fix.compare_targets import SCHEMA_VERSION
from onnx_fix.target import Target, known_targets, load_target
from onnx_fix.target.data import Release, read
from onnx_fix.target.dispatch import importers, stock_plugins
from onnx_fix.target.restrictions import restrictions_of
from onnx_fix.target.trtexec import flags
from onnx_fix.target.verdict import REFUSING_EFFECTS


@dataclass(frozen=True, slots=True)
class Listed:
    """One target. ``date`` is the month of general availability, empty where not known; ``base``
    the release of the main line that a side release stands beside, else empty."""

    name: str
    date: str
    opset_range: tuple[int | None, int | None]
    importers: int
    plugins: int
    base: str
    about: str
    source: str


@dataclass(frozen=True, slots=True)
class Detail:
    """One target in full. ``refusing`` counts restrictions that refuse a use of an op with a
    message, ``silent`` those that compute something else; ``facts`` hold for any op."""

    listed: Listed
    note: str
    importers: tuple[str, ...]
    plugins: tuple[tuple[str, tuple[str, ...]], ...]
    reads_functions: bool
    dispatch: tuple[str, ...]
    refusing: int
    silent: int
    silent_ops: tuple[str, ...]
    facts: tuple[str, ...]
    flags: tuple[str, ...] | None

    def to_dict(self) -> dict[str, Any]:
        """The detail as JSON-able data. Keys are only ever added within a schema version."""
        return {
            "schema_version": SCHEMA_VERSION,
            **listed_to_dict(self.listed),
            "note": self.note,
            "importers": list(self.importers),
            "plugins": {name: list(versions) for name, versions in self.plugins},
            "reads_functions": self.reads_functions,
            "dispatch": list(self.dispatch),
            "restrictions": {"refusing": self.refusing, "silent": self.silent},
            "silent_ops": list(self.silent_ops),
            "facts": list(self.facts),
            "trtexec": None if self.flags is None else list(self.flags),
        }


def listed_to_dict(one: Listed) -> dict[str, Any]:
    """A listed target as JSON-able data."""
    return {
        "name": one.name,
        "date": one.date,
        "opset_range": list(one.opset_range),
        "importer_count": one.importers,
        "plugin_count": one.plugins,
        "base": one.base,
        "about": one.about,
        "source": one.source,
    }


def list_targets() -> list[Listed]:
    """Every target, the main line first, oldest release first."""
    return [_listed(load_target(name)) for name in known_targets()]


def _listed(target: Target) -> Listed:
    facts = read("releases")["releases"][target.release]
    release = Release.named(target.release)
    return Listed(
        name=target.name,
        date=facts["ga"] or "",
        opset_range=target.opset_range,
        importers=len(importers(release)),
        plugins=len(target.plugins),
        base=facts.get("base", ""),
        about=facts.get("about", ""),
        source=facts["source"],
    )


def describe_target(target: Target) -> Detail:
    """One release in full."""
    release = Release.named(target.release)
    stock = stock_plugins(release)
    entries = [r.entry for listed in restrictions_of(release, stock).values() for r in listed]
    silent = [e for e in entries if e["effect"] in ("wrong_result", "changes_shape")]
    taken = flags(target.release)
    orders = [o for o in read("plugins")["dispatch_order"] if release.within(o)]
    return Detail(
        listed=_listed(target),
        note=target.resolved_note,
        importers=tuple(sorted(importers(release))),
        plugins=tuple(sorted(stock.items())),
        reads_functions=target.reads_functions,
        dispatch=tuple(orders[0]["order"]) if orders else (),
        refusing=sum(e["effect"] in REFUSING_EFFECTS for e in entries) - len(silent),
        silent=len(silent),
        silent_ops=tuple(sorted({e["op"] for e in silent})),
        facts=tuple(f["fact"] for f in read("facts")["general"] if release.within(f)),
        flags=None if taken is None else tuple(taken),
    )
