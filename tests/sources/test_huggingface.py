"""The Hugging Face hub, read by its own client, over real sockets, with faults on the wire."""

import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hub.huggingface import HuggingFaceHub
from hub.server import Fault, closed_port, files_of, running, sha256
from rerankd.errors import ChecksumMismatch, DownloadFailed, ModelLoadError, UnsupportedModel
from rerankd.sources.base import Access, Reference
from rerankd.sources.huggingface import SOURCE
from rerankd.types import Progress
from sources.conftest import NEEDED, REPOSITORY, pushed

WEIGHTS = pushed()["model.safetensors"]


def fetch(access: Access, revision: str = "", report: Callable[[Progress], None] = lambda _: None) -> Path:
    return SOURCE.fetch(Reference("huggingface", REPOSITORY, revision), access, report)


def assert_whole(folder: Path) -> None:
    assert files_of(folder) == {name: pushed()[name] for name in NEEDED}


def nothing_is_half_done(access: Access) -> bool:
    return not list(access.store.rglob("*.part")) and not list((access.store / "models").glob("*/*/snapshots/*/*/*"))


def test_only_what_is_needed_is_fetched(access: Access, hub: HuggingFaceHub) -> None:
    assert_whole(fetch(access))
    assert not [asked.path for asked in hub.asked if asked.path.endswith((".py", ".bin", ".onnx", ".h5", ".xml"))]


