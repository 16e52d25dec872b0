"""Which importer or plugin takes a node: TensorRT looks at the op's name, hardly at its domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx_fix.target.data import Release, read
from onnx_fix.target.facts import NodeFacts
from onnx_fix.target.restrictions import source_of
from onnx_fix.target.values import attribute
from onnx_fix.target.verdict import Finding

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
OWN_PLUGINS = frozenset({"GatherElementsPlugin"})
"""Plugins that this project ships as a library."""


def stock_plugins(release: Release) -> dict[str, tuple[str, ...]]:
    """The plugins that ship with a release, each with its versions."""
    if read("releases")["releases"][release.name].get("stock_plugins") is False:
        return {}
    return {
        name: tuple(interval["versions"])
        for name, intervals in read("plugins")["stock_plugins"].items()
        for interval in intervals
        if release.within(interval)
    }


def importers(release: Release) -> frozenset[str]:
    """The op types that the parser of a release imports by itself."""
    ops = read("operators")
    if release.side:
        names = {name for name, op in ops.items() if op["side"][release.name]}
    else:
        names = {n for n, op in ops.items() if any(release.within(s) for s in op["supported"])}
    facts = read("facts")
    for name, intervals in facts["trt_ops"].items():
        if any(release.within(interval) for interval in intervals):
            names.add(name)
    if release.name.startswith("rtx-"):
        names.update(facts["contrib_ops"]["rtx_1_7"])
    return frozenset(names)


def lacking_plugin(release: Release) -> frozenset[str]:
    """Ops with an importer that needs a plugin which the release does not ship."""
    if not release.side:
        return frozenset()
    ops = read("operators")
    return frozenset(n for n, op in ops.items() if op["side"][release.name] not in (True, False))


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What happens to nodes that no importer takes, or whose domain is not the default one."""

    release: Release
    plugins: Mapping[str, tuple[str, ...]]

    @property
    def _falls_back(self) -> bool:
        return self.release.at_least("7.1")

    @property
    def reads_functions(self) -> bool:
        """Whether function definitions of the model are read (since 9.0)."""
        return self.release.at_least("9.0")

    def builtin_of_other_domain(self, node: NodeFacts) -> Finding:
        """A node outside the default domain that the importer of that name takes."""
        contrib = read("facts")["contrib_ops"]
        taken = f"{node.domain}::{node.op} is taken as the built-in {node.op}: domains are ignored"
        if node.domain == "com.microsoft" and node.op in contrib["same_meaning"]:
            return self._finding(node, "domain_ignored", "warning", taken, "op_type_only")
        if self.release.name.startswith("rtx-") and node.op in contrib["rtx_1_7"]:
            why = "the parser has an importer of its own for this op; its limits are not known"
            return self._finding(node, "contrib_importer", "unknown", why, "op_type_only")
        why = f"{taken}, silently, whatever it means there"
        if self.reads_functions:
            why += "; a function of the model with this name is never used"
        kind = "domain_ignored"
        return self._finding(node, kind, "wrong_result", why, "op_type_only", certain=False)

    def override(self, node: NodeFacts) -> Finding | None:
        """Since 10.15 a node with ``plugin_namespace`` goes to a registered plugin first."""
        if "plugin_namespace" not in node.attributes or not self.release.at_least("10.15"):
            return None
        why = f"a registered plugin called {node.op} would be taken before the built-in op"
        return self._finding(node, "plugin_override", "unknown", why, "", certain=False)

    def without_importer(self, node: NodeFacts) -> Finding:
        """A node that no importer takes: a plugin, or nothing."""
        if not self._falls_back:
            why = "there is no importer, and 7.0 does not look for plugins"
            return self._finding(node, "no_importer", "parse_error", why, "")
        if node.op in self.plugins:
            return self._stock_plugin(node)
        if node.op in OWN_PLUGINS:
            return self._own_plugin(node)
        contrib = read("facts")["contrib_ops"]
        known = node.domain in STANDARD_DOMAINS and node.op in read("operators")
        closed = node.domain in contrib["closed_domains"]
        stock_elsewhere = node.op in read("plugins")["stock_plugins"]
        own_op = node.op in read("facts")["trt_ops"] or stock_elsewhere
        if known or closed or own_op:
            return self._finding(node, "no_importer", "parse_error", self._why_none(node), "")
        why = f"there is no importer; a plugin called {node.op} would have to be registered"
        if self.reads_functions:
            why += ", or the model to define a function of that name"
        return self._finding(node, "unknown_plugin", "parse_error", why, "", certain=False)

    def plugin_missing(self, node: NodeFacts) -> Finding:
        """The importer exists, the plugin it needs does not ship."""
        why = f"the importer needs a plugin that {self.release.name} does not ship"
        return self._finding(node, "needs_plugin", "parse_error", why, "")

    def _why_none(self, node: NodeFacts) -> str:
        name = node.op if node.domain in STANDARD_DOMAINS else f"{node.domain}::{node.op}"
        why = f"TensorRT {self.release.name} has no importer for {name}"
        operators = read("operators")
        if node.domain not in STANDARD_DOMAINS or node.op not in operators:
            why += self._plugin_elsewhere(node.op)
        if node.domain in STANDARD_DOMAINS and node.op in operators:
            entry = operators[node.op]
            if entry["supported"] and not self.release.side:
                why += f"; the first release with one is {entry['supported'][0]['since']}"
            if entry["onnx"].get("has_function_body"):
                why += "; ONNX defines it by simpler ops, which the parser does not use"
            if "instead" in entry:
                why += f"; {entry['instead']}"
        return why

    def _plugin_elsewhere(self, op: str) -> str:
        """Which releases ship a plugin of the name, where this one does not."""
        plugins = read("plugins")
        intervals = plugins["stock_plugins"].get(op)
        if intervals is None:
            return ""
        if not stock_plugins(self.release):
            return ", and ships no plugins; releases of the main line have one of this name"
        since, until = intervals[0]["since"], intervals[-1].get("until")
        if not self.release.at_least(since):
            return f"; the first release with a plugin of this name is {since}"
        instead = plugins["instead"].get(op)
        return f"; {until} is the last release with a plugin of this name" + (
            f": {instead}" if instead else ""
        )

    def _stock_plugin(self, node: NodeFacts) -> Finding:
        version = attribute(node, "plugin_version", "1")
        versions = self.plugins[node.op]
        if isinstance(version, str) and version not in versions:
            why = f"the stock plugin {node.op} has no version {version}, only {', '.join(versions)}"
            return self._finding(node, "no_importer", "parse_error", why, "fallback_by_name")
        for field in read("plugins")["fields_added"]:
            name, usual = field["field"], field["default"]
            if field["plugin"] != node.op or self.release.at_least(field["since"]):
                continue
            if attribute(node, name, usual) != usual:
                why = (
                    f"attribute {name} = {attribute(node, name, usual)} is not read: the stock "
                    f"plugin {node.op} has it since {field['since']}, and takes {usual}"
                )
                kind = "ignored_attribute"
                return self._finding(node, kind, "wrong_result", why, "fallback_by_name")
        why = f"goes to the stock plugin {node.op}"
        if self.release.at_least("10.0"):
            why += "; the program must register the stock plugins itself"
        return self._finding(node, "stock_plugin", "conditional", why, "fallback_by_name")

    def _own_plugin(self, node: NodeFacts) -> Finding:
        made = "the library that onnx-fix plugins build makes"
        why = f"{node.op} needs {made}, loaded before the parser"
        if self.release.at_least("9.0"):
            why += "; INT64 tensors reach it as INT64"
        return self._finding(node, "own_plugin", "conditional", why, "fallback_by_name")

    def _message(self, node: NodeFacts) -> str:
        """The parser's text for a node that nothing takes."""
        texts = [e for e in read("facts")["unsupported_op_errors"] if self.release.within(e)]
        special = next((e for e in texts if node.op in e.get("ops", ())), None)
        entry = special or next(e for e in texts if "ops" not in e)
        return str(entry["text"]).replace("<op>", node.op)

    def _finding(
        self,
        node: NodeFacts,
        kind: str,
        effect: str,
        why: str,
        fact: str,
        certain: bool = True,
    ) -> Finding:
        nothing = kind in ("no_importer", "unknown_plugin", "own_plugin", "needs_plugin")
        message = self._message(node) if nothing and effect == "parse_error" else ""
        evidence = "probe" if self.release.name.startswith("rtx-") else "source"
        if fact == "fallback_by_name" and not message:
            evidence = "source"
        return Finding(
            op=node.op,
            node=node.name,
            scope=node.scope,
            kind=kind,
            effect=effect,
            message=message,
            why=why,
            evidence=evidence,
            source=source_of(self.release, {"evidence": evidence}),
            certain=certain,
        )
