"""Command lines for models of all kinds: names, profiles, options, plugins, weights."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, numpy_helper
from trtexec_models import PLUGIN, RESIZED, keypoints, parsed, voxels, with_inputs

from onnx_fix.errors import UsageError
from onnx_fix.profiles import InputRange, Profile, parse_profile, profile_from
from onnx_fix.target import known_targets, load_target
from onnx_fix.trtexec import Command, Options, command, lint, lint_arguments
from onnx_fix.trtexec.command import PRECISIONS, quoted
from onnx_fix.trtexec.pasted import read_pasted
from onnx_fix.trtexec.shape_lists import read_list, spell_list

PATH = Path("m.onnx")
TARGETS = known_targets()


def made(target: str, model: ModelProto, *texts: str, path: Path = PATH, **more: object) -> Command:
    profiles = [profile_from(model, parse_profile(text)) for text in texts]
    options = Options(**more)  # type: ignore[arg-type]
    return command(model, path, load_target(target), profiles, options)


def codes(found: Command) -> list[str]:
    return [note.code for note in found.notes]


def survives(found: Command) -> None:
    """The arguments come back out of the text."""
    assert shlex.split(found.text(one_line=True)) == [found.program, *found.arguments]
    for text in (found.text(), found.text(one_line=True)):
        read = read_pasted(text)
        assert (read.program, read.arguments) == (found.program, found.arguments)


def test_engine_beside_the_model() -> None:
    found = made("trt-8.6", voxels(), path=Path("out/my model.onnx"))
    assert found.arguments == ("--onnx=out/my model.onnx", "--saveEngine=out/my model.engine")
    assert found.text() == "trtexec '--onnx=out/my model.onnx' '--saveEngine=out/my model.engine'"
    assert found.output == Path("out/my model.engine")


def test_the_engine_never_replaces_the_model() -> None:
    with pytest.raises(UsageError, match="would replace the model"):
        made("trt-8.6", voxels(), output=Path("./m.onnx"))


def test_inputs_without_a_rank() -> None:
    model = with_inputs({"x": ["N"]})
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UsageError, match="there are no shapes for the dynamic inputs x"):
        made("trt-8.6", model)
    assert "--maxShapes=x:4x3" in made("trt-8.6", model, "x=1x3:2x3:4x3").arguments


def test_static_inputs_get_no_shapes() -> None:
    model = with_inputs({"x": ["N", 3], "fixed": [2, 3], "scalar": []})
    found = made("trt-8.6", model, "N=1:2:3")
    assert "--minShapes=x:1x3" in found.arguments and found.notes == ()


@pytest.mark.parametrize("target", TARGETS)
def test_dynamic_inputs_without_shapes_are_refused(target: str) -> None:
    with pytest.raises(UsageError, match=r"kpts0, kpts1, desc0, desc1.*--profile 'N=MIN:OPT:MAX'"):
        made(target, keypoints())


def test_a_profile_must_name_every_dynamic_input() -> None:
    model = with_inputs({"x": ["N", 3], "y": ["M"]})
    half = Profile((InputRange("x", (1, 3), (1, 3), (1, 3)),))
    with pytest.raises(UsageError, match="profile 0 has no shapes for the dynamic inputs y"):
        command(model, PATH, load_target("trt-8.6"), [half])


def test_sizes_of_zero_and_one() -> None:
    found = made("trt-10.3", with_inputs({"x": ["N", 0, 1]}), "N=0:1:8")
    assert "--minShapes=x:0x0x1" in found.arguments


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6", "trt-11.1", "rtx-1.7"])
def test_shape_tensors_have_values(target: str) -> None:
    found = made(target, parsed(RESIZED), "N=1:2:4,size=[2,2]:[4,2]:[8,2]")
    assert "--minShapes=x:1x4,size:2x2" in found.arguments
    assert "--maxShapes=x:4x4,size:8x2" in found.arguments
    assert found.notes == ()


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("input:0", "'input:0':1x3"),
        ("scope/x.1", "scope/x.1:1x3"),
        ("a=b", "a=b:1x3"),
        ("two words", "two words:1x3"),
        ("$HOME `x`", "$HOME `x`:1x3"),
        ("größe", "größe:1x3"),
        ("é:ß", "'é:ß':1x3"),
        ('a"b', 'a"b:1x3'),
    ],
)
@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2", "trt-8.6", "trt-11.1", "rtx-1.7"])
def test_names_survive_the_program_and_the_shell(name: str, written: str, target: str) -> None:
    model = with_inputs({name: ["N", 3]})
    profile = Profile((InputRange(name, (1, 3), (2, 3), (4, 3)),))
    found = command(model, PATH, load_target(target), [profile])
    assert f"--minShapes={written}" in found.arguments
    survives(found)
    assert not [note for note in found.notes if note.severity != "note"]
    items = read_list(written, load_target(target).release)
    assert [(item.name, item.sizes) for item in items] == [(name, (1, 3))]


@pytest.mark.parametrize(("name", "said"), [("a,b", "a comma"), ("it's", "a quote")])
def test_names_that_cannot_be_written(name: str, said: str) -> None:
    model = with_inputs({name: ["N"]})
    profile = Profile((InputRange(name, (1,), (1,), (1,)),))
    with pytest.raises(UsageError, match=f"has {said} in its name.*rename it at export"):
        command(model, PATH, load_target("trt-8.6"), [profile])
    assert command(with_inputs({name: [3]}), PATH, load_target("trt-8.6")).sound


def test_quotes_stay_readable() -> None:
    assert quoted("--minShapes='in:0':1x3") == "--minShapes=\"'in:0':1x3\""
    assert quoted("--minShapes='$x:0':1x3") == shlex.quote("--minShapes='$x:0':1x3")
    assert quoted("--onnx=m.onnx") == "--onnx=m.onnx"


def test_a_shell_gives_back_the_arguments() -> None:
    names = ["in:0", "two words", "$HOME", "`id`", 'a"b', "a\\b", "!x", "a\nb", "*", "~"]
    model = with_inputs({name: ["N", 3] for name in names})
    profile = Profile(tuple(InputRange(name, (1, 3), (2, 3), (4, 3)) for name in names))
    found = command(model, Path("a b/$m.onnx"), load_target("trt-7.2"), [profile])
    for text in (found.text(), found.text(one_line=True)):
        script = f"trtexec() {{ printf '%s\\0' \"$@\"; }}\n{text}"
        done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
        assert done.stdout.decode().split("\0")[:-1] == list(found.arguments)


@pytest.mark.parametrize("target", ["trt-9.0", "trt-10.3", "trt-11.5"])
def test_several_profiles(target: str) -> None:
    found = made(target, with_inputs({"x": ["N", 3]}), "N=1", "N=2:4:8")
    assert found.arguments[2:] == (
        "--profile=0",
        "--minShapes=x:1x3",
        "--optShapes=x:1x3",
        "--maxShapes=x:1x3",
        "--profile=1",
        "--minShapes=x:2x3",
        "--optShapes=x:4x3",
        "--maxShapes=x:8x3",
    )
    assert found.notes == ()


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6", "rtx-1.7"])
def test_several_profiles_where_they_are_not_taken(target: str) -> None:
    with pytest.raises(UsageError, match=r"several profiles.*since 9\.0.*one --profile"):
        made(target, with_inputs({"x": ["N", 3]}), "N=1", "N=2:4:8")


ALL = Options(
    build_only=True,
    timing_cache=Path("t.cache"),
    version_compatible=True,
    optimization_level=4,
)


@pytest.mark.parametrize(
    ("target", "written", "lacking"),
    [
        (
            "trt-7.2",
            ["--buildOnly"],
            ["--timingCacheFile", "--versionCompatible", "--builderOptimizationLevel"],
        ),
        (
            "trt-8.5",
            ["--buildOnly", "--timingCacheFile=t.cache"],
            ["--versionCompatible", "--builderOptimizationLevel"],
        ),
        (
            "trt-10.3",
            [
                "--skipInference",
                "--timingCacheFile=t.cache",
                "--versionCompatible",
                "--builderOptimizationLevel=4",
            ],
            [],
        ),
        (
            "rtx-1.7",
            ["--skipInference", "--timingCacheFile=t.cache", "--builderOptimizationLevel=4"],
            ["--versionCompatible"],
        ),
    ],
)
def test_options_by_release(target: str, written: list[str], lacking: list[str]) -> None:
    found = command(voxels(), PATH, load_target(target), (), ALL)
    assert list(found.arguments[2:]) == written
    assert [note.argument for note in found.notes] == lacking
    assert found.sound is (not lacking)
    assert all(note.code == "no-such-option" for note in found.notes)


@pytest.mark.parametrize(
    ("target", "name", "severity", "said"),
    [
        ("trt-8.6", "--bf16", "error", "trtexec has it: 9.0 to 10.16"),
        ("trt-7.0", "--best", "error", "trtexec has it: 7.1 to 10.16"),
        ("trt-10.13", "--fp16", "note", "deprecated"),
        ("trt-11.0", "--int8", "error", "strongly typed"),
        ("rtx-1.7", "--best", "error", "strongly typed"),
    ],
)
def test_precisions_by_release(target: str, name: str, severity: str, said: str) -> None:
    found = made(target, voxels(), precisions=(name,))
    assert [note.severity for note in found.notes] == [severity]
    assert said in str(found.notes[0])
    assert (name in found.arguments) is (severity == "note")


def test_a_model_in_half_needs_no_fp16() -> None:
    model = parsed(
        '<ir_version: 8, opset_import: ["" : 13]> main (float16[2] x) => (float16[2] y)'
        " <float16[2] w = {1, 2}> { y = Mul (x, w) }"
    )
    found = made("trt-11.1", model, precisions=("--fp16",))
    assert found.sound and codes(found) == ["precision-of-the-model"]


def test_extra_options_come_last_and_are_checked() -> None:
    found = made("trt-8.6", voxels(), extra=("--noTF32", "--refti"))
    assert found.arguments[-2:] == ("--noTF32", "--refti")
    assert codes(found) == ["unknown-flag"] and not found.sound


@pytest.mark.parametrize(
    ("target", "flag"),
    [("trt-7.2", "--plugins"), ("trt-8.5", "--plugins"), ("trt-8.6", "--staticPlugins")],
)
def test_plugin_libraries(target: str, flag: str, tmp_path: Path) -> None:
    foreign = made(target, parsed(PLUGIN.replace("GatherElementsPlugin", "SomebodysPlugin")))
    assert codes(foreign) == ["plugin-library-needed"] and not foreign.sound
    assert "SomebodysPlugin" in str(foreign.notes[0]) and f"{flag}=" in foreign.notes[0].mend
    needs = made(target, parsed(PLUGIN))
    own = flag.replace("static", "dynamic")
    assert codes(needs) == ["plugin-library-needed"] and not needs.sound
    assert "GatherElementsPlugin" in str(needs.notes[0]) and f"{own}=" in needs.notes[0].mend
    assert not any("lugin" in argument for argument in needs.arguments)
    library = tmp_path / "libplugins.so"
    absent = made(target, parsed(PLUGIN), plugin_libraries=(library,))
    assert set(codes(absent)) == {"plugin-library-missing"}
    library.touch()
    found = made(target, parsed(PLUGIN), plugin_libraries=(library,))
    assert found.arguments[-1] == f"{flag}={library}" and found.notes == ()


def test_a_plugin_library_of_this_folder_is_not_searched_for_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    library = Path("libplugins.so")
    library.touch()
    found = made("trt-8.6", parsed(PLUGIN), plugin_libraries=(library,))
    assert found.arguments[-1] == "--staticPlugins=./libplugins.so" and found.notes == ()


def test_trt_7_0_takes_no_plugin_by_its_name() -> None:
    assert codes(made("trt-7.0", parsed(PLUGIN))) == ["no-plugin-by-name"]


def test_plugin_libraries_of_rtx_are_not_confirmed(tmp_path: Path) -> None:
    library = tmp_path / "libplugins.so"
    library.touch()
    found = made("rtx-1.7", parsed(PLUGIN), plugin_libraries=(library,))
    assert codes(found) == ["not-confirmed"] and found.sound


def test_stock_plugins_need_no_library() -> None:
    text = PLUGIN.replace("GatherElementsPlugin", "EfficientNMS_TRT")
    assert made("trt-8.6", parsed(text)).notes == ()
    assert codes(made("trt-7.2", parsed(text))) == ["plugin-library-needed"]
    assert codes(made("rtx-1.7", parsed(text))) == ["plugin-library-needed"]


def test_plugins_in_branches_and_functions_are_found() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
    main (bool c, float[2] x) => (float[2] y) {
      y = If (c) <then_branch = t () => (float[2] a) { a = own.Warp (x) },
                  else_branch = e () => (float[2] b) { b = own.Twice (x) }> }
    <domain: "own", opset_import: ["" : 17, "own" : 1]>
    Twice (p) => (q) { r = own.Warp (p)  q = Add (r, r) }"""
    found = made("trt-10.3", parsed(text))
    assert codes(found) == ["plugin-library-needed"]
    assert "2 nodes Warp" in str(found.notes[0])
    old = made("trt-8.6", parsed(text))
    assert [note.argument for note in old.notes] == ["Warp", "Twice"]


