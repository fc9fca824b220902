"""ModelScope over real sockets; its own client, too, takes the server of these tests for the real one."""

from dataclasses import replace
from pathlib import Path

import pytest

from hub.modelscope import ModelScopeHub
from hub.server import Fault, closed_port, files_of, sha256
from rerankd.errors import ChecksumMismatch, DownloadFailed, UnsupportedModel
from rerankd.sources.base import Access, Reference
from rerankd.sources.modelscope import SOURCE
from sources.conftest import NEEDED, REPOSITORY, pushed


@pytest.fixture
def here(access: Access, modelscope: ModelScopeHub) -> Access:
    return replace(access, modelscope_endpoint=modelscope.url)


def fetch(access: Access, revision: str = "") -> Path:
    return SOURCE.fetch(Reference("modelscope", REPOSITORY, revision), access, lambda _: None)


def assert_whole(folder: Path) -> None:
    assert files_of(folder) == {name: pushed()[name] for name in NEEDED}


def test_a_model_is_fetched_once_and_then_served_without_a_call(here: Access, modelscope: ModelScopeHub) -> None:
    folder = fetch(here)
    assert_whole(folder)
    modelscope.asked.clear()
    assert fetch(here) == folder
    assert fetch(replace(here, offline=True)) == folder
    assert not modelscope.asked


def test_a_revision_is_asked_for_by_its_name(here: Access, modelscope: ModelScopeHub) -> None:
    modelscope.repository(REPOSITORY).push({**pushed(), "README.md": b"# Newer"}, "v2")
    assert (fetch(here, "v2") / "README.md").read_bytes() == b"# Newer"
    assert_whole(fetch(here))
    with pytest.raises(DownloadFailed, match="answered 404: there is no such repository or revision"):
        fetch(here, "v3")


def test_a_private_model_needs_its_token_and_the_cdn_never_sees_it(here: Access, modelscope: ModelScopeHub) -> None:
    modelscope.repository(REPOSITORY).token = "secret"
    with pytest.raises(DownloadFailed, match=r"answered 403: the repository is private: set models\.modelscope_token"):
        fetch(here)
    assert_whole(fetch(replace(here, modelscope_token="secret")))
    at_cdn = [asked for asked in modelscope.asked if asked.path.startswith("/cdn/")]
    assert at_cdn
    assert not [asked for asked in at_cdn if {"authorization", "cookie"} & asked.headers.keys()]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET /cdn/", times=1, cut_after=50),
        Fault("GET /cdn/", times=2, status=500),
        Fault("GET /cdn/", times=1, corrupt=True),
        Fault("/repo/files", times=1, status=503),
    ],
    ids=["cut", "500", "corrupt", "503 of the list"],
)
def test_a_passing_fault_is_got_over(fault: Fault, here: Access, modelscope: ModelScopeHub) -> None:
    modelscope.faults.append(fault)
    assert_whole(fetch(here))
    assert fault.times == 0


def test_a_body_that_breaks_off_goes_on_where_it_stopped(here: Access, modelscope: ModelScopeHub) -> None:
    weights = sha256(pushed()["model.safetensors"])
    modelscope.faults.append(Fault(f"GET /cdn/{weights}", times=1, cut_after=70_000))
    assert_whole(fetch(here))
    assert [asked.start for asked in modelscope.got(weights)] == [0, 70_000]


def test_a_wrong_checksum_is_refused(here: Access, modelscope: ModelScopeHub) -> None:
    modelscope.faults.append(Fault("GET /cdn/", corrupt=True))
    with pytest.raises(ChecksumMismatch):
        fetch(here)


def test_what_is_no_modelscope_is_said(here: Access, modelscope: ModelScopeHub) -> None:
    modelscope.faults.append(Fault(body=b"<html>log in</html>"))
    with pytest.raises(DownloadFailed, match=r"answered what ModelScope does not answer[\s\S]*Ways out"):
        fetch(here)
    with pytest.raises(DownloadFailed, match=r"cannot be reached[\s\S]*Ways out"):
        fetch(replace(here, modelscope_endpoint=closed_port()))


def test_pickles_are_never_fetched(here: Access, modelscope: ModelScopeHub) -> None:
    modelscope.repository(REPOSITORY).push({"config.json": b"{}", "pytorch_model.bin": b"pickle"}, "master")
    with pytest.raises(UnsupportedModel, match="pickles only"):
        fetch(here)


def test_modelscopes_own_client_downloads_from_the_server_of_these_tests(
    tmp_path: Path, modelscope: ModelScopeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
    from modelscope_hub import HubApi

    api = HubApi(endpoint=modelscope.url)
    folder = api.download_repo(REPOSITORY, "model", local_dir=tmp_path / "here", revision="master")
    there = files_of(Path(str(folder)))
    assert {name: there.get(name) for name in pushed()} == pushed()
