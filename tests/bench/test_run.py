"""The whole bench on a tiny model: in this process, over HTTP, and against a live server of ours."""

import json
from pathlib import Path

import pytest

from fake_service import FakeService
from live import serving
from live_server import running_fake
from rerankd.bench.capacity import Demand
from rerankd.bench.cold import cold_start
from rerankd.bench.flops import LayerShape
from rerankd.bench.report import remarks
from rerankd.bench.requests import BenchRequest
from rerankd.bench.run import Against, Wish, bench
from rerankd.bench.server import own_server
from rerankd.errors import ConfigError, EngineFailure, ModelLoadError, ServerUnreachable
from rerankd.settings import Settings
from tiny import tiny_bert


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_bert(tmp_path_factory.mktemp("models") / "tiny"))


def quick(model: str, **wishes: object) -> Wish:
    usual: dict[str, object] = {"model": model, "documents": (3, 5), "clients": (1, 4), "seconds": 1.0, "starts": 1}
    return Wish(**{**usual, **wishes})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_model_in_this_process_is_measured_in_every_cell(model: str, workdir: Path) -> None:
    said: list[str] = []
    report = bench(quick(model, demand=Demand(4, 20, 0.5)), said.append)
    assert [(cell.documents, cell.clients) for cell in report.cells] == [(3, 1), (3, 4), (5, 1), (5, 4)]
    for cell in report.cells:
        (ours,) = cell.targets
        assert (cell.left_out, ours.errors, ours.target) == ("", 0, "rerankd")
        assert ours.requests >= cell.clients
        assert ours.share_of_peak
        assert 0 < ours.share_of_peak.median < 1
        assert ours.latency
        assert ours.cpu_cores
    assert (report.model.id, report.model.layers) == ("tiny", LayerShape(2, 32, 64))
    assert 0 < report.start.first_score_s[0] < 60
    assert report.peak.samples > len(report.cells)
    assert report.capacity
    assert report.capacity.carried
    assert "loading the model" in said
    assert any("5 documents x 4 clients" in line for line in said)


def test_a_demand_that_is_too_much_comes_with_what_would_help(model: str, workdir: Path) -> None:
    report = bench(quick(model, documents=(3,), clients=(1,), demand=Demand(50, 40, 5000)))
    assert report.capacity
    assert not report.capacity.carried
    told = " / ".join(report.capacity.remedies)
    assert "fewer requests: up to" in told
    assert "int8 weights: at most" in told
    assert "the bundled model does not carry it: utilisation" in told


def test_our_server_is_measured_beside_another_one(model: str, workdir: Path) -> None:
    with serving(model, "--cache.url", "off://", cwd=workdir) as other:
        report = bench(quick(model, over="http", clients=(2,), against=(Against(other.url),)))
    name = other.url.removeprefix("http://")
    for cell in report.cells:
        assert [figures.target for figures in cell.targets] == ["rerankd", name]
        ours, theirs = cell.targets
        assert (ours.requests, ours.errors) == (theirs.requests, theirs.errors)
        assert ours.errors == 0
        assert (ours.cpu_cores is not None, theirs.cpu_cores) == (True, None)
        (comparison,) = cell.comparisons
        assert comparison.ratio
        assert 0.1 < comparison.ratio.median < 10  # the same server twice
        assert comparison.agreement == pytest.approx(1.0)
    assert report.memory.process == "the server, its caches off"
    assert report.memory.peak_bytes is None or report.memory.peak_bytes > 20 << 20
    assert report.start.first_score_s[0] > 0


def test_a_server_of_another_model_and_its_failures_are_told(model: str, workdir: Path) -> None:
    service = FakeService()
    with running_fake(service) as url:
        report = bench(quick(model, clients=(1,), documents=(5,), against=(Against(url, dialect="tei"),)))
    assert "orders the documents differently" in "\n".join(remarks(report))
    assert {len(request.documents) for request, _ in service.asked} == {2, 5, 20}


def test_a_users_own_requests_are_sent_and_nothing_else(model: str, workdir: Path) -> None:
    lines = [{"query": f"own {i}", "documents": [f"text {i} {j}" for j in range(4)]} for i in range(3)]
    file = workdir / "own.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    service = FakeService()
    with running_fake(service) as url:
        report = bench(quick(model, file=file, clients=(1, 2), against=(Against(url),)))
    assert [(cell.documents, cell.clients) for cell in report.cells] == [(None, 1), (None, 2)]
    asked = {request.query for request, _ in service.asked}
    assert asked == {"own 0", "own 1", "own 2", "What is the capital of France?"}


def test_two_servers_of_one_address_are_refused(model: str, workdir: Path) -> None:
    with running_fake(FakeService()) as url, pytest.raises(ConfigError, match="same address"):
        bench(quick(model, against=(Against(url), Against(url))))


def test_a_server_that_does_not_rerank_ends_the_bench(model: str, workdir: Path) -> None:
    with pytest.raises(ServerUnreachable, match="does not rerank"):
        bench(quick(model, against=(Against("http://127.0.0.1:9"),)))


def test_a_cold_start_is_timed_and_weighed(model: str, workdir: Path) -> None:
    found = cold_start(model, Settings(), [BenchRequest("q", ("a", "b"))] * 5)
    assert 0 < found.ready_s < found.first_score_s < 60
    if found.bare_bytes is not None and found.loaded_bytes is not None:
        assert found.after_bytes
        assert found.peak_bytes
        assert found.bare_bytes < found.loaded_bytes <= found.peak_bytes


def test_a_cold_start_that_fails_says_why(workdir: Path) -> None:
    with pytest.raises(EngineFailure, match=r"gone"):
        cold_start("./gone", Settings())


def test_our_server_that_cannot_start_says_why(workdir: Path) -> None:
    with pytest.raises(ServerUnreachable, match=r"ended with exit code 3.*gone"), own_server(["--config", "gone"]):
        pass


def test_our_server_whose_model_cannot_be_loaded_says_why(workdir: Path) -> None:
    with pytest.raises(ModelLoadError, match="gone"), own_server(["./gone"]):
        pass