def test_external_data(tmp_path: Path) -> None:
    model = parsed(
        '<ir_version: 8, opset_import: ["" : 13]> main (float[2] x) => (float[2] y)'
        " <float[2] w = {1, 2}> { y = Mul (x, w) }"
    )
    weight = numpy_helper.from_array(np.ones(2, np.float32), "w")
    model.graph.initializer[0].CopyFrom(weight)
    path = tmp_path / "m.onnx"
    onnx.save_model(
        model, str(path), save_as_external_data=True, location="m.bin", size_threshold=0
    )
    light = onnx.load(str(path), load_external_data=False)
    found = made("trt-8.6", light, path=path)
    assert codes(found) == ["weights-beside"] and found.sound and "m.bin" in str(found.notes[0])
    (tmp_path / "m.bin").unlink()
    gone = made("trt-8.6", light, path=path)
    assert codes(gone) == ["weights-missing"] and not gone.sound


NAMES = st.text(
    st.characters(exclude_characters=",'\0", exclude_categories=["Cs"]), min_size=1, max_size=8
)
DIMS = st.lists(st.one_of(st.integers(0, 4), st.sampled_from(["A", "B"])), max_size=4)


@st.composite
def models(draw: st.DrawFn) -> tuple[ModelProto, Profile]:
    shapes = draw(st.dictionaries(NAMES, DIMS, min_size=1, max_size=4))
    sizes = {
        symbol: sorted(draw(st.lists(st.integers(0, 9), min_size=3, max_size=3))) for symbol in "AB"
    }
    ranges = []
    for name, dims in shapes.items():
        if any(isinstance(d, str) for d in dims):
            low, usual, high = (
                tuple(d if isinstance(d, int) else sizes[d][place] for d in dims)
                for place in range(3)
            )
            ranges.append(InputRange(name, low, usual, high))
    return with_inputs(dict(shapes)), Profile(tuple(ranges))


