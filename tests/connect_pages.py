"""The generated parts of docs/how-to/connect-*.md: `python tests/connect_pages.py` writes, a test compares them."""

import re
from collections.abc import Iterator
from pathlib import Path

from rerankd.connect.advice import YOUR_KEY
from rerankd.connect.recipes import Recipe, Way, recipes

HOW_TO = Path(__file__).parent.parent / "docs" / "how-to"
BASE = "http://SERVER:8036"
MODEL = "rerankd-zh-en"
PAGES = tuple(sorted({recipe.page for recipe in recipes().values()}))
_MARKED = re.compile(r"(<!-- recipe: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str) -> str:
    """The page's text with its generated parts renewed."""
    text = (HOW_TO / page).read_text("utf-8")
    return _MARKED.sub(lambda found: found[1] + "\n" + "".join(_part(recipes()[found[2]])) + found[3], text)


def shown(page: str) -> list[str]:
    """The clients whose recipes the page shows."""
    return [found[2] for found in _MARKED.finditer((HOW_TO / page).read_text("utf-8"))]


def _part(recipe: Recipe) -> Iterator[str]:
    for text in recipe.notes:
        yield f"- {text}\n"
    yield "\n" if recipe.notes else ""
    for way in recipe.ways:
        yield f"### {recipe.title}: {way.name}\n\n"
        yield from _values(way)
        yield f"Posts to `{way.posts_to(way.pasted(BASE))}`. {_patience(way)} {_key(way)}"
        yield from (f" {note}" for note in way.notes)
        yield "\n\n"


def _values(way: Way) -> Iterator[str]:
    values = way.filled(BASE, MODEL, YOUR_KEY)
    if values.values:
        yield "| field | value |\n|---|---|\n"
        yield from (f"| {label} | `{value}` |\n" for label, value in values.values)
        yield "\n"
    if values.code:
        yield f"```\n{values.code}\n```\n\n"


def _patience(way: Way) -> str:
    return f"Waits {way.timeout_s:g} s." if way.timeout_s else "Sets no timeout that we know of."


def _key(way: Way) -> str:
    return {
        "optional": "The key may be left out.",
        "required": "It insists on a key: without one on the server, any text will do.",
        "never": "It cannot send a key.",
    }[way.key]


if __name__ == "__main__":
    for name in PAGES:
        (HOW_TO / name).write_text(filled(name), "utf-8")
