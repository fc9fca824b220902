"""Which files a model needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.errors import UnsupportedModel
from rerankd.sources.selection import is_safe, wanted

TEXTS = ["config.json", "tokenizer.json"]


def test_safetensors_win_over_everything() -> None:
    names = [*TEXTS, "model.safetensors", "model.fp16.safetensors", "onnx/model.onnx", "pytorch_model.bin"]
    assert wanted(names, "m") == ("config.json", "model.safetensors", "tokenizer.json")


def test_shards_are_fetched_with_their_index() -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    names = [*TEXTS, *shards, "pytorch_model-00001-of-00002.bin", "consolidated.safetensors"]
    assert wanted(names, "m") == tuple(sorted([*TEXTS, *shards]))


def test_the_heads_of_sentence_transformers_are_weights_too() -> None:
    names = [
        *TEXTS,
        "model.safetensors",
        "2_Dense/model.safetensors",
        "2_Dense/config.json",
        "2_Dense/pytorch_model.bin",
    ]
    assert {"2_Dense/model.safetensors", "2_Dense/config.json"} < set(wanted(names, "m"))
    assert "2_Dense/pytorch_model.bin" not in wanted(names, "m")


def test_without_safetensors_one_onnx_graph_is_fetched_with_its_data() -> None:
    names = [*TEXTS, "onnx/model.onnx", "onnx/model.onnx_data", "onnx/model_O3.onnx", "onnx/model_qint8.onnx"]
    assert wanted(names, "m") == (*TEXTS[:1], "onnx/model.onnx", "onnx/model.onnx_data", *TEXTS[1:])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([*TEXTS, "pytorch_model.bin"], "pickles only"),
        (TEXTS, "neither model.safetensors nor an ONNX file"),
        (["model.safetensors"], "no config.json"),
    ],
)
def test_what_cannot_be_served_is_refused_before_it_is_fetched(names: list[str], message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        wanted(names, "m")


@given(st.lists(st.text(st.sampled_from("ab./\\:\0 "), max_size=12)))
def test_no_name_leads_out_of_its_folder(names: list[str]) -> None:
    from pathlib import PurePosixPath, PureWindowsPath

    for name in names:
        if is_safe(name):
            for path in (PurePosixPath(name), PureWindowsPath(name)):
                assert not path.is_absolute()
                assert not path.drive
                assert ".." not in path.parts


@given(
    st.sampled_from(["modeling.py", "a.bin", "b.pt", "c.h5", "d.msgpack", "run.sh", "e.so", "f.pkl", "g.exe", "h.js"])
)
def test_code_and_pickles_are_never_wanted(name: str) -> None:
    assert name not in wanted([*TEXTS, "model.safetensors", name, f"1_Module/{name}"], "m")
