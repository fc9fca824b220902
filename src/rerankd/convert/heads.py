"""Classifiers' heads: from the tokens' states to logits, in fp32 whatever the encoder's precision."""

import numpy as np

from rerankd.convert.base import Architecture, Head, Linear, Norm, Pooling, Unit
from rerankd.convert.graph import ElementType, GraphBuilder
from rerankd.convert.layers import LayerWriter, apply
from rerankd.convert.weights import Weights
from rerankd.errors import UnsupportedModel

LOGITS = "logits"


def write_classifier(layers: LayerWriter, architecture: Architecture, head: Head, weights: Weights) -> None:
    """Add the encoder, the head, whose tensors are in `weights`, and the output `logits`, shape `(batch, labels)`.

    Raises:
        UnsupportedModel: the weights hold no such head.
    """
    build = layers.builder
    names = [step.name for step in head.steps if not isinstance(step, Unit)]
    absent = [name for name in names if not weights.has(f"{name}.weight")]
    if absent:
        raise UnsupportedModel(
            f"the weights have no {absent[0]!r}: this is no sequence classifier. A cross-encoder has one; "
            "an embedding model cannot score pairs"
        )
    states = architecture.write(layers, first_token_only=head.pooling == "cls")
    states = pool(build, states, head.pooling)
    for step in head.steps:
        states = _step(build, weights, states, step)
    build.node("Identity", [states], output=LOGITS)
    build.output(LOGITS, ElementType.FLOAT, ("batch", weights.shape(f"{names[-1]}.weight")[0]))


def pool(build: GraphBuilder, states: str, pooling: Pooling) -> str:
    """One vector per sequence, shape `(batch, width)`; for "cls" the states are those of the first token alone."""
    if pooling == "cls":
        return build.node("Squeeze", [states, build.constant(np.array([1], np.int64))])
    return build.node({"mean": "ReduceMean", "max": "ReduceMax"}[pooling], [states], {"axes": [1], "keepdims": 0})


def _step(build: GraphBuilder, weights: Weights, states: str, step: Linear | Norm | Unit) -> str:
    if isinstance(step, Unit):
        length = build.node("ReduceL2", [states], {"axes": [1], "keepdims": 1})
        least = build.constant(np.array([1e-12], np.float32))
        return build.node("Div", [states, build.node("Max", [length, least])])
    inputs = [states, _tensor(build, weights, f"{step.name}.weight")]
    if weights.has(f"{step.name}.bias"):
        inputs.append(_tensor(build, weights, f"{step.name}.bias"))
    if isinstance(step, Norm):
        if len(inputs) < 3:
            # The operator's bias may be left out, but not in every version that has the operator.
            inputs.append(build.constant(np.zeros(weights.shape(f"{step.name}.weight"), np.float32)))
        return build.node("LayerNormalization", inputs, {"axis": -1, "epsilon": step.epsilon})
    result = build.node("Gemm", inputs, {"transB": 1})
    result = apply(build, result, step.activation) if step.activation else result
    if not step.around:
        return result
    if weights.has(f"{step.around}.weight"):
        states = build.node("Gemm", [states, _tensor(build, weights, f"{step.around}.weight")], {"transB": 1})
    return build.node("Add", [result, states])


def _tensor(build: GraphBuilder, weights: Weights, name: str) -> str:
    values = weights.read(name)
    return build.weight(f"head.{name}", values.shape, [values])
