"""How right `onnx-fix check` is: its verdicts for rtx-1.7 against the real TensorRT-RTX.

    python benchmarks/accuracy.py                      # into benchmarks/accuracy.md; minutes
    python benchmarks/accuracy.py --environments DIR   # keep the virtual environment of the peer

Needs the extra ``rtx``, no GPU. The models are every backend node test that the installed onnx
ships, as shipped and with all inputs but the first frozen, and hand-made ones for what those leave
open. Each is checked statically (nothing of TensorRT is asked), then parsed, and where the parser
takes it built ahead of time for compute capability 8.9, in workers with a time limit: a crash is
an answer. Answers of TensorRT are kept in a file (``--answers``), so that a run that was stopped
goes on and a change of the facts is judged in seconds.

The peer trtcheck judges the same models of one op, in an environment of its own.

Exits with 1 if a refused model was called ready, or a disagreement is not explained.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import accuracy_peer
import onnx
from accuracy_cases import Case, node_tests, targeted
from accuracy_report import Row, document, faults
from rtx_pool import Answer, Job, ask_all

from onnx_fix.check import CheckFinding, Severity, check
from onnx_fix.errors import OnnxFixError

HERE = Path(__file__).resolve().parent
ANSWERS = HERE.parent / "build" / "rtx-answers.jsonl"
TARGET = "rtx-1.7"
CHUNK = 32

Prediction = tuple[str, tuple[CheckFinding, ...]]


def predict(model: bytes, target: str) -> Prediction:
    """The verdict of the static check and what stands in the way; ``no answer`` for a fault."""
    try:
        result = check(onnx.load_from_string(model), target=target)
    except OnnxFixError as error:
        return f"no answer: {error}", ()
    telling = tuple(f for f in result.findings if f.severity is not Severity.WARNING)
    if result.verdict == "blocked" and not any(f.severity is Severity.ERROR for f in telling):
        return "blocked (silent)", telling
    return result.verdict, telling


def predict_all(cases: Sequence[Case], target: str, workers: int) -> list[Prediction]:
    """The verdict on every case."""
    with ProcessPoolExecutor(workers) as pool:
        models = [case.model for case in cases]
        return list(pool.map(predict, models, [target] * len(models), chunksize=CHUNK))


def live_answers(
    cases: Sequence[Case], kept: Path, workers: int, limit: float
) -> tuple[str, dict[str, Answer]]:
    """TensorRT's version, and its answer to every case by key; what is kept is not asked again."""
    known: dict[str, Answer] = {}
    version = ""
    if kept.is_file():
        for line in kept.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            version = entry.get("version", version)
            if "key" in entry:
                known[entry["key"]] = Answer(entry["outcome"], entry["message"], entry["op"])
    kept.parent.mkdir(parents=True, exist_ok=True)
    jobs = {c.key: Job(c.key, c.model, c.values, c.shapes) for c in cases if c.key not in known}
    with kept.open("a", encoding="utf-8") as file:

        def said(key: str, answer: Answer) -> None:
            known[key] = answer
            entry = {
                "key": key,
                "outcome": answer.outcome,
                "message": answer.message,
                "op": answer.op,
            }
            file.write(json.dumps(entry) + "\n")
            file.flush()
            if len(known) % 500 == 0:
                print(f"{len(known)} answers", file=sys.stderr)

        if jobs:
            version = ask_all(list(jobs.values()), workers=workers, limit=limit, said=said)
            file.write(json.dumps({"version": version}) + "\n")
    return version, known


def main() -> None:
    """Parse the command line, ask everybody, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", "-o", type=Path, default=HERE / "accuracy.md")
    parser.add_argument("--answers", type=Path, default=ANSWERS, help="file that keeps answers")
    parser.add_argument("--fresh", action="store_true", help="forget the answers that are kept")
    parser.add_argument("--environments", type=Path, help="folder to keep the environment in")
    parser.add_argument("--no-peer", action="store_true", help="leave trtcheck out")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=30, help="seconds per model")
    arguments = parser.parse_args()
    if arguments.fresh:
        arguments.answers.unlink(missing_ok=True)
    start = time.perf_counter()
    cases = [*node_tests(), *targeted()]
    version, answers = live_answers(cases, arguments.answers, arguments.workers, arguments.limit)
    predicted = predict_all(cases, TARGET, arguments.workers)
    rows = [
        Row(case, verdict, findings, answers[case.key])
        for case, (verdict, findings) in zip(cases, predicted, strict=True)
    ]
    peers = {}
    if not arguments.no_peer:
        single = [row for row in rows if len(row.case.ops) == 1]
        older = predict_all([row.case for row in single], "trt-10.3", arguments.workers)
        with tempfile.TemporaryDirectory(prefix="onnx-fix-bench-") as scratch:
            home = arguments.environments or Path(scratch)
            name, said = accuracy_peer.verdicts(home, [row.case.model for row in single])
        peers = {
            "onnx-fix, rtx-1.7": [row.prediction for row in single],
            "onnx-fix, trt-10.3": [verdict for verdict, _ in older],
            f"{name}, 10.3": said,
        }
    text = document(version, rows, peers)
    arguments.output.write_text(text, encoding="utf-8")
    print(f"{len(rows)} models in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    for fault in faults(rows):
        print(fault, file=sys.stderr)
    raise SystemExit(1 if faults(rows) else 0)


if __name__ == "__main__":
    main()
