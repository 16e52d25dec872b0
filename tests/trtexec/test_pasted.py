"""Commands as people paste them."""

from __future__ import annotations

import pytest

from onnx_fix.errors import UsageError
from onnx_fix.trtexec.pasted import VARIABLE, Pasted, read_pasted

PLAIN = Pasted("trtexec", ("--onnx=m.onnx", "--fp16"))


@pytest.mark.parametrize(
    "text",
    [
        "trtexec --onnx=m.onnx --fp16",
        "  $ trtexec --onnx=m.onnx --fp16\n",
        "trtexec \\\n  --onnx=m.onnx \\\n  --fp16",
        "trtexec \\ \n  --onnx=m.onnx \\\r\n  --fp16\r\n",
        "$ trtexec \\\n> --onnx=m.onnx \\\n> --fp16",
        "trtexec ^\n --onnx=m.onnx ^\n --fp16",
        "trtexec `\n --onnx=m.onnx `\n --fp16",
        "trtexec\n --onnx=m.onnx\n --fp16\n",
        "CUDA_VISIBLE_DEVICES=0 LD_PRELOAD='a b.so' trtexec --onnx=m.onnx --fp16",
        "sudo time trtexec --onnx=m.onnx --fp16 2>&1 | tee build.log",
        "cd out && trtexec --onnx=m.onnx --fp16 && echo done",
        "trtexec --onnx=m.onnx --fp16 > log.txt 2>&1; date",
        "trtexec --onnx=m.onnx > log.txt --fp16 &",
        "trtexec --onnx=m.onnx --fp16  # build it",
        "trtexec --onnx=m.onnx --fp16\necho done --int8",
        "docker run --rm -v $PWD:/w nvcr.io/nvidia/tensorrt:23.04-py3 trtexec --onnx=m.onnx --fp16",
        "'trtexec' \"--onnx=m.onnx\" --fp'16'",
    ],
)
def test_what_stands_around_is_left_out(text: str) -> None:
    assert read_pasted(text) == PLAIN


@pytest.mark.parametrize(
    ("text", "program", "tool"),
    [
        ("/usr/src/tensorrt/bin/trtexec --fp16", "/usr/src/tensorrt/bin/trtexec", "trtexec"),
        (r"'C:\TensorRT\bin\trtexec.exe' --fp16", r"C:\TensorRT\bin\trtexec.exe", "trtexec"),
        ("./tensorrt_rtx --fp16", "./tensorrt_rtx", "tensorrt_rtx"),
        ("--fp16", "", ""),
    ],
)
def test_program(text: str, program: str, tool: str) -> None:
    found = read_pasted(text)
    assert found == Pasted(program, ("--fp16",)) and found.tool == tool


def test_quoted_names_and_paths() -> None:
    text = """trtexec "--onnx=my model.onnx" --minShapes="'in:0':1x3" --optShapes=\\'in:0\\':1x3"""
    assert read_pasted(text).arguments == (
        "--onnx=my model.onnx",
        "--minShapes='in:0':1x3",
        "--optShapes='in:0':1x3",
    )


def test_the_first_line_of_a_log() -> None:
    text = (
        "&&&& RUNNING TensorRT.trtexec [TensorRT v8601] # /usr/bin/trtexec --onnx=m.onnx --fp16\n"
        "[05/23/2023-22:09:46] [I] === Model Options ===\n"
    )
    assert read_pasted(text) == Pasted("/usr/bin/trtexec", PLAIN.arguments)


def test_variables_are_marked() -> None:
    text = '$TRT/bin/trtexec --onnx=$M --saveEngine="${OUT}/m.trt" \'--shapes=$x:1\' "--a=\\$b" $X'
    assert read_pasted(text).arguments == (
        f"--onnx={VARIABLE}M",
        f"--saveEngine={VARIABLE}{{OUT}}/m.trt",
        "--shapes=$x:1",
        "--a=$b",
        f"{VARIABLE}X",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trtexec --onnx='m.onnx", "cannot be read"),
        ("polygraphy run m.onnx", "no call of trtexec"),
        ("", "no call of trtexec"),
        ("echo && true", "no call of trtexec"),
    ],
)
def test_what_cannot_be_read(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_pasted(text)
