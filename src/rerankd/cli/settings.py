"""`rerankd config`: what the settings are, where each came from, and whether a file is right."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from rerankd.cli.options import config_option, debug_option, json_option, load_settings
from rerankd.cli.output import Column, as_text, print_json, print_rows
from rerankd.types import JsonValue

if TYPE_CHECKING:
    from rerankd.config import Loaded

_HIDDEN = "(hidden)"
_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/@]*:[^/@]*(?=@)")


@click.group(invoke_without_command=True)
@debug_option
@click.pass_context
def config(context: click.Context) -> None:
    """Show or check the settings."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@config.command()
@config_option
@json_option
@debug_option
def show(config_file: Path | None, as_json: bool) -> None:
    """Print every setting, its value, and where the value came from. Secrets are hidden."""
    loaded = load_settings(config_file)
    shown = {name: _shown(loaded, name) for name in loaded.origins}
    if as_json:
        print_json({name: {"value": value, "origin": loaded.origins[name]} for name, value in shown.items()})
        return
    columns = (Column("setting"), Column("value"), Column("from"))
    print_rows(columns, [(name, as_text(value), loaded.origins[name]) for name, value in shown.items()])


@config.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@debug_option
def check(file: Path | None) -> None:
    """Check the settings without starting anything: exit code 0, or 3 with a line for each mistake.

    FILE is a settings file; by default the one that `rerankd serve` would read. The environment is checked too.
    """
    from rerankd.http.run import check_address
    from rerankd.http.usage import open_quotas
    from rerankd.registry.resolve import resolve

    loaded = load_settings(file)
    check_address(loaded.settings)
    open_quotas(loaded.settings.limits)
    for name in (loaded.settings.models.default, *loaded.settings.models.served):
        resolve(name)
    given = sum(origin != "default" for origin in loaded.origins.values())
    click.echo(f"ok: {loaded.file.name if loaded.file else 'no settings file'}, {given} settings given")


def _shown(loaded: "Loaded", name: str) -> JsonValue:
    from rerankd.config import declared, value_of

    secrets = {setting.name for setting in declared() if setting.is_secret}
    value = value_of(loaded.settings, name)
    match value:
        case tuple():
            items = cast("tuple[object, ...]", value)
            return [_HIDDEN if name in secrets else str(item) for item in items]
        case Path() as path:
            return str(path)
        case str() as text:
            return _PASSWORD_IN_URL.sub(_HIDDEN, text)
        case bool() | int() | float() | None:
            return value
        case _:
            return str(value)
