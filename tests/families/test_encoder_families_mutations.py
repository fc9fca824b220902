"""What the parity tests would catch: every detail that a family depends on shows in its scores."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import made_models
import tiny
from parity import make_pairs, open_model

MUTATIONS: dict[str, tuple[Callable[[Path], Path], Mapping[str, object], Mapping[str, object]]] = {
    "distilbert: activation": (made_models.distilbert, {"activation": "relu"}, {}),
    "distilbert: special tokens": (made_models.distilbert, {}, {"cls_token": "[SEP]"}),
    "electra: segment ids": (made_models.electra, {}, {"model_input_names": ["input_ids", "attention_mask"]}),
    "electra: epsilon": (made_models.electra, {"layer_norm_eps": 0.1}, {}),
    "gte: base of the rotation": (made_models.gte, {"rope_parameters": {"rope_theta": 100.0}}, {}),
    "modernbert: window": (made_models.modernbert, {"local_attention": 10}, {}),
    "modernbert: kinds of layers": (made_models.modernbert, {"layer_types": ["full_attention"] * 4}, {}),
    "modernbert: local base": (
        made_models.modernbert,
        {"rope_parameters": {"sliding_attention": {"rope_theta": 100.0}}},
        {},
    ),
    "modernbert: global base": (
        made_models.modernbert,
        {"rope_parameters": {"full_attention": {"rope_theta": 100.0}}},
        {},
    ),
    "modernbert: pooling": (made_models.modernbert, {"classifier_pooling": "mean"}, {}),
    "modernbert: head": (made_models.modernbert, {"classifier_activation": "tanh"}, {}),
    "modernbert: gate": (made_models.modernbert, {"hidden_activation": "silu"}, {}),
    "deberta: kinds of attention": (made_models.deberta, {"pos_att_type": "c2p"}, {}),
    "deberta: reach of buckets": (made_models.deberta, {"max_relative_positions": 256}, {}),
    "deberta: norm of distances": (made_models.deberta, {"norm_rel_ebd": "none"}, {}),
    "deberta: pooler": (made_models.deberta, {"pooler_hidden_act": "tanh"}, {}),
    "deberta: lower case": (made_models.deberta, {}, {"do_lower_case": True}),
    "xlm-roberta: padding id": (
        lambda folder: made_models.xlm_roberta(folder, max_position_embeddings=80),
        {"pad_token_id": 3},
        {},
    ),
}


def scores(folder: Path, graph: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    graph.mkdir()
    return open_model(folder, graph).scores(make_pairs()[:100])


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mutation_shows_in_the_scores(mutation: str, tmp_path: Path) -> None:
    make, config, tokenizer = MUTATIONS[mutation]
    original = make(tmp_path / "original")
    mutant = shutil.copytree(original, tmp_path / "mutant")
    made_models.change_config(mutant, **config)
    said = json.loads((mutant / "tokenizer_config.json").read_text("utf-8"))
    (mutant / "tokenizer_config.json").write_text(json.dumps({**said, **tokenizer}), "utf-8")
    difference = np.abs(scores(original, tmp_path / "one") - scores(mutant, tmp_path / "other")).max()
    assert difference > 1e-4


def test_a_swapped_half_of_a_gated_layer_shows_in_the_scores(tmp_path: Path) -> None:
    original = made_models.gte(tmp_path / "original")
    mutant = shutil.copytree(original, tmp_path / "mutant")
    tensors = load_file(mutant / "model.safetensors")
    name = "gte.encoder.layer.0.mlp.up_gate_proj.weight"
    tensors[name] = tensors[name].roll(len(tensors[name]) // 2, dims=0).contiguous()
    save_file(tensors, mutant / "model.safetensors", metadata={"format": "pt"})
    difference = np.abs(scores(original, tmp_path / "one") - scores(mutant, tmp_path / "other")).max()
    assert difference > 1e-4
    assert tiny.snapshot(mutant).config == tiny.snapshot(original).config
