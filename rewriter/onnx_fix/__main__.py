"""``python -m onnx_fix``."""

from onnx_fix.cli import main

main()
