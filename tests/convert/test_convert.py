"""Written graphs against the real `onnx` package and against transformers' own encoder."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch_file
from transformers import AutoModel

import tiny
from rerankd.convert.calibration import observe
from rerankd.convert.convert import WATCHED_FILE, can_convert, convert, existing_graph, write_encoder
from rerankd.convert.eight_bits import EightBits
from rerankd.convert.formats import FullPrecision
from rerankd.convert.quantise import SAFE_LIMIT
from rerankd.engines.base import Encoding, Graph
from rerankd.engines.onnx import ENGINE
from rerankd.errors import ModelLoadError, UnsupportedModel


def _new(tmp_path: Path) -> Path:
    folder = tmp_path / "graph"
    folder.mkdir()
    return folder


def _run(graph: Graph, ids: NDArray[np.int64], type_ids: NDArray[np.int64]) -> NDArray[np.float32]:
    return ENGINE.open(graph).run([Encoding(ids, type_ids)])[0]


def test_the_real_onnx_package_accepts_the_graph_and_its_weights(tmp_path: Path) -> None:
    source = tiny.snapshot(tiny.tiny_bert(tmp_path / "model"))
    graph = convert(source, _new(tmp_path))
    onnx.checker.check_model(str(graph.path), full_check=False)
    model = onnx.load(str(graph.path))
    (output,) = model.graph.output
    assert [entry.name for entry in model.graph.input] == ["input_ids", "token_type_ids"]
    assert [dim.dim_param or dim.dim_value for dim in output.type.tensor_type.shape.dim] == ["batch", 1]
    word = next(tensor for tensor in model.graph.initializer if tensor.name == "embeddings.word")
    truth = load_file(source.folder / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    assert np.array_equal(onnx.numpy_helper.to_array(word), truth)


def test_every_weight_begins_on_a_page_so_that_it_can_be_mapped(tmp_path: Path) -> None:
    graph = convert(tiny.snapshot(tiny.tiny_xlmr(tmp_path / "model")), _new(tmp_path))
    model = onnx.load(str(graph.path), load_external_data=False)
    places = [
        {e.key: e.value for e in tensor.external_data} for tensor in model.graph.initializer if tensor.external_data
    ]
    assert len(places) > 20
    assert all(int(place["offset"]) % 4096 == 0 and place["location"] == "model.onnx.data" for place in places)


def test_an_encoder_gives_the_states_of_transformers(tmp_path: Path) -> None:
    folder = tiny.tiny_bert(tmp_path / "model", architectures=["BertModel"])
    graph = write_encoder(tiny.snapshot(folder), _new(tmp_path))
    ids = np.array([2, 17, 30, 3, 44, 9, 3], np.int64)
    type_ids = np.array([0, 0, 0, 0, 1, 1, 1], np.int64)
    reference: Any = AutoModel.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        truth = reference(torch.tensor(ids[None]), token_type_ids=torch.tensor(type_ids[None])).last_hidden_state
    assert np.abs(_run(graph, ids, type_ids) - truth[0].numpy()).max() < 1e-5


def test_an_int8_encoder_stays_close_to_fp32(tmp_path: Path) -> None:
    folder = tiny.tiny_bert(tmp_path / "model", std=0.1)
    watched = FullPrecision(watched=True)
    full = write_encoder(tiny.snapshot(folder), _new(tmp_path), watched)
    ids = np.arange(2, 42, dtype=np.int64)
    seen = observe(full.path.with_name(WATCHED_FILE), watched.inputs, [Encoding(ids, np.zeros_like(ids))], 1)
    (tmp_path / "small").mkdir()
    small = write_encoder(tiny.snapshot(folder), tmp_path / "small", EightBits(seen, SAFE_LIMIT))
    states = [_run(graph, ids, np.zeros_like(ids)) for graph in (full, small)]
    assert small.precision == "int8"
    assert np.corrcoef(states[0].ravel(), states[1].ravel())[0, 1] > 0.999
    assert np.abs(states[0] - states[1]).max() > 0
    multiplied = [node.op_type for node in onnx.load(str(small.path), load_external_data=False).graph.node]
    assert "MatMulIntegerToFloat" in multiplied


@pytest.mark.parametrize(("dtype", "shards"), [("float16", 1), ("float32", 3), ("float16", 2)])
def test_stored_precision_and_shards_do_not_change_the_graph(tmp_path: Path, dtype: str, shards: int) -> None:
    folder = tiny.tiny_bert(tmp_path / "model", dtype=dtype, shards=shards)
    graph = convert(tiny.snapshot(folder), _new(tmp_path))
    one = tiny.tiny_bert(tmp_path / "one", dtype=dtype)
    (tmp_path / "other").mkdir()
    other = convert(tiny.snapshot(one), tmp_path / "other")
    assert graph.path.with_name("model.onnx.data").read_bytes() == other.path.with_name("model.onnx.data").read_bytes()


def test_bfloat16_weights_are_read_exactly(tmp_path: Path) -> None:
    folder = tiny.tiny_bert(tmp_path / "model")
    whole = load_file(folder / "model.safetensors")
    tensors = {name: torch.tensor(tensor).bfloat16() for name, tensor in whole.items()}
    save_torch_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    graph = convert(tiny.snapshot(folder), _new(tmp_path))
    word = next(t for t in onnx.load(str(graph.path)).graph.initializer if t.name == "embeddings.word")
    truth = tensors["bert.embeddings.word_embeddings.weight"].float().numpy()
    assert np.array_equal(onnx.numpy_helper.to_array(word), truth)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model_type": "albert"}, "model_type 'albert'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
        ({"hidden_act": "mish"}, "hidden_act 'mish'"),
        ({"is_decoder": True}, "is_decoder"),
        ({"num_attention_heads": 5}, "no multiple of num_attention_heads 5"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers = 'two'"),
    ],
)
def test_what_would_need_another_graph_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    source = tiny.snapshot(tiny.tiny_bert(tmp_path / "model"))
    changed = type(source)(source.folder, {**source.config, **options}, source.files)
    with pytest.raises(UnsupportedModel, match=re.escape(said)):
        convert(changed, _new(tmp_path))


def test_an_encoder_without_a_head_is_no_classifier(tmp_path: Path) -> None:
    folder = tiny.tiny_bert(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in tensors.items() if "classifier" not in name}, folder / "model.safetensors"
    )
    with pytest.raises(UnsupportedModel, match="no 'classifier': this is no sequence classifier"):
        convert(tiny.snapshot(folder), _new(tmp_path))


def test_weights_cut_short_are_reported(tmp_path: Path) -> None:
    folder = tiny.tiny_bert(tmp_path / "model")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelLoadError, match="cut short"):
        convert(tiny.snapshot(folder), _new(tmp_path))


def test_weights_of_another_size_than_the_configuration_are_reported(tmp_path: Path) -> None:
    source = tiny.snapshot(tiny.tiny_bert(tmp_path / "model"))
    changed = type(source)(source.folder, {**source.config, "max_position_embeddings": 99}, source.files)
    with pytest.raises(ModelLoadError, match="do not belong together"):
        convert(changed, _new(tmp_path))


def test_a_damaged_header_is_reported(tmp_path: Path) -> None:
    folder = tiny.tiny_bert(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ModelLoadError, match="damaged"):
        convert(tiny.snapshot(folder), _new(tmp_path))


def test_a_shard_outside_the_folder_is_not_opened(tmp_path: Path) -> None:
    folder = tiny.tiny_bert(tmp_path / "model", shards=2)
    index = {"weight_map": {"a": "../model/model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelLoadError, match="outside the model's folder"):
        convert(tiny.snapshot(folder), _new(tmp_path))


def test_a_model_without_safetensors_says_how_to_get_them(tmp_path: Path) -> None:
    folder = tiny.tiny_bert(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    source = tiny.snapshot(folder)
    assert not can_convert(source)
    with pytest.raises(UnsupportedModel, match="safe_serialization"):
        convert(source, _new(tmp_path))


def test_a_ready_made_graph_is_found_and_a_quantised_one_is_not_taken(tmp_path: Path) -> None:
    folder = tiny.tiny_bert(tmp_path / "model")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model_quantized.onnx").touch()
    assert can_convert(tiny.snapshot(folder))
    assert existing_graph(tiny.snapshot(folder)) is None
    (folder / "onnx" / "model.onnx").touch()
    assert existing_graph(tiny.snapshot(folder)) == Graph(folder / "onnx" / "model.onnx", "fp32")
