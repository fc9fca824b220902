"""Classifiers' heads: from the first token's state to logits, in fp32 whatever the encoder's precision."""

import numpy as np

from rerankd.convert.encoder import Encoder
from rerankd.convert.graph import ElementType
from rerankd.errors import UnsupportedModel

LOGITS = "logits"


def write_classifier(encoder: Encoder) -> None:
    """Add the encoder, the head its weights hold, and the output `logits` of shape `(batch, labels)`.

    BERT: tanh(pooler), then a linear layer. RoBERTa: tanh(dense), then a linear layer, of other names.

    Raises:
        UnsupportedModel: the weights hold no classification head.
    """
    build, weights = encoder.builder, encoder.weights
    if encoder.architecture.kind == "bert":
        hidden, out = f"{weights.prefix}pooler.dense", "classifier"
    else:
        hidden, out = "classifier.dense", "classifier.out_proj"
    absent = [name for name in (hidden, out) if not weights.has(f"{name}.weight")]
    if absent:
        raise UnsupportedModel(
            f"the weights have no {absent[0]!r}: this is no sequence classifier. A cross-encoder has one; "
            "an embedding model cannot score pairs"
        )
    labels = weights.shape(f"{out}.weight")[0]
    states = encoder.write(first_token_only=True)
    axis = build.constant(np.array([1], np.int64))
    first = build.node("Squeeze", [states, axis])
    pooled = build.node("Tanh", [_linear(encoder, first, hidden)])
    _linear(encoder, pooled, out, output=LOGITS)
    build.output(LOGITS, ElementType.FLOAT, ("batch", labels))


def _linear(encoder: Encoder, states: str, name: str, output: str = "") -> str:
    build, weights = encoder.builder, encoder.weights
    matrix, bias = weights.read(f"{name}.weight"), weights.read(f"{name}.bias")
    inputs = [
        states,
        build.weight(f"head.{name}.weight", matrix.shape, [matrix]),
        build.weight(f"head.{name}.bias", bias.shape, [bias]),
    ]
    return build.node("Gemm", inputs, {"transB": 1}, output=output)
