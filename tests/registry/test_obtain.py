"""A model of the catalog comes from whichever place has it."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hub.huggingface import HuggingFaceHub
from hub.modelscope import ModelScopeHub
from hub.server import Fault, running
from rerankd.errors import DownloadFailed
from rerankd.registry.obtain import find, obtain
from rerankd.registry.resolve import Entry
from rerankd.sources.base import Access, Reference

FILES = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"{}"}
BOTH = Entry(
    "tiny-reranker", ("tiny-reranker",), Reference("huggingface", "example/tiny"),
    alternatives=(Reference("modelscope", "Example/tiny-ms"),),
)  # fmt: skip


@pytest.fixture
def hub() -> Iterator[HuggingFaceHub]:
    with running(HuggingFaceHub()) as hub:
        hub.repository("example/tiny").push(FILES, "main")
        yield hub


@pytest.fixture
def modelscope() -> Iterator[ModelScopeHub]:
    with running(ModelScopeHub()) as hub:
        hub.repository("Example/tiny-ms").push(FILES, "master")
        yield hub


@pytest.fixture
def access(tmp_path: Path, hub: HuggingFaceHub, modelscope: ModelScopeHub) -> Access:
    return Access(tmp_path, hf_endpoint=hub.url, modelscope_endpoint=modelscope.url, timeout_s=2)


def test_the_first_place_is_asked_and_no_other(access: Access, modelscope: ModelScopeHub) -> None:
    folder = obtain(BOTH, access, lambda _: None)
    assert folder.name == "tiny"
    assert find(BOTH, access) == folder
    assert not modelscope.asked


def test_where_the_hub_does_not_deliver_modelscope_does(
    access: Access, hub: HuggingFaceHub, caplog: pytest.LogCaptureFixture
) -> None:
    hub.faults.append(Fault(status=403))
    with caplog.at_level(logging.WARNING, "rerankd"):
        assert obtain(BOTH, access, lambda _: None).name == "tiny-ms"
    assert "huggingface does not deliver tiny-reranker" in caplog.text


def test_the_preferred_place_is_asked_first(access: Access, hub: HuggingFaceHub) -> None:
    assert obtain(BOTH, access, lambda _: None, prefer="modelscope").name == "tiny-ms"
    assert not hub.asked


def test_what_is_here_is_not_fetched_again_from_the_preferred_place(access: Access, modelscope: ModelScopeHub) -> None:
    here = obtain(BOTH, access, lambda _: None)
    assert obtain(BOTH, access, lambda _: None, prefer="modelscope") == here
    assert not modelscope.asked


def test_when_no_place_delivers_all_addresses_are_named(
    access: Access, hub: HuggingFaceHub, modelscope: ModelScopeHub
) -> None:
    hub.faults.append(Fault(status=403))
    modelscope.faults.append(Fault(status=404))
    with pytest.raises(DownloadFailed) as failure:
        obtain(BOTH, access, lambda _: None)
    assert [address for address, _ in failure.value.tried] == [hub.url, modelscope.url]
    assert str(failure.value).count("Ways out") == 1


def test_offline_says_so_and_asks_nobody(access: Access, hub: HuggingFaceHub, modelscope: ModelScopeHub) -> None:
    with pytest.raises(DownloadFailed, match=r"models\.offline"):
        obtain(BOTH, replace(access, offline=True), lambda _: None)
    assert not hub.asked
    assert not modelscope.asked
