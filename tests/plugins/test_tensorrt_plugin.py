"""The plugin in Python: without TensorRT, and in the real TensorRT-RTX, which needs no GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from onnx_fix import python_plugins
from onnx_fix.building import BuildSettings, build
from onnx_fix.check.live import installed, merge, run_live
from onnx_fix.check.live.libraries import with_plain_names
from onnx_fix.check.live.process import environment
from onnx_fix.profiles import profile_of
from onnx_fix.target import load_target
from onnx_fix_plugins import gather_elements
from onnx_fix_plugins.gather_elements import tensorrt_plugin as plugin

RTX = next((p for p in installed() if p.package == "tensorrt_rtx"), None)
needs_rtx = pytest.mark.skipif(RTX is None, reason="tensorrt_rtx is not installed (extra `rtx`)")

NODE = (
    'trt.plugins.GatherElementsPlugin <axis = {axis}, plugin_version = "1", '
    'plugin_namespace = "">(t, i)'
)


def model_of(
    axis: int = 1, types: str = "float[N,4] x, int64[N,2] i", out: str = "float[N,2]"
) -> onnx.ModelProto:
    text = f"g ({types}) => ({out} y) {{ t = Identity(x) y = {NODE.format(axis=axis)} }}"
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17, "trt.plugins" : 1]> {text}'
    )


BRANCH = onnx.parser.parse_model(
    '<ir_version: 8, opset_import: ["" : 17, "trt.plugins" : 1]> '
    "g (bool c, float[N,4] x, int64[N,2] i) => (float[N,2] y) { t = Relu(x) y = If (c) <"
    f"then_branch = tb () => (float[N,2] a) {{ a = {NODE.format(axis=1)} }}, "
    "else_branch = eb () => (float[N,2] b) "
    "{ b = GatherElements<axis = 1>(t, i) }> }"
)


# -- without TensorRT -----------------------------------------------------------------------------


def test_it_is_the_plugin_that_the_rewriter_writes() -> None:
    assert plugin.NAME == gather_elements.OP
    assert plugin.VERSION == gather_elements.VERSION
    assert plugin.NAMESPACE == gather_elements.NAMESPACE
    names = {"HALF": "FLOAT16", "BF16": "BFLOAT16"}
    taken = {n for n in ("FLOAT", "HALF", "BF16", "INT8", "INT32", "INT64", "BOOL")}
    assert {names.get(n, n) for n in taken} == {
        TensorProto.DataType.Name(d) for d in gather_elements.DATA_TYPES
    }
    for name in taken:
        assert plugin.takes(0, [name])
        assert plugin.takes(1, [name, "INT32"]) and plugin.takes(1, [name, "INT64"])
        assert not plugin.takes(1, [name, "FLOAT"])
        assert plugin.takes(2, [name, "INT32", name])
    assert not plugin.takes(0, ["FP8"]) and not plugin.takes(2, ["FLOAT", "INT32", "HALF"])


@pytest.mark.parametrize(
    ("declared", "data", "output", "fits"),
    [
        ("", -1.0, -1.0, True),
        ("", 0.5, 0.25, False),
        ("INT8", 0.0, 0.0, True),
        ("INT8", 0.5, -1.0, True),
        ("INT8", 0.5, 0.25, False),
        ("FLOAT", 0.0, 0.0, False),
        ("FLOAT", 0.5, -1.0, False),
        ("FLOAT", 0.5, 0.25, False),
        ("FLOAT", 0.5, 0.5, True),
    ],
)
def test_int8_only_where_no_number_changes(
    declared: str, data: float, output: float, fits: bool
) -> None:
    """As in rules.h: data that the builder would quantize by itself stay floats in doubt."""
    assert plugin.int8_fits(declared, data, output) is fits


def test_int8_of_two_scales_is_not_run() -> None:
    plugin.check_scales(0.5, 0.5)
    plugin.check_scales(1.0, 0.0)
    with pytest.raises(ValueError, match=r"different scales, 0\.5 and 0\.25"):
        plugin.check_scales(0.5, 0.25)


def test_importing_it_imports_neither_tensorrt_nor_onnx() -> None:
    path = python_plugins.known()[gather_elements.OP]
    script = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); "
        "print([m for m in sys.modules if m.split('.')[0] in "
        "('tensorrt', 'tensorrt_rtx', 'onnx', 'onnx_fix', 'torch', 'cupy')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_only_models_with_such_nodes_ask_for_it() -> None:
    assert set(python_plugins.wanted(model_of())) == {gather_elements.OP}
    assert set(python_plugins.wanted(BRANCH)) == {gather_elements.OP}
    plain = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N] x) => (float[N] y) { y = Relu(x) }'
    )
    assert not python_plugins.wanted(plain)
    own = model_of()
    own.functions.extend([gather_elements.function_body(17)])
    assert not python_plugins.wanted(own)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_the_arithmetic_is_that_of_the_reference(draw: st.DataObject) -> None:
    rank = draw.draw(st.integers(1, 4))
    axis = draw.draw(st.integers(-rank, rank - 1))
    shape = draw.draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank))
    wanted = [draw.draw(st.integers(0, size)) for size in shape]
    wanted[axis] = draw.draw(st.integers(0, 6))
    rng = np.random.default_rng(draw.draw(st.integers(0, 99)))
    data = rng.integers(-99, 99, shape).astype(draw.draw(st.sampled_from(["i1", "i2", "i8"])))
    kind = draw.draw(st.sampled_from([np.int32, np.int64]))
    indices = rng.integers(-shape[axis], shape[axis], wanted).astype(kind)
    made = plugin.gather_by_arrays(np, data, indices, axis)
    assert made.dtype == data.dtype
    expected = np.take_along_axis(
        data[
            tuple(
                slice(None) if k == axis % rank else slice(n) for k, n in enumerate(indices.shape)
            )
        ],
        indices.astype(np.int64),
        axis,
    )
    assert np.array_equal(made, expected)


def test_indices_out_of_range_are_clamped() -> None:
    data = np.arange(3, dtype=np.int32)
    made = plugin.gather_by_arrays(np, data, np.array([-9, 9, 2, -1], np.int64), 0)
    assert made.tolist() == [0, 2, 2, 2]


def test_without_a_framework_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in plugin.FRAMEWORKS:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeError, match="torch or cupy, and neither can be imported"):
        plugin.gather_on_gpu([0, 0, 0], [4, 8, 4], [(3,), (2,), (2,)], 0, 0)
    # Nothing to do needs nobody to do it.
    plugin.gather_on_gpu([0, 0, 0], [4, 8, 4], [(3,), (0,), (0,)], 0, 0)


def test_older_releases_are_told_to_load_the_library() -> None:
    old: Any = SimpleNamespace(__version__="8.6.1", __name__="tensorrt")
    with pytest.raises(RuntimeError, match=r"8\.6\.1 has no IPluginV3"):
        plugin.register(old)


def test_the_axis_of_fields() -> None:
    assert plugin.axis_of({"axis": np.array([2], np.int32), "more": None}) == 2
    assert plugin.axis_of({}) == 0
    with pytest.raises(ValueError, match="rank 2, indices of rank 1, axis 0"):
        plugin.check_ranks(2, 1, 0)
    with pytest.raises(ValueError, match="axis 2"):
        plugin.check_ranks(2, 2, 2)


ON_GPU = """
import importlib.util, json, sys, threading
import numpy as np, torch
spec = importlib.util.spec_from_file_location("plugin", sys.argv[1])
plugin = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plugin)
plugin.FRAMEWORKS = (sys.argv[2],)
try:
    plugin.framework()
