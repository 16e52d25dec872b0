"""The passes that onnx-fix ships: one module each, found by name, so adding one edits no list."""
