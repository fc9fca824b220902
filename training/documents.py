"""Sections of documentation: a heading, and the text below it, out of HTML and Mallard pages."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "dt"})
_SKIPPED = frozenset({"script", "style", "nav", "header", "footer", "aside", "noscript", "pre", "button", "form"})
_ENDS = frozenset({"p", "li", "td", "th", "dd", "div", "br", "tr"})
_MALLARD = "{http://projectmallard.org/1.0/}"


@dataclass(frozen=True, slots=True)
class Section:
    """One section of one page; `page` is the page's path, the same in every language of a translated work."""

    page: str
    heading: str
    text: str


def html_sections(folder: Path, pattern: str) -> Iterator[Section]:
    """Read the sections of every HTML page below a folder, by their headings; code listings are left out."""
    for file in sorted(folder.glob(pattern)):
        reader = _Html()
        reader.feed(file.read_text("utf-8", "replace"))
        for heading, text in reader.sections:
            yield Section(str(file.relative_to(folder)), tidy(heading), tidy(" ".join(text)))


def mallard_pages(folder: Path) -> Iterator[Section]:
    """Read every Mallard page below a folder as one section: its title, and all its text."""
    for file in sorted(folder.glob("*.page")):
        root = ET.parse(file).getroot()
        title = root.find(f"{_MALLARD}title")
        words = [" ".join(part.itertext()) for part in root.iter(f"{_MALLARD}p")]
        if title is not None:
            yield Section(file.name, tidy(" ".join(title.itertext())), tidy(" ".join(words)))


def tidy(text: str) -> str:
    """Put everything on one line, without the marks of permanent links."""
    return re.sub(r"\s+", " ", text.replace("¶", "")).strip()


@dataclass
class _Html(HTMLParser):
    sections: list[tuple[str, list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._skipped = 0
        self._heading = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self._skipped += tag in _SKIPPED
        if tag in _HEADINGS and not self._skipped:
            self._heading = True
            self.sections.append(("", []))

    def handle_endtag(self, tag: str) -> None:
        self._skipped -= tag in _SKIPPED and self._skipped > 0
        if tag in _HEADINGS:
            self._heading = False
        elif tag in _ENDS and self.sections:
            self.sections[-1][1].append(" ")

    def handle_data(self, data: str) -> None:
        if self._skipped or not self.sections:
            return
        heading, text = self.sections[-1]
        if self._heading:
            self.sections[-1] = (heading + data, text)
        else:
            text.append(data)
