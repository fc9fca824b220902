"""Running the program in this process, and a model small enough to make on the spot."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from cli_runs import Outcome, Run
from rerankd.cli.main import main

WIDTH, INNER, POSITIONS = 8, 16, 64
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "cats",
    "purr",
    "dogs",
    "bark",
    "what",
    "does",
    "a",
    "cat",
    "do",
    "猫",
    "狗",
]


@pytest.fixture
def run(workdir: Path) -> Run:
    """Run the program with standard streams of its own, in an empty folder."""

    def run_(*arguments: str, stdin: str | bytes = "") -> Outcome:
        with CliRunner().isolation(input=stdin) as (out, err, _):
            code = main(arguments)
            return Outcome(code, out.getvalue().decode(), err.getvalue().decode())

    return run_


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder of one layer with random weights: its scores mean nothing, and are always the same."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    config = {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "vocab_size": len(WORDS),
        "hidden_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": INNER,
        "hidden_act": "gelu",
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
    }
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": POSITIONS, "tokenizer_class": "BertTokenizer"})
    )
    save_file(_weights(), folder / "model.safetensors")
    return folder


def _weights() -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    random = np.random.default_rng(7)
    layer = "bert.encoder.layer.0"
    shapes: dict[str, Sequence[int]] = {
        "bert.embeddings.word_embeddings.weight": (len(WORDS), WIDTH),
        "bert.embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "bert.embeddings.token_type_embeddings.weight": (2, WIDTH),
        "bert.embeddings.LayerNorm.weight": (WIDTH,),
        "bert.embeddings.LayerNorm.bias": (WIDTH,),
        f"{layer}.attention.self.query.weight": (WIDTH, WIDTH),
        f"{layer}.attention.self.query.bias": (WIDTH,),
        f"{layer}.attention.self.key.weight": (WIDTH, WIDTH),
        f"{layer}.attention.self.key.bias": (WIDTH,),
        f"{layer}.attention.self.value.weight": (WIDTH, WIDTH),
        f"{layer}.attention.self.value.bias": (WIDTH,),
        f"{layer}.attention.output.dense.weight": (WIDTH, WIDTH),
        f"{layer}.attention.output.dense.bias": (WIDTH,),
        f"{layer}.attention.output.LayerNorm.weight": (WIDTH,),
        f"{layer}.attention.output.LayerNorm.bias": (WIDTH,),
        f"{layer}.intermediate.dense.weight": (INNER, WIDTH),
        f"{layer}.intermediate.dense.bias": (INNER,),
        f"{layer}.output.dense.weight": (WIDTH, INNER),
        f"{layer}.output.dense.bias": (WIDTH,),
        f"{layer}.output.LayerNorm.weight": (WIDTH,),
        f"{layer}.output.LayerNorm.bias": (WIDTH,),
        "bert.pooler.dense.weight": (WIDTH, WIDTH),
        "bert.pooler.dense.bias": (WIDTH,),
        "classifier.weight": (1, WIDTH),
        "classifier.bias": (1,),
    }
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
