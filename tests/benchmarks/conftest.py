"""A tiny model among the shapes, and everything that is made in a folder of the test's own."""

from pathlib import Path

import pytest

from comparison import places, shapes

TINY = "tiny"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    shape = shapes.Shape("bert", 2, 32, 4, 512, 3000, 3000, "nothing published")
    monkeypatch.setitem(shapes.SHAPES, TINY, shape)
    monkeypatch.setattr(places, "CACHE", tmp_path / "cache")
    return TINY


@pytest.fixture
def tiny_roberta(tiny: str, monkeypatch: pytest.MonkeyPatch) -> str:
    shape = shapes.Shape("xlm-roberta", 2, 32, 4, 514, 24_100, 24_000, "nothing published")
    monkeypatch.setitem(shapes.SHAPES, TINY, shape)
    return tiny
