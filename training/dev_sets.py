"""Make three development sets of other domains out of documentation in Debian packages, headings as queries.

Chinese office help, English web framework, and Chinese questions against English desktop help. Packages, versions and
licences: training/README.md. No step of the recipe trains on any of their text.
"""

import gzip
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click
from documents import Section, html_sections, mallard_pages

from rerankd.evaluation.bm25 import Bm25

CANDIDATES = 20
_HAN = re.compile(r"[一-鿿]")
_QUESTIONS = re.compile(r"[?？]|如何|怎么|怎样|为什么|什么")


@click.command()
@click.option("--packages", type=click.Path(path_type=Path, exists=True), required=True, help="Unpacked packages.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--queries", default=150, show_default=True)
@click.option("--seed", default=7, show_default=True)
def main(packages: Path, out: Path, queries: int, seed: int) -> None:
    """Write `NAME.jsonl.gz` and `NAME.passages.jsonl.gz` for each set, as `rerankd evaluate` reads them."""
    out.mkdir(parents=True, exist_ok=True)
    office = packages / "libreoffice-help-zh-cn/usr/share/libreoffice/help/zh-CN/text"
    django = packages / "python-django-doc/usr/share/doc/python-django-doc/html"
    desktop = packages / "gnome-user-docs/usr/share/help"
    taken = list(html_sections(office, "*/guide/*.html"))
    found = [one for one in _usable(taken, _chinese, 450) if len(_HAN.findall(one.text)) >= 0.4 * len(one.text)]
    _write(
        out,
        "office_zh",
        asked=[(_asked_zh(one.heading, place), one) for place, one in enumerate(found)],
        queries=queries,
        seed=seed,
    )
    pages = [one for part in ("faq", "howto", "topics") for one in html_sections(django, f"{part}/**/*.html")]
    found = _usable(pages, lambda text: len(text.split()) >= 3 and "[source]" not in text, 900)
    _write(out, "django_en", asked=[(one.heading, one) for one in found], queries=queries, seed=seed)
    titles = {one.page: one.heading for one in mallard_pages(desktop / "zh_CN/gnome-help") if _chinese(one.heading)}
    found = _usable(list(mallard_pages(desktop / "C/gnome-help")), lambda _: True, 900)
    asked = [(titles[one.page], one) for one in found if one.page in titles]
    _write(out, "desktop_zh_en", asked=asked, queries=queries, seed=seed, others=found)


def _usable(sections: Sequence[Section], good: Callable[[str], bool], most: int) -> list[Section]:
    """Keep sections of some length whose heading occurs once, and cut their text."""
    often: dict[str, int] = {}
    for one in sections:
        often[one.heading] = often.get(one.heading, 0) + 1
    kept = [one for one in sections if often[one.heading] == 1 and good(one.heading) and len(one.text) >= 80]
    return [Section(one.page, one.heading, one.text[:most]) for one in kept]


def _write(
    out: Path,
    name: str,
    *,
    asked: Sequence[tuple[str, Section]],
    queries: int,
    seed: int,
    others: Sequence[Section] = (),
) -> None:
    """Choose queries, and for each what BM25 finds for its heading; the relevant section is last if it is missed.

    Where queries and passages are in two languages BM25 looks for the passage's own heading, so that the others of the
    list are close to it.
    """
    sections = others or [one for _, one in asked]
    place_of = {(one.page, one.heading): place for place, one in enumerate(sections)}
    index = Bm25.build(one.text for one in sections)
    drawn = random.Random(f"{seed}:{name}").sample(list(asked), min(queries, len(asked)))
    rows, used = list[Mapping[str, object]](), dict[int, None]()
    for query, one in drawn:
        gold = place_of[one.page, one.heading]
        top = index.top(one.heading if others else query, CANDIDATES)
        candidates = top if gold in top else [*top[: CANDIDATES - 1], gold]
        used |= dict.fromkeys(candidates)
        rows.append({"q": query, "cands": candidates, "gold": [gold]})
    _lines(out / f"{name}.jsonl.gz", rows)
    _lines(out / f"{name}.passages.jsonl.gz", [{"id": place, "text": sections[place].text} for place in sorted(used)])
    print(name, len(rows), "queries", len(used), "passages", len(sections), "sections")


def _asked_zh(heading: str, place: int) -> str:
    """Ask every other heading as a question; the rest stay keywords."""
    return heading if place % 2 or _QUESTIONS.search(heading) else f"如何{heading}？"


def _chinese(text: str) -> bool:
    return len(_HAN.findall(text)) >= 3


def _lines(file: Path, rows: Sequence[Mapping[str, object]]) -> None:
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    file.write_bytes(gzip.compress(data, mtime=0))


if __name__ == "__main__":
    main()
