"""A TensorRT release as a target: what it makes of one node."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import cache

from onnx_fix.target.data import Release, read
from onnx_fix.target.dispatch import (
    STANDARD_DOMAINS,
    Dispatch,
    importers,
    lacking_plugin,
    stock_plugins,
)
from onnx_fix.target.dtypes import names_inside
from onnx_fix.target.facts import NodeFacts
from onnx_fix.target.general import General, Typed
from onnx_fix.target.releases import DEFAULT, Resolved, resolve, target_name
from onnx_fix.target.restrictions import findings_of, restrictions_of, source_of
from onnx_fix.target.verdict import SUPPORTED, Finding, Verdict


class Target:
    """One release, with everything about it chosen from the data once.

    ``name`` is canonical (``trt-8.6``), ``release`` the listed release (``8.6``), ``opset_range``
    the range that NVIDIA's tables name (None where they do not; no release enforces it),
    ``reads_functions`` whether function definitions of the model are read, ``plugins`` the names
    of the plugins that ship with the release, ``resolved_note`` one line where the name asked for
    is not a listed release, else empty.
    """

    def __init__(self, resolved: Resolved) -> None:
        release = Release.named(resolved.release)
        facts = read("releases")["releases"][resolved.release]
        stock = stock_plugins(release)
        self.name: str = resolved.name
        self.release: str = resolved.release
        self.resolved_note: str = resolved.note
        self.opset_range: tuple[int | None, int | None] = (facts["opset_min"], facts["opset_max"])
        self.plugins: frozenset[str] = frozenset(stock)
        self.dtype_names: Mapping[int, str] = names_inside(
            int64_is_int32=not release.at_least("9.0"),
            double_is_fp32=release.at_least("8.0"),
        )
        self._importers = importers(release)
        self._lacking_plugin = lacking_plugin(release)
        self._restrictions = restrictions_of(release, stock)
        self._general = General.of(
            release, source_of(release, {"evidence": "source"}), self.dtype_names
        )
        self._dispatch = Dispatch(release, stock)
        self.reads_functions: bool = self._dispatch.reads_functions

    def __repr__(self) -> str:
        return f"Target({self.name!r})"

    def has_importer(self, op: str, domain: str = "") -> bool:
        """Whether the parser imports an op type by itself, plugins aside.

        The domain is ignored, as TensorRT does.
        """
        return op in self._importers

    def judge(self, node: NodeFacts) -> Verdict:
        """What the target makes of a node in its context.

        Only restrictions refuse: a node that breaks none is supported, whatever the tables of
        element types say. What is certain but does no harm is reported in the findings.
        """
        if node.op not in self._importers:
            findings = [self._dispatch.without_importer(node)]
            if self._general.suspects(node.opset, node.inputs, node.outputs):
                findings += self._general.findings(node)
            return Verdict.of(tuple(findings))
        suspect = self._general.suspects(node.opset, node.inputs, node.outputs)
        if not suspect and self.is_free(node.op, node.domain, node.attributes):
            return SUPPORTED
        return Verdict.of(tuple(self._findings(node, suspect)))

    def is_free(self, op: str, domain: str, attributes: Container[str]) -> bool:
        """Whether nothing but its types and ranks can speak against a node."""
        return (
            op in self._importers
            and op not in self._restrictions
            and domain in STANDARD_DOMAINS
            and op not in self._lacking_plugin
            and "plugin_namespace" not in attributes
        )

    def fits(self, opset: int, inputs: Sequence[Typed], outputs: Sequence[Typed]) -> bool:
        """Whether types and ranks do not speak against a node of any op."""
        return not self._general.suspects(opset, inputs, outputs)

    def _findings(self, node: NodeFacts, suspect: bool) -> list[Finding]:
        findings: list[Finding] = []
        if node.domain not in STANDARD_DOMAINS:
            findings.append(self._dispatch.builtin_of_other_domain(node))
        override = self._dispatch.override(node)
        if override is not None:
            findings.append(override)
        findings += findings_of(self._restrictions.get(node.op, ()), node, self.dtype_names)
        if node.op in self._lacking_plugin and all(f.kind != "needs_plugin" for f in findings):
            findings.append(self._dispatch.plugin_missing(node))
        if suspect:
            findings += self._general.findings(node)
        return findings


@cache
def _target(resolved: Resolved) -> Target:
    return Target(resolved)


def load_target(name: str) -> Target:
    """The target of a name such as ``trt-7.2``, ``8.5.2``, ``rtx-1.7`` or ``auto``.

    A release between two listed ones is the lower one, one above the newest the newest;
    ``resolved_note`` then says so. Targets are cached.

    Raises:
        UsageError: nobody knows the name, or ``auto`` finds no TensorRT on this machine.
    """
    if name.strip().lower() == "auto":
        from onnx_fix.target.detect import installed_target  # starts processes; seldom needed

        name = installed_target()
    return _target(resolve(name))


def default_target() -> Target:
    """TensorRT 7.2, the target with the fewest importers that onnx-fix aims at."""
    return load_target(DEFAULT)


__all__ = ["Target", "default_target", "load_target", "target_name"]
