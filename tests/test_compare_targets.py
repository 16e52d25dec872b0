"""What changed between two releases, and the lists of releases."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import typer
from typer.testing import CliRunner, Result

from onnx_fix.cli_explain import register
from onnx_fix.compare_targets import TargetDiff, compare
from onnx_fix.list_targets import describe_target, list_targets
from onnx_fix.target import known_targets, load_target
from onnx_fix.target.data import main_line, read
from onnx_fix.target.trtexec import flags, newest_read


def between(a: str, b: str) -> TargetDiff:
    return compare(load_target(a), load_target(b))


def test_7_2_to_8_2() -> None:
    diff = between("trt-7.2", "trt-8.2")
    assert "Einsum" in diff.importers_gained and diff.importers_lost == ()
    assert diff.opset_range == ((7, 11), (7, 13))
    gone = {(x.op, x.kind) for x in diff.gone}
    assert ("Clip", "input_must_be_constant") in gone
    assert diff.reads_functions == (False, False)


def test_8_6_to_10_3() -> None:
    diff = between("trt-8.6", "trt-10.3")
    assert {"Gelu", "CastLike"} <= set(diff.importers_gained)
    assert diff.reads_functions == (False, True)
    assert "ScatterElements" in diff.plugins_gained
    assert ("ROIAlign_TRT", ("1",), ("1", "2")) in diff.plugin_versions
    assert diff.flags_added is not None and diff.flags_removed is not None
    assert "--bf16" in {f.name for f in diff.flags_added}
    removed = {f.name: f for f in diff.flags_removed}
    assert removed["--workspace"].replacement == "--memPoolSize=workspace:N"
    ignored = {x.op for x in diff.gone if x.kind == "ignored_input"}
    assert "ReduceMean" in ignored
    assert "ReduceMean" in {x.op for x in diff.new if x.kind == "input_must_be_constant"}
    clip = next(c for c in diff.changed if c.new.op == "Clip")
    assert "BF16" in clip.new.detail and "BF16" not in clip.old.detail


def test_flags_of_11() -> None:
    diff = between("trt-10.16", "trt-11.0")
    assert diff.flags_removed is not None and diff.flags_deprecated is not None
    assert {"--fp16", "--int8"} <= {f.name for f in diff.flags_removed}
    assert "--stronglyTyped" in {f.name for f in diff.flags_deprecated}
    assert "Normalize_TRT" in diff.plugins_lost


def test_rtx_has_another_program() -> None:
    diff = between("trt-11.5", "rtx-1.7")
    assert diff.flags_added is None and any("another program" in n for n in diff.notes)
    assert diff.plugins_gained == () and "EfficientNMS_TRT" in diff.plugins_lost
    assert "MatMulNBits" in diff.importers_gained


@pytest.mark.parametrize("name", known_targets())
def test_a_release_does_not_differ_from_itself(name: str) -> None:
    diff = between(name, name)
    assert diff.same and not (diff.gone or diff.new or diff.changed)


@pytest.mark.parametrize(("a", "b"), list(pairwise(known_targets())))
def test_there_and_back_is_the_same_difference(a: str, b: str) -> None:
    there, back = between(a, b), between(b, a)
    assert there.importers_gained == back.importers_lost
    assert there.importers_lost == back.importers_gained
    assert there.plugins_gained == back.plugins_lost
    assert {x.id for x in there.gone} == {x.id for x in back.new}
    assert {x.id for x in there.new} == {x.id for x in back.gone}
    assert {(c.old.id, c.new.id) for c in there.changed} == {
        (c.new.id, c.old.id) for c in back.changed
    }
    assert (
        there.flags_added == back.flags_removed
        or there.flags_added is None
        or all(f.name in {g.name for g in back.flags_removed or ()} for f in there.flags_added)
    )
    json.dumps(there.to_dict())


def test_differences_add_up_for_importers() -> None:
    """What three steps gain and lose is what the whole way gains and loses."""
    names = ["trt-7.2", "trt-8.6", "trt-10.0", "trt-11.5"]
    ops = set(describe_target(load_target(names[0])).importers)
    for a, b in pairwise(names):
        diff = between(a, b)
        assert set(diff.importers_lost) <= ops and not ops & set(diff.importers_gained)
        ops = ops - set(diff.importers_lost) | set(diff.importers_gained)
    assert ops == set(describe_target(load_target(names[-1])).importers)


def test_only_ops_of_both_releases_have_changed_restrictions() -> None:
    diff = between("trt-7.2", "trt-10.3")
    lone = {*diff.importers_gained, *diff.importers_lost}
    assert not lone & {x.op for x in (*diff.gone, *diff.new)}


# -- flags ---------------------------------------------------------------------------------------


def test_flags_by_release() -> None:
    old, new = flags("7.2"), flags("11.0")
    assert old is not None and new is not None
    assert "--explicitBatch" in old and "--explicitBatch" not in new
    assert "--fp16" in old and "--fp16" not in new
    assert flags("rtx-1.7") is None
    assert flags("11.5") == flags(newest_read())


def test_every_flag_of_the_data_is_taken_somewhere() -> None:
    data = read("trtexec")
    entries = {**data["all_flags"], **data["key_flags"]}
    names = {name for name, entry in entries.items() if entry.get("parsed", True)}
    taken = {name for release in main_line() for name in flags(release) or {}}
    assert taken == names


def test_what_the_data_says_is_gone_is_gone() -> None:
    for release, gone in read("trtexec")["gone_at"].items():
        at = flags(release)
        before = flags(main_line()[main_line().index(release) - 1])
        assert at is not None and before is not None
        for name in gone:
            assert name not in at, (release, name)
            assert name in before, (release, name)


# -- the lists and the command -------------------------------------------------------------------


def run(*args: object) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, [str(a) for a in args])


def test_the_list_has_every_target() -> None:
    assert [one.name for one in list_targets()] == known_targets()
    result = run("targets")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in known_targets())
    data = json.loads(run("targets", "--format", "json").stdout)
    assert data["targets"][0]["name"] == "trt-7.0" and data["targets"][0]["date"] == "2019-12"


@pytest.mark.parametrize("name", known_targets())
def test_a_release_in_full(name: str) -> None:
    target = load_target(name)
    detail = describe_target(target)
    assert all(target.has_importer(op) for op in detail.importers)
    assert {plugin for plugin, _ in detail.plugins} == target.plugins
    json.dumps(detail.to_dict())
    assert run("targets", name).exit_code == 0


def test_the_difference_printed() -> None:
    result = run("targets", "trt-8.6", "trt-10.3")
    assert result.exit_code == 0
    for words in ("importers gained", "Gelu", "--workspace", "local functions: now read"):
        assert words in result.stdout
    data = json.loads(run("targets", "8.6", "10.3", "--format", "json").stdout)
    assert data["from"] == "trt-8.6" and "Gelu" in data["importers"]["gained"]
    assert "no difference is known" in run("targets", "8.6", "8.6").stdout


def test_an_unknown_release() -> None:
    result = run("targets", "trt-1.0")
    assert result.exit_code == 2 and "no target is called" in result.stderr
    assert run("targets", "8.6", "9x").exit_code == 2
    assert "is judged as 8.6" in run("targets", "8.6.1").stdout
