"""Writes docs/reference/catalog.md: PYTHONPATH=src:tests python tests/catalog_page.py."""

from pathlib import Path

from rerankd.models.coverage import served
from rerankd.registry.catalog import Card, cards

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "catalog.md"
_HEAD = """# Models that rerankd knows by name

<!-- Written by tests/catalog_page.py from registry/catalog.toml. -->

`rerankd list --catalog` prints these with filters (`--lang zh --max-size 600M --licence apache`), `rerankd show MODEL`
all that is known of one, `rerankd recommend` advises one for this machine. Any other model of a hub or a folder can be
served as well, if its kind is known. "-" is what could not be looked up; figures are their sources' own and comparable
only where the source is the same. "served" says whether this version has a family for it; language models need
`rerankd[torch]`.

| model | also called | languages | millions | max tokens | licence | served | published figures | facts from |
|---|---|---|---:|---:|---|---|---|---|
"""


def page() -> str:
    return _HEAD + "".join(map(_row, cards()))


def _row(card: Card) -> str:
    figures = [
        f"{name}: {row['figure']} ({row['source']})"
        for name, row in card.quality.items()
        if isinstance(row, dict) and "figure" in row
    ]
    size = f"{card.parameters_millions:g}" if card.parameters_millions else "-"
    cells = (
        f"`{card.id}`",
        ", ".join(f"`{name}`" for name in card.names[1:]),
        ", ".join(card.languages),
        size,
        str(card.max_tokens or "-"),
        card.licence or "-",
        "yes" if served(card) else "no",
        "; ".join(figures) or "-",
        card.facts_from or "its own card",
    )
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
