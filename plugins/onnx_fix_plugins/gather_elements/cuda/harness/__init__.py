"""Builds and runs the kernel without TensorRT: ``python -m onnx_fix_plugins...cuda.harness``."""
