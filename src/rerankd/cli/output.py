"""Printing: a table for a terminal, tab-separated lines for a program, JSON for one that asks."""

import json
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import click

from rerankd.types import JsonValue

_GAP = "  "
_NARROWEST = 8
_CONTROL = dict.fromkeys((*range(32), *range(127, 160), 8232, 8233), " ")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, whether numbers stand in it, and whether it gives way when the terminal is narrow."""

    title: str
    number: bool = False
    shortened: bool = False


def plain(text: str) -> str:
    """Return the text as one line without control characters: documents must not move a terminal's cursor."""
    return " ".join(text.translate(_CONTROL).split())


def print_json(value: Mapping[str, object]) -> None:
    """Print one JSON object, Chinese as Chinese."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_rows(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on a terminal, else one line a row, tab-separated, whole and without a heading."""
    if sys.stdout.isatty():
        print_table(columns, rows)
        return
    for row in rows:
        click.echo("\t".join(plain(cell) for cell in row))


def note(text: str) -> None:
    """Say something beside the result, on standard error."""
    click.echo(text, err=True)


def as_text(value: JsonValue) -> str:
    """Show one value of a JSON object to a person."""
    match value:
        case None:
            return "-"
        case str():
            return value
        case bool() | int() | float():
            return json.dumps(value)
        case Mapping():
            return ", ".join(f"{name} {as_text(each)}" for name, each in value.items())
        case _:
            return ", ".join(as_text(each) for each in value) or "-"


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with its heading, for a person."""
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(_width, (column.title, *(row[i] for row in cells)))) for i, column in enumerate(columns)]
    room = shutil.get_terminal_size().columns - sum(widths) - len(_GAP) * (len(columns) - 1)
    for i, column in enumerate(columns):
        if column.shortened and room < 0:
            given = min(-room, max(0, widths[i] - max(_width(column.title), _NARROWEST)))
            widths[i] -= given
            room += given
    click.secho(_line(columns, [column.title for column in columns], widths), bold=True)
    for row in cells:
        click.echo(_line(columns, row, widths))


def _line(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int]) -> str:
    parts: list[str] = []
    for column, cell, width in zip(columns, row, widths, strict=True):
        text = _shorten(cell, width)
        space = " " * (width - _width(text))
        parts.append(space + text if column.number else text + space)
    return _GAP.join(parts).rstrip()


def _width(text: str) -> int:
    """Columns that a text takes on a terminal: Chinese characters take two, combining marks none."""
    return sum(_width_of(letter) for letter in text)


def _width_of(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _shorten(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    kept = accumulate(map(_width_of, text))
    return text[: sum(1 for taken in kept if taken <= width - 1)] + "…"
