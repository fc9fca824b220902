"""What was loaded into a running server, on disk."""

import logging
from pathlib import Path

import pytest

from rerankd.registry.operated import Operated


def test_what_is_written_down_is_read_by_the_next_in_the_same_order(tmp_path: Path) -> None:
    file = tmp_path / "operated" / "port-1.json"
    first = Operated(file)
    assert first.names() == {}
    for id_ in ("b", "a", "c"):
        first.add(id_, f"org/{id_}")
    first.remove("a")
    first.remove("never")
    assert list(Operated(file).names().items()) == [("b", "org/b"), ("c", "org/c")]
    assert [each.name for each in file.parent.iterdir()] == [file.name], "nothing half-written is left"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"models": ["a"]}', "\xff"])
def test_a_damaged_file_is_said_and_replaced(content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "port-1.json"
    file.write_text(content, "latin-1")
    operated = Operated(file)
    with caplog.at_level(logging.WARNING):
        assert operated.names() == {}
    assert "port-1.json in the store" in caplog.text
    assert str(tmp_path) not in caplog.text
    operated.add("a", "org/a")
    assert Operated(file).names() == {"a": "org/a"}


def test_a_store_that_cannot_be_written_is_said_and_keeps_nobody_from_serving(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "operated").write_text("no folder")
    with caplog.at_level(logging.WARNING):
        Operated(tmp_path / "operated" / "port-1.json").add("a", "org/a")
    assert "the next start will not know" in caplog.text
