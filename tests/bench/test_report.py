"""What is printed says all that was measured, and what a reader should doubt."""

import json
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from pydantic import TypeAdapter

from bench_reports import OTHER, report
from rerankd.bench.capacity import Demand, answer
from rerankd.bench.report import Report, as_json, capacity_sentence, facts, remarks, table

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "bench.md"


def with_capacity(rate: float) -> Report:
    found = answer(Demand(20, 150, rate), pairs_per_s=30, tokens_per_s=5400, workers=2)
    return replace(report(), capacity=found)


def test_json_holds_the_whole_report() -> None:
    whole = with_capacity(0.5)
    text = json.dumps(as_json(whole))
    assert next(iter(json.loads(text))) == "schema"
    assert TypeAdapter(Report).validate_json(text) == whole


def names(kind: object, seen: set[object]) -> set[str]:
    """All field names of a dataclass and of what it is made of."""
    found: set[str] = set()
    for part in get_args(kind):
        found |= names(part, seen)
    if isinstance(kind, type) and is_dataclass(kind) and kind not in seen:
        seen.add(kind)
        for field in fields(kind):
            found |= {field.name} | names(get_type_hints(kind)[field.name], seen)
    return found


def test_every_field_of_the_json_is_documented() -> None:
    page = PAGE.read_text("utf-8")
    assert sorted(name for name in names(Report, set()) if f"`{name}`" not in page) == []


def test_the_table_has_a_row_per_cell_and_target() -> None:
    heading, rows = table(report())
    assert len(rows) == 8 * 2
    assert all(len(row) == len(heading) for row in rows)
    first = dict(zip(heading, rows[0], strict=True))
    assert (first["documents"], first["clients"], first["peak"], first["target"], first["ratio"]) == (
        *("5", "1", "82%", "rerankd", ""),
    )
    assert rows[1][-2:] == [OTHER, "3.00 (2.80-3.20)"]
    heading, rows = table(report(other=False))
    assert (len(rows), heading[-1]) == (8, "errors")


def test_what_was_left_out_failed_or_disagrees_is_said() -> None:
    told = "\n".join(remarks(report(agreement=0.5, errors=2)))
    assert "100 documents x 16 clients: left out, it would have taken about 53 s" in told
    assert f"{OTHER}: 16 requests failed; the first: server_unreachable: HTTP 500: no" in told
    assert "orders the documents differently (Spearman 0.50)" in told
    assert "p99 of fewer than 100 requests" in told


def test_nothing_is_said_of_servers_that_agree() -> None:
    told = "\n".join(remarks(report()))
    assert "differently" not in told
    assert "failed" not in told


def test_a_busy_machine_is_noticed() -> None:
    quiet = report(other=False)
    assert "other programs" not in "\n".join(remarks(quiet))
    cell = quiet.cells[4]
    starved = replace(cell, targets=(replace(cell.targets[0], cpu_cores=1.1),))
    busy = replace(quiet, cells=(starved,))
    assert "other programs are running" in "\n".join(remarks(busy))


@pytest.mark.parametrize(("rate", "verdict"), [(0.5, "Yes. "), (1.3, "Hardly: "), (2.0, "No. ")])
def test_the_capacity_question_is_answered_in_words(rate: float, verdict: str) -> None:
    whole = with_capacity(rate)
    assert whole.capacity
    sentence = capacity_sentence(whole.capacity)
    assert sentence.startswith(verdict)
    assert f"utilisation {whole.capacity.utilisation:.0%}" in sentence
    assert ("p95" in sentence) == (rate < 1.5)


def test_the_facts_name_machine_model_and_conditions() -> None:
    told = dict(facts(report()))
    assert told["machine"] == "A processor, 2 cores"
    assert told["model"] == "a-model (cross_encoder, onnx, fp32)"
    assert told["start to first score"] == "0.91 s · 0.93 s · 0.95 s"
    assert "model loaded 150 MiB" in told["memory"]
    assert told["matrix peak"] == "155 GFLOP/s best, 150 median of 30 (fp32, 2 threads)"
