"""`rerankd dialects` and the start-up log say what the detection does."""

import json
import logging

import pytest

from cli_runs import Run
from fake_service import FakeService
from rerankd import plugins
from rerankd.dialects.detect import load_all
from rerankd.http.app import create_app
from rerankd.settings import Settings


def test_every_rule_of_the_detection_is_printed_in_order(run: Run) -> None:
    answer = json.loads(run("dialects", "--json").out)
    assert [(rule["when"], rule["dialect"]) for rule in answer["rules"]] == list(load_all().rules())
    assert set(answer["paths"]) == set(plugins.names("dialects"))
    assert "/v1/rerank" in answer["paths"]["standard"]


def test_in_a_pipe_a_rule_is_a_line_and_so_are_a_dialects_paths(run: Run) -> None:
    outcome = run("dialects")
    rules, _, paths = outcome.out.partition("\n\n")
    assert outcome.code == 0
    assert rules.splitlines()[-1] == "anything else\tstandard"
    assert [line.split("\t")[0] for line in paths.splitlines()] == list(plugins.names("dialects"))


@pytest.mark.anyio
async def test_the_start_up_log_tells_the_rules_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(FakeService(), Settings(), urls=["http://127.0.0.1:1"])
    with caplog.at_level(logging.INFO, "rerankd.http"):
        async with app.router.lifespan_context(app):
            (line,) = [each for each in caplog.messages if each.startswith("dialects: ")]
    for when, name in load_all().rules():
        assert f"{when}: {name}" in line or (when == f"path begins with /{name}/" and f" /{name}" in line)
    assert "anything else: standard" in line