except RuntimeError as error:
    print(json.dumps({"missing": str(error)}))
    sys.exit()
TYPES = [np.float32, np.float16, np.int8, np.int32, np.int64, np.bool_]
CASES = [
    ((3, 40), (3, 70), 1), ((5, 6, 7), (2, 9, 7), -2), ((9,), (0,), 0),
    ((300, 1000), (300, 999), 1),
]
def work(number, found):
    draw = np.random.default_rng(number)
    stream = torch.cuda.Stream()
    for dtype in TYPES:
        for shape, wanted, axis in CASES:
            for kind in (np.int32, np.int64):
                data = draw.integers(0, 2 if dtype is np.bool_ else 100, shape).astype(dtype)
                size = shape[axis]
                where = draw.integers(-size - 3, size + 3, wanted).astype(kind)
                right = np.clip(np.where(where < 0, where + size, where), 0, size - 1)
                window = [slice(n) for n in wanted]
                window[axis] = slice(None)
                right = np.take_along_axis(data[tuple(window)], right.astype(np.int64), axis)
                with torch.cuda.stream(stream):
                    given = [torch.from_numpy(data).cuda(), torch.from_numpy(where).cuda()]
                    out = torch.zeros(wanted, dtype=given[0].dtype, device="cuda")
                stream.synchronize()
                tensors = [*given, out]
                plugin.gather_on_gpu(
                    [t.data_ptr() for t in tensors], [t.element_size() for t in tensors],
                    [tuple(t.shape) for t in tensors], axis, stream.cuda_stream,
                )
                stream.synchronize()
                found.append(bool(np.array_equal(out.cpu().numpy(), right)))
