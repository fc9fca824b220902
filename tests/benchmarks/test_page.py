"""docs/benchmarks.md says what the results say."""

from pathlib import Path

import pytest

import report
from comparison import page, places, results
from comparison.processes import Failed
from comparison.results import Entry, Goal, Results

MACHINE = {
    "cpu": "A Processor",
    "cores": 2,
    "isa": ["avx2"],
    "memory_bytes": 24 << 30,
    "system": "Linux",
    "python": "3.11",
    "versions": {"rerankd": "0.1.0"},
}


def made(*entries: Entry) -> str:
    return page.write(Results("comparison", "2026-11-21", MACHINE, {"tutorial": {"torch": "2.13.0"}}, entries))


def clients(number: int) -> Entry:
    samples = {
        "rerankd": {"tokens_per_s": [3000.0 * number, 3100.0 * number], "p50_s": [0.5, 0.6]},
        "tutorial server": {"tokens_per_s": [1000.0 * number, 1000.0 * number], "p50_s": [2.0, 2.0]},
    }
    goals = [Goal(f"{number} clients", ">=", 3.0, 3.05), Goal(f"{number} clients, p50", "<=", 0.5, 0.55)]
    return Entry("over-http", "minilm-l6", f"20 documents, {number} clients", samples, goals=goals)


def test_medians_reach_and_ratios_are_shown() -> None:
    assert (
        "| minilm-l6 | 20 documents, 4 clients | rerankd | 12,200 (12,000–12,400) | 0.550 (0.500–0.600) | 1 |\n"
        "| minilm-l6 | 20 documents, 4 clients | tutorial server | 4,000 | 2.000 | 3.05x (3.00–3.10) |"
    ) in made(clients(4))


def test_a_promise_that_is_not_kept_is_shown_as_such() -> None:
    text = made(clients(4))
    assert "| 4 clients | at least 3 | 3.05 | yes |" in text
    assert "| 4 clients, p50 | at most 0.5 | 0.55 | **no** |" in text


def test_loads_are_in_the_order_of_their_size() -> None:
    text = made(clients(16), clients(4), clients(1))
    places_of = [text.index(f"20 documents, {number} client") for number in (1, 4, 16)]
    assert places_of == sorted(places_of)


def test_a_figure_of_a_short_run_is_marked() -> None:
    entry = Entry("memory", "minilm-l6", "server", figures={"RSS, MB": 200.0}, quick=True, busy=1.5)
    assert "| minilm-l6 | RSS, MB | 200 | quick, disturbed: 1.5 cores |" in made(entry)


def test_what_was_not_measured_is_named() -> None:
    text = made(clients(4))
    assert "Not measured in this file: `benchmarks/in_process.py`, `benchmarks/peak_share.py`, `benchmarks/int8" in text


def test_without_results_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"compare\.py"):
        report.newest(tmp_path)


def test_the_committed_page_is_that_of_the_newest_results() -> None:
    written = page.write(results.read(report.newest()))
    assert places.PAGE.read_text("utf-8") == written, "run python benchmarks/report.py"
