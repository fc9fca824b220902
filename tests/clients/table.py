"""The table of clients in the READMEs and the docs: made from docs/reference/clients.json, which a test run writes.

`make clients` runs the clients and writes both; `python tests/clients/table.py` writes the pages from the file again.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from clients.running import Line

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "docs" / "reference" / "clients.json"
BEGIN, END = "<!-- {}:begin -->", "<!-- {}:end -->"
_HEADS = {
    "en": ("client", "version", "what was run", "result"),
    "zh": ("客户端", "版本", "运行了什么", "结果"),
}
_RESULTS = {"en": "{} of {} cases pass", "zh": "{} / {} 个用例通过"}


@dataclass(frozen=True, slots=True)
class Row:
    """One client: its versions, what was called, how many cases were run and how many passed."""

    client: str
    versions: tuple[str, ...]
    called: tuple[str, ...]
    cases: int
    passed: int


@dataclass(frozen=True, slots=True)
class Results:
    """All rows: clients from the package index, and products run from a checkout, by repository."""

    clients: tuple[Row, ...]
    products: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A page with tables in it, between markers that name them."""

    path: str
    language: str
    tables: tuple[str, ...]


PAGES = (
    Page("README.md", "en", ("clients",)),
    Page("README.zh-CN.md", "zh", ("clients",)),
    Page("docs/reference/clients.md", "en", ("clients", "products")),
)


def rows(lines: Iterable[Line]) -> tuple[Row, ...]:
    """Sum up the cases of each client, by name."""
    by_client: dict[str, list[Line]] = {}
    for line in lines:
        by_client.setdefault(line["client"], []).append(line)
    return tuple(_row(client, by_client[client]) for client in sorted(by_client))


def read() -> Results:
    """Read the results of the last run that was written down."""
    stored = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"clients": [], "products": []}
    return Results(*(tuple(_from_json(each) for each in stored[name]) for name in ("clients", "products")))


def write(results: Results) -> None:
    """Write the results and every page that shows them."""
    _replace(RESULTS, json.dumps(asdict(results), indent=1, ensure_ascii=False) + "\n")
    for page in PAGES:
        text = (ROOT / page.path).read_text("utf-8")
        _replace(ROOT / page.path, rendered(text, page, results))


def rendered(text: str, page: Page, results: Results) -> str:
    """Return a page's text with its tables made anew.

    Raises:
        ValueError: the page lacks a marker.
    """
    for name in page.tables:
        begin, end = BEGIN.format(name), END.format(name)
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"{page.path} has no {begin} … {end}")
        table = markdown(results.clients if name == "clients" else results.products, page.language)
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


def markdown(table: Sequence[Row], language: str) -> str:
    """Render rows as a Markdown table."""
    head = _HEADS[language]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in table:
        called = ", ".join(f"`{each}`" for each in row.called)
        result = _RESULTS[language].format(row.passed, row.cases)
        lines.append(f"| {row.client} | {', '.join(row.versions)} | {called} | {result} |")
    return "\n".join(lines)


def _row(client: str, lines: Sequence[Line]) -> Row:
    versions = sorted({line["version"] for line in lines}, key=_numbers)
    called = tuple(dict.fromkeys(line["called"] for line in lines))
    return Row(client, tuple(versions), called, len(lines), sum(line["ok"] for line in lines))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _from_json(stored: dict[str, object]) -> Row:
    return Row(
        client=str(stored["client"]),
        versions=tuple(cast("list[str]", stored["versions"])),
        called=tuple(cast("list[str]", stored["called"])),
        cases=int(cast("int", stored["cases"])),
        passed=int(cast("int", stored["passed"])),
    )


def _replace(file: Path, text: str) -> None:
    unfinished = file.with_suffix(".part")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(file)


if __name__ == "__main__":
    write(read())