def test_what_is_here_is_served_without_a_call(
    access: Access, hub: HuggingFaceHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetch(access)
    hub.asked.clear()

    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert fetch(access) == folder
    assert fetch(replace(access, offline=True)) == folder
    assert SOURCE.find(Reference("huggingface", REPOSITORY), access) == folder
    assert not hub.asked


def test_offline_reaches_out_to_nobody(access: Access, hub: HuggingFaceHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(DownloadFailed, match=r"models\.offline.*bundle import.*\./folder"):
        fetch(replace(access, offline=True))
    assert not hub.asked


def test_a_revision_is_a_branch_a_tag_or_a_commit(access: Access, hub: HuggingFaceHub) -> None:
    repository = hub.repository(REPOSITORY)
    first = repository.refs["main"]
    second = repository.push({**pushed(), "README.md": b"# Newer"}, "v2.0/rc-1")
    assert (fetch(access) / "README.md").read_bytes() == b"# Tiny"
    newer = fetch(access, "v2.0/rc-1")
    assert (newer / "README.md").read_bytes() == b"# Newer"
    hub.asked.clear()
    assert fetch(access, second) == newer
    assert fetch(access, first) == fetch(access)
    assert not hub.asked, "a commit that is here is known by its name"
    with pytest.raises(DownloadFailed, match=r"no revision 'v9'"):
        fetch(access, "v9")


def test_progress_is_told_in_bytes_up_to_the_whole(access: Access) -> None:
    told: list[Progress] = []
    fetch(access, report=told.append)
    total = sum(len(pushed()[name]) for name in NEEDED)
    assert told[-1] == Progress(total, total)
    assert [each.done_bytes for each in told] == sorted(each.done_bytes for each in told)


def test_what_the_report_raises_ends_the_download(access: Access, hub: HuggingFaceHub) -> None:
    hub.faults.append(Fault("GET /cdn/", slow_bytes_s=10_000))

    def stop(_: Progress) -> None:
        raise ModelLoadError("the server is shutting down")

    with pytest.raises(ModelLoadError, match="shutting down"):
        fetch(access, report=stop)


# --- mirrors


def test_a_dead_hub_is_answered_by_the_next_mirror_and_the_reason_is_logged(
    access: Access, mirror: HuggingFaceHub, caplog: pytest.LogCaptureFixture
) -> None:
    dead = closed_port()
    with caplog.at_level(logging.WARNING, "rerankd"):
        folder = fetch(replace(access, hf_endpoint=dead, mirrors=(mirror.url,)))
    assert_whole(folder)
    assert f"{dead} does not deliver {REPOSITORY}: cannot be reached" in caplog.text


def test_when_all_are_dead_each_address_each_answer_and_three_ways_out_are_said(
    access: Access, hub: HuggingFaceHub, mirror: HuggingFaceHub
) -> None:
    dead = closed_port()
    hub.faults.append(Fault(status=503))
    mirror.faults.append(Fault(body=b"<html>please log in</html>"))
    with pytest.raises(DownloadFailed) as failure:
        fetch(replace(access, hf_endpoint=dead, mirrors=(hub.url, f"http://me:secret@{mirror.url[7:]}")))
    lines = str(failure.value).splitlines()
    assert lines[1].startswith(f"  {dead}: cannot be reached (")
    assert lines[2] == f"  {hub.url}: answered 503 Service Unavailable"
    assert lines[3] == f"  {mirror.url}: answered what no hub answers (a proxy or a login page?)"
    assert all(way in lines[4] for way in ("models.mirrors", "rerankd serve ./folder", "rerankd bundle import"))
    assert "secret" not in str(failure.value)
    assert len(failure.value.tried) == 3


def test_a_mirror_goes_on_where_the_hub_broke_off(access: Access, hub: HuggingFaceHub, mirror: HuggingFaceHub) -> None:
    hub.faults += [Fault("GET /cdn/", times=1, cut_after=30_000), Fault("GET /cdn/", status=403)]
    hub.repository(REPOSITORY).push({**pushed(), "tokenizer.json": b"{}"}, "main")
    mirror.repository(REPOSITORY).push({**pushed(), "tokenizer.json": b"{}"}, "main")
    fetch(replace(access, mirrors=(mirror.url,)))
    assert [asked.start for asked in mirror.got("/cdn/")] == [30_000]


def test_the_token_is_shown_to_the_hub_alone_unless_mirrors_may_have_it(
    access: Access, hub: HuggingFaceHub, mirror: HuggingFaceHub
) -> None:
    hub.faults.append(Fault("/resolve/", status=403))
    with_token = replace(access, hf_token="secret", mirrors=(mirror.url,))
    fetch(with_token)
    assert {asked.headers.get("authorization") for asked in hub.asked} == {"Bearer secret"}
    assert {asked.headers.get("authorization") for asked in mirror.asked} == {None}
    mirror.asked.clear()
    fetch(replace(with_token, store=access.store / "other", mirrors_get_token=True))
    at_hub = {asked.headers.get("authorization") for asked in mirror.asked if not asked.path.startswith("/cdn")}
    at_cdn = {asked.headers.get("authorization") for asked in mirror.asked if asked.path.startswith("/cdn")}
    assert (at_hub, at_cdn) == ({"Bearer secret"}, {None})


# --- tokens


def test_a_private_model_needs_its_token_and_the_cdn_never_sees_it(access: Access, hub: HuggingFaceHub) -> None:
    hub.repository(REPOSITORY).token = "secret"
    with pytest.raises(DownloadFailed, match=r"answered 401: there is no such repository, or it is private.*HF_TOKEN"):
        fetch(access)
    with pytest.raises(DownloadFailed, match=r"answered 404: .*the token given has no access"):
        fetch(replace(access, hf_token="wrong"))
    assert_whole(fetch(replace(access, hf_token="secret")))


@pytest.mark.parametrize(("token", "status"), [("", 401), ("wrong", 403)])
def test_a_gated_model_says_that_access_must_be_asked_for(
    token: str, status: int, access: Access, hub: HuggingFaceHub
) -> None:
    repository = hub.repository(REPOSITORY)
    repository.token, repository.gated = "secret", True
    with pytest.raises(DownloadFailed, match=f"answered {status}: access must be asked for on the repository's page"):
        fetch(replace(access, hf_token=token))


# --- faults in bodies


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET /cdn/", times=1, cut_after=50_000),
        Fault("GET /cdn/", times=2, status=503),
        Fault("GET /cdn/", times=1, status=429, headers={"Retry-After": "1"}),
        Fault("GET /cdn/", times=1, corrupt=True),
        Fault("GET /cdn/", times=1, silent_s=3),
        Fault("resolve", times=1, status=500),
        Fault("/api/models", times=1, status=502),
        Fault("/api/models", times=1, status=429),
    ],
    ids=["cut", "503", "429", "corrupt", "silent", "500 before the CDN", "502 of metadata", "429 of metadata"],
)
def test_a_passing_fault_is_got_over(fault: Fault, access: Access, hub: HuggingFaceHub) -> None:
    hub.faults.append(fault)
    assert_whole(fetch(access))
    assert fault.times == 0, "the fault did happen"


def test_a_body_that_breaks_off_goes_on_where_it_stopped(access: Access, hub: HuggingFaceHub) -> None:
    hub.faults += [Fault(f"GET /cdn/{sha256(WEIGHTS)}", times=1, cut_after=60_000)]
    assert_whole(fetch(access))
    assert [asked.start for asked in hub.got(sha256(WEIGHTS))] == [0, 60_000]


