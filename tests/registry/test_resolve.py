"""Names people type."""

from pathlib import Path

import pytest

from rerankd.errors import ConfigError
from rerankd.registry.catalog import cards, find
from rerankd.registry.resolve import lasting, resolve


def test_the_bundled_model_is_known_in_any_case() -> None:
    assert resolve("Rerankd-ZH-en").id == "rerankd-zh-en"


def test_every_card_has_an_id_that_every_client_can_use() -> None:
    for card in cards():
        assert "/" not in card.id
        assert "rerank" in card.id, "RAGFlow takes a model without this word for an embedding model"
        assert find(card.id) is card


def test_a_folder_is_served_under_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my-reranker").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("./my-reranker", str(tmp_path / "my-reranker"), "./my-reranker/"):
        entry = resolve(name)
        assert (entry.id, entry.reference.source) == ("my-reranker", "local")


def test_an_unknown_name_is_refused_with_the_nearest_and_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean rerankd-zh-en\?.*\./my-model"):
        resolve("rerank-zh-en")


def test_a_model_can_be_served_under_a_name_of_ones_own(tmp_path: Path) -> None:
    entry = resolve(f"BAAI/bge-reranker-v2-m3={tmp_path}")
    assert entry.id == "bge-reranker-v2-m3"
    assert entry.names == ("bge-reranker-v2-m3", "BAAI/bge-reranker-v2-m3")
    assert entry.reference.source == "local"
    assert resolve("house-rerank=rerankd-zh-en").names == ("house-rerank",)
    with pytest.raises(ConfigError, match="must not end in /"):
        resolve(f"BAAI/={tmp_path}")


@pytest.mark.parametrize(
    "name",
    ["bge-reranker-v2-m3", "BAAI/bge-reranker-v2-m3", "hf:BAAI/bge-reranker-v2-m3", "BAAI/bge-reranker-v2-m3@main",
     "org/name", "org/name@v1.0", "modelscope:org/name", "mine=org/name", "acme/mine=modelscope:org/name@v2",
     "acme/mine=rerankd-zh-en", "bundle:mine", "rerankd-zh-en", "./folder", "acme/mine=./folder", "x=./a=b"],
)  # fmt: skip
def test_a_name_that_is_written_down_means_the_same_model_from_another_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("here/folder", "here/a=b", "there"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    meant = resolve(name)
    written = lasting(meant)
    monkeypatch.chdir(tmp_path / "there")
    found = resolve(written)
    assert (found.id, found.names, found.card, found.alternatives) == (
        meant.id, meant.names, meant.card, meant.alternatives,
    )  # fmt: skip
    if meant.reference.source == "local":
        assert Path(found.reference.repository) == (tmp_path / "here" / meant.reference.repository).resolve()
    else:
        assert found.reference == meant.reference
