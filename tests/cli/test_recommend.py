"""`rerankd recommend` and the filters of `rerankd list`."""

import json

import pytest

from cli_runs import Run


def listed(run: Run, *options: str) -> set[str]:
    return {model["id"] for model in json.loads(run("list", "--json", *options).out)["models"]}


def test_the_catalog_is_filtered_by_language_size_and_licence(run: Run) -> None:
    assert len(listed(run, "--catalog")) >= 30
    chinese = listed(run, "--catalog", "--lang", "zh", "--max-size", "300M", "--licence", "mit")
    assert chinese == {"rerankd-zh-en", "bge-reranker-base"}
    assert "qwen3-reranker-4b" in listed(run, "--lang", "ko", "--max-size", "4.1B")
    assert "qwen3-reranker-4b" not in listed(run, "--lang", "ko", "--max-size", "4B")
    assert run("list", "--max-size", "big").code == 2


def test_a_model_is_recommended_with_reasons_and_the_speed_that_was_measured(run: Run) -> None:
    outcome = run("recommend", "--lang", "zh", "--latency", "100s", "--docs", "20", "--json")
    assert outcome.code == 0
    said = json.loads(outcome.out)
    assert said["operations_per_s"] > 1e8
    assert {"rerankd-zh-en", "bge-reranker-base"} <= {model["model"] for model in said["models"]}
    assert all(model["reasons"] and model["fits"] for model in said["models"])


def test_where_none_is_fast_enough_the_fastest_are_named_and_a_way_out(run: Run) -> None:
    outcome = run("recommend", "--lang", "zh", "--latency", "0.01ms", "--docs", "1000")
    assert outcome.code == 0
    assert "rerankd-zh-en" in outcome.out
    assert len(outcome.out.splitlines()) == 3
    assert "None does it within 1e-05 s here; a cascade" in outcome.err


@pytest.mark.parametrize("latency", ["fast", "300", "0ms"])
def test_a_time_is_written_with_its_unit(run: Run, latency: str) -> None:
    outcome = run("recommend", "--latency", latency)
    assert outcome.code == 2
    assert "300ms" in outcome.err
