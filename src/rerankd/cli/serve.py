"""`rerankd serve`: settings from everywhere, then the server until it is stopped."""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rerankd.cli.options import config_option, debug_option

if TYPE_CHECKING:
    from rerankd.config import Setting

_SHORT = {"server.host": "--host", "server.port": "--port", "server.processes": "--workers"}
_FLAGS = "rerankd.flags"


class _ServeCommand(click.Command):
    """A command that has one option for every setting, made when somebody looks (the settings tree is slow to load)."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *_setting_options()]


@click.command(cls=_ServeCommand)
@click.argument("model", required=False, default="")
@config_option
@debug_option
@click.pass_context
def serve(context: click.Context, model: str, config_file: Path | None) -> None:
    """Serve rerank models over HTTP.

    MODEL is a name from `rerankd list` or a folder (./my-model); by default the bundled model. Each option below is a
    setting that can also stand in rerankd.toml or in the environment: `--server.port` is RERANKD_SERVER__PORT.
    """
    from rerankd import config
    from rerankd.assembly import assemble
    from rerankd.evaluation.canary import open_canaries
    from rerankd.evaluation.golden import measure
    from rerankd.http.run import serve as run

    flags: dict[str, str | Sequence[str]] = dict(context.meta.get(_FLAGS, {}))
    if model:
        if "models.default" in flags:
            raise click.UsageError("Give the model as MODEL or as --models.default, not both.", context)
        flags["models.default"] = model
    run(
        config.load(config_file, flags=flags).settings,
        partial(assemble, measure=measure, remember=True),
        open_companions=open_canaries,
    )


@cache
def _setting_options() -> tuple[click.Option, ...]:
    from rerankd import config

    return tuple(_option(setting) for setting in config.declared())


def _option(setting: "Setting") -> click.Option:
    def remember(context: click.Context, _: click.Parameter, value: str | tuple[str, ...] | None) -> None:
        if value is None or value == ():
            return
        typed = value[0] if isinstance(value, tuple) and len(value) == 1 else value
        context.meta.setdefault(_FLAGS, {})[setting.name] = typed

    names = [setting.flag, setting.name.replace(".", "__")]
    if setting.name in _SHORT:
        names.append(_SHORT[setting.name])
    return click.Option(
        names,
        metavar="VALUE",
        multiple=setting.is_list,
        expose_value=False,
        callback=remember,
        help=f"{setting.doc} [{setting.values}; default: {_default(setting)}]",
    )


def _default(setting: "Setting") -> str:
    if setting.default is None or setting.default == ():
        return "none"
    return str(setting.default).lower() if setting.is_flag else str(setting.default)
