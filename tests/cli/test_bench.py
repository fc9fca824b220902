"""`rerankd bench`: a table, JSON, a plot, and mistakes that are told before anything is measured."""

import json
from pathlib import Path

import pytest

from cli_runs import Run

QUICK = ("--quick", "--seconds", "1", "--documents", "3", "--concurrency", "1,2")


def test_a_table_for_people_and_a_plot(run: Run, tiny_model: Path, workdir: Path) -> None:
    outcome = run("bench", str(tiny_model), *QUICK, "--plot", "bench.svg", "--capacity", "3x20@0.1")
    assert outcome.code == 0
    above, below = outcome.out.split("\n\n")
    facts = dict(line.split("\t") for line in above.splitlines())
    assert facts["model"] == "tiny (cross_encoder, onnx, fp32)"
    assert facts["capacity"].startswith("Yes. ")
    rows = [row.split("\t") for row in below.splitlines()]
    assert [row[:2] for row in rows] == [["3", "1"], ["3", "2"]]
    assert {row[-1] for row in rows} == {"0"}
    assert "p99 of fewer than 100" in outcome.err or int(rows[0][2]) >= 100
    assert (workdir / "bench.svg").read_text("utf-8").startswith("<?xml")


def test_json_is_one_object(run: Run, tiny_model: Path) -> None:
    answer = json.loads(run("bench", str(tiny_model), *QUICK, "--json").out)
    assert answer["schema"] == "rerankd-bench/1"
    assert [(cell["documents"], cell["clients"]) for cell in answer["cells"]] == [(3, 1), (3, 2)]
    assert answer["machine"]["cores"] >= 1
    assert answer["capacity"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--documents", "5,x"), 2, "no list of numbers"),
        (("--concurrency", "0"), 2, "no list of numbers"),
        (("--capacity", "many"), 1, "20x150@5"),
        (("--plot", "bench.pdf"), 3, "ends in .svg or .png"),
        (("--file", "gone.jsonl"), 2, "does not exist"),
        (("--file", "own.jsonl", "--documents", "5"), 2, "leave out --file"),
        (("--file", "own.jsonl"), 1, "line 1 is not JSON"),
        (("--against-key", "k"), 2, "--against"),
        (("--against", "a", "--against", "b", "--against", "c", "--against-model", "x", "--against-model", "y"), 2,
         "2 times for 3 --against"),
        (("--against", "http://127.0.0.1:9", "--against-key", "@gone"), 2, "key file"),
        (("no-such-model",), 3, "'no-such-model' is not known"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_its_exit_code(
    run: Run, workdir: Path, *, arguments: tuple[str, ...], code: int, told: str
) -> None:
    (workdir / "own.jsonl").write_text("not a request\n")
    outcome = run("bench", *arguments)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (code, "", 1)
    assert told in outcome.err