ASKED = st.builds(
    Options,
    output=st.sampled_from([None, Path("out dir/e.plan")]),
    precisions=st.lists(st.sampled_from(PRECISIONS), unique=True).map(tuple),
    workspace=st.sampled_from([None, 0, 10240]),
    build_only=st.booleans(),
    timing_cache=st.sampled_from([None, Path("t.cache")]),
    version_compatible=st.booleans(),
    optimization_level=st.sampled_from([None, 0, 5]),
)


@settings(max_examples=150, deadline=None)
@given(made=models(), asked=ASKED, target=st.sampled_from(TARGETS))
def test_what_is_printed_is_clean_and_survives(
    made: tuple[ModelProto, Profile], asked: Options, target: str
) -> None:
    model, profile = made
    chosen = load_target(target)
    found = command(model, PATH, chosen, [profile], asked)
    arguments = lint_arguments(found.arguments, model, PATH, chosen)
    # What the options mean together is not for the command to decide.
    meant = {"int8-without-scales", "int8-and-fp8"}
    assert [str(f) for f in arguments if f.severity != "note" and f.code not in meant] == []
    assert set(arguments) <= set(found.notes)
    survives(found)
    for text in (found.text(), found.text(one_line=True)):
        pasted = lint(text, model, PATH, chosen)
        assert [str(f) for f in pasted if f.severity != "note" and f.code not in meant] == []
    for flag, place in (("--minShapes=", 0), ("--optShapes=", 1), ("--maxShapes=", 2)):
        lists = [a.removeprefix(flag) for a in found.arguments if a.startswith(flag)]
        assert len(lists) == bool(profile.inputs)
        if lists:
            read = [(i.name, i.sizes) for i in read_list(lists[0], chosen.release)]
            assert read == [(r.name, r.shapes[place]) for r in profile.inputs]


@given(st.dictionaries(NAMES, st.lists(st.integers(-9, 9), min_size=1), min_size=1))
def test_lists_read_back(bounds: dict[str, list[int]]) -> None:
    text = spell_list(bounds.items())
    for release in ("7.0", "7.1", "8.6", "11.1", "rtx-1.7"):
        read = {item.name: list(item.sizes or ()) for item in read_list(text, release)}
        assert read == bounds
