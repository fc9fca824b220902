"""Whole runs with tiny models: they learn, resume, and their results serve."""

import json
import math
from pathlib import Path

import pytest

from rerankd.errors import InvalidRequest
from rerankd.evaluation.judged import JudgedQuery
from rerankd.reranker import Reranker
from rerankd.training import late, late_files, run, teacher
from rerankd.training.lists import TrainingList
from rerankd.training.plan import Plan, Tell, silent
from rerankd.training.run import Task
from tiny import tiny_bert
from tiny_late import domain, tiny_late

PLAN = Plan(epochs=30, queries=8, negatives=3, rate=3e-3, check_steps=25, patience=8)


def task(tmp_path: Path) -> Task:
    start = tiny_late(tmp_path / "start")
    return Task(domain(tmp_path / "domain.jsonl"), tmp_path / "trained", str(start), held_share=0.2)


def test_a_model_learns_a_domain_and_its_folder_serves(tmp_path: Path) -> None:
    outcome = run.run(task(tmp_path), PLAN, silent)
    assert outcome.gain.low > 0
    assert outcome.after["nDCG@10"] > outcome.before["nDCG@10"] + 0.1
    with Reranker(str(outcome.folder)) as reranker:
        best = reranker.rank("mol3 zur4", ["the page of thing6 deed5", "the page of thing3 deed4"])[0]
        assert best.index == 1
    assert 0 < best.score < 1
    card = (outcome.folder / "README.md").read_text("utf-8")
    assert f"{outcome.after['nDCG@10']:.4f}" in card
    assert not (tmp_path / "trained.training").exists()


class CutOffError(Exception):
    """An interruption."""


def cutting_off(step: int) -> Tell:
    """Interrupt training at a step."""

    def tell(what: str, done: int, total: int) -> None:
        del total
        if what == "training" and done == step:
            raise CutOffError

    return tell


def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    folder = tiny_late(tmp_path / "start")
    lists = [TrainingList(f"mol{i} zur{i}", (f"thing{i} deed{i}",), (f"thing{i} deed{7 - i}",)) for i in range(8)]
    held = [JudgedQuery("0", "mol1 zur2", ("a", "b"), ("thing1 deed2", "thing2 deed1"), {"a": 1.0})]
    plan = Plan(epochs=6, queries=2, negatives=1, rate=1e-3, check_steps=5, patience=100)

    def trained(checkpoint: Path, tell: Tell) -> tuple[object, dict[str, list[float]]]:
        model = late_files.open_model(folder)
        found = late.train(model, lists=lists, held=held, plan=plan, checkpoint=checkpoint, tell=tell)
        return found, {name: one.flatten().tolist() for name, one in model.encoder.state_dict().items()}

    whole = trained(tmp_path / "whole.pt", silent)
    with pytest.raises(CutOffError):
        trained(tmp_path / "parts.pt", cutting_off(13))
    assert trained(tmp_path / "parts.pt", silent) == whole


def test_a_cross_encoder_is_trained_cut_off_taken_up_and_ranks(tmp_path: Path) -> None:
    start, data, out = tiny_bert(tmp_path / "start", std=0.02), domain(tmp_path / "domain.jsonl"), tmp_path / "trained"
    asked = Task(data, out, str(start), held_share=0.2, mine="bm25")
    plan = Plan(epochs=1, queries=16, rate=1e-3, check_steps=3)
    with pytest.raises(CutOffError):
        run.run(asked, plan, cutting_off(5))
    kept = [file.parent.name for file in (tmp_path / "trained.training").glob("checkpoints/*/trainer_state.json")]
    assert kept == ["checkpoint-3"]
    outcome = run.run(asked, plan, silent)
    assert [one.step for one in outcome.trained.checks][:2] == [3, 6]
    with Reranker(str(out)) as reranker:
        assert len(reranker.rank("mol1 zur1", ["thing1 deed1", "thing2"])) == 2


def test_another_run_does_not_go_on_from_this_ones_work(tmp_path: Path) -> None:
    asked = task(tmp_path)
    work = tmp_path / "trained.training"
    work.mkdir()
    (work / "run.json").write_text("{}")
    with pytest.raises(InvalidRequest, match="--fresh"):
        run.run(asked, PLAN, silent)


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path: Path) -> None:
    asked = task(tmp_path)
    asked.out.mkdir()
    (asked.out / "thesis.txt").write_text("precious")
    with pytest.raises(InvalidRequest, match="exists"):
        run.run(asked, PLAN, silent)


def test_a_teacher_is_asked_once_for_every_document_and_kept(tmp_path: Path) -> None:
    asked = task(tmp_path)
    asked = Task(asked.data, asked.out, asked.start, held_share=0.2, mine="bm25", teacher=asked.start)
    outcome = run.run(asked, Plan(epochs=1, queries=8, negatives=2, check_steps=4), silent)
    assert outcome.trained.steps == 7
    [one] = teacher.ask([TrainingList("a", ("x",), ("y", "z"))], lambda _, documents: [0.5] * len(documents))
    assert one.soft == (0.5, 0.5, 0.5)


def test_judging_in_torch_counts_as_the_measures_do(tmp_path: Path) -> None:
    model = late_files.open_model(tiny_late(tmp_path / "start"))
    same = JudgedQuery("0", "mol1", ("a", "b"), ("mol1", "page of the"), {"a": 1.0})
    other = JudgedQuery("1", "mol1", ("a", "b"), ("mol1", "page of the"), {"b": 1.0})
    assert late.judge(model, [same, other], silent) == pytest.approx((1 + 1 / math.log2(3)) / 2)


def test_the_plan_is_written_into_the_card_as_json_can_hold_it() -> None:
    assert json.loads(json.dumps(PLAN.as_json()))["rate"] == PLAN.rate
