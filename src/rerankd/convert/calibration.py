"""States that the linear layers of a model meet, seen by running its fp32 graph over a few texts."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np

from rerankd.convert.layers import INPUT_IDS, TYPE_IDS
from rerankd.convert.weights import Floats
from rerankd.engines.base import Encoding

ROWS = 16
"""Rows kept of each text, evenly spaced, the first and the last among them: special tokens are where extremes are."""

_LOG_ERRORS_ONLY = 3


def observe(graph: Path, inputs: Mapping[str, str], encodings: Sequence[Encoding], threads: int) -> dict[str, Floats]:
    """Run a graph that has `inputs`, a layer's stem to the name of its states, among its outputs.

    Returns the states of each layer, shape `(rows, inputs)`. A layer that sees one row a text (the first token's, in
    the last layer) is left out: it costs nothing, and exact arithmetic does it good.
    """
    ort = cast("Any", import_module("onnxruntime"))
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _LOG_ERRORS_ONLY
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    taken = {node.name for node in session.get_inputs()}
    names = sorted(set(inputs.values()))
    found: dict[str, list[Floats]] = {name: [] for name in names}
    for encoding in encodings:
        feed = {INPUT_IDS: encoding.ids[np.newaxis], TYPE_IDS: encoding.type_ids[np.newaxis]}
        outputs = session.run(names, {name: ids for name, ids in feed.items() if name in taken})
        for name, states in zip(names, cast("Sequence[Floats]", outputs), strict=True):
            rows = states.reshape(-1, states.shape[-1])
            found[name].append(rows[np.unique(np.linspace(0, len(rows) - 1, ROWS).astype(np.int64))])
    return {
        stem: np.concatenate(found[name]) for stem, name in inputs.items() if any(len(rows) > 1 for rows in found[name])
    }
