"""Writes docs/reference/catalog.md: PYTHONPATH=src:tests python tests/catalog_page.py."""

from pathlib import Path

from rerankd.models.coverage import served
from rerankd.registry.catalog import Card, cards
from rerankd.registry.golden import Golden

_SHOWN = 48
PAGE = Path(__file__).parent.parent / "docs" / "reference" / "catalog.md"
_HEAD = """# Models that rerankd knows by name

<!-- Written by tests/catalog_page.py from registry/catalog.toml and golden.toml. -->

`rerankd list --catalog` prints these with filters (`--lang zh --max-size 600M --licence apache`), `rerankd show MODEL`
all that is known of one, `rerankd recommend` advises one for this machine. Any other model of a hub or a folder can be
served as well, if its kind is known. "-" is what could not be looked up; figures are their sources' own and comparable
only where the source is the same. "served" says whether this version has a family for it; language models need
`rerankd[torch]`.

| model | also called | languages | millions | max tokens | licence | served | published figures | facts from |
|---|---|---|---:|---:|---|---|---|---|
"""
_KNOWN = """
## Known scores

Pairs whose scores others published for these models, compared whenever the model is loaded
([how](../how-to/verify.md#known-scores)). **The published weights could not be fetched where rerankd was written**: the
comparison was tried with tiny models that pretend to be these, the figures are their sources' own, and allowances are
generous: what they catch is a missing head, prompt or segment id and a sigmoid too many. Models that are not in this
table have no scores that could be found in print.

| model | pair | score | scale | computed in | allowed | read in |
|---|---|---:|---|---|---:|---|
"""


def page() -> str:
    return (
        _HEAD
        + "".join(map(_row, cards()))
        + _KNOWN
        + "".join(_known(card.id, one) for card in cards() for one in card.golden)
    )


def _known(id_: str, known: Golden) -> str:
    pair = " / ".join(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…" for text in (known.query, known.document))
    source = f"[{known.source.split('/')[4]}]({known.source})" if known.source.startswith("https://") else known.source
    cells = (f"`{id_}`", pair, f"{known.score:.5g}", known.scale, known.precision, f"± {known.tolerance:g}", source)
    return f"| {' | '.join(cells)} |\n"


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
