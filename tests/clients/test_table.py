"""The tables of clients are made from what the cases printed."""

import pytest

from clients.running import Line
from clients.table import Page, Results, markdown, rendered, rows

PAGE = Page("page.md", "en", ("clients",))


def line(client: str, version: str, called: str, *, ok: bool = True) -> Line:
    return {"client": client, "version": version, "called": called, "case": "a case", "ok": ok, "detail": ""}


LINES = (line("b", "5.21.1", "Two"), line("b", "5.3.0", "One", ok=False), line("a", "1.0", "It"))


def test_a_row_sums_up_a_client_over_its_versions() -> None:
    assert markdown(rows(LINES), "en").splitlines()[2:] == [
        "| a | 1.0 | `It` | 1 of 1 cases pass |",
        "| b | 5.3.0, 5.21.1 | `Two`, `One` | 1 of 2 cases pass |",
    ]


def test_only_what_is_between_the_markers_changes() -> None:
    text = "before\n<!-- clients:begin -->\nold\n<!-- clients:end -->\nafter\n"
    new = rendered(text, PAGE, Results(rows(LINES), ()))
    assert new.startswith("before\n<!-- clients:begin -->\n| client |")
    assert new.endswith("|\n<!-- clients:end -->\nafter\n")
    assert "old" not in new
    assert rendered(new, PAGE, Results(rows(LINES), ())) == new


def test_a_page_without_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"page\.md has no <!-- clients:begin -->"):
        rendered("nothing", PAGE, Results((), ()))
