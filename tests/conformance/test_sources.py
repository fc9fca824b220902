"""What every source promises."""

from pathlib import Path
from typing import cast

import pytest

from rerankd import plugins
from rerankd.errors import DownloadFailed
from rerankd.registry.catalog import cards
from rerankd.sources.base import Access, Reference, Source

SOURCES = plugins.names("sources")


def source_of(name: str) -> Source:
    return cast("Source", plugins.load("sources", name))


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_not_there_is_a_clear_failure_without_a_path(name: str, tmp_path: Path) -> None:
    missing = tmp_path / "no-such-model"
    reference = Reference(name, str(missing) if name == "local" else "example/no-such-model")
    access = Access(tmp_path / "store", offline=True)
    assert source_of(name).find(reference, access) is None
    with pytest.raises(DownloadFailed, match="no-such-model") as failure:
        source_of(name).fetch(reference, access, lambda _: None)
    assert str(tmp_path) not in str(failure.value)


@pytest.mark.parametrize("name", SOURCES)
def test_a_catalog_name_belongs_to_no_source(name: str) -> None:
    assert not any(source_of(name).refer(card.id) for card in cards())


def test_every_bundled_card_has_its_files(tmp_path: Path) -> None:
    for card in cards():
        if card.source.source == "bundled":
            folder = source_of("bundled").fetch(card.source, Access(tmp_path, offline=True), lambda _: None)
            assert (folder / "config.json").is_file()


@pytest.mark.parametrize("name", ["./m", "../m", "~/m", "/m", "."])
def test_a_path_belongs_to_the_local_source_alone(name: str) -> None:
    assert [source for source in SOURCES if source_of(source).refer(name)] == ["local"]


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("BAAI/bge-reranker-base", Reference("huggingface", "BAAI/bge-reranker-base")),
        ("hf:BAAI/bge-reranker-base", Reference("huggingface", "BAAI/bge-reranker-base")),
        ("BAAI/bge-reranker-base@v1", Reference("huggingface", "BAAI/bge-reranker-base", "v1")),
        ("hf:org/na.me_1@refs/pr/3", Reference("huggingface", "org/na.me_1", "refs/pr/3")),
        ("modelscope:BAAI/bge@v1", Reference("modelscope", "BAAI/bge", "v1")),
        ("bundle:house-rerank", Reference("bundle", "house-rerank")),
    ],
)
def test_a_reference_belongs_to_one_source(name: str, reference: Reference) -> None:
    found = [source_of(source).refer(name) for source in SOURCES]
    assert [each for each in found if each] == [reference]


@pytest.mark.parametrize(
    "name", ["tiny", "a/b/c", "modelscope:a", "bundle:../a", "bundle:a/b", "hf:../a", "a/b@", "http://a/b"]
)
def test_what_no_source_understands_is_left_alone(name: str) -> None:
    assert not any(source_of(source).refer(name) for source in SOURCES if source != "local")
