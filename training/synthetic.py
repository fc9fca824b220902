"""Make training queries for real documentation: headings, questions and keywords about sections in Debian packages.

Chinese, English, and Chinese queries for English sections. Packages and licences: training/README.md; none of them is
among those of the development sets.
"""

import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
from documents import Section, html_sections

from rerankd.evaluation.bm25 import Bm25

NEGATIVES = 7
SHORTEST = 80
DEPTH = 20
LONGEST = {"zh": 450, "en": 900}
_HAN = re.compile(r"[一-鿿]")
_NUMBER = re.compile(
    r"^(第\s*\d+\s*章|附录\s*\w|Chapter\s+\d+|Appendix\s+\w|\d+(\.\d+)*)[.、:\s ]*|^[A-Z](\.\d+)+\.?\s*"
)
_ASKED = re.compile(r"[?？]|如何|怎么|怎样|为什么|什么|^(how|what|why|when|which|can|does|is)\b", re.IGNORECASE)
_TAKEN = ("howto/*.html*", "misc/*.html*", "rewrite/*.html*", "ssl/*.html*", "vhosts/*.html*", "faq/*.html*", "*.html*")


@click.command()
@click.option("--packages", type=click.Path(path_type=Path, exists=True), required=True, help="Unpacked packages.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--seed", default=11, show_default=True)
def main(packages: Path, out: Path, seed: int) -> None:
    """Write `docs_zh`, `docs_en` and `docs_zh_en`, each `NAME.jsonl.gz` with `q`, `pos`, `neg`."""
    out.mkdir(parents=True, exist_ok=True)
    docs = "usr/share/doc"
    folder = packages / f"debian-handbook/{docs}/debian-handbook/html"
    apache = packages / f"apache2-doc/{docs}/apache2-doc/manual/en"
    book = {name: list(html_sections(folder / name, "*.html")) for name in ("zh-CN", "en-US")}
    works = {
        "docs_zh": [
            book["zh-CN"],
            list(html_sections(packages / f"kicad-doc-zh/{docs}", "**/*.html")),
            list(html_sections(packages / "debian-reference-zh-cn/usr/share", "**/*.html")),
            list(html_sections(packages / "maint-guide-zh-cn/usr/share", "**/*.html")),
            list(html_sections(packages / f"debian-edu-doc-zh-cn/{docs}/debian-edu-doc-zh-cn", "*bookworm*.html")),
        ],
        "docs_en": [
            book["en-US"],
            [one for part in _TAKEN for one in html_sections(apache, part)],
            list(html_sections(packages / f"sqlite3-doc/{docs}", "**/*.html")),
        ],
    }
    for name, parts in works.items():
        language = name.removeprefix("docs_")
        rows = [row for work in parts for row in _rows(_usable(work, language), language, seed)]
        _write(out / f"{name}.jsonl.gz", rows)
    _write(out / "docs_zh_en.jsonl.gz", list(_across(book["zh-CN"], book["en-US"])))


def _usable(sections: Sequence[Section], language: str) -> list[Section]:
    """Keep sections of some length in the language whose heading occurs once."""
    long = [one for one in sections if len(one.text) >= SHORTEST]  # tables of contents repeat headings without a text
    tidied = [replace(one, heading=_plain(one.heading), text=one.text[: LONGEST[language]]) for one in long]
    often = Counter(one.heading for one in tidied)
    return [one for one in tidied if often[one.heading] == 1 and _speaks(one, language)]


def _plain(heading: str) -> str:
    return _NUMBER.sub("", heading).strip()


def _speaks(one: Section, language: str) -> bool:
    if language == "zh":
        return len(_HAN.findall(one.heading)) >= 2 and len(_HAN.findall(one.text)) >= 0.3 * len(one.text)
    return not _HAN.search(one.text) and len(one.heading.split()) >= 2


def _rows(sections: Sequence[Section], language: str, seed: int) -> Iterator[Mapping[str, object]]:
    """Ask for each section by its heading (as keywords or as a question), and for some by words out of its text."""
    if not sections:
        return
    index = Bm25.build(one.text for one in sections)
    rng = random.Random(f"{seed}:{language}:{sections[0].heading}")
    for place, one in enumerate(sections):
        start = _first_sentence(one.text, language)
        if start is not None and rng.random() < 0.35:
            query, rest = start
            yield _row(query, replace(one, text=rest), place, sections, index)
        yield _row(_asked(one.heading, language, rng), one, place, sections, index)


def _row(query: str, one: Section, place: int, sections: Sequence[Section], index: Bm25) -> Mapping[str, object]:
    found = [other for other in index.top(query, DEPTH) if other != place][:NEGATIVES]
    return {"q": query, "pos": [one.text], "neg": [sections[other].text for other in found]}


def _asked(heading: str, language: str, rng: random.Random) -> str:
    if _ASKED.search(heading) or rng.random() < 0.5:
        return heading
    if language == "zh":
        return rng.choice(("如何{}？", "怎么{}", "{}怎么弄？", "什么是{}？", "请问{}的方法")).format(heading)
    return rng.choice(("how to {}", "how do I {}?", "what is {}?", "explain {}")).format(_lowered(heading))


def _lowered(heading: str) -> str:
    return heading[0].lower() + heading[1:] if heading[1:2].islower() else heading


def _first_sentence(text: str, language: str) -> tuple[str, str] | None:
    """Split a section's first sentence off, as a description that its rest answers."""
    found = re.match(r"(.{12,60}?[。！？])(.{80,})" if language == "zh" else r"(.{40,160}?[.!?]) (.{160,})", text)
    return (found[1].rstrip("。."), found[2]) if found else None


def _across(chinese: Sequence[Section], english: Sequence[Section]) -> Iterator[Mapping[str, object]]:
    """Pair the headings of a page with the sections at the same place of its translation."""
    pages: dict[str, tuple[list[Section], list[Section]]] = {}
    for side, sections in enumerate((chinese, english)):
        for one in sections:
            pages.setdefault(one.page, ([], []))[side].append(one)
    kept = [
        (_plain(asked.heading), replace(told, text=told.text[: LONGEST["en"]]))
        for left, right in pages.values()
        if len(left) == len(right)
        for asked, told in zip(left, right, strict=True)
    ]
    kept = [(query, one) for query, one in kept if len(_HAN.findall(query)) >= 2 and len(one.text) >= SHORTEST]
    often = Counter(query for query, _ in kept)
    sections = [one for _, one in kept]
    index = Bm25.build(one.text for one in sections)
    for place, (query, one) in enumerate(kept):
        if often[query] == 1:
            found = [other for other in index.top(one.heading, DEPTH) if other != place][:NEGATIVES]
            yield {"q": query, "pos": [one.text], "neg": [sections[other].text for other in found]}


def _write(file: Path, rows: Sequence[Mapping[str, object]]) -> None:
    kept = [row for row in rows if row["neg"]]
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept).encode()
    file.write_bytes(gzip.compress(data, mtime=0))
    print(file.name, len(kept), "queries")


if __name__ == "__main__":
    main()
