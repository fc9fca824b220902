"""The torch side computes what the served side computes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from rerankd.reranker import Reranker
from rerankd.training import late_files
from rerankd.training.calibration import Calibration
from rerankd.training.encoder import Encoder, Shape
from rerankd.training.late_interaction import LateInteraction
from tiny_late import tiny_late

BUNDLED = Path(__file__).parents[2] / "src/rerankd/bundled/rerankd-zh-en"
QUERY = "mol1 zur2"
DOCUMENTS = ["the page of thing1 deed2", "thing3", "", "deed4 deed4 page the of thing5 thing6 deed1"]


def scores(model: LateInteraction, query: str, documents: list[str]) -> list[float]:
    with torch.no_grad():
        asked, offered = model.encode([query], documents, model.config.max_tokens)
        found = model.scores(asked, offered)[0]
    return (model.config.calibration.slope * found + model.config.calibration.bias).tolist()


def served(folder: Path, query: str, documents: list[str]) -> list[float]:
    with Reranker(str(folder)) as reranker:
        ranking = reranker.rank(query, documents, raw_scores=True)
    return [score for _, score in sorted((ranked.index, ranked.score) for ranked in ranking)]


def test_texts_of_any_lengths_at_once_give_what_transformers_gives_each_alone() -> None:
    shape = Shape(
        vocab_size=50, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=40,
        max_position_embeddings=32,
    )  # fmt: skip
    torch.manual_seed(1)
    reference = BertModel(
        BertConfig(
            vocab_size=50, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=40,
            max_position_embeddings=32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        ),
        add_pooling_layer=False,
    ).eval()  # fmt: skip
    encoder = Encoder(shape)
    encoder.load_state_dict(reference.state_dict())
    texts = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11], [3, 2, 1], [49] * 32]
    with torch.no_grad():
        for ids, states in zip(texts, encoder(texts), strict=True):
            expected = reference(input_ids=torch.tensor([ids])).last_hidden_state[0]
            torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0.15), ("int8", 1.5)])
def test_torch_scores_are_the_served_ones_up_to_their_8_bit_states(
    tmp_path: Path, precision: str, tolerance: float
) -> None:
    folder = tiny_late(tmp_path / "model", precision=precision)
    ours = scores(late_files.open_model(folder), QUERY, DOCUMENTS)
    np.testing.assert_allclose(ours, served(folder, QUERY, DOCUMENTS), atol=tolerance)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_weights_come_back_out_of_a_graph(tmp_path: Path, precision: str) -> None:
    folder = tiny_late(tmp_path / "model", precision=precision)
    with_weights = late_files.open_model(folder)
    (folder / late_files.WEIGHTS).unlink()
    out_of_graph = late_files.open_model(folder).encoder.state_dict()
    for name, one in with_weights.encoder.state_dict().items():
        # 7 bits after smoothing, rounded at random: 2 % on most matrices, 7 % where channels are hardly used.
        off, allowed = (out_of_graph[name] - one).square().mean().sqrt(), 0.0 if precision == "fp32" else 0.1
        if "token_type" not in name:
            assert off <= allowed * one.square().mean().sqrt() + 1e-3, name


def test_training_that_moves_weights_by_less_than_half_a_step_of_eight_bits_is_not_lost(tmp_path: Path) -> None:
    folder = tiny_late(tmp_path / "model", precision="int8")
    (folder / late_files.WEIGHTS).unlink()
    model = late_files.open_model(folder)
    before = {name: one.clone() for name, one in model.encoder.state_dict().items()}
    matrices = [name for name, one in before.items() if one.ndim == 2 and name.startswith("encoder.")]
    steps = {name: before[name].abs().amax(dim=1, keepdim=True) / 64 for name in matrices}
    with torch.no_grad():
        for name in matrices:
            model.encoder.get_parameter(name).add_(0.25 * steps[name])
    late_files.write_model(model, folder, folder, "int8", Calibration(1.0, 0.0))
    (folder / late_files.WEIGHTS).unlink()
    after = late_files.open_model(folder).encoder.state_dict()
    moved = torch.cat([((after[name] - before[name]) / steps[name]).flatten() for name in matrices])
    assert float(moved.mean()) == pytest.approx(0.25, abs=0.02)


def test_the_bundled_model_can_be_opened_for_training_and_scores_as_it_is_served() -> None:
    query, documents = "如何重置密码?", ["在设置里点击安全,然后选择重置密码。", "Bananas are yellow.", "今天天气很好。"]
    ours = scores(late_files.open_model(BUNDLED), query, documents)
    np.testing.assert_allclose(ours, served(BUNDLED, query, documents), atol=0.8)
    assert np.argmax(ours) == 0
