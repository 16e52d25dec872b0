"""What changed between two TensorRT releases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from onnx_fix.explain.meanings import particulars
from onnx_fix.target import Target
from onnx_fix.target.data import Release, read
from onnx_fix.target.dispatch import importers, stock_plugins
from onnx_fix.target.restrictions import restrictions_of
from onnx_fix.target.trtexec import Flag, flags, newest_read

SCHEMA_VERSION = 1
_NOT_COMPARED = frozenset(
    (
        *("id", "since", "until", "also_on", "not_on", "changes", "note", "message"),
        *("evidence", "last_checked", "origin"),
    )
)
_PLACE = ("input", "inputs", "attribute", "outputs", "plugin", "name")


@dataclass(frozen=True, slots=True)
class Limit:
    """One restriction of an op at one release. ``detail`` says what exactly it is about."""

    op: str
    kind: str
    effect: str
    detail: str
    message: str
    id: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A restriction that both releases have, in different form."""

    old: Limit
    new: Limit


@dataclass(frozen=True, slots=True)
class TargetDiff:
    """What the release ``b`` does otherwise than ``a``; each list is ordered by name.

    ``opset_range`` is (min, max) of a and of b by NVIDIA's tables, None where they do not say.
    ``gone``, ``new`` and ``changed`` are restrictions of ops that both releases import.
    ``reads_functions`` says of a and of b whether function definitions of a model are read, and
    ``functions`` holds the facts about them that hold at one release only: (sign, fact), the sign
    being ``-`` for a and ``+`` for b. ``plugin_versions`` are plugins of both releases, with the
    versions of each. The flags are None where one of the two has another program than trtexec.
    """

    a: str
    b: str
    opset_range: tuple[tuple[int | None, int | None], tuple[int | None, int | None]]
    importers_gained: tuple[str, ...]
    importers_lost: tuple[str, ...]
    gone: tuple[Limit, ...]
    new: tuple[Limit, ...]
    changed: tuple[Changed, ...]
    reads_functions: tuple[bool, bool]
    functions: tuple[tuple[str, str], ...]
    general: tuple[tuple[str, str], ...]
    plugins_gained: tuple[str, ...]
    plugins_lost: tuple[str, ...]
    plugin_versions: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
    flags_added: tuple[Flag, ...] | None
    flags_removed: tuple[Flag, ...] | None
    flags_deprecated: tuple[Flag, ...] | None
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether nothing differs that the data knows of."""
        return not any(
            (
                self.importers_gained or self.importers_lost,
                self.gone or self.new or self.changed,
                self.functions or self.general,
                self.plugins_gained or self.plugins_lost or self.plugin_versions,
                self.flags_added or self.flags_removed or self.flags_deprecated,
                self.opset_range[0] != self.opset_range[1],
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """The difference as JSON-able data. Keys are only ever added within a schema version."""
        return {
            "schema_version": SCHEMA_VERSION,
            "from": self.a,
            "to": self.b,
            "opset_range": [list(span) for span in self.opset_range],
            "importers": {"gained": list(self.importers_gained), "lost": list(self.importers_lost)},
            "restrictions": {
                "gone": [_limit(x) for x in self.gone],
                "new": [_limit(x) for x in self.new],
                "changed": [{"from": _limit(c.old), "to": _limit(c.new)} for c in self.changed],
            },
            "functions": {
                "read": list(self.reads_functions),
                "facts": [{"sign": sign, "fact": fact} for sign, fact in self.functions],
            },
            "general": [{"sign": sign, "fact": fact} for sign, fact in self.general],
            "plugins": {
                "gained": list(self.plugins_gained),
                "lost": list(self.plugins_lost),
                "versions": [
                    {"plugin": name, "from": list(old), "to": list(new)}
                    for name, old, new in self.plugin_versions
                ],
            },
            "trtexec": None
            if self.flags_added is None
            else {
                "added": [_flag(f) for f in self.flags_added],
                "removed": [_flag(f) for f in self.flags_removed or ()],
                "deprecated": [_flag(f) for f in self.flags_deprecated or ()],
            },
            "notes": list(self.notes),
        }


def _limit(limit: Limit) -> dict[str, str]:
    return {
        "id": limit.id,
        "op": limit.op,
        "kind": limit.kind,
        "effect": limit.effect,
        "detail": limit.detail,
        "message": limit.message,
    }


def _flag(flag: Flag) -> dict[str, str]:
    return {"name": flag.name, "replacement": flag.replacement, "note": flag.note}


def compare(a: Target, b: Target) -> TargetDiff:
    """What changed from one release to another; neither has to be the older one."""
    first, second = Release.named(a.release), Release.named(b.release)
    had, has = importers(first), importers(second)
    gone, new, changed = _limits(first, second, had & has)
    old_plugins, new_plugins = stock_plugins(first), stock_plugins(second)
    added, removed, deprecated, notes = _flags(first, second)
    functions = _facts(read("plugins")["local_functions"], first, second)
    return TargetDiff(
        a=a.name,
        b=b.name,
        opset_range=(a.opset_range, b.opset_range),
        importers_gained=tuple(sorted(has - had)),
        importers_lost=tuple(sorted(had - has)),
        gone=gone,
        new=new,
        changed=changed,
        reads_functions=(a.reads_functions, b.reads_functions),
        functions=functions,
        general=(
            *_facts(read("facts")["general"], first, second),
            *_facts(read("plugins")["mapping"], first, second),
        ),
        plugins_gained=tuple(sorted(new_plugins.keys() - old_plugins.keys())),
        plugins_lost=tuple(sorted(old_plugins.keys() - new_plugins.keys())),
        plugin_versions=tuple(
            (name, old_plugins[name], new_plugins[name])
            for name in sorted(old_plugins.keys() & new_plugins.keys())
            if old_plugins[name] != new_plugins[name]
        ),
        flags_added=added,
        flags_removed=removed,
        flags_deprecated=deprecated,
        notes=notes,
    )


def _facts(
    facts: Iterable[Mapping[str, Any]], a: Release, b: Release
) -> tuple[tuple[str, str], ...]:
    dated = [f for f in facts if "since" in f]
    lost = [("-", str(f["fact"])) for f in dated if a.within(f) and not b.within(f)]
    return (*lost, *(("+", str(f["fact"])) for f in dated if b.within(f) and not a.within(f)))


def _limits(
    a: Release, b: Release, ops: frozenset[str]
) -> tuple[tuple[Limit, ...], tuple[Limit, ...], tuple[Changed, ...]]:
    """Restrictions gone, new and changed, of ops that both releases import."""
    old, new = _by_content(a, ops), _by_content(b, ops)
    gone = [old[key] for key in old.keys() - new.keys()]
    came = [new[key] for key in new.keys() - old.keys()]
    changed = []
    for before in sorted(gone, key=_order):
        after = next((x for x in sorted(came, key=_order) if _place(x) == _place(before)), None)
        if after is not None:
            gone.remove(before)
            came.remove(after)
            changed.append(Changed(_as_limit(before), _as_limit(after)))
    return (
        tuple(_as_limit(e) for e in sorted(gone, key=_order)),
        tuple(_as_limit(e) for e in sorted(came, key=_order)),
        tuple(changed),
    )


def _by_content(release: Release, ops: frozenset[str]) -> dict[str, Mapping[str, Any]]:
    """The settled entries of a release by all that makes a difference to a model."""
    listed = restrictions_of(release, stock_plugins(release))
    return {
        repr(sorted((k, repr(v)) for k, v in r.entry.items() if k not in _NOT_COMPARED)): r.entry
        for op in ops
        for r in listed.get(op, ())
    }


def _order(entry: Mapping[str, Any]) -> tuple[str, str]:
    return str(entry["op"]), str(entry["id"])


def _place(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """What a restriction is about, whatever it asks."""
    return (entry["op"], entry["kind"], *(repr(entry.get(key)) for key in _PLACE))


def _as_limit(entry: Mapping[str, Any]) -> Limit:
    return Limit(
        entry["op"],
        entry["kind"],
        entry["effect"],
        particulars(entry),
        entry.get("message", ""),
        entry["id"],
    )


def _flags(
    a: Release, b: Release
) -> tuple[
    tuple[Flag, ...] | None, tuple[Flag, ...] | None, tuple[Flag, ...] | None, tuple[str, ...]
]:
    old, new = flags(a.name), flags(b.name)
    if old is None or new is None:
        return None, None, None, ("TensorRT-RTX has another program than trtexec",)
    notes: list[str] = []
    read_to = Release.named(newest_read())
    if max(a.index, b.index) > read_to.index:
        notes.append(f"the flags of releases after {read_to.name} are taken to be those of it")
    return (
        tuple(new[name] for name in sorted(new.keys() - old.keys())),
        tuple(old[name] for name in sorted(old.keys() - new.keys())),
        tuple(
            new[name]
            for name in sorted(new.keys() & old.keys())
            if new[name].deprecated and not old[name].deprecated
        ),
        tuple(notes),
    )
