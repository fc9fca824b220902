"""No part of any encoder family could be lost unnoticed: each tensor, the pooling, the head, segments, special tokens.

What is changed here changes scores by more than the parity tests allow, so that these would fail.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.base.modules import Dense
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling

import jina_reference
import made_models
import tiny
from parity import Opened, open_model
from rerankd.convert import attention, heads
from rerankd.convert.graph import GraphBuilder
from rerankd.engines.base import Array, Encoding

ALLOWED = 1e-5
"""What the parity tests allow."""
PAIRS = [
    ("how do I reset my password 密码", "The quick brown fox"),
    ("hello world", "北京是中国的首都 fox"),
    ("a b", "c"),
]


def ettin(folder: Path) -> Path:
    head = [
        Pooling(32, "cls"),
        Dense(32, 32, bias=False, activation_function=torch.nn.GELU()),
        LayerNorm(32),
        Dense(32, 1, activation_function=torch.nn.Identity(), module_output_name="scores"),
    ]
    return made_models.chain(folder, made_models.modernbert(folder.with_name("encoder")), head)


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "bert": tiny.tiny_bert,
    "roberta": tiny.tiny_roberta,
    "xlm-roberta": tiny.tiny_xlmr,
    "distilbert": made_models.distilbert,
    "electra": made_models.electra,
    "gte": lambda folder: made_models.gte(folder, type_vocab_size=2),
    "jina v1": lambda folder: jina_reference.write(folder, normalised=True),
    "jina v2": lambda folder: made_models.as_jina_v2(folder, made_models.xlm_roberta(folder.with_name("original"))),
    "modernbert": lambda folder: made_models.modernbert(folder, norm_bias=True, classifier_bias=True),
    "ettin": ettin,
    "deberta": lambda folder: made_models.deberta(folder, type_vocab_size=2, position_biased_input=True),
}
SEGMENTS = {"bert", "electra", "jina v1", "deberta"}
"""Whose tokenizers tell query and document apart, and whose networks listen."""


@pytest.fixture(scope="module", params=FAMILIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FAMILIES[name](tmp_path_factory.mktemp("made") / "model")


@pytest.fixture(scope="module")
def opened(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return open_model(folder, tmp_path_factory.mktemp("graph"))


@pytest.fixture(scope="module")
def right(opened: Opened) -> Array:
    return opened.scores(PAIRS)


def off(folder: Path, graph: Path, right: Array) -> float:
    """How far the scores are from the right ones if the model in this folder is converted as things are now."""
    graph.mkdir()
    return float(np.abs(open_model(folder, graph).scores(PAIRS) - right).max())


def test_every_tensor_outside_the_layers_is_in_the_scores(folder: Path, right: Array, tmp_path: Path) -> None:
    changed = 0
    for file, tensor in list(_tensors(folder)):
        tensors = load_file(file)
        kept = file.read_bytes()
        noise = torch.randn(tensors[tensor].shape, generator=torch.Generator().manual_seed(1))
        save_file({**tensors, tensor: tensors[tensor] + noise + 0.5}, file, metadata={"format": "pt"})
        changed += 1
        try:
            assert off(folder, tmp_path / str(changed), right) > ALLOWED, f"{tensor} is in no score"
        finally:
            file.write_bytes(kept)
    assert changed >= 6


def test_another_tokens_states_give_other_scores(
    folder: Path, right: Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second_token(build: GraphBuilder, states: str) -> str:
        one, two = (attention.integers(build, value) for value in (1, 2))
        return build.node("Slice", [states, one, two, one])

    monkeypatch.setattr(attention, "first_token", second_token)
    assert off(folder, tmp_path / "graph", right) > ALLOWED


def test_a_head_without_its_activation_gives_other_scores(
    folder: Path, right: Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "apply", lambda build, states, activation: states)
    assert off(folder, tmp_path / "graph", right) > ALLOWED


def test_segment_ids_are_given_and_count_where_the_family_has_them(name: str, opened: Opened, right: Array) -> None:
    for (query, document), score in zip(PAIRS, right, strict=True):
        (encoding,) = opened.reader.read(query, [document]).encodings
        assert (len(set(encoding.type_ids.tolist())) == 2) == (name in SEGMENTS)
        lost = _score(opened, Encoding(encoding.ids, np.zeros_like(encoding.type_ids)))
        assert (abs(lost - score) > ALLOWED) == (name in SEGMENTS)


def test_a_special_token_that_is_left_out_gives_another_score(opened: Opened, right: Array) -> None:
    work = opened.reader.read(*(PAIRS[0][0], [PAIRS[0][1]]))
    (encoding,) = work.encodings
    words = {int(i) for text in PAIRS[0] for i in _bare(opened, text)}
    special = [place for place, i in enumerate(encoding.ids.tolist()) if i not in words]
    assert len(special) in {3, 4}, "one at the start, one or two between, one at the end"
    for place in special:
        less = Encoding(np.delete(encoding.ids, place), np.delete(encoding.type_ids, place))
        assert abs(_score(opened, less) - right[0]) > ALLOWED, f"the special token at {place} is in no score"


def _score(opened: Opened, encoding: Encoding) -> float:
    work = opened.reader.read(*(PAIRS[0][0], [PAIRS[0][1]]))
    return float(opened.reader.activate(work.score(opened.engine.run([encoding])))[0])


def _bare(opened: Opened, text: str) -> list[int]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(opened.folder / "tokenizer.json"))
    return tokenizer.encode(text, add_special_tokens=False).ids


def _tensors(folder: Path) -> Iterator[tuple[Path, str]]:
    """Files and the names in them of what is no layer's: those have mutations of their own."""
    for file in sorted(folder.rglob("*.safetensors")):
        for tensor in load_file(file):
            if ".layer." not in tensor and "layers." not in tensor:
                yield file, tensor
