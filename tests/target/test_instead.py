"""What is said of ops that no rewrite makes of others."""

from __future__ import annotations

import pytest

from onnx_fix.check import check
from onnx_fix.testing import as_proto

MODELS = {
    "Unique": "float[N] x) => (float[M] y) { y = Unique (x) }",
    "ImageDecoder": "uint8[N] x) => (uint8[H,W,C] y) { y = ImageDecoder (x) }",
    "TfIdfVectorizer": "int64[N] x) => (float[M] y) { y = TfIdfVectorizer <max_gram_length = 1, "
    'max_skip_count = 0, min_gram_length = 1, mode = "TF", ngram_counts = [0], '
    "ngram_indexes = [0], pool_int64s = [7]> (x) }",
    "MelWeightMatrix": "int64 a, int64 b, int64 c, float d, float e) => (float[P,Q] y) "
    "{ y = MelWeightMatrix (a, b, c, d, e) }",
    "NonMaxSuppression": "float[1,N,4] x, float[1,1,N] s) => (int64[M,3] y) "
    "{ y = NonMaxSuppression (x, s) }",
}


@pytest.mark.parametrize("op", list(MODELS))
def test_the_reason_says_what_to_do(op: str) -> None:
    model = as_proto(f'<ir_version: 9, opset_import: ["" : 20]> g ({MODELS[op]}')
    said = [f.why for f in check(model, target="trt-7.2").findings if f.op == op]
    assert any("no importer" in why and "the network" in why for why in said)