def test_a_server_without_ranges_sends_the_whole_again(access: Access, hub: HuggingFaceHub) -> None:
    hub.faults += [
        Fault(f"GET /cdn/{sha256(WEIGHTS)}", times=1, cut_after=60_000),
        Fault("GET /cdn/", times=1, no_ranges=True),
    ]
    assert_whole(fetch(access))


def test_a_wrong_checksum_is_refused_and_nothing_of_it_appears(access: Access, hub: HuggingFaceHub) -> None:
    hub.faults.append(Fault("GET /cdn/", corrupt=True))
    with pytest.raises(ChecksumMismatch, match="is not the file that its hub describes"):
        fetch(access)
    assert nothing_is_half_done(access)
    hub.faults.clear()
    assert_whole(fetch(access))


def test_a_small_file_is_checked_against_gits_name_of_it(access: Access, hub: HuggingFaceHub) -> None:
    hub.faults.append(Fault(r"GET /.*/vocab\.txt", corrupt=True))
    with pytest.raises(ChecksumMismatch, match=r"vocab\.txt"):
        fetch(access)


def test_a_mirror_with_damaged_files_is_passed_over(
    access: Access, hub: HuggingFaceHub, mirror: HuggingFaceHub, caplog: pytest.LogCaptureFixture
) -> None:
    hub.faults.append(Fault("GET /cdn/", corrupt=True))
    assert_whole(fetch(replace(access, mirrors=(mirror.url,))))
    assert "its checksum differs" in caplog.text


def test_a_hub_that_sends_too_much_is_not_believed(access: Access, hub: HuggingFaceHub) -> None:
    hub.faults.append(Fault("GET /cdn/", body=b"x" * 300_000))
    with pytest.raises(DownloadFailed, match="sent more than"):
        fetch(access)


def test_a_full_disk_is_said_before_the_first_byte(
    access: Access, hub: HuggingFaceHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(DownloadFailed, match=r"needs 0 MB more and 1 MB are free.*models\.store"):
        fetch(access)
    assert not hub.got("resolve")


# --- repositories that cannot be served


def test_pickles_are_never_fetched(access: Access, hub: HuggingFaceHub) -> None:
    files = {name: data for name, data in pushed().items() if name not in ("model.safetensors", "onnx/model.onnx")}
    hub.repository(REPOSITORY).push(files, "main")
    with pytest.raises(UnsupportedModel, match="pickles only"):
        fetch(access)
    assert not hub.got("resolve")


def test_names_that_lead_out_of_the_folder_are_not_fetched(access: Access, hub: HuggingFaceHub) -> None:
    evil = {
        "../../evil.json": b"{}",
        "/etc/evil.json": b"{}",
        "a\\..\\..\\evil.json": b"{}",
        "x/../../evil.json": b"{}",
    }
    hub.repository(REPOSITORY).push({**pushed(), **evil}, "main")
    assert_whole(fetch(access))
    assert not list(access.store.parent.rglob("*evil*"))


def test_xet_storage_is_not_needed(tmp_path: Path, access: Access) -> None:
    hub = HuggingFaceHub(xet=True)
    hub.repository(REPOSITORY).push(pushed(), "main")
    with running(hub):
        assert_whole(fetch(replace(access, hf_endpoint=hub.url)))
    assert not hub.got("xet")


# --- what others have fetched


def test_a_model_in_the_hub_clients_cache_is_served_from_there(access: Access, hub: HuggingFaceHub) -> None:
    from huggingface_hub import snapshot_download

    cache = access.store.parent / "hf"
    snapshot_download(REPOSITORY, cache_dir=cache, endpoint=hub.url, token=False)
    hub.asked.clear()
    folder = fetch(replace(access, hf_cache=cache))
    assert folder.is_relative_to(cache)
    assert not hub.asked


def test_a_half_of_a_model_in_the_hub_clients_cache_is_not_taken_for_it(access: Access, hub: HuggingFaceHub) -> None:
    from huggingface_hub import snapshot_download

    cache = access.store.parent / "hf"
    snapshot_download(REPOSITORY, cache_dir=cache, endpoint=hub.url, token=False, allow_patterns=["*.json"])
    assert fetch(replace(access, hf_cache=cache)).is_relative_to(access.store)


# --- the hub of these tests is one


def test_the_hubs_own_client_downloads_from_the_hub_of_these_tests(tmp_path: Path, hub: HuggingFaceHub) -> None:
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(REPOSITORY, cache_dir=tmp_path, endpoint=hub.url, token=False))
    assert files_of(folder) == pushed()
