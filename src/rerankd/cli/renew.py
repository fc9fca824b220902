"""`rerankd load`, `unload`, `update` and `rollback`: a running server's models, and newer revisions of them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rerankd.cli.options import (
    config_option,
    debug_option,
    json_option,
    load_settings,
    say_failures_once,
    server_options,
)
from rerankd.cli.output import note, print_json
from rerankd.cli.progress import downloads, megabytes, progress_bar
from rerankd.types import JsonObject

if TYPE_CHECKING:
    from rerankd.models.renewal import Renewal

_URL = "http://127.0.0.1:8036"


def _of_a_server(decorated: Callable[..., None]) -> click.Command:
    """Make a command that tells a running server something of one model."""
    options = (click.argument("model"), server_options(_URL), json_option, debug_option)
    for option in reversed(options):
        decorated = option(decorated)
    return click.command()(decorated)


@_of_a_server
def load(model: str, url: str, api_key: str, as_json: bool) -> None:
    """Load MODEL into a running server's memory; one that it does not serve yet is served from now on.

    The server loads it again when it is restarted, until it is unloaded or models.restore is false.
    """
    from rerankd.cli.remote import tell

    result = tell(url, api_key, "load", model)
    if as_json:
        print_json(result)
        return
    size = result.get("memory_bytes")
    note(f"{result.get('model')}: {result.get('state')}, {megabytes(size if isinstance(size, int) else 0)}")


@_of_a_server
def unload(model: str, url: str, api_key: str, as_json: bool) -> None:
    """Take MODEL out of a running server's memory, once its requests are answered; the next one loads it again."""
    from rerankd.cli.remote import tell

    result = tell(url, api_key, "unload", model)
    if as_json:
        print_json(result)
        return
    note(f"{result.get('id')}: {result.get('state')}")


@click.command()
@click.argument("model")
@server_options()
@click.option("--golden", type=click.Path(exists=True, path_type=Path), metavar="PATH",
              help="Judged queries to judge the newer revision on; by default models.golden_set.")  # fmt: skip
@config_option
@json_option
@debug_option
@click.pass_context
def update(
    context: click.Context, *, model: str, url: str, api_key: str, golden: Path | None, config_file: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Use what the hub has now of MODEL, if it can be loaded, and ranks the golden set as well as the one in use.

    It is fetched beside the one in use, which stays where anything fails. Without --url the next start uses it; a
    server that is given by --url uses it at once, and no request is lost.
    """
    if golden and url:
        raise click.UsageError("A server judges by its own models.golden_set: leave out --golden.", context)
    say_failures_once(context)
    _say(_remotely(url, api_key, "update", model) if url else _here(_update(model, golden, config_file)), as_json)


@click.command()
@click.argument("model")
@server_options()
@config_option
@json_option
@debug_option
@click.pass_context
def rollback(
    context: click.Context, *, model: str, url: str, api_key: str, config_file: Path | None, as_json: bool
) -> None:
    """Use the revision of MODEL that was in use before the last update."""
    say_failures_once(context)
    _say(_remotely(url, api_key, "rollback", model) if url else _here(_rollback(model, config_file)), as_json)


def _remotely(url: str, api_key: str, what: str, model: str) -> JsonObject:
    from rerankd.cli.remote import tell

    return tell(url, api_key, what, model)


def _here(renewal: "Renewal") -> JsonObject:
    from dataclasses import asdict

    from rerankd.models.renewal import renew_here

    with progress_bar(renewal.entry.id) as show:
        return asdict(renew_here(renewal, downloads(show)))


def _update(model: str, golden: Path | None, config_file: Path | None) -> "Renewal":
    from rerankd import assembly
    from rerankd.evaluation.golden import measure
    from rerankd.models import renewal
    from rerankd.registry.resolve import resolve

    settings = load_settings(config_file).settings
    if golden:
        models = settings.models.model_copy(update={"golden_set": golden})
        settings = settings.model_copy(update={"models": models})
    entry = assembly.configured(resolve(model), settings)
    judged_by = assembly.golden(settings, measure)
    return renewal.update(
        entry, assembly.make_loader(settings), golden=judged_by, keep=settings.models.keep_revisions
    )  # fmt: skip


def _rollback(model: str, config_file: Path | None) -> "Renewal":
    from rerankd import assembly
    from rerankd.models import renewal
    from rerankd.registry.resolve import resolve

    settings = load_settings(config_file).settings
    entry = assembly.configured(resolve(model), settings)
    return renewal.rollback(entry, assembly.make_loader(settings), keep=settings.models.keep_revisions)


def _say(result: JsonObject, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    before, after = str(result.get("before", ""))[:12], str(result.get("after", ""))[:12]
    moved = f", {before or 'none'} -> {after}" if before != after else (f", {after}" if after else "")
    note(f"{result.get('model')}: {result.get('how')}{moved}")
    if result.get("ndcg_after") is not None:
        note(f"nDCG@10 on the golden set: {result['ndcg_before']:.4f} before, {result['ndcg_after']:.4f} now")
