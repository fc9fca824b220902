"""`rerankd verify`."""

import json
from pathlib import Path

import pytest

from cli_runs import Run
from rerankd.families import qwen3
from tiny import tiny_bert
from tiny_causal import tiny_qwen3


def test_a_certificate_is_printed_and_then_shown(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANKD_MODELS__STORE", str(tmp_path / "store"))
    folder = str(tiny_bert(tmp_path / "bert"))
    outcome = run("verify", folder, "--json", "--precision", "bf16")
    assert outcome.code in {0, 1}
    said = json.loads(outcome.out)
    assert [one["precision"] for one in said["differences"]] == ["fp32", "bf16"]
    assert said["certificate"]["max_abs_diff"] < 1e-5
    shown = json.loads(run("show", folder, "--json").out)
    assert shown["verified"]["max_abs_diff"] == said["certificate"]["max_abs_diff"]
    assert shown["verified"]["reference"].startswith("sentence-transformers")


def test_scores_that_differ_end_with_code_1_and_say_which_pair(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RERANKD_MODELS__STORE", str(tmp_path / "store"))
    monkeypatch.setattr(qwen3, "_PREFIX", "")
    outcome = run("verify", str(tiny_qwen3(tmp_path / "Qwen3-Reranker-0.6B")), "--max-tokens", "200")
    assert outcome.code == 1
    assert "NOT signed off" in outcome.err
    assert outcome.out.startswith("torch\tfp32\t")


def test_a_model_without_a_reference_is_refused_before_anything_is_compared(run: Run) -> None:
    outcome = run("verify")
    assert outcome.code == 3
    assert "no implementation but this one" in outcome.err
