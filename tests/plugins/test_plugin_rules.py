"""The rules that both plugin classes share, compiled without TensorRT, against Python."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from onnx import TensorProto

from onnx_fix.errors import ModelError
from onnx_fix_plugins import gather_elements

SOURCES = gather_elements.source().folder
ELEMENTS = [
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8,
    TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL, TensorProto.DOUBLE,
]  # fmt: skip
"""In the order of the enumeration Element; the last stands for all that are not taken."""
BYTES = [4, 2, 2, 1, 4, 8, 1, 0]
INT8, INT32, INT64, OTHER = 3, 4, 5, 7
NOT_ASKED, AS_INT8, AS_OTHER = range(3)
"""The enumeration Declared."""
OUT_OF_LINE, COUNTED = "the output is not of the shape", "a dimension is not known"

Answer = tuple[int, int, str]
Ask = Callable[[Sequence[str]], list[str]]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Puts questions to the compiled rules, all in one process."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    program = tmp_path_factory.mktemp("rules") / "rules"
    done = subprocess.run(
        [compiler, "-std=c++14", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{SOURCES}",
         str(Path(__file__).with_name("cpp") / "rules_main.cpp"), "-o", str(program)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    def answers(questions: Sequence[str]) -> list[str]:
        said = subprocess.run(
            [program], input="\n".join(questions) + "\n", capture_output=True, text=True, check=True
        )
        lines = said.stdout.splitlines()
        assert len(lines) == len(questions)
        return lines

    return answers


def parsed(line: str) -> Answer:
    fault, result, text = line.split(" ", 2)
    return int(fault), int(result), text


def one(ask: Ask, question: str) -> Answer:
    return parsed(ask([question])[0])


def test_names() -> None:
    text = (SOURCES / "rules.h").read_text()
    assert f'kPluginName = "{gather_elements.OP}"' in text
    assert f'kPluginVersion = "{gather_elements.VERSION}"' in text
    assert f'kPluginNamespace = "{gather_elements.NAMESPACE}"' in text


def test_sizes_of_elements(ask: Ask) -> None:
    assert [parsed(a)[1] for a in ask([f"bytes {k}" for k in range(8)])] == BYTES
    taken = {ELEMENTS[k] for k in range(8) if BYTES[k]}
    assert taken == gather_elements.DATA_TYPES


def test_the_output_type_is_that_of_python(ask: Ask) -> None:
    pairs = [(d, i) for d in range(8) for i in range(8)]
    for (data, indices), line in zip(pairs, ask([f"type {d} {i}" for d, i in pairs]), strict=True):
        fault, output, text = parsed(line)
        try:
            rule = gather_elements.output_type(ELEMENTS[data], (2, 3), ELEMENTS[indices], (2, 5), 1)
        except ModelError as error:
            assert fault, (data, indices)
            assert ("data" in text) == ("data of type" in str(error))
        else:
            assert not fault, (data, indices)
            assert ELEMENTS[output] == rule[0]


def test_shapes_and_axes_are_those_of_python(ask: Ask) -> None:
    draw = random.Random(7)
    cases = []
    for _ in range(3000):
        rank = draw.randint(1, 8)
        data = [draw.choice((0, 1, 1, 2, 3, 4)) for _ in range(rank)]
        indices = [draw.choice((size, size, draw.randint(0, 4))) for size in data]
        if draw.random() < 0.1:
            indices = indices[: draw.randint(0, rank)]
        cases.append((draw.randint(-rank - 1, rank), data, indices))
    lines = ask([f"shapes {a} {dims(d)} {dims(i)} {dims(i)}" for a, d, i in cases])
    refused = 0
    for (axis, data, indices), line in zip(cases, lines, strict=True):
        fault, place, text = parsed(line)
        try:
            gather_elements.output_type(
                TensorProto.FLOAT, tuple(data), TensorProto.INT64, tuple(indices), axis
            )
        except ModelError:
            assert fault, (axis, data, indices)
            refused += 1
            continue
        # Python judges types; that there is nothing to gather from shows in the values alone.
        nothing = 0 not in indices and data[axis] == 0
        assert bool(fault) == nothing, (axis, data, indices, text)
        assert place == axis % len(data)
    assert 300 < refused < 2700


def dims(sizes: Sequence[int]) -> str:
    return " ".join(map(str, [len(sizes), *sizes]))


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("shapes 0 9 1 1 1 1 1 1 1 1 1 9 1 1 1 1 1 1 1 1 1 9 1 1 1 1 1 1 1 1 1", "from 1 to 8"),
        ("shapes 0 0 0 0", "from 1 to 8"),
        ("shapes 0 1 3 1 2 1 3", OUT_OF_LINE),
        ("shapes 0 1 3 1 2 2 2 1", OUT_OF_LINE),
        ("shapes 0 1 3 1 -1 1 -1", COUNTED),
        ("shapes 0 1 -1 1 2 1 2", COUNTED),
        ("shapes 1 2 2 3 2 3 1 2 3 1", "longer than the data"),
        ("shapes 0 2 0 3 2 1 3 2 1 3", "no elements along the axis"),
        ("ranks 2 2 2", r"must be in [-r, r - 1]"),
        ("ranks 2 2 -3", r"must be in [-r, r - 1]"),
        ("ranks 2 3 0", "of one rank"),
        ("types 0 1 4 1 1 1", "of the type of the data"),
        ("types 7 1 4 1 7 1", "the data must be"),
        ("types 0 1 0 1 0 1", "the indices must be"),
        ("types 3 0.5 4 1 3 0.25", "different scales"),
    ],
)
def test_refusals_say_what_is_wrong(ask: Ask, question: str, text: str) -> None:
    fault, _, said = one(ask, question)
    assert fault and text in said


def test_empty_tensors_are_fine(ask: Ask) -> None:
    for question in ("shapes 0 2 0 3 2 0 3 2 0 3", "shapes 0 2 5 0 2 2 0 2 2 0"):
        assert one(ask, question)[0] == 0


@pytest.mark.parametrize("declared", [NOT_ASKED, AS_INT8, AS_OTHER])
def test_formats(ask: Ask, declared: int) -> None:
    questions, expected = [], []
    for data in range(8):
        for indices in range(8):
            for output in range(8):
                for position in range(3):
                    types = (data, indices, output)
                    specs = " ".join(f"{t} 1 -1" for t in types)
                    questions.append(f"supports {position} 2 1 {declared} {specs}")
                    alike = output == data != OTHER
                    # A builder that quantizes by itself gives tensors scales that may differ.
                    if declared == AS_OTHER and data == INT8:
                        alike = False
                    good = (data != OTHER, indices in (INT32, INT64), alike)
                    expected.append(good[position])
    assert [bool(parsed(a)[1]) for a in ask(questions)] == expected


@pytest.mark.parametrize(
    ("question", "taken"),
    [
        # INT8: by what the network declares, and by the scales of data and output.
        ("supports 2 2 1 0 3 1 0.5 4 1 -1 3 1 0.5", True),
        ("supports 2 2 1 0 3 1 0.5 4 1 -1 3 1 0.25", False),  # it would stand for another number
        ("supports 2 2 1 0 3 1 0.5 4 1 -1 3 1 -1", True),
        ("supports 2 2 1 1 3 1 0 4 1 0 3 1 0", True),
        ("supports 2 2 1 1 3 1 0.5 4 1 -1 3 1 0.25", False),
        ("supports 2 2 1 2 3 1 0.5 4 1 -1 3 1 0.5", True),
        ("supports 2 2 1 2 3 1 0.5 4 1 -1 3 1 0.25", False),
        ("supports 2 2 1 2 3 1 0.5 4 1 -1 3 1 -1", False),  # floats while nobody knows
        ("supports 2 2 1 2 3 1 0 4 1 0 3 1 0", False),
        ("supports 0 2 1 2 3 1 0.5 4 1 -1 3 1 0.25", True),  # the output is not chosen yet
        ("supports 2 2 1 2 0 1 0.5 4 1 -1 0 1 0.25", True),
        ("supports 2 2 1 0 0 1 0.5 4 1 -1 0 1 0.25", True),
        ("supports 0 2 1 0 0 0 -1 4 1 -1 0 1 -1", False),  # not linear
        ("supports 1 2 1 0 0 1 -1 4 0 -1 0 1 -1", False),
        ("supports 0 2 1 0 0 1 -1 0 0 0 7 0 0", True),  # what comes after is not looked at
        ("supports 0 3 1 0 0 1 -1 4 1 -1 0 1 -1", False),
        ("supports 0 2 2 0 0 1 -1 4 1 -1 0 1 -1", False),
        ("supports 3 2 1 0 0 1 -1 4 1 -1 0 1 -1", False),
        ("supports -1 2 1 0 0 1 -1 4 1 -1 0 1 -1", False),
    ],
)
def test_formats_of_a_position(ask: Ask, question: str, taken: bool) -> None:
    assert bool(one(ask, question)[1]) is taken


@pytest.mark.parametrize("axis", [0, 1, 7, -1, -8, 2**31 - 1, -(2**31)])
def test_what_an_engine_keeps(ask: Ask, axis: int) -> None:
    (written,) = ask([f"write {axis}"])
    assert bytes.fromhex(written) == struct.pack("<4siii", b"OFGE", 1, 4, axis)
    assert one(ask, f"read {written}")[:2] == (0, axis)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "too few bytes"),
        (struct.pack("<4sii", b"OFGE", 1, 4), "too few bytes"),
        (struct.pack("<4siii", b"OFGX", 1, 4, 0), "a layout that this library does not know"),
        (struct.pack("<4siii", b"OFGE", 2, 4, 0), "a layout that this library does not know"),
        (struct.pack("<4siii", b"OFGE", 1, 8, 0), "a layout that this library does not know"),
        (struct.pack("<4siiii", b"OFGE", 1, 4, 0, 0), "a layout that this library does not know"),
    ],
)
def test_an_engine_of_something_else_is_refused(ask: Ask, data: bytes, text: str) -> None:
    fault, _, said = one(ask, f"read {data.hex() or '-'}")
    assert fault and text in said
