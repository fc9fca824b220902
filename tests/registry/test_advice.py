"""Advice: who is in time comes first, the best published figure first among them."""

from rerankd.registry.advice import Wanted, advise
from rerankd.registry.catalog import cards

WANTED = Wanted("zh", documents=20, tokens=200, latency_s=1.0, memory_bytes=16 << 30)


def test_those_in_time_come_first_and_better_ones_before_worse() -> None:
    found = advise(cards(), WANTED, operations_per_s=2e12)
    fitting = [one for one in found if one.fits]
    assert fitting
    assert len(fitting) < len(found)
    assert found[: len(fitting)] == fitting
    figures = [one.figure or 0.0 for one in fitting]
    assert figures == sorted(figures, reverse=True)
    assert all(one.latency_s <= 1.0 for one in fitting)


def test_the_time_is_that_of_all_tokens_through_all_active_parameters() -> None:
    base = next(one for one in advise(cards(), WANTED, 1e12) if one.card.id == "bge-reranker-base")
    assert base.latency_s == 20 * 200 * 2 * 86e6 / 1e12
    assert "C-MTEB" in " ".join(base.reasons) or "CMTEB" in " ".join(base.reasons)


def test_a_model_that_was_measured_itself_keeps_its_own_time() -> None:
    found = {one.card.id: one.latency_s for one in advise(cards(), WANTED, 1e12, {"bge-reranker-base": 2e12})}
    assert found["bge-reranker-base"] == 20 * 200 * 2 * 86e6 / 2e12
    assert found["bge-reranker-large"] == next(
        one.latency_s for one in advise(cards(), WANTED, 1e12) if one.card.id == "bge-reranker-large"
    )


def test_a_slower_machine_never_fits_more() -> None:
    fast, slow = ({one.card.id for one in advise(cards(), WANTED, rate) if one.fits} for rate in (1e13, 1e11))
    assert slow < fast


def test_only_models_for_the_language_are_advised_and_licences_are_told() -> None:
    found = {one.card.id: one for one in advise(cards(), WANTED, 1e13)}
    assert "ms-marco-minilm-l6-reranker" not in found
    assert "not for commercial use" in found["jina-reranker-v2-base-multilingual"].reasons
    assert "ms-marco-minilm-l6-reranker" in {
        one.card.id for one in advise(cards(), Wanted("en", 20, 200, 1, 1 << 40), 1e12)
    }


def test_what_does_not_fit_in_memory_does_not_fit() -> None:
    small = Wanted("zh", 1, 8, 1000.0, memory_bytes=1 << 30)
    found = {one.card.id: one for one in advise(cards(), small, 1e13)}
    assert not found["qwen3-reranker-8b"].fits
    assert "GB" in " ".join(found["qwen3-reranker-8b"].reasons)
