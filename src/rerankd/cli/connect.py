"""`rerankd connect`: what to paste into a client, and whether the connection works."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from rerankd.cli.options import config_option, debug_option, json_option, load_settings
from rerankd.cli.output import Column, note, plain, print_json, print_rows
from rerankd.errors import ConfigError

if TYPE_CHECKING:
    from rerankd.connect.advice import Advice, WayAdvice
    from rerankd.connect.probe import Outcome
    from rerankd.connect.recipes import Recipe, Way

_ANY_CLIENT = "curl"


@click.command()
@click.argument("client", default="")
@click.option("--check", "checked", metavar="URL", default="",
              help="Try the connection as CLIENT would: a server's address, or the URL that was pasted.")  # fmt: skip
@click.option("--way", default="", help="The provider, class or prefix of CLIENT; by default its first.")
@click.option("--url", default="", help="The server's address, in place of the one in the settings.")
@click.option("-m", "--model", default="", help="The model to name, in place of the one in the settings.")
@click.option(
    "--key",
    default="",
    help="The API key; @FILE reads it from a file. By default that of the settings,"
    " which --check sends to this machine only.",
)
@click.option("--show-key", is_flag=True, help="Print the key itself in the values to paste.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True),
              help="Seconds that --check waits; by default as long as CLIENT would, 60 at most.")  # fmt: skip
@json_option
@config_option
@debug_option
@click.pass_context
def connect(
    context: click.Context, *, client: str, checked: str, way: str, url: str, model: str, key: str, show_key: bool,
    timeout: float | None, as_json: bool, config_file: Path | None,
) -> None:  # fmt: skip
    """Say what to paste into CLIENT (dify, ragflow, langchain …), or try the connection with --check.

    Without CLIENT: the clients that are known, and where each is pointed. The values are those of the settings that
    `rerankd serve` would read here.
    """
    recipe, ways = _chosen(context, client, way)
    if checked:
        checked = checked if client else _with_path(checked)
        outcome = _check(ways[0], url=checked, model=model, key=_key_for(checked, key, config_file), s=timeout)
        _print_outcome(outcome, recipe if client else None, as_json=as_json)
        if not outcome.verdict.ok:
            context.exit(1)
    elif not client:
        _print_clients(as_json=as_json)
    else:
        advice = _advise(recipe, ways, url=url, model=model, key=key, config_file=config_file, show_key=show_key)
        if as_json:
            print_json(advice.as_json())
        else:
            _print_advice(advice)


def _chosen(context: click.Context, client: str, way: str) -> "tuple[Recipe, Sequence[Way]]":
    """Return the client and those of its ways that are asked for; without a client, what a plain request needs."""
    from rerankd.connect.recipes import find, find_way

    if way and not client:
        raise click.UsageError("--way belongs to a client: name one.", context)
    try:
        recipe = find(client or _ANY_CLIENT)
        return recipe, [find_way(recipe, way)] if way else recipe.ways
    except ConfigError as error:
        raise click.UsageError(f"{error}.", context) from error


def _with_path(url: str) -> str:
    """Take a base URL as most clients do: they add /rerank to it."""
    path = urlsplit(url).path.rstrip("/")
    return url if not path or "rank" in path else url.rstrip("/") + "/rerank"


def _check(way: "Way", *, url: str, model: str, key: str, s: float | None) -> "Outcome":
    from rerankd.connect.probe import Wish, check

    return check(Wish(way, url, model, key, s))


def _typed_key(typed: str) -> str:
    if not typed.startswith("@"):
        return typed
    try:
        return Path(typed[1:]).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"the key file cannot be read: {error}.", param_hint="--key") from error


def _key_for(url: str, typed: str, config_file: Path | None) -> str:
    """Return the key as typed; else that of the settings, if the server is on this machine: others must not get it."""
    from rerankd.connect.probe import is_local
    from rerankd.http.auth import read_keys

    if typed or not is_local(url):
        return _typed_key(typed)
    return next(iter(read_keys(load_settings(config_file).settings.auth)), "")


def _advise(
    recipe: "Recipe", ways: "Sequence[Way]", *, url: str, model: str, key: str, config_file: Path | None, show_key: bool
) -> "Advice":
    from rerankd.connect.advice import KeyState, Listening, advise
    from rerankd.connect.places import Place, own_addresses, places
    from rerankd.http.auth import load_keys, read_keys
    from rerankd.registry.resolve import resolve

    settings = load_settings(config_file).settings
    secret = _typed_key(key) or next(iter(read_keys(settings.auth)), "")
    server = settings.server
    if url:
        listening = Listening([Place("given", "at the given address", url.rstrip("/"), reachable=True)])
    else:
        seen = places(server.host, server.port, own_addresses())
        listening = Listening(seen, open=settings.auth.allow_open, port=server.port)
    state = KeyState(configured=bool(secret or load_keys(settings.auth)), shown=secret if show_key else "")
    return advise(recipe, ways, listening, model or resolve(settings.models.default).id, state)


def _print_clients(*, as_json: bool) -> None:
    from rerankd.connect.recipes import recipes

    if as_json:
        print_json({
            "clients": [
                {"client": recipe.id, "title": recipe.title, "page": f"docs/how-to/{recipe.page}",
                 "ways": [{"name": way.name, "url": f"http://SERVER{way.url}", "key": way.key} for way in recipe.ways]}
                for recipe in recipes().values()
            ]
        })  # fmt: skip
        return
    rows = [
        (recipe.id, recipe.title, way.name, f"http://SERVER{way.url}")
        for recipe in recipes().values()
        for way in recipe.ways
    ]
    print_rows((Column("client"), Column("product"), Column("choose"), Column("URL to paste")), rows)
    note("`rerankd connect CLIENT` prints the exact values; --check URL tries them")


def _print_advice(advice: "Advice") -> None:
    recipe = advice.recipe
    click.secho(f"{recipe.title}  (docs/how-to/{recipe.page})", bold=True)
    for warning in advice.warnings:
        _warn(warning)
    for text in recipe.notes:
        click.echo(f"  · {text}")
    for way in advice.ways:
        _print_way(way, "choose" if way is advice.ways[0] else "or")
    click.echo()
    for place in advice.places:
        if place.note:
            click.echo(f"{place.title}: {place.note}")
    click.echo(f"try it: rerankd connect {recipe.id} --check {advice.places[0].url}")


def _print_way(way: "WayAdvice", introduction: str) -> None:
    click.echo()
    click.secho(f"{introduction}: {way.way.name}", bold=True)
    for warning in way.warnings:
        _warn(warning)
    width = max((len(label) for label, _ in way.filled.values), default=0)
    for label, value in way.filled.values:
        click.echo(f"  {label:<{width}}  {value or '(empty)'}")
    for line in way.filled.code.splitlines():
        click.echo(f"  {line}".rstrip())
    click.echo("  the URL")
    width = max(len(place.title) for place, _ in way.urls)
    for place, url in way.urls:
        beware = "" if place.reachable else "  (not as the server listens now)"
        click.echo(f"    {place.title:<{width}}  {url}{beware}")
    for text in (way.key_hint, *way.way.notes):
        if text:
            click.echo(f"  · {text}")


def _warn(text: str) -> None:
    click.echo(f"{click.style('  !', fg='yellow', bold=True)} {text}")


def _print_outcome(outcome: "Outcome", recipe: "Recipe | None", *, as_json: bool) -> None:
    verdict, asked = outcome.verdict, outcome.asked
    if as_json:
        top = outcome.top
        print_json({
            "ok": verdict.ok, "kind": verdict.kind, "found": verdict.found, "remedy": verdict.remedy,
            "client": recipe.id if recipe else None,
            "request": f"{asked.method} {asked.url}", "paste": asked.paste, "model": asked.model,
            "elapsed_s": outcome.elapsed_s,
            "top": {"index": top[0], "score": top[1], "document": top[2]} if top else None,
        })  # fmt: skip
        return
    click.echo(f"{asked.method} {plain(asked.url)}")
    status = click.style("ok  ", fg="green") if verdict.ok else click.style("fail", fg="red")
    click.echo(f"{status}  {plain(verdict.found)}")
    if outcome.top:
        click.echo(f"      best: {outcome.top[1]:.4f}  {outcome.top[2]}")
        if recipe:
            click.echo(f"      → in {recipe.title}, paste {plain(asked.paste)}")
    if verdict.remedy:
        click.echo(f"      → {plain(verdict.remedy)}")
