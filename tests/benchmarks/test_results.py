"""What was measured is kept, and summarised the same way everywhere."""

import json
from pathlib import Path

import pytest

from comparison.disturbance import OTHERS
from comparison.results import Entry, Goal, add, read

ENTRY = Entry(
    "over-http",
    "minilm-l6",
    "20 documents, 4 clients",
    samples={"rerankd": {"tokens_per_s": [300.0, 100.0, 200.0]}, "rival": {"tokens_per_s": [100.0, 100.0, 50.0]}},
    figures={"largest difference": 1e-7},
    goals=(Goal("tokens/s by the rival's", ">=", 2.5, 3.0), Goal("RSS, MB", "<=", 100, 101)),
    notes=("random weights",),
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    file = add(tmp_path, "here", ENTRY, {"tutorial": {"torch": "2.13.0"}})
    found = read(file)
    assert found.entries == (ENTRY,)
    assert found.rivals == {"tutorial": {"torch": "2.13.0"}}
    assert file.name == f"{found.date}-here.json"
    assert found.machine["cores"] >= 1


def test_a_measurement_made_again_replaces_the_former_and_leaves_the_others(tmp_path: Path) -> None:
    other = Entry("memory", "minilm-l6", "server", figures={"RSS, MB": 200.0})
    again = Entry(ENTRY.scenario, ENTRY.model, ENTRY.case, figures={"largest difference": 2e-7})
    for entry in (ENTRY, other, again):
        file = add(tmp_path, "here", entry, {})
    assert read(file).entries == (other, again)


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "2026-01-01-old.json"
    file.write_text(json.dumps({"format": 0}))
    with pytest.raises(ValueError, match="measure anew"):
        read(file)


def test_figures_of_two_machines_do_not_meet_in_one_file(tmp_path: Path) -> None:
    file = add(tmp_path, "here", ENTRY, {})
    changed = json.loads(file.read_text("utf-8"))
    changed["machine"]["cpu"] = "Another Processor"
    file.write_text(json.dumps(changed), "utf-8")
    with pytest.raises(ValueError, match="another machine"):
        add(tmp_path, "here", ENTRY, {})


def test_a_ratio_is_taken_round_by_round() -> None:
    ratio = ENTRY.ratio("rerankd", "rival", "tokens_per_s")
    assert ratio is not None
    assert (ratio.median, ratio.least, ratio.most) == (3.0, 1.0, 4.0)


def rounds(*others: float) -> Entry:
    """Ours is twice as fast as the rival, four times in the second round; others disturb the rival."""
    ours = {"tokens_per_s": [200.0, 400.0, 200.0], OTHERS: [0.0, 0.0, 0.0]}
    return Entry("", "", "", samples={"rerankd": ours, "rival": {"tokens_per_s": [100.0] * 3, OTHERS: list(others)}})


def test_a_round_that_others_disturbed_does_not_count() -> None:
    entry = rounds(0.1, 0.9, 0.2)
    ratio = entry.ratio("rerankd", "rival", "tokens_per_s")
    assert ratio is not None
    assert (ratio.least, ratio.most) == (2.0, 2.0)
    assert entry.disturbed == 0.2


def test_where_every_round_was_disturbed_all_count_and_it_is_said() -> None:
    entry = rounds(0.3, 0.9, 0.5)
    ratio = entry.ratio("rerankd", "rival", "tokens_per_s")
    assert ratio is not None
    assert (ratio.least, ratio.most) == (2.0, 4.0)
    assert entry.disturbed == 0.9


def test_a_ratio_to_somebody_who_was_not_measured_is_none() -> None:
    assert ENTRY.ratio("rerankd", "nobody", "tokens_per_s") is None


@pytest.mark.parametrize(("sense", "measured", "met"), [(">=", 2.0, True), (">=", 1.9, False), ("<=", 2.0, True)])
def test_a_goal_is_met_on_its_side_of_the_limit(sense: str, measured: float, met: bool) -> None:
    goal = Goal("", ">=" if sense == ">=" else "<=", 2.0, measured)
    assert goal.met is met
