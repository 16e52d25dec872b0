"""onnx-fix: rewrite an exported ONNX model so that TensorRT builds it."""

__version__ = "0.1.0"
