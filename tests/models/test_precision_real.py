"""int8 of real weights: those of the bundled model, taken back to fp32, as a model that nobody quantised yet."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from rerankd.convert.convert import write_encoder
from rerankd.convert.formats import Format
from rerankd.engines.base import Graph
from rerankd.engines.onnx import ENGINE
from rerankd.families.base import Snapshot
from rerankd.families.late_interaction import FAMILY
from rerankd.models.precision import make_eight_bits

BUNDLED = Path(__file__).parents[2] / "src" / "rerankd" / "bundled" / "rerankd-zh-en"

Floats = NDArray[np.float32]


def _restored(file: Path) -> Mapping[str, Floats]:
    """The weights of a graph that we wrote, under the names that transformers gives them."""
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(str(file)).graph.initializer}
    found: dict[str, Floats] = {}

    def matrix(stem: str) -> Floats:
        if f"{stem}.weight" in stored:
            return stored[f"{stem}.weight"].T
        whole = stored[f"{stem}.weight_int8"].astype(np.float32) * stored[f"{stem}.scales"]
        if f"{stem}.smoothing" in stored:
            whole *= stored[f"{stem}.smoothing"][:, np.newaxis]
        return whole.T

    for name, values in stored.items():
        if ".LayerNorm." in name or name.endswith(".dense.bias"):
            found[name] = values
        elif name.endswith((".query.biases", ".self.biases")):
            at = name.removesuffix(".biases").removesuffix(".query")
            parts = zip(("query", "key", "value"), np.split(values, 3), np.split(matrix(at), 3), strict=True)
            for part, bias, weights in parts:
                found |= {f"{at}.{part}.bias": bias, f"{at}.{part}.weight": weights}
        elif name.endswith(".scales") and not name.endswith(".self.scales"):
            stem = name.removesuffix(".scales")
            found[f"{stem}.dense.weight"] = matrix(stem)
    found["embeddings.word_embeddings.weight"] = stored["embeddings.word_int8"] * stored["embeddings.word_scales"]
    found["embeddings.position_embeddings.weight"] = stored["embeddings.position"]
    found["embeddings.token_type_embeddings.weight"] = stored["embeddings.token_type"]
    return {name: np.ascontiguousarray(values, np.float32) for name, values in found.items()}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    folder = tmp_path_factory.mktemp("encoder")
    save_file(dict(_restored(BUNDLED / "model.onnx")), folder / "model.safetensors")
    config = json.loads((BUNDLED / "config.json").read_text("utf-8")) | {"model_type": "bert", "pad_token_id": 1}
    return Snapshot(folder, config, frozenset({"model.safetensors"}))


@pytest.mark.slow
def test_int8_of_the_bundled_models_weights_passes_the_guard(encoder: Snapshot, tmp_path: Path) -> None:
    config = json.loads((BUNDLED / "config.json").read_text("utf-8"))
    reader = FAMILY.open(Snapshot(BUNDLED, config, frozenset()), max_tokens=None, cache_bytes=0)

    def write(folder: Path, numbers: Format) -> Graph:
        return write_encoder(encoder, folder, numbers)

    note = make_eight_bits(tmp_path, write, reader, ENGINE, lambda *_: None)
    assert note.eight_bits is not None
    found = note.eight_bits.agreement
    assert found is not None
    assert found.passes, found.sentence()
    assert not note.eight_bits.in_fp32
