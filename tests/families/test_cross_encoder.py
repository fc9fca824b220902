import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

import tiny
from rerankd.errors import EngineFailure, ModelLoadError, UnsupportedModel
from rerankd.families.base import Reader
from rerankd.families.cross_encoder import FAMILY
from rerankd.types import ScoreType

ALPHABET = st.text(alphabet=st.sampled_from("ab fox的京首 。[SEP]<pad>/s\t😀"), max_size=40)


def _open(folder: Path, max_tokens: int | None = None) -> Reader:
    return FAMILY.open(tiny.snapshot(folder), max_tokens=max_tokens, cache_bytes=0)


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.tiny_roberta(tmp_path_factory.mktemp("roberta"))


@pytest.mark.parametrize("make", [tiny.tiny_bert, tiny.tiny_roberta])
@pytest.mark.parametrize("limit", [3, 4, 5, 8, 9, 64])
def test_a_pair_is_what_tokenizers_itself_makes_of_it(
    make: Any, limit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = make(tmp_path_factory.mktemp("model"))
    reader = _open(folder, limit)
    truth = Tokenizer.from_file(str(folder / "tokenizer.json"))
    specials = truth.num_special_tokens_to_add(is_pair=True)
    if limit >= specials:
        truth.enable_truncation(limit, strategy="longest_first")

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(ALPHABET, st.lists(ALPHABET, max_size=3))
    def check(query: str, documents: list[str]) -> None:
        work = reader.read(query, documents)
        for document, encoding in zip(documents, work.encodings, strict=True):
            expected = truth.encode(query, document)
            if limit >= specials:
                assert encoding.ids.tolist() == expected.ids
                assert encoding.type_ids.tolist() == expected.type_ids
            else:
                assert encoding.tokens == specials

    check()


def test_documents_that_do_not_fit_are_named(bert: Path) -> None:
    work = _open(bert).read("fox", ["short", "fox " * 200, "狐狸", "中" * 62])
    assert work.truncated == (1, 3)
    assert list(work.tokens)[1] == 64


def test_a_query_that_is_cut_is_not_silent(bert: Path) -> None:
    assert _open(bert).read("fox " * 200, ["short"]).truncated == (0,)


def test_a_lower_limit_than_the_models_is_kept_and_a_higher_one_is_not(bert: Path) -> None:
    assert _open(bert, 16).max_tokens == 16
    assert max(_open(bert, 16).read("fox", ["fox " * 50]).tokens) == 16
    assert _open(bert, 4096).max_tokens == 64


def test_roberta_never_gets_more_tokens_than_it_has_positions(tmp_path: Path) -> None:
    # The reference takes 66 here, as many as positions that it does not all have, and fails on them.
    folder = tiny.tiny_roberta(tmp_path, tokenizer_config={"model_max_length": None})
    assert _open(folder).max_tokens == 64


def test_half_a_surrogate_pair_reads_as_the_replacement_character(roberta: Path) -> None:
    reader = _open(roberta)
    broken = reader.read("a\ud83d b", ["\udc00", "x"]).encodings
    whole = reader.read("a\ufffd b", ["\ufffd", "x"]).encodings
    assert [encoding.ids.tolist() for encoding in broken] == [encoding.ids.tolist() for encoding in whole]


def test_no_documents_are_no_work(bert: Path) -> None:
    work = _open(bert).read("fox", [])
    assert (len(work.encodings), len(work.tokens), work.score([]).shape) == (0, 0, (0,))


def test_a_document_of_a_megabyte_is_cut_without_trouble(bert: Path) -> None:
    started = time.monotonic()
    work = _open(bert).read("fox", ["the quick fox " * 75_000])
    assert work.encodings[0].tokens == 64
    assert time.monotonic() - started < 20


def test_the_sigmoid_is_safe_at_both_ends(bert: Path) -> None:
    reader = _open(bert)
    scores = reader.activate(np.array([-1e30, -800, 0, 800, 1e30], np.float32))
    assert reader.score_type is ScoreType.PROBABILITY
    assert scores.dtype == np.float32
    assert scores.tolist() == pytest.approx([0, 0, 0.5, 1, 1])


def test_an_output_that_is_not_one_logit_is_an_engine_failure(bert: Path) -> None:
    work = _open(bert).read("fox", ["a"])
    with pytest.raises(EngineFailure, match=r"shape \(2,\)"):
        work.score([np.zeros(2, np.float32)])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"id2label": {"0": "no", "1": "yes", "2": "maybe"}}, "3 labels"),
        ({"id2label": None, "num_labels": None, "label2id": None}, "2 labels"),
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.ReLU"}}, "ReLU"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
    ],
)
def test_what_gives_no_single_score_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    folder = tiny.tiny_bert(tmp_path)
    config = {**json.loads((folder / "config.json").read_text()), **options}
    config = {name: value for name, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModel, match=re.escape(said)):
        _open(folder)


def _modules(folder: Path, *names: str) -> None:
    entries = [
        {"idx": n, "name": str(n), "path": "", "type": f"sentence_transformers.{name}"} for n, name in enumerate(names)
    ]
    (folder / "modules.json").write_text(json.dumps(entries))


def test_an_embedding_model_is_told_what_it_is(tmp_path: Path) -> None:
    folder = tiny.tiny_bert(tmp_path, architectures=["BertModel"])
    assert not FAMILY.recognises(tiny.snapshot(folder))
    _modules(folder, "models.Transformer", "models.Pooling")
    assert FAMILY.recognises(tiny.snapshot(folder))
    with pytest.raises(UnsupportedModel, match="an embedding model, not a cross-encoder"):
        _open(folder)


def test_a_chain_of_modules_is_refused_and_one_transformer_is_served(tmp_path: Path) -> None:
    folder = tiny.tiny_bert(tmp_path)
    _modules(folder, "models.Transformer", "models.Dense")
    with pytest.raises(UnsupportedModel, match="Transformer and Dense"):
        _open(folder)
    _modules(folder, "base.modules.transformer.Transformer")
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"activation_fn": "torch.nn.Identity"}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 40}))
    assert (_open(folder).score_type, _open(folder).max_tokens) == (ScoreType.LOGIT, 40)


def test_a_model_that_wants_a_prompt_is_refused(tmp_path: Path) -> None:
    folder = tiny.tiny_bert(tmp_path)
    _modules(folder, "base.modules.transformer.Transformer")
    saved = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(saved))
    with pytest.raises(UnsupportedModel, match="the prompt 'query'"):
        _open(folder)


def test_a_model_without_tokenizer_json_says_how_to_make_it(tmp_path: Path) -> None:
    folder = tiny.tiny_bert(tmp_path)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UnsupportedModel, match="save_pretrained"):
        _open(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_file_is_reported_by_its_name(tmp_path: Path, name: str) -> None:
    folder = tiny.tiny_bert(tmp_path)
    (folder / name).write_text("{")
    with pytest.raises(ModelLoadError, match=re.escape(name)):
        _open(folder)


def test_other_kinds_of_model_are_left_to_other_families(tmp_path: Path) -> None:
    assert not FAMILY.recognises(tiny.snapshot(tiny.tiny_bert(tmp_path, model_type="qwen3")))
