"""Hubs that run, with one tiny model pushed to each, and a store of one's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.huggingface import HuggingFaceHub
from hub.modelscope import ModelScopeHub
from hub.server import running
from rerankd.sources.base import Access

REPOSITORY = "example/tiny-reranker"


def pushed() -> dict[str, bytes]:
    """A repository as people publish it: everything that no reranker needs is there, too."""
    weights = bytes(range(256)) * 400
    return {
        "config.json": b'{"model_type": "bert"}',
        "tokenizer.json": b"{}" + b" " * 9000,
        "tokenizer_config.json": b"{}",
        "vocab.txt": b"a\nb\n",
        "README.md": b"# Tiny",
        "1_Pooling/config.json": b"{}",
        "model.safetensors": weights,
        "pytorch_model.bin": b"pickle",
        "onnx/model.onnx": b"graph",
        "onnx/model_quantized.onnx": b"graph",
        "openvino/openvino_model.xml": b"graph",
        "openvino/config.json": b"{}",
        "tf_model.h5": b"weights",
        "flax_model.msgpack": b"weights",
        "modeling_tiny.py": b"print('code')",
        "training_args.bin": b"pickle",
        "images/a.png": b"picture",
        ".gitattributes": b"*.bin lfs",
    }


NEEDED = (
    "1_Pooling/config.json", "README.md", "config.json", "model.safetensors", "tokenizer.json",
    "tokenizer_config.json", "vocab.txt",
)  # fmt: skip


@pytest.fixture
def hub() -> Iterator[HuggingFaceHub]:
    hub = HuggingFaceHub()
    hub.repository(REPOSITORY).push(pushed(), "main")
    with running(hub):
        yield hub


@pytest.fixture
def mirror() -> Iterator[HuggingFaceHub]:
    hub = HuggingFaceHub()
    hub.repository(REPOSITORY).push(pushed(), "main")
    with running(hub):
        yield hub


@pytest.fixture
def modelscope() -> Iterator[ModelScopeHub]:
    hub = ModelScopeHub()
    hub.repository(REPOSITORY).push(pushed(), "master")
    with running(hub):
        yield hub


@pytest.fixture
def access(tmp_path: Path, hub: HuggingFaceHub, monkeypatch: pytest.MonkeyPatch) -> Access:
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    return Access(tmp_path / "store", hf_endpoint=hub.url, timeout_s=2)
