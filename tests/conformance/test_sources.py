"""What every source promises."""

from pathlib import Path
from typing import cast

import pytest

from rerankd import plugins
from rerankd.errors import DownloadFailed
from rerankd.registry.catalog import cards
from rerankd.sources.base import Reference, Source

SOURCES = plugins.names("sources")


def source_of(name: str) -> Source:
    return cast("Source", plugins.load("sources", name))


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_not_there_is_a_clear_failure_without_a_path(name: str, tmp_path: Path) -> None:
    missing = tmp_path / "no-such-model"
    with pytest.raises(DownloadFailed, match="no-such-model") as failure:
        source_of(name).fetch(Reference(name, str(missing) if name == "local" else "no-such-model"))
    assert str(tmp_path) not in str(failure.value)


@pytest.mark.parametrize("name", SOURCES)
def test_a_catalog_name_belongs_to_no_source(name: str) -> None:
    assert not any(source_of(name).owns(card.id) for card in cards())


def test_every_bundled_card_has_its_files() -> None:
    for card in cards():
        if card.source.source == "bundled":
            assert (source_of("bundled").fetch(card.source) / "config.json").is_file()


def test_a_folder_is_served_in_place(tmp_path: Path) -> None:
    assert source_of("local").fetch(Reference("local", str(tmp_path))) == tmp_path


def test_a_file_is_no_model_folder(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.touch()
    with pytest.raises(DownloadFailed, match="is a file, not a folder"):
        source_of("local").fetch(Reference("local", str(file)))


@pytest.mark.parametrize("name", ["./m", "../m", "~/m", "/m", "."])
def test_a_path_belongs_to_the_local_source_alone(name: str) -> None:
    assert [source for source in SOURCES if source_of(source).owns(name)] == ["local"]
