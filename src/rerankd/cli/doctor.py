"""`rerankd doctor`: is this machine and this installation fit to rank, and if not, what to do."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rerankd.cli.options import config_option, debug_option, json_option, say_failures_once
from rerankd.cli.output import plain, print_json

if TYPE_CHECKING:
    from rerankd.cli import checks

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@json_option
@config_option
@debug_option
@click.pass_context
def doctor(context: click.Context, as_json: bool, config_file: Path | None) -> None:
    """Check the installation: packages, cores, memory, engine, port, store, model files, and a real ranking.

    Exit code 1 if something fails; warnings do not count.
    """
    from rerankd.cli.checks import Status, run

    say_failures_once(context)
    done: list[checks.Check] = []
    for check in run(config_file):
        done.append(check)
        if not as_json:
            _print(check)
    failed = any(check.status is Status.FAIL for check in done)
    if as_json:
        found = [{"name": c.name, "status": c.status.value, "found": c.found, "remedy": c.remedy} for c in done]
        print_json({"ok": not failed, "checks": found})
    if failed:
        context.exit(1)


def _print(check: "checks.Check") -> None:
    status = click.style(f"{check.status.value:<4}", fg=_COLOURS[check.status.value])
    click.echo(f"{status}  {check.name}: {plain(check.found)}")
    if check.remedy:
        click.echo(f"      → {plain(check.remedy)}")
