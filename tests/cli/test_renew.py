"""`rerankd load`, `unload`, `update`, `rollback`: against a live server, and on the store alone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from cli_runs import Run
from hub.huggingface import HuggingFaceHub
from hub.server import closed_port, files_of, running
from live_server import running as running_app
from rerankd.assembly import assemble
from rerankd.http.app import create_app
from rerankd.settings import AuthSettings, LoggingSettings, ModelsSettings, Settings
from tiny import tiny_bert

NAME = "example/tiny-reranker"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFaceHub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with running(HuggingFaceHub()) as hub:
        hub.repository(NAME).push(files_of(tiny_bert(tmp_path / "v1", seed=1)), "main")
        monkeypatch.setenv("RERANKD_MODELS__HF_ENDPOINT", hub.url)
        monkeypatch.setenv("RERANKD_MODELS__STORE", str(tmp_path / "store"))
        yield hub


@pytest.fixture
def url(tmp_path: Path, hub: HuggingFaceHub) -> Iterator[str]:
    settings = Settings(
        auth=AuthSettings(keys=(SecretStr("user"),), admin_keys=(SecretStr("root"),)),
        models=ModelsSettings(
            default=str(tiny_bert(tmp_path / "own", seed=9)), store=tmp_path / "served", hf_endpoint=hub.url
        ),
        logging=LoggingSettings(access=False),
    )
    with running_app(create_app(assemble(settings), settings)) as url:
        yield url


def push_second(hub: HuggingFaceHub, tmp_path: Path) -> str:
    return hub.repository(NAME).push(files_of(tiny_bert(tmp_path / "v2", seed=2)), "main")


def test_a_running_servers_models_are_loaded_renewed_and_unloaded(
    run: Run, url: str, hub: HuggingFaceHub, tmp_path: Path
) -> None:
    at = ("--url", url, "--api-key", "root")
    loaded = run("load", NAME, *at)
    assert (loaded.code, loaded.err.startswith("tiny-reranker: ready, ")) == (0, True), loaded.err
    first = hub.repository(NAME).refs["main"]
    second = push_second(hub, tmp_path)
    updated = run("update", NAME, *at)
    assert updated.err == f"tiny-reranker: updated, {first[:12]} -> {second[:12]}\n"
    assert json.loads(run("update", NAME, "--json", *at).out)["how"] == "unchanged"
    assert json.loads(run("rollback", NAME, "--json", *at).out)["after"] == first
    assert run("unload", NAME, *at).err == "tiny-reranker: unloaded\n"


def test_a_running_servers_store_is_filled_carried_away_and_emptied(
    run: Run, url: str, hub: HuggingFaceHub, tmp_path: Path
) -> None:
    at = ("--url", url, "--api-key", "root")
    pulled = json.loads(run("pull", NAME, "--json", *at).out)["models"]
    assert [(one["id"], one["was_here"], one["bytes"] > 1000) for one in pulled] == [("tiny-reranker", False, True)]
    assert not (tmp_path / "store" / "models").exists(), "it is the server's store that was filled"
    assert run("pull", NAME, *at).err.startswith("tiny-reranker: was here already, ")
    listed = json.loads(run("list", "--here", "--json", *at).out)["models"]
    assert {NAME, "rerankd-zh-en"} == {item["id"] for item in listed}
    assert NAME not in run("list", "--here").out
    shown = json.loads(run("show", NAME, "--json", *at).out)
    assert (shown["revision"], shown["files"]["config.json"] > 0) == (hub.repository(NAME).refs["main"], True)
    file = tmp_path / "out.tar"
    exported = run("bundle", "export", NAME, "-o", str(file), *at)
    assert exported.err.startswith(f"out.tar: {NAME}, "), exported.err
    digest = exported.err.split()[-1]
    assert run("rm", NAME, *at).err.startswith("tiny-reranker: removed, ")
    assert not list((tmp_path / "served" / "models").rglob("*.safetensors"))
    refused = run("bundle", "import", str(file), "--sha256", "00", *at)
    assert (refused.code, "not the one that was expected" in refused.err) == (3, True), refused.err
    hub.repository(NAME).refs.clear()
    imported = json.loads(run("bundle", "import", str(file), "--sha256", digest, "--json", *at).out)
    assert (imported["sha256"], imported["models"]) == (digest, [NAME])
    assert run("load", NAME, *at).code == 0, "from what was sent: the hub has nothing any more"
    assert "in use: unload it first" in run("rm", NAME, *at).err
    here = run("bundle", "import", str(file), "--json")
    assert json.loads(here.out) == imported, "the same file, into the store of this machine"


def test_what_cannot_be_told_to_a_server_is_said_before_anything_is_sent(run: Run, url: str, tmp_path: Path) -> None:
    missing = run("bundle", "import", "no.tar", "--url", url, "--api-key", "root")
    assert (missing.code, "no.tar" in missing.err) == (3, True), missing.err
    file = tmp_path / "some.tar"
    file.write_bytes(bytes(1 << 20))
    ordinary = run("bundle", "import", str(file), "--url", url, "--api-key", "user")
    assert (ordinary.code, "needs admin" in ordinary.err) == (1, True), ordinary.err
    nonsense = run("bundle", "import", str(file), "--url", url, "--api-key", "root")
    assert (nonsense.code, "no bundle" in nonsense.err) == (3, True), nonsense.err
    nowhere = run("bundle", "export", NAME, "-o", str(tmp_path / "no" / "x.tar"), "--url", url, "--api-key", "root")
    assert (nowhere.code, "cannot be written" in nowhere.err) == (3, True), nowhere.err
    assert run("pull", NAME, "--convert", "--url", url).code == 2


def test_failures_are_told_in_one_line(run: Run, url: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("user\n")
    ordinary = run("unload", "own", "--url", url, "--api-key", f"@{key}")
    assert (ordinary.code, "needs admin" in ordinary.err) == (1, True), ordinary.err
    unknown = run("load", "nonsense", "--url", url, "--api-key", "root")
    assert (unknown.code, "not known here" in unknown.err) == (3, True), unknown.err
    nothing = run("rollback", "own", "--url", url, "--api-key", "root")
    assert (nothing.code, "nothing to go back to" in nothing.err) == (3, True), nothing.err
    dead = closed_port()
    silent = run("load", NAME, "--url", dead)
    assert (silent.code, dead in silent.err) == (1, True), silent.err


def test_without_a_server_the_store_is_renewed_for_the_next_start(
    run: Run, hub: HuggingFaceHub, tmp_path: Path
) -> None:
    assert run("pull", NAME).code == 0
    first = hub.repository(NAME).refs["main"]
    second = push_second(hub, tmp_path)
    golden = tmp_path / "golden.jsonl"
    golden.write_text(json.dumps({"query": "fox", "positive": ["a fox"], "negative": ["Berlin"]}) + "\n")
    judged = run("update", NAME, "--golden", str(golden))
    assert "nDCG@10 on the golden set: " in judged.err or "ranks worse" in judged.err, judged.err
    assert run("update", NAME).code == 0
    shown = json.loads(run("show", NAME, "--json").out)
    assert shown["revision"] == second
    assert [change["how"] for change in shown["history"]] == ["updated"]
    assert run("rollback", NAME).err == f"tiny-reranker: rolled back, {second[:12]} -> {first[:12]}\n"
    again = run("rollback", NAME)
    assert (again.code, "nothing to go back to" in again.err) == (3, True)


def test_a_golden_set_of_ones_own_is_not_for_a_server(run: Run, tmp_path: Path) -> None:
    golden = tmp_path / "golden.jsonl"
    golden.write_text("{}")
    assert run("update", NAME, "--url", "http://127.0.0.1:9", "--golden", str(golden)).code == 2
