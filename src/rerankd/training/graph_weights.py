"""The weights of a late-interaction model out of its own graph, so that what ships can be trained further.

8-bit matrices are multiplied out. That loses nothing that the served model has: its weights are these products.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rerankd.errors import UnsupportedModel

Floats = NDArray[np.float32]
_PARTS = ("attention.output", "intermediate", "output")


def read_graph(file: Path) -> dict[str, Floats]:
    """Return the tensors by the names of `BertModel` in transformers.

    Raises:
        UnsupportedModel: the graph is not one that rerankd wrote from a BERT encoder.
    """
    import onnx
    from onnx import numpy_helper

    values: dict[str, Any] = {one.name: one for one in onnx.load(str(file)).graph.initializer}
    try:
        table = {name: np.asarray(numpy_helper.to_array(one)) for name, one in values.items()}
        return _tensors(table)
    except KeyError as error:
        raise UnsupportedModel(
            f"the graph has no tensor {error.args[0]!r}: only late-interaction models that rerankd wrote can be trained"
        ) from error


def _tensors(table: Mapping[str, NDArray[Any]]) -> dict[str, Floats]:
    words = table.get("embeddings.word")
    if words is None:
        words = table["embeddings.word_int8"].astype(np.float32) * table["embeddings.word_scales"]
    found: dict[str, Floats] = {
        "embeddings.word_embeddings.weight": words,
        "embeddings.position_embeddings.weight": table["embeddings.position"],
        "embeddings.LayerNorm.weight": table["embeddings.LayerNorm.weight"],
        "embeddings.LayerNorm.bias": table["embeddings.LayerNorm.bias"],
    }
    width = words.shape[1]
    # Where a graph has no table of segments, the first one is part of its positions.
    found["embeddings.token_type_embeddings.weight"] = table.get("embeddings.token_type", np.zeros((2, width)))
    layer = 0
    while f"encoder.layer.{layer}.attention.output.dense.bias" in table:
        found |= _layer(table, f"encoder.layer.{layer}", width)
        layer += 1
    return {name: np.ascontiguousarray(value, np.float32) for name, value in found.items()}


def _layer(table: Mapping[str, NDArray[Any]], at: str, width: int) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    joined = _matrix(table, f"{at}.attention.self")
    biases = table.get(f"{at}.attention.self.query.biases")  # as graphs of rerankd 0.1 before its release have it
    if biases is None:
        biases = table[f"{at}.attention.self.biases"]
    for place, name in enumerate(("query", "key", "value")):
        rows = slice(place * width, (place + 1) * width)
        found[f"{at}.attention.self.{name}.weight"] = joined[rows]
        found[f"{at}.attention.self.{name}.bias"] = biases[rows]
    for part in _PARTS:
        found[f"{at}.{part}.dense.weight"] = _matrix(table, f"{at}.{part}")
        found[f"{at}.{part}.dense.bias"] = table[f"{at}.{part}.dense.bias"]
    for part in ("attention.output", "output"):
        for end in ("weight", "bias"):
            found[f"{at}.{part}.LayerNorm.{end}"] = table[f"{at}.{part}.LayerNorm.{end}"]
    return found


def _matrix(table: Mapping[str, NDArray[Any]], stem: str) -> Floats:
    """Return a matrix as torch keeps it, `(outputs, inputs)`."""
    whole = table.get(f"{stem}.weight")
    if whole is None:
        whole = table[f"{stem}.weight_int8"].astype(np.float32) * table[f"{stem}.scales"]
        smoothing = table.get(f"{stem}.smoothing")  # what states are multiplied by before; plain graphs have none
        if smoothing is not None:
            whole = smoothing[:, np.newaxis] * whole
    return whole.T
