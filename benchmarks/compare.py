"""All comparisons and scenarios one after another, then the page: one command.

python benchmarks/compare.py --quick                  a look, some ten minutes
python benchmarks/compare.py                          everything, about an hour on two cores
python benchmarks/compare.py --only over-http --model minilm-l6
"""

from collections.abc import Callable, Mapping
from typing import Any

import click

import in_process
import int8_gain
import memory
import more_clients
import over_http
import peak_share
import report
import small_beside_large
import start
from comparison.processes import Failed
from comparison.running import Options, scenario_options

SCENARIOS: Mapping[str, Callable[[Options], None]] = {
    in_process.NAME: in_process.run,
    peak_share.NAME: peak_share.run,
    over_http.NAME: over_http.run,
    int8_gain.NAME: int8_gain.run,
    memory.NAME: memory.run,
    start.NAME: start.run,
    small_beside_large.NAME: small_beside_large.run,
    more_clients.NAME: more_clients.run,
}


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(SCENARIOS)), help="Only this scenario (repeatable).")
@scenario_options
def main(only: tuple[str, ...], **options: Any) -> None:
    """Compare rerankd with its rivals on this machine; write benchmarks/results and docs/benchmarks.md."""
    chosen = Options(**options)
    failed: list[str] = []
    for name in only or SCENARIOS:
        click.echo(f"== {name}")
        try:
            SCENARIOS[name](chosen)
        except Failed as error:
            failed.append(name)
            click.echo(f"{name}: {error}", err=True)
    report.write_page(report.newest())
    if failed:
        raise click.ClickException(f"without figures: {', '.join(failed)}")


if __name__ == "__main__":
    main()
