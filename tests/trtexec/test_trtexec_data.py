"""The data about trtexec hangs together."""

from __future__ import annotations

import pytest

from onnx_fix.target.data import main_line, read
from onnx_fix.target.trtexec import (
    all_names,
    behaves,
    flags,
    newest_read,
    options,
    program,
    read_itself,
    replaced_by,
    rtx_flags,
    spans,
    strongly_typed_only,
)

RELEASES = list(read("releases")["releases"])


def test_entries_are_well_formed() -> None:
    data = read("trtexec")
    for entry in {**data["all_flags"], **data["key_flags"], **data["rtx"]["flags"]}.values():
        assert entry.get("takes", "") in ("", "value", "optional")
        assert entry.get("repeatable", False) in (True, False)
    for entry in data["behaviour"]:
        assert entry["since"] in main_line() and entry["until"] in (*main_line(), None)
        assert entry["fact"] and entry["where"]
    assert len({entry["id"] for entry in data["behaviour"]}) == len(data["behaviour"])
    assert set(data["replaced_by"]) <= all_names()


def test_every_option_of_rtx_says_where_it_was_seen() -> None:
    data = read("trtexec")["rtx"]
    for name, entry in data["flags"].items():
        seen = entry.get("seen", entry["evidence"])
        assert seen in data["sources"], name
    assert rtx_flags()["--onnx"].evidence == "doc"
    assert not {"--fp16", "--int8", "--best", "--stronglyTyped"} & set(rtx_flags())


@pytest.mark.parametrize("release", RELEASES)
def test_what_a_command_needs_is_there(release: str) -> None:
    known = options(release)
    for name in ("--onnx", "--saveEngine", "--minShapes", "--optShapes", "--maxShapes"):
        assert known[name].takes == "value"
    assert {"--workspace", "--memPoolSize"} & set(known)
    assert {"--buildOnly", "--skipInference"} & set(known)
    assert {"--plugins", "--staticPlugins"} & set(known)
    assert (flags(release) is None) == release.startswith("rtx-")
    assert program(release) == ("tensorrt_rtx" if release.startswith("rtx-") else "trtexec")


@pytest.mark.parametrize(
    ("fact", "first", "last"),
    [
        ("onnx_wants_explicit_batch", "7.0", "7.1"),
        ("name_ends_at_first_colon", "7.0", "7.0"),
        ("bounds_refused_unless_opt_or_all", "7.1", "8.4"),
        ("missing_bounds_copied", "8.5", None),
        ("static_model_refuses_shapes", "7.2", None),
        ("unknown_input_refused", "8.2", None),
        ("several_profiles", "9.0", None),
        ("sizes_have_units", "10.1", None),
    ],
)
def test_behaviour_by_release(fact: str, first: str, last: str | None) -> None:
    order = list(main_line())
    end = len(order) if last is None else order.index(last) + 1
    inside = order[order.index(first) : end]
    assert [release for release in order if behaves(release, fact)] == inside
    assert behaves("rtx-1.7", fact) is (last is None)


def test_what_was_read() -> None:
    assert read_itself("7.0") and read_itself(newest_read())
    assert not read_itself("11.5") and not read_itself("rtx-1.7")
    assert spans("--workspace") == (("7.0", "9.3"),) and spans("--frobnicate") == ()
    assert len(spans("--consistency")) == 2
    typed = [release for release in main_line() if strongly_typed_only(release)]
    assert typed == [release for release in main_line() if release.startswith("11.")]
    assert strongly_typed_only("rtx-1.7")
    assert "QuantizeLinear" in replaced_by("--int8") and replaced_by("--onnx") == ""
