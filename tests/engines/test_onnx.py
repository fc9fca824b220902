from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save

import tiny
from rerankd.convert.convert import convert
from rerankd.engines.base import Encoding, Graph
from rerankd.engines.onnx import ENGINE
from rerankd.errors import EngineFailure, ModelLoadError, UnsupportedModel

ENCODING = Encoding(np.array([2, 5, 3, 7, 3], np.int64), np.array([0, 0, 0, 1, 1], np.int64))


def test_a_file_that_is_no_graph_is_refused_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelLoadError, match="no graph that onnxruntime can run") as caught:
        ENGINE.open(Graph(tmp_path / "model.onnx", "fp32"))
    assert str(tmp_path) not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"no file 'model\.onnx'"):
        ENGINE.open(Graph(tmp_path / "model.onnx", "fp32"))


def test_a_graph_without_its_weights_is_refused(tmp_path: Path) -> None:
    tiny.tiny_bert(tmp_path / "model")
    graph = convert(tiny.snapshot(tmp_path / "model"), tmp_path)
    graph.path.with_name("model.onnx.data").unlink()
    with pytest.raises(ModelLoadError, match="fetch or convert the model again"):
        ENGINE.open(graph)


def _ready_made(path: Path, *inputs: str) -> Graph:
    """A graph as exporters write them: the output is the sum of all inputs, as one logit."""
    shape = ["batch", "tokens"]
    nodes = [helper.make_node("Sum", [f"f_{name}" for name in inputs], ["sum"])]
    nodes = [helper.make_node("Cast", [name], [f"f_{name}"], to=TensorProto.FLOAT) for name in inputs] + nodes
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    nodes.append(helper.make_node("ReduceSum", ["sum", "axes"], ["logits"], keepdims=1))
    graph = helper.make_graph(
        nodes,
        "ready",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])],
        [axes],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return Graph(path, "fp32")


def test_a_ready_made_graph_gets_a_mask_of_ones_and_only_the_inputs_it_has(tmp_path: Path) -> None:
    with_mask = ENGINE.open(_ready_made(tmp_path / "a.onnx", "input_ids", "attention_mask"))
    with_types = ENGINE.open(_ready_made(tmp_path / "b.onnx", "input_ids", "attention_mask", "token_type_ids"))
    assert with_mask.run([ENCODING])[0].tolist() == [20 + 5]
    assert with_types.run([ENCODING])[0].tolist() == [20 + 5 + 2]


def test_a_graph_that_wants_other_inputs_is_refused_with_their_names(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="pixel_values"):
        ENGINE.open(_ready_made(tmp_path / "a.onnx", "input_ids", "pixel_values"))


def test_an_id_outside_the_vocabulary_is_an_engine_failure_and_the_next_run_works(tmp_path: Path) -> None:
    tiny.tiny_bert(tmp_path / "model")
    engine = ENGINE.open(convert(tiny.snapshot(tmp_path / "model"), tmp_path))
    wrong = Encoding(np.array([10**6], np.int64), np.array([0], np.int64))
    with pytest.raises(EngineFailure, match="sequence of 1 tokens"):
        engine.run([wrong])
    assert engine.run([ENCODING])[0].shape == (1,)
