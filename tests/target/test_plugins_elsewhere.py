"""What is said of a plugin that a release does not ship, or ships without an attribute."""

from __future__ import annotations

import pytest

from onnx_fix.target import load_target
from onnx_fix.target.data import read
from onnx_fix.target.facts import NodeFacts


def why(op: str, target: str, domain: str = "TRT", **attributes: object) -> tuple[str, str, str]:
    node = NodeFacts(
        op=op, domain=domain, name="n", scope="", opset=13, inputs=(), outputs=(),
        attributes=attributes,
    )  # fmt: skip
    verdict = load_target(target).judge(node)
    (finding,) = verdict.findings
    return verdict.status, finding.kind, finding.why


@pytest.mark.parametrize("domain", ["TRT", ""])
def test_a_plugin_that_is_gone(domain: str) -> None:
    status, kind, said = why("BatchedNMSDynamic_TRT", "trt-11.0", domain)
    assert (status, kind) == ("refused", "no_importer")
    assert said.endswith(
        "; 10.16 is the last release with a plugin of this name: EfficientNMS_TRT takes its "
        "place, whose classes are INT32, or the op NonMaxSuppression"
    )
    assert why("BatchedNMSDynamic_TRT", "trt-10.16", domain)[1] == "stock_plugin"
    assert why("GroupNorm", "trt-8.6", domain)[2].endswith(
        "8.5 is the last release with a plugin of this name"
    )


def test_a_plugin_that_is_not_there_yet() -> None:
    said = why("EfficientNMS_TRT", "trt-7.2")[2]
    assert said.endswith("; the first release with a plugin of this name is 8.0")


def test_a_release_without_plugins() -> None:
    said = why("InstanceNormalization_TRT", "rtx-1.7")[2]
    assert said.endswith("and ships no plugins; releases of the main line have one of this name")
    assert "plugin" not in why("Det", "rtx-1.7", "")[2]


def test_an_attribute_that_a_plugin_does_not_read_yet() -> None:
    status, kind, said = why("EfficientNMS_TRT", "trt-8.5", class_agnostic=1)
    assert (status, kind) == ("refused", "ignored_attribute")
    assert "has it since 8.6, and takes 0" in said
    assert why("EfficientNMS_TRT", "trt-8.5", class_agnostic=0)[1] == "stock_plugin"
    assert why("EfficientNMS_TRT", "trt-8.6", class_agnostic=1)[1] == "stock_plugin"


def test_all_that_is_gone_has_something_in_its_place() -> None:
    plugins = read("plugins")
    assert set(plugins["instead"]) == {*plugins["removed_in_11_0"]}
    for name in plugins["removed_in_11_0"]:
        assert plugins["stock_plugins"][name][-1]["until"] == "10.16"
