"""Every encoder family's scores against sentence_transformers.CrossEncoder over transformers' own classes.

Models whose code comes with their weights are compared with the same network in transformers, or in plain torch.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from transformers import BertTokenizer

import jina_reference
import made_models
from parity import Opened, make_pairs, open_model
from rerankd.convert import attention

CASES: dict[str, Callable[[Path], Path]] = {
    "distilbert": made_models.distilbert,
    "distilbert, relu": lambda folder: made_models.distilbert(folder, activation="relu", n_layers=1),
    "electra": made_models.electra,
    "electra, one width": lambda folder: made_models.electra(folder, embedding_size=32),
    "gte": made_models.gte,
    "gte, segments": lambda folder: made_models.gte(folder, type_vocab_size=2),
    "gte, no segments, silu": lambda folder: made_models.gte(folder, type_vocab_size=0, hidden_act="silu"),
    "modernbert, last layer whole": made_models.modernbert,
    "modernbert, last layer windowed": lambda folder: made_models.modernbert(folder, num_hidden_layers=3),
    "modernbert, tokenizer class that the reference passes over": lambda folder: made_models.modernbert(
        folder, tokenizer_class="RobertaTokenizer", num_hidden_layers=2
    ),
    "modernbert, one layer": lambda folder: made_models.modernbert(folder, num_hidden_layers=1),
    "modernbert, mean": lambda folder: made_models.modernbert(folder, classifier_pooling="mean", num_hidden_layers=3),
    "modernbert, biases": lambda folder: made_models.modernbert(
        folder, attention_bias=True, mlp_bias=True, norm_bias=True, classifier_bias=True, hidden_activation="silu"
    ),
    "modernbert, odd window": lambda folder: made_models.modernbert(
        folder, local_attention=7, num_hidden_layers=5, classifier_activation="tanh", norm_eps=0.01
    ),
    "modernbert, window longer than any text": lambda folder: made_models.modernbert(folder, local_attention=200),
    "modernbert, other bases": lambda folder: made_models.modernbert(
        folder,
        layer_types=["sliding_attention", "full_attention", "sliding_attention", "sliding_attention"],
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 500.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
        },
    ),
    "deberta v3": made_models.deberta,
    "deberta, one layer, no buckets": lambda folder: made_models.deberta(
        folder, num_hidden_layers=1, position_buckets=-1, max_relative_positions=20
    ),
    "deberta, content asks only": lambda folder: made_models.deberta(folder, pos_att_type="c2p", share_att_key=False),
    "deberta, distance asks only": lambda folder: made_models.deberta(
        folder, pos_att_type=["p2c"], norm_rel_ebd="none", share_att_key=False, pooler_hidden_act="tanh"
    ),
    "deberta v2 xlarge: convolution": lambda folder: made_models.deberta(
        folder, conv_kernel_size=3, conv_act="gelu", share_att_key=False
    ),
    "deberta, convolution beside the only layer": lambda folder: made_models.deberta(
        folder, conv_kernel_size=3, conv_groups=2, num_hidden_layers=1, type_vocab_size=2, seed=3
    ),
    "deberta, absolute positions too": lambda folder: made_models.deberta(
        folder, position_biased_input=True, type_vocab_size=2, embedding_size=16
    ),
    "deberta, no distances": lambda folder: made_models.deberta(
        folder, relative_attention=False, pos_att_type=None, position_biased_input=True
    ),
    "deberta, lower case, punctuation apart": lambda folder: made_models.deberta(
        folder, {"do_lower_case": True, "split_by_punct": True, "model_max_length": 17}
    ),
    "deberta, tokenizer.json as it is": lambda folder: made_models.deberta(
        folder, {"tokenizer_class": "PreTrainedTokenizerFast"}
    ),
}


@pytest.fixture(scope="session", params=CASES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    folder = CASES[request.param](tmp_path_factory.mktemp("model"))
    return open_model(folder, tmp_path_factory.mktemp("graph"))


def test_scores_are_those_of_the_reference(opened: Opened, record_property: Callable[[str, object], None]) -> None:
    reference = load_reference(opened.folder)
    record_property("largest_difference", compare(opened, reference))
    assert opened.reader.max_tokens == reference.max_seq_length


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path, Path]:
    (tmp_path / "graph").mkdir()
    return tmp_path / "original", tmp_path / "published", tmp_path / "graph"


def test_jina_v2_is_xlm_roberta_by_other_names(
    places: tuple[Path, Path, Path], record_property: Callable[[str, object], None]
) -> None:
    original, published, graph = places
    made_models.as_jina_v2(published, made_models.xlm_roberta(original))
    reference = load_reference(original)
    record_property("largest_difference", compare(open_model(published, graph), reference))


@pytest.mark.parametrize("segments", [0, 1, 2])
def test_gte_as_published_is_the_gte_of_transformers(
    places: tuple[Path, Path, Path], segments: int, record_property: Callable[[str, object], None]
) -> None:
    original, published, graph = places
    made_models.as_published_gte(published, made_models.gte(original, type_vocab_size=segments))
    record_property("largest_difference", compare(open_model(published, graph), load_reference(original)))


def test_gte_with_ntk_scaling_turns_as_its_repository_says(
    places: tuple[Path, Path, Path], record_property: Callable[[str, object], None]
) -> None:
    # Alibaba-NLP/new-impl, modeling.py, NTKScalingRotaryEmbedding; also text-embeddings-inference, gte.rs.
    original, published, graph = places
    base, factor, head_width = 20_000.0, 8.0, 8
    made_models.as_published_gte(
        published, made_models.gte(original), rope_theta=base, rope_scaling={"type": "ntk", "factor": factor}
    )
    reference = load_reference(original)
    frequencies = 1.0 / ((base * factor) ** (torch.arange(0, head_width, 2).float() / head_width))
    network: Any = reference.model
    network.gte.rotary_emb.inv_freq.copy_(frequencies / factor ** (2 / head_width))
    model = open_model(published, graph)
    record_property("largest_difference", compare(model, reference))
    assert difference(model, load_reference(original)) > 1e-3, "scaling must show in the scores"


@pytest.mark.parametrize("normalised", [False, True], ids=["v1", "query and key normalised"])
@pytest.mark.parametrize("heads", [4, 8])
def test_jina_v1_scores_as_its_repository_computes(
    places: tuple[Path, Path, Path], normalised: bool, heads: int, record_property: Callable[[str, object], None]
) -> None:
    _, published, graph = places
    jina_reference.write(published, normalised=normalised, heads=heads)
    model = open_model(published, graph)
    reference = jina_reference.Reference(published, normalised=normalised, heads=heads)
    tokenizer = BertTokenizer.from_pretrained(published)
    pairs = make_pairs()[:300]
    read = tokenizer([query for query, _ in pairs], [text for _, text in pairs], truncation=True, max_length=64)
    logits = [reference.logit(*one) for one in zip(read["input_ids"], read["token_type_ids"], strict=True)]
    truth = torch.tensor(logits).sigmoid().numpy()
    found = float(np.abs(model.scores(pairs) - truth).max())
    record_property("largest_difference", found)
    assert truth.std() > 0.03
    assert found < 1e-5


def test_heads_that_are_no_power_of_two_fall_as_in_the_original() -> None:
    found = attention.slopes(12).tolist()
    assert found == pytest.approx([2.0**-k for k in range(1, 9)] + [2.0**-e for e in (0.5, 1.5, 2.5, 3.5)])


def load_reference(folder: Path) -> CrossEncoder:
    torch.set_num_threads(1)
    return CrossEncoder(str(folder), local_files_only=True, model_kwargs={"dtype": torch.float32})


def difference(model: Opened, reference: CrossEncoder) -> float:
    pairs = make_pairs()[:300]
    truth = reference.predict(pairs, show_progress_bar=False)
    assert truth.std() > 0.03
    return float(np.abs(model.scores(pairs) - truth).max())


def compare(model: Opened, reference: CrossEncoder) -> float:
    found = difference(model, reference)
    assert found < 1e-5
    return found
