"""The runner: feeds are checked, parts are those of the manifest, engines run beside the host."""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

import onnx_fix
from onnx_fix import run_engines
from onnx_fix.errors import ModelError, UsageError
from onnx_fix.parts import Parts, read_feeds, run_parts, write_results
from onnx_fix.run_engines import CudaDevice, TorchDevice, narrowed

TEXT = """<ir_version: 8, opset_import: ["" : 13]>
main (float[N] x, int64[M, N] s) => (float[K] y, int64[M, N] t)
<float zero = {0.0}, int64[1] axes = {0}, int64 one = {1}> {
  m = Greater (x, zero)
  [nz] n = NonZero (m)
  i = Squeeze (n, axes)
  y = Gather (x, i)
  t = Add (s, one)
}"""
X = np.asarray([1, -1, 2, 0, 5], np.float32)
S = np.asarray([[1, 2, 3, 4, 5]], np.int64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("parts") / "out"
    onnx_fix.split(onnx.parser.parse_model(TEXT), out, target="trt-7.2")
    return out


def copy_of(folder: Path, place: Path) -> Path:
    place.mkdir()
    for path in folder.iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    return place


def assert_right(found: Mapping[str, NDArray[Any]]) -> None:
    assert list(found) == ["y", "t"]
    np.testing.assert_array_equal(found["y"], np.asarray([1, 2, 5], np.float32))
    np.testing.assert_array_equal(found["t"], S + 1)
    assert found["y"].dtype == np.float32 and found["t"].dtype == np.int64


def test_run(folder: Path) -> None:
    parts = Parts(folder)
    for _ in range(2):
        assert_right(parts.run({"x": X, "s": S}))
    assert_right(run_parts(str(folder), {"x": X, "s": S}))
    empty = parts.run({"x": -np.abs(X), "s": S})
    assert empty["y"].shape == (0,)


@pytest.mark.parametrize(
    ("feeds", "said"),
    [
        ({"x": X}, r"no value for the input 's', int64 of shape \[M, N\]"),
        ({"x": X, "s": S, "z": X}, "no input 'z'; it has: x, s"),
        ({"x": X.astype("f8"), "s": S}, r"'x' is float64 of shape \[5\], expected float32"),
        ({"x": X[None], "s": S}, r"'x' is float32 of shape \[1, 5\], expected .*\[N\]"),
        ({"x": X[:4], "s": S}, r"'s' is int64 of shape \[1, 5\], but N is 4 in 'x'"),
    ],
)
def test_feeds_that_do_not_fit(folder: Path, feeds: dict[str, NDArray[Any]], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Parts(folder).run(feeds)


def test_a_fixed_size(tmp_path: Path) -> None:
    text = TEXT.replace("float[N] x", "float[5] x")
    onnx_fix.split(onnx.parser.parse_model(text), tmp_path / "p", target="trt-7.2")
    with pytest.raises(UsageError, match=r"'x' is float32 of shape \[4\], expected .*\[5\]"):
        run_parts(tmp_path / "p", {"x": X[:4], "s": S})


def test_another_file_than_the_manifest_means(folder: Path, tmp_path: Path) -> None:
    mine = copy_of(folder, tmp_path / "mine")
    part = mine / "part-0-engine.onnx"
    part.write_bytes(part.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="is not the file that the manifest names"):
        Parts(mine)
    part.unlink()
    with pytest.raises(ModelError, match=r"part-0-engine\.onnx cannot be read"):
        Parts(mine)


def test_a_folder_without_a_manifest_or_with_a_strange_one(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pass a folder that onnx-fix split wrote"):
        Parts(tmp_path)
    mine = copy_of(folder, tmp_path / "mine")
    manifest = mine / "manifest.json"
    data = json.loads(manifest.read_text())
    for key, value, said in (
        ("schema_version", 2, "schema_version"),
        ("more", 1, "more"),
        ("parts", [], "parts"),
    ):
        manifest.write_text(json.dumps({**data, key: value}))
        with pytest.raises(ModelError, match=f"no manifest of version 1: {said}"):
            Parts(mine)
    manifest.write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match="is no text file"):
        Parts(mine)


def test_a_part_that_does_not_run(folder: Path, tmp_path: Path) -> None:
    text = TEXT.replace("t = Add (s, one)", "t = Gather (s, one)").replace(
        "int64[M, N] t", "int64[P] t"
    )
    onnx_fix.split(onnx.parser.parse_model(text), tmp_path / "p", target="trt-7.2")
    with pytest.raises(
        ModelError, match=r"part-0-engine\.onnx does not run: onnxruntime: .*Gather"
    ):
        run_parts(tmp_path / "p", {"x": X, "s": S})
    backend: Any = "cuda"
    with pytest.raises(UsageError, match="choose onnxruntime or tensorrt"):
        Parts(folder, backend)


def test_files_of_feeds_and_results(tmp_path: Path) -> None:
    results: dict[str, NDArray[Any]] = {
        "file": X,
        "a/b:0": S,
        "text": np.asarray(["Zürich", ""], object),
        "narrow": X.astype(ml_dtypes.bfloat16),
        "one": np.asarray(True),
    }
    write_results(tmp_path / "r.npz", results)
    found = read_feeds(tmp_path / "r.npz")
    assert list(found) == list(results)
    np.testing.assert_array_equal(found["a/b:0"], S)
    np.testing.assert_array_equal(found["text"], results["text"].astype(str))
    assert found["narrow"].view(ml_dtypes.bfloat16).tolist() == X.tolist()
    assert found["one"].shape == ()
    assert [p.name for p in tmp_path.iterdir()] == ["r.npz"]
    with pytest.raises(UsageError, match="cannot be written"):
        write_results(tmp_path / "no" / "r.npz", results)
    (tmp_path / "bad.npz").write_text("no numbers")
    np.save(tmp_path / "one.npy", X)
    for name in ("bad.npz", "one.npy", "none.npz"):
        with pytest.raises(UsageError, match=name):
            read_feeds(tmp_path / name)


def test_what_onnxruntime_lacks_the_reference_runs(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    main (bfloat16[N] x) => (int64[R, K] y) {
      a = Add (x, x)  f = Cast <to = 1> (a)  [nz] n = NonZero (f)  y = Identity (n) }"""
    result = onnx_fix.split(onnx.parser.parse_model(text), tmp_path / "p", target="rtx-1.7")
    assert "onnx.reference" in result.manifest.verification
    x = np.asarray([1, 0, 2], ml_dtypes.bfloat16)
    assert run_parts(tmp_path / "p", {"x": x})["y"].tolist() == [[0, 2]]


@pytest.mark.parametrize(
    ("kind", "op", "x"),
    [
        ("bfloat16", "Cast <to = 1>", np.asarray([1, 0, 2], ml_dtypes.bfloat16)),
        ("string", "Identity", np.asarray(["a", "Zürich", ""])),
    ],
)
def test_narrow_types_and_strings_as_files_have_them(
    tmp_path: Path, kind: str, op: str, x: NDArray[Any]
) -> None:
    made = "float" if kind == "bfloat16" else kind
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    main ({kind}[N] x, float[N] f) => (int64[R, K] y, {made}[N] v) {{
      [nz] n = NonZero (f)  y = Identity (n)  v = {op} (x) }}"""
    out = tmp_path / "p"
    onnx_fix.split(onnx.parser.parse_model(text), out, target="rtx-1.7", at=["nz"])
    write_results(tmp_path / "f.npz", {"x": x, "f": np.asarray([0, 1, 0], np.float32)})
    found = run_parts(out, read_feeds(tmp_path / "f.npz"))
    assert found["y"].tolist() == [[1]]
    assert found["v"].tolist() == x.tolist()


# -- TensorRT --------------------------------------------------------------------------------------
# There is no GPU here: a stand-in with the same interface runs the "engines" in onnxruntime and
# keeps "device" memory apart. What it cannot show is whether TensorRT itself behaves like it.


class Memory:
    """Memory that only addresses lead to."""

    def __init__(self) -> None:
        self.stream = 7
        self.held: dict[int, Any] = {}
        self.released = 0

    def take(self, size: int) -> int:
        block = ctypes.create_string_buffer(max(size, 1))
        self.held[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def upload(self, address: int, data: NDArray[Any]) -> None:
        ctypes.memmove(address, data.ctypes.data, data.nbytes)

    def download(self, address: int, data: NDArray[Any]) -> None:
        ctypes.memmove(data.ctypes.data, address, data.nbytes)

    def release(self) -> None:
        self.released += 1
        self.held.clear()


_NAMES = {"tensor(float)": "FLOAT", "tensor(int64)": "INT32", "tensor(bool)": "BOOL"}
_TYPES = {"FLOAT": np.float32, "INT32": np.int32, "BOOL": np.bool_}


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.places: dict[str, int] = {}
        self.results: dict[str, NDArray[Any]] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return all(size <= self.engine.limit for size in shape)

    def set_tensor_address(self, name: str, address: int) -> None:
        self.places[name] = address

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if not self.results:
            self._compute()
        return self.results[name].shape

    def _compute(self) -> None:
        feeds = {}
        for value in self.engine.session.get_inputs():
            dtype = np.dtype(_TYPES[_NAMES[value.type]])
            shape = self.shapes[value.name]
            size = int(np.prod(shape)) * dtype.itemsize
            raw = ctypes.string_at(self.places[value.name], size)
            array = np.frombuffer(raw, dtype).reshape(shape)
            feeds[value.name] = array.astype("int64") if _NAMES[value.type] == "INT32" else array
        names = [v.name for v in self.engine.session.get_outputs()]
        self.results = dict(zip(names, self.engine.session.run(names, feeds), strict=True))

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == 7
        for value in self.engine.session.get_outputs():
            array: NDArray[Any] = np.ascontiguousarray(
                self.results[value.name].astype(_TYPES[_NAMES[value.type]])
            )
            ctypes.memmove(self.places[value.name], array.ctypes.data, array.nbytes)
        self.results = {}
        return True


class Engine:
    limit = 100

    def __init__(self, plan: bytes) -> None:
        self.session = ort.InferenceSession(plan, providers=["CPUExecutionProvider"])
        self._ways: dict[str, tuple[str, str]] = {
            v.name: ("INPUT", v.type) for v in self.session.get_inputs()
        }
        self._ways |= {v.name: ("OUTPUT", v.type) for v in self.session.get_outputs()}
        self.num_io_tensors = len(self._ways)

    def get_tensor_name(self, index: int) -> str:
        return list(self._ways)[index]

    def get_tensor_mode(self, name: str) -> str:
        return self._ways[name][0]

    def get_tensor_dtype(self, name: str) -> str:
        return f"DataType.{_NAMES[self._ways[name][1]]}"

    def get_tensor_location(self, name: str) -> str:
        return "HOST" if name == "s" else "DEVICE"

    def create_execution_context(self) -> Context:
        return Context(self)


class Logger:
    Severity = SimpleNamespace(ERROR=1)

    def __init__(self, _severity: int) -> None: ...


class Runtime:
    def __init__(self, _logger: Logger) -> None: ...

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        return Engine(plan) if plan != b"stale" else None


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> Any:
    module: Any = ModuleType("tensorrt")
    module.__version__ = "10.0"
    module.Logger, module.Runtime = Logger, Runtime
    module.TensorIOMode = SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT")
    module.TensorLocation = SimpleNamespace(HOST="HOST", DEVICE="DEVICE")
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    memory = Memory()
    monkeypatch.setattr(run_engines, "open_device", lambda: memory)
    module.memory = memory
    return module


@pytest.fixture
def built(folder: Path, tmp_path: Path) -> Path:
    """The parts with "engines" beside them."""
    mine = copy_of(folder, tmp_path / "built")
    for path in mine.glob("*-engine.onnx"):
        path.with_suffix(".plan").write_bytes(path.read_bytes())
    return mine


def test_engines_and_host_in_turn(built: Path, tensorrt: Any) -> None:
    parts = Parts(built, "tensorrt")
    for _ in range(2):
        assert_right(parts.run({"x": X, "s": S}))
    assert tensorrt.memory.released == 4 and not tensorrt.memory.held
    assert parts.run({"x": -np.abs(X), "s": S})["y"].shape == (0,)


def test_sizes_and_numbers_that_an_engine_does_not_take(built: Path, tensorrt: Any) -> None:
    parts = Parts(built, "tensorrt")
    with pytest.raises(ModelError, match=r"shape \[101\] of 'x' is outside of the profile"):
        parts.run({"x": np.zeros(101, np.float32), "s": np.zeros((1, 101), np.int64)})
    with pytest.raises(ModelError, match="'s' has numbers that do not fit into int32"):
        parts.run({"x": X, "s": S * 2**40})
    assert not tensorrt.memory.held


def test_an_engine_of_another_release(built: Path, tensorrt: Any) -> None:
    (built / "part-2-engine.plan").write_bytes(b"stale")
    with pytest.raises(ModelError, match=r"no engine of the installed TensorRT 10\.0 and this GPU"):
        Parts(built, "tensorrt")


def test_a_release_without_tensors_by_name(
    built: Path, tensorrt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runtime, "deserialize_cuda_engine", lambda *_: SimpleNamespace())
    with pytest.raises(UsageError, match=r"8\.5 or later"):
        Parts(built, "tensorrt")


def test_a_size_that_the_engine_does_not_tell(
    built: Path, tensorrt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Context, "get_tensor_shape", lambda *_: (-1,))
    with pytest.raises(ModelError, match="is not known before the run"):
        Parts(built, "tensorrt").run({"x": X, "s": S})


def test_missing_engines_are_named_with_the_command_that_builds_them(folder: Path) -> None:
    with pytest.raises(UsageError) as raised:
        Parts(folder, "tensorrt")
    text = str(raised.value)
    assert f"trtexec --onnx={folder / 'part-0-engine.onnx'} --saveEngine=" in text
    assert "--minShapes=x:<N>,s:<M>x<N> --optShapes=" in text and "<nz_count>" in text


def test_missing_packages_are_named(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(UsageError, match=r"package tensorrt is not installed: pip install"):
        Parts(built, "tensorrt")
    for name in ("cuda", "cuda.bindings", "cuda.bindings.runtime", "cuda.cudart", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match="neither cuda-python nor torch is installed"):
        run_engines.open_device()


def test_rtx_engines_need_the_package_of_rtx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "p"
    onnx_fix.split(onnx.parser.parse_model(TEXT), out, target="rtx-1.7", at=["nz"])
    with pytest.raises(UsageError, match="  tensorrt_rtx --onnx="):
        Parts(out, "tensorrt")
    for path in out.glob("*-engine.onnx"):
        path.with_suffix(".engine").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(UsageError, match=r"package tensorrt_rtx .*onnx-fix\[rtx\]"):
        Parts(out, "tensorrt")


class Cudart:
    """cuda-python with the memory of the host."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)

    def __init__(self) -> None:
        self.memory = Memory()

    def cudaStreamCreate(self) -> tuple[int, int]:
        return 0, 5

    def cudaMalloc(self, size: int) -> tuple[int, int]:
        return (0, self.memory.take(size)) if size < 2**20 else (2, 0)

    def cudaMemcpy(self, to: int, source: int, size: int, _kind: int) -> tuple[int]:
        ctypes.memmove(to, source, size)
        return (0,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[int]:
        assert stream == 5
        return (0,)

    def cudaFree(self, address: int) -> tuple[int]:
        del self.memory.held[address]
        return (0,)


def test_memory_by_cuda_python(monkeypatch: pytest.MonkeyPatch) -> None:
    cudart = Cudart()
    device = CudaDevice(cudart)
    address = device.take(X.nbytes)
    device.upload(address, X)
    back = np.empty_like(X)
    device.download(address, back)
    np.testing.assert_array_equal(back, X)
    nothing = np.empty((0,), np.float32)
    device.upload(device.take(0), nothing)
    device.release()
    assert not cudart.memory.held
    with pytest.raises(ModelError, match="the GPU cannot be used: cudaMalloc says 2"):
        device.take(2**20)


def test_torch_without_a_gpu() -> None:
    torch = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False))
    with pytest.raises(ModelError, match="torch finds no CUDA device"):
        TorchDevice(torch)


def test_types_are_narrowed_only_where_nothing_is_lost() -> None:
    assert narrowed(S, np.dtype(np.int32), "s").dtype == np.int32
    assert narrowed(np.asarray(3, np.int64), np.dtype(np.int32), "s").shape == ()
    assert narrowed(np.empty((0, 2), np.int64), np.dtype(np.int32), "s").shape == (0, 2)
    with pytest.raises(ModelError):
        narrowed(np.asarray([-(2**31) - 1]), np.dtype(np.int32), "s")


@pytest.mark.rtx
def test_the_real_interface_has_what_the_stand_in_has() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="needs the extra `rtx`")
    for real, stand_in in (
        (trt.ICudaEngine, Engine),
        (trt.IExecutionContext, Context),
        (trt.Runtime, Runtime),
    ):
        names = [n for n in vars(stand_in) if not n.startswith("_") and n != "limit"]
        assert names and all(hasattr(real, n) for n in names), real
    assert hasattr(trt.ICudaEngine, "num_io_tensors")
    assert trt.TensorIOMode.INPUT != trt.TensorIOMode.OUTPUT
    assert trt.TensorLocation.HOST != trt.TensorLocation.DEVICE
    known = set(trt.DataType.__members__) - {"INT4", "FP4", "E8M0"}
    assert known <= set(run_engines._TYPES)
    assert str(trt.DataType.FLOAT).rpartition(".")[2] == "FLOAT"
    trt.Runtime(trt.Logger(trt.ILogger.Severity.ERROR))


@pytest.mark.rtx
def test_the_builder_of_tensorrt_rtx_takes_the_parts(tmp_path: Path) -> None:
    """Parsed and built ahead of time; running them needs a GPU."""
    pytest.importorskip("tensorrt_rtx", reason="needs the extra `rtx`")
    from onnx_fix.check.live import run_live

    out = tmp_path / "p"
    result = onnx_fix.split(onnx.parser.parse_model(TEXT), out, target="rtx-1.7", at=["nz"])
    for part in result.manifest.parts:
        if part.kind == "engine":
            said = run_live(
                out / part.file,
                build=True,
                dims={"N": (1, 8, 64), "M": (1, 2, 4), "nz_count": (0, 8, 64)},
            )
            assert said.status == "built", (part.file, said.errors, said.detail)


@pytest.mark.rtx
@pytest.mark.slow
def test_the_builder_of_tensorrt_rtx_takes_an_export_in_parts(
    tmp_path: Path, fixtures: Path
) -> None:
    """Without the cut this release refuses both NonZero nodes."""
    pytest.importorskip("tensorrt_rtx", reason="needs the extra `rtx`")
    from onnx_fix.check.live import run_live

    out = tmp_path / "p"
    result = onnx_fix.split(fixtures / "superpoint_points.dynamo18.onnx", out, target="rtx-1.7")
    assert result.ok
    known = {"H": (64, 96, 128), "W": (64, 96, 128)}
    for part in result.manifest.parts:
        if part.kind == "engine":
            dims = dict(known)
            for dim in (d for t in part.inputs for d in t.shape or () if isinstance(d, str)):
                eighth, whole = dim.startswith("("), dim.startswith("8*")
                sizes = (8, 12, 16) if eighth else (64, 96, 128) if whole else (0, 100, 2000)
                dims.setdefault(dim, sizes)
            said = run_live(out / part.file, build=True, dims=dims)
            assert said.status == "built", (part.file, said.errors, said.detail)
