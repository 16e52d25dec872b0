"""A library with the IPluginV3 class in TensorRT-RTX, which needs no GPU to parse and to build.

The parser adds a plugin by opening ``libtensorrt_rtx.so``, a name that NVIDIA's wheel lacks (it has
``libtensorrt_rtx.so.1``), and aborts when that fails. A link of that name is enough.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from onnx import ModelProto, TensorProto, helper
from plugin_builds import CPP, HEADERS_VARIABLE, SOURCES, compile_cpp, headers, headers_of

from onnx_fix_plugins import gather_elements

pytestmark = pytest.mark.rtx

HEADERS = "10.14"
WORKER = """
import sys
import tensorrt_rtx as trt
library, model, capability = sys.argv[1:]
log = trt.Logger(trt.Logger.WARNING)
registry = trt.get_plugin_registry()
print("loaded", registry.load_library(library) is not None)
print("again", registry.load_library(library) is not None)
found = [c for c in registry.all_creators if c.name == "GatherElementsPlugin"]
print("creators", [(c.plugin_version, c.plugin_namespace) for c in found])
builder = trt.Builder(log)
network = builder.create_network(0)
parser = trt.OnnxParser(network, log)
sys.stdout.flush()
ok = parser.parse_from_file(model)
print("parsed", ok)
if ok:
    out = network.get_output(0)
    print("layers", [str(network.get_layer(k).type) for k in range(network.num_layers)])
    print("output", tuple(out.shape), out.dtype)
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    profile = builder.create_optimization_profile()
    for k in range(network.num_inputs):
        tensor = network.get_input(k)
        sizes = [tuple(n if d < 0 else d for d in tensor.shape) for n in (1, 4, 8)]
        profile.set_shape(tensor.name, *sizes)
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    written = (b"GatherElementsPlugin", b"layout", b"axis")
    print("engine", all(text in bytes(engine) for text in written) if engine else None)
sys.stdout.flush()
import os
os._exit(0)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin class with a creator that says which fields arrive, without a kernel."""
    pytest.importorskip("tensorrt_rtx", reason="the extra rtx is not installed")
    include = headers_of(HEADERS)
    path = tmp_path_factory.mktemp("probe") / "libprobe.so"
    sources = [CPP / "fields_probe.cpp", CPP / "no_kernel.cpp"]
    sources += [SOURCES / "plugin_v3.cpp", SOURCES / "logging.cpp"]
    options = ["-shared", "-fPIC", "-fvisibility=hidden", "-Wl,--exclude-libs,ALL"]
    compile_cpp(include, [*options, *map(str, sources)], path)
    return path


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the name that the parser opens."""
    libraries = pytest.importorskip("tensorrt_rtx_libs", reason="the extra rtx is not installed")
    (versioned,) = Path(libraries.__file__).parent.glob("libtensorrt_rtx.so.*")
    folder = tmp_path_factory.mktemp("link")
    (folder / "libtensorrt_rtx.so").symlink_to(versioned)
    return folder


def model_of(
    data: tuple[int | str, ...] = (2, 3),
    indices: tuple[int | str, ...] = (2, 4),
    axis: int = 1,
    dtype: int = TensorProto.FLOAT,
    index_type: int = TensorProto.INT64,
) -> ModelProto:
    node = helper.make_node(
        gather_elements.OP, ["data", "indices"], ["out"], name="n", domain=gather_elements.DOMAIN
    )
    for name, value in gather_elements.attributes(axis).items():
        node.attribute.append(helper.make_attribute(name, value))
    inputs = [
        helper.make_tensor_value_info("data", dtype, data),
        helper.make_tensor_value_info("indices", index_type, indices),
    ]
    out = helper.make_tensor_value_info("out", dtype, indices)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(gather_elements.DOMAIN, 1)]
    graph = helper.make_graph([node], "g", inputs, [out])
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def ask(
    library: Path, model: ModelProto, folder: Path, link: Path | None
) -> subprocess.CompletedProcess[str]:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    env = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    if link is not None:
        env["LD_LIBRARY_PATH"] = str(link)
    return subprocess.run(
        [sys.executable, "-c", WORKER, str(library), str(path), "SM86"],
        capture_output=True, text=True, check=False, timeout=120, env=env, cwd=folder,
    )  # fmt: skip


FIELD = "createPlugin phase 0\nfield axis type 5 length 1 value {}\ncreated 1\n"
"""The one field that the creator declares, as INT32; the parser passes no others."""


def test_without_the_link_it_comes_as_far_as_the_plugin(library: Path, tmp_path: Path) -> None:
    done = ask(library, model_of(axis=-1), tmp_path, None)
    assert "loaded True\nagain False\ncreators [('1', '')]\n" in done.stdout
    assert FIELD.format(-1) in done.stdout
    # A later wheel may bring the name.
    aborted = done.returncode < 0 and "terminate called" in done.stderr
    assert aborted or "parsed True" in done.stdout, done.stderr


