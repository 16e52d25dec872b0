"""The verdicts of trtcheck on many models, from a virtual environment of its own.

trtcheck knows the main line up to TensorRT 10.3 and no TensorRT-RTX, so its newest target is
asked. Its verdicts ``likely``, ``unverified`` and ``blocked`` stand for ready, not certain and
blocked. All models are judged in one process, by its Python interface.
"""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from speed import install

PEER = "trtcheck"
TARGET = "10.3"
LIMIT = 600.0

WORDS = {"likely": "ready", "unverified": "not certain", "blocked": "blocked"}

PROGRAM = f"""
import base64, json, sys
import onnx
import trtcheck
analyzer = trtcheck.Analyzer(trtcheck.AnalyzerConfig(target_trt="{TARGET}"))
print(json.dumps(trtcheck.__version__))
for line in open(sys.argv[1], encoding="ascii"):
    try:
        report = analyzer.analyze_model(onnx.load_from_string(base64.b64decode(line)))
        print(json.dumps(report.verdict.value))
    except Exception as error:
        print(json.dumps("no answer: " + repr(error)))
"""


def verdicts(environments: Path, models: Sequence[bytes]) -> tuple[str, list[str]]:
    """The peer's name with its version, and its verdict on each serialised model, in our words.

    Raises:
        RuntimeError: it gave fewer verdicts than models.
    """
    environment = environments / PEER
    install(environment, [PEER])
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="ascii") as file:
        for model in models:
            file.write(base64.b64encode(model).decode() + "\n")
        file.flush()
        done = subprocess.run(
            [str(environment / "bin" / "python"), "-c", PROGRAM, file.name],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
            cwd=environment,
        )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('"')]
    if len(lines) != len(models) + 1:
        raise RuntimeError(f"{PEER} judged {len(lines) - 1} of {len(models)}: {done.stderr[-300:]}")
    return f"{PEER} {lines[0]}", [WORDS.get(word, word) for word in lines[1:]]
