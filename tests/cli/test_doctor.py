"""`rerankd doctor` says of each thing whether it is well, and what to do if not."""

import hashlib
import json
import socket
from pathlib import Path

import pytest

from cli_runs import Run
from rerankd.cli import checks
from rerankd.cli.checks import Check, Status
from rerankd.registry import catalog
from rerankd.sources.base import Reference


@pytest.fixture
def only_the_tiny_model(tiny_model: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation whose one bundled model is the tiny one, with its digests; returns its folder."""
    import rerankd

    folder = workdir / "bundled" / "tiny"
    folder.mkdir(parents=True)
    digests: dict[str, dict[str, str]] = {}
    for file in tiny_model.iterdir():
        data = file.read_bytes()
        (folder / file.name).write_bytes(data)
        digests[file.name] = {"sha256": hashlib.sha256(data).hexdigest()}
    (folder / "card.json").write_text(json.dumps({"files": digests}))
    card = catalog.Card(
        id="tiny",
        title="Tiny",
        description="Random weights.",
        languages=("en",),
        licence="MIT",
        family="cross_encoder",
        max_tokens=64,
        references=(Reference("bundled", "tiny"),),
        names=("tiny",),
    )
    monkeypatch.setattr(catalog, "cards", lambda: (card,))
    monkeypatch.setattr(rerankd, "__file__", str(workdir / "__init__.py"))
    return folder


def found(config_file: Path | None = None) -> dict[str, Check]:
    return {check.name: check for check in checks.run(config_file)}


@pytest.mark.usefixtures("only_the_tiny_model")
def test_everything_that_matters_is_looked_at(run: Run) -> None:
    outcome = run("doctor", "--json")
    answer = json.loads(outcome.out)
    names = {check["name"] for check in answer["checks"]}
    assert names >= {"settings", "rerankd", "onnxruntime", "tokenizers", "numpy", "uvloop", "cores", "memory"}
    assert names >= {"engine onnx", "engine", "port", "store", "files of tiny", "test ranking with tiny"}
    assert all(check["remedy"] for check in answer["checks"] if check["status"] != "ok")
    assert answer["ok"] == (outcome.code == 0)
    assert answer["ok"] == all(check["status"] != "fail" for check in answer["checks"])


@pytest.mark.usefixtures("only_the_tiny_model")
def test_on_paper_a_line_begins_with_its_status(run: Run) -> None:
    lines = run("doctor").out.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "warn", "fail", "→"}


def test_a_damaged_file_is_named_and_nothing_is_ranked_with_it(only_the_tiny_model: Path, run: Run) -> None:
    assert found()["files of tiny"].status is Status.OK
    (only_the_tiny_model / "model.safetensors").write_bytes(b"damaged")
    (only_the_tiny_model / "tokenizer.json").unlink()
    checked = found()
    damaged = checked["files of tiny"].found.removeprefix("damaged or missing: ")
    assert sorted(damaged.split(", ")) == ["model.safetensors", "tokenizer.json"]
    assert "test ranking with tiny" not in checked
    assert run("doctor").code == 1


def test_a_missing_model_is_a_failure_with_a_remedy(only_the_tiny_model: Path) -> None:
    (only_the_tiny_model / "config.json").unlink()
    check = found()["files of tiny"]
    assert (check.status, check.remedy) == (Status.FAIL, "reinstall rerankd")


@pytest.mark.usefixtures("only_the_tiny_model")
def test_wrong_settings_are_a_failure_and_the_rest_is_looked_at(workdir: Path, run: Run) -> None:
    (workdir / "wrong.toml").write_text("[server]\nprot = 1\n")
    checked = found(workdir / "wrong.toml")
    assert checked["settings"].status is Status.FAIL
    assert "server.port" in checked["settings"].found
    assert checked["store"].status is Status.OK
    assert run("doctor", "--config", "wrong.toml").code == 1


@pytest.mark.usefixtures("only_the_tiny_model")
def test_a_port_in_use_is_a_warning(workdir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (workdir / "mine.toml").write_text(f"[server]\nport = {taken.getsockname()[1]}\n")
        assert found(workdir / "mine.toml")["port"].status is Status.WARN
    assert found(workdir / "mine.toml")["port"].status is Status.OK


@pytest.mark.usefixtures("only_the_tiny_model")
def test_a_store_that_cannot_be_written_is_a_failure(workdir: Path) -> None:
    (workdir / "file").touch()
    (workdir / "mine.toml").write_text('[models]\nstore = "file/store"\n')
    assert found(workdir / "mine.toml")["store"].status is Status.FAIL


@pytest.mark.usefixtures("only_the_tiny_model")
def test_more_workers_than_cores_are_a_warning(workdir: Path) -> None:
    (workdir / "mine.toml").write_text("[scheduling]\nworkers = 1000\n")
    check = found(workdir / "mine.toml")["cores"]
    assert check.status is Status.WARN
    assert "scheduling.workers" in check.remedy


@pytest.mark.usefixtures("only_the_tiny_model")
def test_caches_larger_than_the_memory_are_a_warning(workdir: Path) -> None:
    assert found()["memory"].status is Status.OK
    (workdir / "mine.toml").write_text("[models]\ndocument_cache_mb = 1048576\n")
    check = found(workdir / "mine.toml")["memory"]
    assert (check.status, check.remedy) == (Status.WARN, "lower models.document_cache_mb or cache.max_mb")
