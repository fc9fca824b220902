"""`rerankd ps` against a live server."""

import json

from cli_runs import Run
from fake_service import FakeService
from live_server import running_fake
from rerankd.types import ModelState


def test_a_running_servers_models_are_listed_with_their_states(run: Run) -> None:
    with running_fake(FakeService()) as url:
        outcome = run("ps", "--url", url)
        assert outcome.code == 0, outcome.err
        assert outcome.out == "tiny-reranker\tready\t0.0 MB\t0\tfake\tfp32\n"
        (model,) = json.loads(run("ps", "--url", url, "--json").out)["models"]
        assert (model["id"], model["state"], model["in_flight"], model["progress"]) == (
            "tiny-reranker",
            "ready",
            0,
            None,
        )
    with running_fake(FakeService(state=ModelState.UNLOADED)) as url:
        assert "\tunloaded\t-\t" in run("ps", "--url", url).out
    service = FakeService()
    service.updating = ModelState.DOWNLOADING
    with running_fake(service) as url:
        assert "\tready, newer one downloading 25%\t" in run("ps", "--url", url).out


def test_without_a_server_it_says_so(run: Run) -> None:
    outcome = run("ps", "--url", "http://127.0.0.1:9")
    assert outcome.code == 1
    assert "127.0.0.1:9" in outcome.err
