"""Write docs/benchmarks.md from a file of results.

python benchmarks/report.py                       the newest file
python benchmarks/report.py benchmarks/results/2026-11-22-comparison.json
"""

from pathlib import Path

import click

from comparison import page, places, results
from comparison.processes import Failed


def newest(folder: Path = places.RESULTS) -> Path:
    """Return the file of the latest day.

    Raises:
        Failed: nothing was measured yet.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise Failed("there are no results yet: run benchmarks/compare.py")
    return files[-1]


def write_page(file: Path, place: Path = places.PAGE) -> None:
    """Write the page from a file of results."""
    place.write_text(page.write(results.read(file)), "utf-8")
    click.echo(f"{place.name} written from {file.name}")


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(file: Path | None) -> None:
    """Write the page from FILE (default: the newest results)."""
    try:
        write_page(file or newest())
    except Failed as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
