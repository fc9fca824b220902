import json
from pathlib import Path

from cli_runs import Run


def test_a_model_is_made_ready_and_the_choice_is_told(run: Run, tiny_model: Path) -> None:
    outcome = run("convert", str(tiny_model), "--json")
    assert outcome.code == 0
    told = json.loads(outcome.out)
    assert (told["id"], told["precision"], told["agreement"]) == (tiny_model.name, "fp32", {})
    assert "so small a network" in told["precision_reason"]


def test_int8_on_demand_tells_its_figures_and_is_made_once(run: Run, tiny_model: Path) -> None:
    first = run("convert", str(tiny_model), "--precision", "int8", "--json")
    assert first.code == 0
    assert "scoring the built-in texts in int8" in first.err
    told = json.loads(first.out)
    assert told["precision"] == "int8"
    assert told["agreement"]["pairs"] == 144
    again = run("convert", str(tiny_model), "--precision", "int8", "--json")
    assert (again.code, again.err, again.out) == (0, "", first.out)


def test_what_is_shown_is_what_was_measured(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    told = json.loads(run("convert", str(tiny_model), "--precision", "int8", "--json").out)
    config = tmp_path / "int8.toml"
    config.write_text('[models]\nprecision = "int8"\n')
    shown = json.loads(run("show", str(tiny_model), "--config", str(config), "--json").out)
    assert (shown["precision"], shown["agreement"]) == ("int8", told["agreement"])
    assert shown["precision_reason"] == told["precision_reason"]


def test_a_model_that_ships_as_a_graph_needs_no_converting(run: Run) -> None:
    outcome = run("convert")
    assert outcome.code == 0
    assert "the model ships as this graph" in outcome.out


def test_an_unknown_model_is_a_sentence_and_exit_code_3(run: Run) -> None:
    outcome = run("convert", "no-such-model")
    assert (outcome.code, outcome.out) == (3, "")
    assert "no-such-model" in outcome.err