work(0, alone := [])
together = [[] for _ in range(8)]
threads = [threading.Thread(target=work, args=(k, f)) for k, f in enumerate(together)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps({"alone": alone, "together": together}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("framework", plugin.FRAMEWORKS)
def test_it_gathers_on_a_gpu(framework: str) -> None:
    """As enqueue does, from one thread and from eight, with indices out of range among them."""
    if importlib.util.find_spec("torch") is None or not list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("there is no NVIDIA GPU, or no torch, which puts the tensors there")
    module = python_plugins.known()[gather_elements.OP]
    done = subprocess.run(
        [sys.executable, "-c", ON_GPU, str(module), framework],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    if "missing" in found:
        pytest.skip(found["missing"])
    assert len(found["alone"]) == 48 and all(found["alone"])
    assert [len(one) for one in found["together"]] == [48] * 8
    assert all(all(one) for one in found["together"])


# -- in TensorRT-RTX ------------------------------------------------------------------------------

SCRIPT = """
import importlib.util, json, sys
import tensorrt_rtx as trt
spec = importlib.util.spec_from_file_location("plugin", sys.argv[1])
plugin = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plugin)
log = trt.Logger(trt.Logger.ERROR)
try:
    first, second = plugin.register(trt), plugin.register(trt)
except RuntimeError as error:
    print(json.dumps({"error": str(error)}))
    sys.exit()
builder = trt.Builder(log)
network = builder.create_network(0)
parser = trt.OnnxParser(network, log)
ok = parser.parse(open(sys.argv[2], "rb").read())
out = network.get_output(0) if ok else None
said = [parser.get_error(k).desc() for k in range(parser.num_errors)]
print(json.dumps({
    "registered": [first, second], "ok": ok, "errors": said,
    "shape": list(out.shape) if ok else None, "type": out.dtype.name if ok else None,
}))
"""


def in_rtx(model: onnx.ModelProto, tmp_path: Path, env: dict[str, str]) -> dict[str, Any]:
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    module = python_plugins.known()[gather_elements.OP]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(module), str(path)],
        capture_output=True, text=True, env=env, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@needs_rtx
@pytest.mark.parametrize(
    ("model", "shape", "dtype"),
    [
        (model_of(), [-1, 2], "FLOAT"),
        (model_of(0, "float16[3,4] x, int32[5,2] i", "float16[5,2]"), [5, 2], "HALF"),
        (model_of(-1, "int64[3,2,4] x, int32[1,2,9] i", "int64[1,2,9]"), [1, 2, 9], "INT64"),
        (BRANCH, [-1, 2], "FLOAT"),
    ],
    ids=["dynamic", "half", "int64", "branch"],
)
def test_the_parser_takes_the_node(
    model: onnx.ModelProto, shape: list[int], dtype: str, tmp_path: Path
) -> None:
    env = with_plain_names(environment(), "tensorrt_rtx", tmp_path / "libraries")
    found = in_rtx(model, tmp_path, env)
    assert found["registered"] == [True, False]
    assert (found["ok"], found["errors"]) == (True, [])
    assert (found["shape"], found["type"]) == (shape, dtype)


@needs_rtx
def test_without_the_plain_name_it_refuses_instead_of_aborting(tmp_path: Path) -> None:
    env = environment()
    env.pop("LD_LIBRARY_PATH", None)
    with_names = with_plain_names(env, "tensorrt_rtx", tmp_path / "libraries")
    if with_names is env:
        pytest.skip("this TensorRT-RTX has its library under the plain name")
    found = in_rtx(model_of(), tmp_path, env)
    assert "opens libtensorrt_rtx.so to add a plugin and aborts" in found["error"]


FORMATS = """
import importlib.util, json, sys
import tensorrt_rtx as trt
spec = importlib.util.spec_from_file_location("plugin", sys.argv[1])
plugin = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plugin)
kind = plugin.plugin_class(trt)
def desc(dtype, scale):
    one = trt.DynamicPluginTensorDesc()
    one.desc.type, one.desc.scale, one.desc.format = dtype, scale, trt.TensorFormat.LINEAR
    return one
found = []
for declared, data, output in json.loads(sys.argv[2]):
    first = kind(1)
    if declared:
        first.get_output_data_types([getattr(trt.DataType, declared), trt.DataType.INT32])
    tensors = [desc(trt.int8, data), desc(trt.int32, -1), desc(trt.int8, output)]
    second = first.clone()
    found.append([second.supports_format_combination(k, tensors, 2) for k in range(3)])
print(json.dumps(found))
"""


@needs_rtx
def test_clones_know_what_the_network_declares() -> None:
    cases = [["", 0, 0], ["INT8", 0, 0], ["FLOAT", 0, 0], ["FLOAT", 1, 1], ["HALF", 1, 2]]
    module = python_plugins.known()[gather_elements.OP]
    done = subprocess.run(
        [sys.executable, "-c", FORMATS, str(module), json.dumps(cases)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [taken for _, _, taken in json.loads(done.stdout)]
    assert found == [True, True, False, True, False]


@needs_rtx
def test_ranks_that_differ_are_an_error_and_no_crash() -> None:
    said = run_live(model_of(0, "float[3,4] x, int64[2] i", "float[2]"), parser=RTX)
    assert said.status == "refused" and said.errors
    assert said.phase == "parsing"


@needs_rtx
def test_check_asks_with_the_plugin_in_python() -> None:
    said = run_live(model_of(), parser=RTX, build=True, dims={"N": (1, 2, 4)})
    assert (said.status, said.python_plugins) == ("built", (gather_elements.OP,))
    assert ("", "y") in said.taken
    found = merge([], said, load_target("rtx-1.7"))
    assert [f.code.code for f in found if f.code.code in ("OF909", "OF911")] == ["OF911"]


@needs_rtx
def test_an_engine_with_every_element_type() -> None:
    names = [TensorProto.DataType.Name(d).lower() for d in sorted(gather_elements.DATA_TYPES)]
    inputs = ", ".join(f"{name}[3,4] x{k}" for k, name in enumerate(names))
    outputs = ", ".join(f"{name}[3,2] y{k}" for k, name in enumerate(names))
    nodes = " ".join(
        f"y{k} = " + NODE.format(axis=1).replace("(t, ", f"(x{k}, ") for k in range(len(names))
    )
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17, "trt.plugins" : 1]> '
        f"g ({inputs}, int32[3,2] i) => ({outputs}) {{ {nodes} }}"
    )
    assert len(names) == 7
    said = run_live(model, parser=RTX, build=True)
    assert said.status == "built", (said.detail, said.errors, said.messages)


@needs_rtx
def test_the_rest_of_the_model_is_judged_beside_a_plugin_node() -> None:
    model = model_of()
    model.graph.node.add(op_type="Nowhere", input=["y"], output=["z"])
    model.graph.output[0].name = "z"
    said = run_live(model, parser=RTX)
    assert [error.op for error in said.errors] == ["Nowhere"]
    assert ("", "y") in said.taken


@needs_rtx
def test_build_makes_an_engine_with_the_plugin(tmp_path: Path) -> None:
    path, engine = tmp_path / "m.onnx", tmp_path / "m.plan"
    onnx.save(model_of(), path)
    result = build(
        path,
        engine,
        profiles=[profile_of(onnx.load(path), {"N": (1, 2, 4)})],
        settings=BuildSettings(compute_capabilities=("8.6",)),
    )
    assert result.ok
    assert any("GatherElementsPlugin in Python stood in" in n for n in result.last.notes)
    # The engine names the creator that is to run it.
    assert gather_elements.OP.encode() in engine.read_bytes()


def test_links_are_made_only_where_the_plain_name_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("Linux names its libraries so")
    libs = tmp_path / "somewhere_libs"
    libs.mkdir()
    (libs / "__init__.py").write_text("")
    for name in ("liba.so.1", "libb.so.10", "libb.so", "libc.so.1.2"):
        (libs / name).write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "links"
    env = with_plain_names({"LD_LIBRARY_PATH": "/x"}, "somewhere", folder)
    assert env["LD_LIBRARY_PATH"] == os.pathsep.join([str(folder), "/x"])
    assert {p.name for p in folder.iterdir()} == {"liba.so"}
    assert with_plain_names({}, "somewhere", folder) == {"LD_LIBRARY_PATH": str(folder)}
    assert with_plain_names({}, "nothing_of_this_name", folder) == {}


def test_it_is_found_by_path() -> None:
    path = python_plugins.known()[gather_elements.OP]
    spec = importlib.util.spec_from_file_location("by_path", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert isinstance(module, ModuleType) and module.NAME == gather_elements.OP
