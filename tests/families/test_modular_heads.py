"""Cross-encoders saved as a chain of modules against sentence_transformers.CrossEncoder, which saved them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.sentence_transformer.modules import Dropout, LayerNorm, Pooling

import made_models
import tiny
from parity import make_pairs, open_model
from rerankd.errors import UnsupportedModel
from rerankd.families.cross_encoder import FAMILY
from rerankd.types import ScoreType

WIDTH = 32


def score(width: int, outputs: int = 1, activation: torch.nn.Module | None = None) -> Dense:
    """The module that a reranker's chain ends in."""
    return Dense(width, outputs, activation_function=activation or torch.nn.Identity(), module_output_name="scores")


CHAINS: dict[str, Callable[[], Sequence[torch.nn.Module]]] = {
    "pooling and a score": lambda: [Pooling(WIDTH, "cls"), score(WIDTH)],
    "as ettin-reranker": lambda: [
        Pooling(WIDTH, "mean"),
        Dense(WIDTH, 48, bias=False, activation_function=torch.nn.GELU()),
        LayerNorm(48),
        score(48),
    ],
    "residuals, a unit vector, dropout": lambda: [
        Pooling(WIDTH, "max"),
        Dense(WIDTH, WIDTH, activation_function=torch.nn.SiLU(), use_residual=True),
        Normalize(),
        Dropout(),
        Dense(WIDTH, 16, activation_function=torch.nn.ReLU(), use_residual=True),
        score(16),
    ],
}


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    (tmp_path / "graph").mkdir()
    return tmp_path / "graph"


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("encoder", [made_models.modernbert, made_models.xlm_roberta])
def test_a_chain_scores_as_the_reference(
    chain: str,
    encoder: Callable[[Path], Path],
    tmp_path: Path,
    graph: Path,
    record_property: Callable[[str, object], None],
) -> None:
    torch.set_num_threads(1)
    saved = made_models.chain(tmp_path / "saved", encoder(tmp_path / "encoder"), CHAINS[chain]())
    model = open_model(saved, graph)
    reference = CrossEncoder(str(saved), local_files_only=True)
    pairs = make_pairs()[:300]
    truth = reference.predict(pairs, show_progress_bar=False)
    difference = float(np.abs(model.scores(pairs) - truth).max())
    record_property("largest_difference", difference)
    assert truth.std() > 0.005
    assert difference < 1e-5
    assert (model.reader.max_tokens, model.reader.score_type) == (reference.max_seq_length, ScoreType.PROBABILITY)


def test_a_chain_that_asks_for_logits_gives_them(tmp_path: Path, graph: Path) -> None:
    chain = CHAINS["pooling and a score"]()
    encoder = made_models.xlm_roberta(tmp_path / "encoder")
    saved = made_models.chain(tmp_path / "saved", encoder, chain, activation_fn=torch.nn.Identity())
    model = open_model(saved, graph)
    pairs = make_pairs()[:50]
    truth = CrossEncoder(str(saved), local_files_only=True).predict(pairs, show_progress_bar=False)
    assert model.reader.score_type is ScoreType.LOGIT
    assert np.abs(model.scores(pairs) - truth).max() < 1e-5


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        ([Pooling(WIDTH, "lasttoken"), score(WIDTH)], "pooling_mode 'lasttoken'"),
        ([Pooling(WIDTH, ("cls", "mean")), score(2 * WIDTH)], "pooling_mode"),
        ([Pooling(WIDTH, "cls"), score(WIDTH, 3)], "no single score"),
        ([Pooling(WIDTH, "cls"), Dense(WIDTH, 1)], "no single score"),
        (
            [Pooling(WIDTH, "cls"), score(WIDTH, activation=torch.nn.Hardswish())],
            "Hardswish",
        ),
    ],
)
def test_a_chain_that_cannot_be_built_is_refused(tmp_path: Path, chain: list[torch.nn.Module], said: str) -> None:
    saved = made_models.chain(tmp_path / "saved", made_models.xlm_roberta(tmp_path / "encoder"), chain)
    with pytest.raises(UnsupportedModel, match=said):
        FAMILY.open(tiny.snapshot(saved), max_tokens=None, cache_bytes=0)


def test_a_module_of_another_class_is_refused_by_name(tmp_path: Path) -> None:
    chain = CHAINS["pooling and a score"]()
    saved = made_models.chain(tmp_path / "saved", made_models.xlm_roberta(tmp_path / "encoder"), chain)
    modules = json.loads((saved / "modules.json").read_text("utf-8"))
    modules[2]["type"] = "mine.Own"
    (saved / "modules.json").write_text(json.dumps(modules), "utf-8")
    with pytest.raises(UnsupportedModel, match="a module of the class Own"):
        FAMILY.open(tiny.snapshot(saved), max_tokens=None, cache_bytes=0)
