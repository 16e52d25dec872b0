"""What differs by release, with stand-ins that have the attributes of a release and no more.

They show which calls are made; whether an engine comes of them only a real TensorRT can say.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onnx_fix.building import _worker as worker
from onnx_fix.worker_parts import Messages


def enum(*names: str) -> Any:
    return SimpleNamespace(**{name: k for k, name in enumerate(names)})


def module(release: str) -> Any:
    """The names that the bindings of a release have, as far as the worker looks at them."""
    flags = ["FP16", "INT8", "TF32", "OBEY_PRECISION_CONSTRAINTS"]
    network = ["EXPLICIT_BATCH"]
    trt = SimpleNamespace(float32="float32", float16="float16", int32="int32")
    trt.MemoryPoolType = enum("WORKSPACE")
    if release in ("8.6", "10.3"):
        flags += ["VERSION_COMPATIBLE", "FP8", "BF16"][: 1 if release == "8.6" else 3]
    if release == "10.3":
        network.append("STRONGLY_TYPED")
    if release in ("11.0", "rtx"):
        flags, network = ["TF32", "VERSION_COMPATIBLE"], ["STRONGLY_TYPED"]
    if release == "rtx":
        trt.ComputeCapability = enum("NONE", "CURRENT", "SM86", "SM89", "SM120")
    trt.BuilderFlag = enum(*flags)
    trt.NetworkDefinitionCreationFlag = enum(*network)
    return trt


class Config:
    """Notes what is asked of it."""

    def __init__(self, release: str) -> None:
        self.flags: list[int] = []
        self.calls: list[tuple[Any, ...]] = []
        self.takes = True
        if release != "8.5":
            self.builder_optimization_level = 3
        if release == "rtx":
            self.num_compute_capabilities = 0
            self.set_compute_capability = self._capability
        if release != "old":
            self.set_memory_pool_limit = lambda pool, size: self.calls.append((pool, size))

    def _capability(self, value: int, index: int) -> bool:
        self.calls.append(("capability", value, index))
        return self.takes

    def set_flag(self, flag: int) -> None:
        self.flags.append(flag)

    def create_timing_cache(self, data: bytes) -> Any:
        return data.decode() or "new" if data != b"broken" else None

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        return bool(cache != "foreign")

    def add_optimization_profile(self, profile: Any) -> int:
        self.calls.append(("profile", profile))
        return 0 if self.takes else -1


def request(**given: Any) -> dict[str, Any]:
    return {
        "package": "tensorrt",
        "precision": "as-is",
        "needs": [],
        "optimization_level": None,
        "version_compatible": False,
        "compute_capabilities": [],
        "fp32_layers": None,
        "workspace": None,
        "timing_cache": None,
        **given,
    }


def lacks(release: str, **given: Any) -> list[str]:
    return worker.unsupported(module(release), Config(release), request(**given))


def names(trt: Any, config: Config) -> set[str]:
    return {name for name, value in vars(trt.BuilderFlag).items() if value in config.flags}


@pytest.mark.parametrize("release", ["8.5", "8.6", "10.3", "11.0", "rtx"])
def test_nothing_special_is_never_refused(release: str) -> None:
    assert lacks(release) == []


@pytest.mark.parametrize(
    ("release", "given", "words"),
    [
        ("8.5", {"optimization_level": 4}, "since 8.6"),
        ("8.5", {"version_compatible": True}, "since 8.6"),
        ("8.6", {"precision": "bf16"}, "no such flag"),
        ("11.0", {"precision": "fp16"}, "Convert the model itself"),
        ("rtx", {"precision": "bf16"}, "Convert the model itself"),
        ("11.0", {"precision": "fp32", "needs": ["FP16"]}, "Convert the model itself to float32"),
        ("10.3", {"compute_capabilities": ["8.6"]}, "TensorRT-RTX builds ahead of time"),
        ("rtx", {"compute_capabilities": ["9.0"]}, "it builds for 8.6, 8.9, 12.0"),
    ],
)
def test_what_a_release_has_no_means_for_is_said(
    release: str, given: dict[str, Any], words: str
) -> None:
    (said,) = lacks(release, **given)
    assert words in said


@pytest.mark.parametrize(
    ("release", "given"),
    [
        ("8.6", {"optimization_level": 4, "version_compatible": True, "precision": "fp16"}),
        ("10.3", {"precision": "bf16"}),
        ("10.3", {"precision": "fp32", "needs": ["FP16"]}),
        ("11.0", {"precision": "fp32", "needs": ["INT8"]}),
        ("rtx", {"compute_capabilities": ["8.6", "12.0"]}),
        ("rtx", {"compute_capabilities": ["current"]}),
    ],
)
def test_what_a_release_can_do_is_not_refused(release: str, given: dict[str, Any]) -> None:
    assert lacks(release, **given) == []


def flags_of(release: str, **given: Any) -> int:
    return worker.network_flags(module(release), request(**given))


def test_how_the_network_is_created() -> None:
    assert flags_of("8.5") == 1  # explicit batch
    assert flags_of("8.5", precision="fp16") == 1
    assert flags_of("10.3") == 0b11  # and strongly typed
    assert flags_of("10.3", precision="fp16") == 1
    assert flags_of("11.0") == flags_of("rtx") == 0


def precision(release: str, **given: Any) -> tuple[set[str], list[str]]:
    trt, config, notes = module(release), Config(release), list[str]()
    worker.set_precision(trt, config, None, request(**given), notes)
    return names(trt, config), notes


def test_the_flags_of_a_precision() -> None:
    assert precision("8.5") == (set(), [])
    assert precision("8.5", needs=["FP16", "INT8"]) == ({"FP16", "INT8"}, [])
    assert precision("8.5", precision="fp32", needs=["FP16", "INT8"]) == ({"INT8"}, [])
    assert precision("8.5", precision="fp16") == ({"FP16"}, [])
    assert precision("10.3", precision="bf16", needs=["INT8"]) == ({"BF16", "INT8"}, [])
    flags, notes = precision("8.6", needs=["BF16"])
    assert flags == set() and "BF16" in notes[0]


@pytest.mark.parametrize("release", ["10.3", "11.0", "rtx"])
def test_where_the_types_of_the_model_bind_there_are_no_flags(release: str) -> None:
    assert precision(release, needs=["FP16", "INT8"]) == (set(), [])


class Layer:
    def __init__(self, *dtypes: str) -> None:
        self.outputs = [SimpleNamespace(dtype=d) for d in dtypes]
        self.num_outputs = len(dtypes)
        self.set: dict[int, str] = {}
        self.precision = "unset"
        self.name = f"layer of {dtypes}"
        self.metadata = ""

    def get_output(self, k: int) -> Any:
        return self.outputs[k]

    def set_output_type(self, k: int, dtype: str) -> None:
        self.set[k] = dtype


def test_layers_that_have_to_stay_in_fp32() -> None:
    layers = [Layer("float32"), Layer("float32", "int32"), Layer("int32")]
    network = SimpleNamespace(num_layers=3, get_layer=lambda k: layers[k])
    trt, config = module("8.6"), Config("8.6")
    given = request(precision="fp16", fp32_layers=[1, 2])
    worker.set_precision(trt, config, network, given, [])
    assert names(trt, config) == {"FP16", "OBEY_PRECISION_CONSTRAINTS"}
    assert [layer.precision for layer in layers] == ["unset", "float32", "unset"]
    assert [layer.set for layer in layers] == [{}, {0: "float32"}, {}]
    layers[0].metadata = "[ONNX Layer: head]"
    assert worker.layers_of(network)[:2] == ["[ONNX Layer: head]", layers[1].name]


def test_the_workspace_before_and_after_it_was_a_pool() -> None:
    new, old = Config("8.5"), Config("old")
    for config in (new, old):
        worker.configure(module("8.5"), config, None, request(workspace=2**20), [])
    assert new.calls == [(0, 2**20)]
    assert vars(old)["max_workspace_size"] == 2**20


def test_level_and_compatibility() -> None:
    trt, config = module("8.6"), Config("8.6")
    given = request(optimization_level=5, version_compatible=True)
    worker.configure(trt, config, None, given, [])
    assert config.builder_optimization_level == 5
    assert names(trt, config) == {"VERSION_COMPATIBLE"}


def test_compute_capabilities() -> None:
    trt, config = module("rtx"), Config("rtx")
    given = request(package="tensorrt_rtx", compute_capabilities=["8.6", "12.0"])
    worker.configure(trt, config, None, given, [])
    assert config.num_compute_capabilities == 2
    assert config.calls == [("capability", 2, 0), ("capability", 4, 1)]
    config.takes = False
    with pytest.raises(ValueError, match=r"8\.6"):
        worker.configure(trt, config, None, given, [])


@pytest.mark.parametrize(("why", "said"), [(0, False), (2, True), (3, True), (64, False)])
def test_an_engine_that_the_gpu_at_hand_cannot_run(why: int, said: bool) -> None:
    messages = Messages()
    messages.add("WARNING", "while it was built")

    class Runtime:
        """Logs an error where there is no GPU to ask."""

        def __init__(self, log: Any) -> None:
            messages.add("INTERNAL_ERROR", "CUDA error 35")

        def get_engine_validity(self, engine: bytes) -> tuple[int, int]:
            assert engine == b"engine"
            return 2, why

    kinds = SimpleNamespace(UNSUPPORTED_CC=2)
    trt = SimpleNamespace(Runtime=Runtime, EngineInvalidityDiagnostics=kinds)
    assert worker.unfit(trt, None, messages, b"engine") is said
    assert [m["text"] for m in messages.take()] == ["while it was built"]


def test_releases_that_cannot_be_asked_whether_an_engine_fits() -> None:
    trt = SimpleNamespace(Runtime=object)
    assert not worker.unfit(trt, None, Messages(), b"engine")


@pytest.mark.parametrize(
    ("content", "used"),
    [(None, "new"), (b"", "new"), (b"timings", "timings"), (b"foreign", None), (b"broken", None)],
)
def test_a_timing_cache(tmp_path: Path, content: bytes | None, used: str | None) -> None:
    path = tmp_path / "cache"
    if content is not None:
        path.write_bytes(content)
    notes: list[str] = []
    given = request(timing_cache=str(path))
    assert worker.configure(module("8.6"), Config("8.6"), None, given, notes) == used
    assert bool(notes) == (used is None)
    assert path.exists() == (content is not None)


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}
        self.values: dict[str, Any] = {}

    def set_shape(self, name: str, *sizes: Any) -> None:
        self.shapes[name] = sizes

    def set_shape_input(self, name: str, *values: Any) -> None:
        self.values[name] = values


def entry(name: str, kind: str = "shape") -> dict[str, Any]:
    return {"name": name, "kind": kind, "min": [1], "opt": [2], "max": [3]}


def profiles(*given: list[dict[str, Any]], takes: bool = True) -> tuple[list[str], list[str], Any]:
    inputs = [
        SimpleNamespace(name="x", shape=(-1,), is_shape_tensor=False),
        SimpleNamespace(name="s", shape=(1,), is_shape_tensor=True),
        SimpleNamespace(name="w", shape=(4,), is_shape_tensor=False),
    ]
    network = SimpleNamespace(num_inputs=3, get_input=lambda k: inputs[k])
    builder = SimpleNamespace(create_optimization_profile=Profile)
    config, notes = Config("8.6"), list[str]()
    config.takes = takes
    lacking = worker.add_profiles(builder, network, config, given, notes)
    return lacking, notes, [profile for _, profile in config.calls]


def test_profiles_are_set_by_what_the_network_says() -> None:
    both = [entry("x"), entry("s", "values")]
    lacking, notes, made = profiles(both, both)
    assert (lacking, notes, len(made)) == ([], [], 2)
    assert made[0].shapes == {"x": ((1,), (2,), (3,))}
    assert made[0].values == {"s": ((1,), (2,), (3,))}
    lacking, notes, made = profiles([*both, entry("w", "values")])
    assert lacking == [] and "'w'" in notes[0]


def test_what_a_profile_lacks_is_listed() -> None:
    lacking, _, made = profiles([entry("x"), entry("s", "values")], [entry("s")])
    assert made and len(made) == 1
    assert [text for text in lacking if "'x'" in text and "profile 2" in text]
    assert [text for text in lacking if "values of 's'" in text and "profile 2" in text]
    assert len(profiles()[0]) == 2


def test_a_profile_that_is_not_taken() -> None:
    with pytest.raises(ValueError, match="does not take"):
        profiles([entry("x"), entry("s", "values")], takes=False)


def test_no_progress_before_there_was_a_monitor() -> None:
    answers: Any = None
    assert worker.monitor_of(module("8.5"), answers, answers) is None