def test_parsed_and_built_ahead_of_time(library: Path, link: Path, tmp_path: Path) -> None:
    done = ask(library, model_of(), tmp_path, link)
    assert done.returncode == 0, done.stderr
    assert FIELD.format(1) in done.stdout
    assert "parsed True\nlayers ['LayerType.PLUGIN_V3']\n" in done.stdout
    assert "output (2, 4) DataType.FLOAT\nengine True\n" in done.stdout


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (TensorProto.FLOAT16, "HALF"),
        (TensorProto.BFLOAT16, "BF16"),
        (TensorProto.INT8, "INT8"),
        (TensorProto.INT32, "INT32"),
        (TensorProto.INT64, "INT64"),
        (TensorProto.BOOL, "BOOL"),
    ],
)
def test_types(library: Path, link: Path, tmp_path: Path, dtype: int, name: str) -> None:
    model = model_of(("B", 5, 3), ("B", 7, 3), -2, dtype, TensorProto.INT32)
    done = ask(library, model, tmp_path, link)
    assert done.returncode == 0, done.stderr
    assert f"output (-1, 7, 3) DataType.{name}\nengine True\n" in done.stdout, done.stderr


def test_int8_between_quantize_and_dequantize(library: Path, link: Path, tmp_path: Path) -> None:
    """The network has INT8 there, and a copy is what it asks for, whatever the scales are."""
    model = model_of()
    (gather,) = model.graph.node
    gather.input[0], gather.output[0] = "q", "p"
    for name, scale in (("one", 0.5), ("other", 0.25)):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, [], [scale]))
    model.graph.initializer.append(helper.make_tensor("zero", TensorProto.INT8, [], [0]))
    model.graph.node.insert(0, helper.make_node("QuantizeLinear", ["data", "one", "zero"], ["q"]))
    model.graph.node.append(helper.make_node("DequantizeLinear", ["p", "other", "zero"], ["out"]))
    done = ask(library, model, tmp_path, link)
    assert done.returncode == 0, done.stderr
    assert "'LayerType.QUANTIZE', 'LayerType.PLUGIN_V3'" in done.stdout
    assert "output (2, 4) DataType.FLOAT\nengine True\n" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (model_of(axis=2), "the axis must be in"),
        (model_of(axis=-3), "the axis must be in"),
        (model_of(indices=(2,)), "data and indices must be of one rank"),
        (model_of(index_type=TensorProto.FLOAT), "the indices must be INT32 or INT64"),
    ],
)
def test_refusals_reach_the_user(
    library: Path, link: Path, tmp_path: Path, model: ModelProto, text: str
) -> None:
    done = ask(library, model, tmp_path, link)
    assert done.returncode == 0, done.stderr
    assert "created 1" in done.stdout
    assert "parsed False" in done.stdout or "engine None" in done.stdout
    assert re.search(rf"GatherElementsPlugin::\w+: {text}", done.stderr), done.stderr


REGISTRATION = """
import ctypes, sys
import tensorrt_rtx as trt
log = trt.Logger(trt.Logger.ERROR)
registry = trt.get_plugin_registry()
def known():
    return sum(c.name == "GatherElementsPlugin" for c in registry.all_creators)
for way in sys.argv[2]:
    if way == "o":
        library = ctypes.CDLL(sys.argv[1])
        print("opened", known(), library.onnxFixRegisterPlugins())
    else:
        print("loaded", registry.load_library(sys.argv[1]) is not None, known())
sys.stdout.flush()
import os
os._exit(0)
"""


@pytest.fixture(scope="module")
def registering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library for TensorRT-RTX that registers when it is opened, linked with it.

    The headers of TensorRT-RTX are not public. Those of 11.x lay the registry out as 1.7 does, so
    a copy with its version macros stands for them.
    """
    libraries = pytest.importorskip("tensorrt_rtx_libs", reason="the extra rtx is not installed")
    later = [release for release in headers() if int(release.partition(".")[0]) >= 11]
    if not later:
        pytest.skip(f"no headers of TensorRT 11: name their folder in {HEADERS_VARIABLE}")
    folder = tmp_path_factory.mktemp("registering")
    copy = shutil.copytree(headers_of(later[-1]), folder / "include")
    version = (copy / "NvInferVersion.h").read_text()
    version = re.sub(r"(#define TRT_MAJOR)_ENTERPRISE \d+", r"\1_RTX 1", version)
    version = version.replace("TRT_MAJOR_ENTERPRISE", "TRT_MAJOR_RTX")
    (copy / "NvInferVersion.h").write_text(version)
    (library,) = Path(libraries.__file__).parent.glob("libtensorrt_rtx.so.*")
    path = folder / "libregistering.so"
    sources = [SOURCES / f"{name}.cpp" for name in ("plugin_v3", "logging", "registration")]
    options = [
        "-shared", "-fPIC", "-fvisibility=hidden", "-DONNX_FIX_REGISTER_ON_LOAD",
        "-Wl,--exclude-libs,ALL", "-Wl,-z,nodelete", "-Wl,--no-as-needed", str(library),
    ]  # fmt: skip
    compile_cpp(copy, [*options, *map(str, [*sources, CPP / "no_kernel.cpp"])], path)
    return path


@pytest.mark.parametrize(
    ("ways", "said"),
    [
        ("o", "opened 1 1\n"),
        ("l", "loaded True 1\n"),
        ("ol", "opened 1 1\nloaded True 1\n"),
        ("lo", "loaded True 1\nopened 1 0\n"),
        ("ll", "loaded True 1\nloaded False 1\n"),
    ],
)
def test_opened_and_loaded(registering: Path, ways: str, said: str) -> None:
    """What REGISTER_TENSORRT_PLUGIN does, and the entry points, in either order."""
    done = subprocess.run(
        [sys.executable, "-c", REGISTRATION, registering, ways],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, said), done.stderr


def test_a_registered_library_builds(registering: Path, link: Path, tmp_path: Path) -> None:
    done = ask(registering, model_of(), tmp_path, link)
    assert done.returncode == 0 and "engine True" in done.stdout, done.stderr
