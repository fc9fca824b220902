"""The table of what cannot be served: each says what it is and what would work."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import made_models
from rerankd.errors import UnsupportedModel
from rerankd.models.loader import Loader
from rerankd.registry.resolve import resolve
from rerankd.registry.store import Store
from tiny import tiny_bert


def config_only(**config: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
        return folder

    return write


def embedding_model(folder: Path) -> Path:
    tiny_bert(folder, architectures=["BertModel"])
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": ""} for kind in ("Transformer", "Pooling")]
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
    return folder


def pickled(folder: Path) -> Path:
    tiny_bert(folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cposix\nsystem\n")
    return folder


def without_tokenizer(folder: Path) -> Path:
    (tiny_bert(folder) / "tokenizer.json").unlink()
    return folder


def headless(folder: Path) -> Path:
    made_models.modernbert(folder)
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def changed(make: Callable[[Path], Path], **entries: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        made_models.change_config(make(folder), **entries)
        return folder

    return write


GTE_AS_PUBLISHED = {"model_type": "new", "rope_parameters": None}
CASES: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "embedding model": (embedding_model, "an embedding model", "choose a reranker"),
    "encoder without a head": (
        config_only(architectures=["BertModel"], model_type="bert"),
        "an encoder without a head",
        "choose the reranker of the same series",
    ),
    "several labels": (
        changed(tiny_bert, id2label={"0": "no", "1": "maybe", "2": "yes"}),
        "the classifier has 3 labels",
        "a reranker has one label",
    ),
    "vision model": (
        config_only(architectures=["ViTForImageClassification"], model_type="vit", image_size=224),
        "looks at pictures",
        "choose a reranker that reads text",
    ),
    "vision and language": (
        config_only(architectures=["Qwen2VLForConditionalGeneration"], model_type="qwen2_vl", vision_config={}),
        "looks at pictures",
        "choose a reranker that reads text",
    ),
    "classifier that is not built": (
        config_only(architectures=["AlbertForSequenceClassification"], model_type="albert"),
        "an architecture that is not built here",
        "modernbert",
    ),
    "language model": (
        config_only(architectures=["LlamaForCausalLM"], model_type="llama"),
        "a language model that writes text",
        "Qwen3-Reranker",
    ),
    "masked language model": (
        config_only(architectures=["BertForMaskedLM"], model_type="bert"),
        "without a head that scores",
        "fine-tune it",
    ),
    "summariser": (
        config_only(architectures=["T5ForConditionalGeneration"], model_type="t5"),
        "writes text from text",
        "a sequence classifier",
    ),
    "code with its weights": (
        config_only(architectures=["MyRanker"], model_type="mine", auto_map={"AutoModel": "mine.MyRanker"}),
        "never run here",
        "are built without it",
    ),
    "nothing said": (config_only(), "says nothing of what it does", "classifiers of one label"),
    "pickled weights": (pickled, "neither weights that can be converted", "safe_serialization"),
    "no tokenizer": (without_tokenizer, "has no tokenizer.json", "AutoTokenizer.from_pretrained"),
    "no head among the weights": (headless, "no 'classifier'", "A cross-encoder has one"),
    "a decoder": (changed(tiny_bert, is_decoder=True), "is_decoder is set", "only an encoder"),
    "other positions": (
        changed(tiny_bert, position_embedding_type="relative_key"),
        "'relative_key' cannot be converted",
        "only 'absolute'",
    ),
    "rotary XLM-R": (
        changed(made_models.xlm_roberta, position_embedding_type="rotary"),
        "'rotary' cannot be converted",
        "only 'absolute'",
    ),
    "jina, another inner layer": (
        changed(tiny_bert, position_embedding_type="alibi", feed_forward_type="swiglu"),
        "feed_forward_type 'swiglu'",
        "only 'geglu', 'reglu'",
    ),
    "gte, other norms": (
        changed(made_models.gte, **GTE_AS_PUBLISHED, layer_norm_type="rms_norm"),
        "layer_norm_type 'rms_norm'",
        "only 'layer_norm'",
    ),
    "gte, mixed scaling": (
        changed(made_models.gte, **GTE_AS_PUBLISHED, rope_scaling={"type": "ntk", "factor": 8, "mixed_b": 0.6}),
        "rope_scaling",
        "without mixed_b",
    ),
    "gte, attention scaled by length": (
        changed(made_models.gte, **GTE_AS_PUBLISHED, logn_attention_scale=True),
        "logn_attention_scale is set",
        "cannot be converted",
    ),
    "modernbert, other kinds of layers": (
        changed(made_models.modernbert, layer_types=["chunked_attention"] * 4),
        "layer_types",
        "full_attention",
    ),
    "modernbert, scaled rotation": (
        changed(made_models.modernbert, rope_parameters={"full_attention": {"rope_type": "yarn", "factor": 2.0}}),
        "rope_type 'yarn'",
        "only 'default'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_served_says_what_it_is_and_what_would_work(case: str, tmp_path: Path) -> None:
    make, what, remedy = CASES[case]
    folder = make(tmp_path / "model")
    with pytest.raises(UnsupportedModel) as failure:
        Loader(Store(tmp_path / "store")).load(resolve(str(folder)), lambda _: None)
    message = str(failure.value)
    assert what in message
    assert remedy in message
    assert str(tmp_path) not in message
