"""A plot is a file that programs can show, or a clear refusal before anything was measured."""

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench_reports import report
from rerankd.bench.plot import check_plot, draw
from rerankd.errors import ConfigError


def test_an_svg_is_xml_with_the_words_in_it(tmp_path: Path) -> None:
    draw(report(), tmp_path / "bench.svg")
    tree = ET.parse(tmp_path / "bench.svg")
    assert tree.getroot().tag == "{http://www.w3.org/2000/svg}svg"
    words = " ".join(tree.getroot().itertext())
    for word in ("a-model", "A processor", "tokens per second", "20 documents, rerankd", "4 clients, 127.0.0.1:8080"):
        assert word in words
    assert [file.name for file in tmp_path.iterdir()] == ["bench.svg"]


def test_a_png_is_a_picture_of_that_size(tmp_path: Path) -> None:
    draw(report(other=False), tmp_path / "bench.PNG")
    data = (tmp_path / "bench.PNG").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(data[16:20]) > 1000


def test_the_same_report_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        draw(report(), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


@pytest.mark.parametrize(("name", "told"), [("bench.pdf", "ends in .svg or .png"), ("gone/b.svg", "does not exist")])
def test_what_cannot_be_drawn_is_refused(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check_plot(tmp_path / name)


def test_without_matplotlib_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=r"pip install 'rerankd\[plots\]'"):
        check_plot(tmp_path / "bench.svg")
