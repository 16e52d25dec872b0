"""The TensorRT plugins that onnx-fix ships: one package each."""
