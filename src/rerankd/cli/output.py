"""Printing: a table for a terminal, tab-separated lines for a program, JSON for one that asks."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from rerankd.types import JsonValue

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
        _print_table(columns, rows)
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


def _print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # rich narrows wrapping columns first, the widest most; a cell of them that may not wrap is then shortened.
        table.add_column(column.title, justify="right" if column.number else "left", no_wrap=column.number)
    for row in rows:
        table.add_row(
            *(
                Text(plain(cell), no_wrap=column.shortened, overflow="ellipsis" if column.shortened else "fold")
                for column, cell in zip(columns, row, strict=True)
            )
        )
    Console(file=sys.stdout, highlight=False).print(table)
