"""Scores against sentence_transformers.CrossEncoder itself, from the text to the activated score."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder

import tiny
from parity import TEXTS, Opened, make_pairs, open_model
from rerankd.engines.base import Encoding
from rerankd.types import ScoreType

IDENTITY = "torch.nn.modules.linear.Identity"


@dataclass(frozen=True)
class Case:
    make: Callable[..., Path]
    options: dict[str, Any] = field(default_factory=dict[str, Any])


CASES = {
    "bert": Case(tiny.tiny_bert),
    "bert, logits": Case(tiny.tiny_bert, {"sentence_transformers": {"activation_fn": IDENTITY}}),
    "bert, logits as before version 4": Case(tiny.tiny_bert, {"sbert_ce_default_activation_function": IDENTITY}),
    "bert, activation that is not trusted": Case(
        tiny.tiny_bert, {"sentence_transformers": {"activation_fn": "os.abort"}}
    ),
    "bert, gelu_new": Case(tiny.tiny_bert, {"hidden_act": "gelu_new"}),
    "bert, relu in half precision": Case(tiny.tiny_bert, {"hidden_act": "relu", "dtype": "float16", "shards": 2}),
    "bert, silu and odd length": Case(
        tiny.tiny_bert, {"hidden_act": "silu", "tokenizer_config": {"model_max_length": 21}}
    ),
    "bert, no length, cased": Case(
        tiny.tiny_bert, {"tokenizer_config": {"model_max_length": None, "do_lower_case": False}}
    ),
    "bert, tokenizer that gives no segments": Case(
        tiny.tiny_bert, {"tokenizer_config": {"tokenizer_class": "PreTrainedTokenizerFast"}}
    ),
    "bert, cut at the beginning": Case(tiny.tiny_bert, {"tokenizer_config": {"truncation_side": "left"}}),
    "bert, one layer": Case(tiny.tiny_bert, {"num_hidden_layers": 1, "layer_norm_eps": 0.01}),
    "xlm-roberta": Case(tiny.tiny_xlmr),
    "xlm-roberta, tokenizer.json as it is": Case(
        tiny.tiny_xlmr, {"tokenizer_config": {"tokenizer_class": "PreTrainedTokenizerFast"}}
    ),
    "xlm-roberta, two segments": Case(
        tiny.tiny_xlmr, {"type_vocab_size": 2, "sentence_transformers": {"activation_fn": IDENTITY}}
    ),
    "roberta": Case(tiny.tiny_roberta),
    "roberta, short": Case(tiny.tiny_roberta, {"tokenizer_config": {"model_max_length": 12, "add_prefix_space": True}}),
}


@pytest.fixture(scope="session", params=CASES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    case = CASES[request.param]
    folder = case.make(tmp_path_factory.mktemp("model"), **case.options)
    return open_model(folder, tmp_path_factory.mktemp("graph"))


def test_scores_are_those_of_the_reference(opened: Opened) -> None:
    torch.set_num_threads(1)
    pairs = make_pairs()
    reference = CrossEncoder(str(opened.folder), local_files_only=True, model_kwargs={"dtype": torch.float32})
    truth = reference.predict(pairs, show_progress_bar=False)
    found = opened.scores(pairs)
    assert truth.std() > 0.03
    assert np.abs(found - truth).max() < 1e-5
    assert opened.reader.max_tokens == reference.max_seq_length


def test_documents_read_together_score_as_one_by_one(opened: Opened) -> None:
    work = opened.reader.read("quick fox 狐狸", TEXTS)
    together = opened.reader.activate(work.score(opened.engine.run(work.encodings)))
    alone = opened.scores([("quick fox 狐狸", text) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-6
    assert list(work.tokens) == [encoding.tokens for encoding in work.encodings]
    assert max(work.tokens) <= opened.reader.max_tokens


@pytest.mark.parametrize("name", ["bert", "xlm-roberta, two segments"])
def test_segment_ids_matter_where_the_reference_gives_them(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    (tmp_path / "graph").mkdir()
    model = open_model(case.make(tmp_path / "model", **case.options), tmp_path / "graph")
    encodings = model.reader.read("hello", [text for text in TEXTS if text.strip()]).encodings
    other = [Encoding(encoding.ids, 1 - encoding.type_ids) for encoding in encodings]
    changes = [
        abs(float(a[0] - b[0])) for a, b in zip(model.engine.run(encodings), model.engine.run(other), strict=True)
    ]
    assert min(changes) > 1e-5
    has_both = [set(encoding.type_ids.tolist()) == {0, 1} for encoding in encodings]
    assert all(has_both) == (name == "bert")


@pytest.mark.parametrize("make", [tiny.tiny_bert, tiny.tiny_xlmr, tiny.tiny_roberta])
def test_a_model_saved_by_the_reference_scores_the_same(make: Callable[..., Path], tmp_path: Path) -> None:
    loaded = CrossEncoder(
        str(make(tmp_path / "model")), local_files_only=True, max_length=30, activation_fn=torch.nn.Identity()
    )
    loaded.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    reference = CrossEncoder(str(tmp_path / "saved"), local_files_only=True)
    (tmp_path / "graph").mkdir()
    model = open_model(tmp_path / "saved", tmp_path / "graph")
    pairs = make_pairs()[:200]
    truth = reference.predict(pairs, show_progress_bar=False)
    assert np.abs(model.scores(pairs) - truth).max() < 1e-5
    assert (model.reader.max_tokens, model.reader.score_type) == (reference.max_seq_length, ScoreType.LOGIT)
